"""Decides which notifications are silenced.

A silence of equipment or of a scheduler covers a time range; only the part of an event outside of it counts.
So an anomaly during maintenance is not notified, also if its data arrives late. An anomaly that continues
after the maintenance is notified once the rest is long enough. An acknowledgement of one event silences all
notifications about it while it is active.

A silence of a run or a check suppresses its failures while the silence is active. A failure that continues
after it is notified as new. Recoveries are never silenced, because they close what was notified earlier.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resources.config.silences import Silence
from resources.name_patterns import matches, matches_any

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SilenceSubject:
    """What silences are matched with; `event_ids` are the current and all earlier IDs of an event."""

    event_ids: frozenset[str]
    scheduler_arn: str
    scheduler_name: str
    equipment: str


def matches_subject(silence: Silence, subject: SilenceSubject) -> bool:
    """Return whether a silence names this event, its scheduler or its equipment."""
    if silence.is_about_failures:
        return False
    if silence.event is not None:
        return silence.event in subject.event_ids
    if silence.equipment is not None:
        return silence.equipment == subject.equipment
    return matches(silence.scheduler or "", subject.scheduler_name, subject.scheduler_arn)


def is_run_silenced(silences: Iterable[Silence], names: Iterable[str], now: datetime) -> bool:
    """Return whether an active silence names a run by one of its names, such as the job and the asset."""
    patterns = [silence.run for silence in silences if silence.run is not None and silence.is_active(now)]
    return any(matches_any(patterns, name, "") for name in names)


def is_check_silenced(silences: Iterable[Silence], name: str, now: datetime) -> bool:
    """Return whether an active silence names an asset check."""
    patterns = [silence.check for silence in silences if silence.check is not None and silence.is_active(now)]
    return matches_any(patterns, name, "")


def find_acknowledgement(
    silences: Iterable[Silence], subject: SilenceSubject, now: datetime
) -> Silence | None:
    """Return the first active silence that names this event itself."""
    matching = (
        silence
        for silence in silences
        if silence.event is not None and matches_subject(silence, subject) and silence.is_active(now)
    )
    return next(matching, None)


def get_unsilenced_duration(
    silences: Iterable[Silence], subject: SilenceSubject, start: datetime, end: datetime
) -> timedelta:
    """Return how much of a time range no silence of its equipment or scheduler covers."""
    ranges = sorted(
        (max(start, silence.since or _BEGINNING), min(end, silence.until))
        for silence in silences
        if silence.event is None and matches_subject(silence, subject)
    )
    remaining, covered_until = end - start, start
    for since, until in ranges:
        if until > max(since, covered_until):
            remaining -= until - max(since, covered_until)
            covered_until = until
    return remaining


def find_event_silence(
    silences: Iterable[Silence], subject: SilenceSubject, start: datetime, end: datetime, now: datetime
) -> Silence | None:
    """Return the acknowledgement of an event, or a silence if silences cover all of it."""
    matching = [silence for silence in silences if matches_subject(silence, subject)]
    acknowledgement = find_acknowledgement(matching, subject, now)
    if acknowledgement or get_unsilenced_duration(matching, subject, start, end) > timedelta(0):
        return acknowledgement
    covering = (
        silence for silence in matching if silence.event is None and overlaps_range(silence, start, end)
    )
    return next(covering, None)


def find_scheduler_silence(
    silences: Iterable[Silence], subject: SilenceSubject, now: datetime
) -> Silence | None:
    """Return the first active silence of a scheduler or its equipment."""
    matching = (
        silence
        for silence in silences
        if silence.event is None and silence.is_active(now) and matches_subject(silence, subject)
    )
    return next(matching, None)


def overlaps_range(silence: Silence, start: datetime, end: datetime) -> bool:
    """Return whether a silence is active at any time between `start` and `end` (exclusive)."""
    return (silence.since is None or silence.since < end) and start < silence.until
