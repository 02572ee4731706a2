"""What somebody has silenced: planned maintenance and acknowledgements, held against what a page would tell.

An event is silenced where people would not be told of it: it was acknowledged, or lies within a maintenance,
be that over or not. Other troubles of a scheduler are silenced as long as a silence of it lasts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from assets.alerts.silences import (
    SilenceSubject,
    find_event_silence,
    find_scheduler_silence,
    overlaps_range,
)
from assets.report.formatting import format_timestamp
from assets.report.model.fleet import Machine, Scheduler
from assets.report.query.answers import Row
from assets.report.query.scope import ReportScope
from resources.config.silences import Silence


@dataclass(frozen=True)
class SilencedTarget:
    """A silence in words: whom it is about, by whom, how long, and why."""

    target: str
    who: str
    span: str
    why: str


class SilenceMatcher:
    """The silences of a page."""

    def __init__(self, silences: Sequence[Silence], scope: ReportScope, as_of: datetime) -> None:
        """Take all silences; those that last at `as_of` silence what is so then."""
        self._silences = silences
        self._scope = scope
        self._as_of = as_of

    def of_event(self, event: Row, machine: Machine) -> SilencedTarget | None:
        """Return the silence of an event; None: people would be told of it."""
        ids = frozenset({event["event_id"], *filter(None, (event["told_as"] or "").split(","))})
        subject = SilenceSubject(ids, event["scheduler_arn"], event["scheduler_name"] or "", machine.key)
        silence = find_event_silence(
            self._silences, subject, event["start_time"], event["end_time"], self._as_of
        )
        return self._told(silence) if silence else None

    def of_scheduler(self, scheduler: Scheduler, machine: Machine) -> SilencedTarget | None:
        """Return the silence under which a scheduler stands now."""
        subject = SilenceSubject(frozenset(), scheduler.arn, scheduler.name, machine.key)
        silence = find_scheduler_silence(self._silences, subject, self._as_of)
        return self._told(silence) if silence else None

    def others(self, told: Collection[SilencedTarget]) -> list[SilencedTarget]:
        """Return those that reach into the days of the page and silence nothing that it would tell."""
        reaching = (one for one in self._silences if overlaps_range(one, self._scope.start, self._scope.end))
        return [quiet for quiet in dict.fromkeys(map(self._told, reaching)) if quiet not in told]

    def _told(self, silence: Silence) -> SilencedTarget:
        zone = self._scope.zone
        since = f"from {format_timestamp(silence.since, zone)} " if silence.since else ""
        return SilencedTarget(
            silence.target, silence.who, f"{since}until {format_timestamp(silence.until, zone)}", silence.why
        )
