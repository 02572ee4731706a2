"""The silences that apply to a page: planned maintenance and acknowledged events.

An event is silenced by the same rule as its notifications: it was acknowledged, or maintenance windows cover
it completely. Other findings about a scheduler are silenced only while a silence of it is active.
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
from assets.report.query.machines import EventRow
from assets.report.query.scope import ReportScope
from resources.config.silences import Silence


@dataclass(frozen=True)
class SilenceSummary:
    """A silence as the page prints it: its target, its author, its period and its reason."""

    target: str
    author: str
    period: str
    reason: str


class SilenceMatcher:
    """Finds the silence of an event or of a scheduler."""

    def __init__(self, silences: Sequence[Silence], scope: ReportScope, as_of: datetime) -> None:
        """Take all silences; a silence is active if it covers `as_of`. The page shows no runs and checks."""
        self._silences = [silence for silence in silences if not silence.is_about_failures]
        self._scope = scope
        self._as_of = as_of

    def find_for_event(self, event: EventRow, machine: Machine) -> SilenceSummary | None:
        """Return the silence of an event; None if the event is not silenced."""
        start, end = event.start_time.get_value(), event.end_time.get_value()
        event_ids = frozenset({event.event_id, *filter(None, (event.notified_ids or "").split(","))})
        subject = SilenceSubject(event_ids, event.scheduler_arn, event.scheduler_name or "", machine.key)
        silence = find_event_silence(self._silences, subject, start, end, self._as_of)
        return self._summarize(silence) if silence else None

    def find_for_scheduler(self, scheduler: Scheduler, machine: Machine) -> SilenceSummary | None:
        """Return the active silence of a scheduler; None if it has none."""
        subject = SilenceSubject(frozenset(), scheduler.arn, scheduler.name, machine.key)
        silence = find_scheduler_silence(self._silences, subject, self._as_of)
        return self._summarize(silence) if silence else None

    def list_unused(self, used: Collection[SilenceSummary]) -> list[SilenceSummary]:
        """Return the silences that overlap the days and silence nothing on the page."""
        start, end = self._scope.start, self._scope.end
        summaries = [self._summarize(item) for item in self._silences if overlaps_range(item, start, end)]
        return [summary for summary in dict.fromkeys(summaries) if summary not in used]

    def _summarize(self, silence: Silence) -> SilenceSummary:
        zone = self._scope.zone
        start = f"from {format_timestamp(silence.since, zone)} " if silence.since else ""
        period = f"{start}until {format_timestamp(silence.until, zone)}"
        return SilenceSummary(silence.target, silence.who, period, silence.why)
