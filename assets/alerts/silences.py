"""What a silence keeps from being told.

A silence of a machine or a scheduler covers a stretch of time: what lies outside of it counts alone. So an
anomaly of a maintenance is not told, not even by late data, and one that outlasts it is, as soon as the rest
is long enough. An acknowledgement of one event silences all of it, and as long as it lasts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resources.config.silences import Silence
from resources.name_patterns import matches

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SilenceSubject:
    """Whom an event is about; `event_ids` are all ids that it ever had."""

    event_ids: frozenset[str]
    scheduler_arn: str
    scheduler_name: str
    equipment: str


def matches_subject(silence: Silence, subject: SilenceSubject) -> bool:
    """Tell whether a silence names this event, its scheduler or its machine."""
    if silence.event is not None:
        return silence.event in subject.event_ids
    if silence.equipment is not None:
        return silence.equipment == subject.equipment
    return matches(silence.scheduler or "", subject.scheduler_name, subject.scheduler_arn)


def is_acknowledged(silences: Iterable[Silence], subject: SilenceSubject, now: datetime) -> bool:
    """Tell whether someone has taken this very event on, and still has it."""
    return any(
        silence.event is not None and matches_subject(silence, subject) and silence.is_active(now)
        for silence in silences
    )


def get_unsilenced_duration(
    silences: Iterable[Silence], subject: SilenceSubject, start: datetime, end: datetime
) -> timedelta:
    """Return how much of a stretch of time no silence of its machine or scheduler covers."""
    spans = sorted(
        (max(start, silence.since or _EVER), min(end, silence.until))
        for silence in silences
        if silence.event is None and matches_subject(silence, subject)
    )
    left, reached = end - start, start
    for since, until in spans:
        if until > max(since, reached):
            left -= until - max(since, reached)
            reached = until
    return left
