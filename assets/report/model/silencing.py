"""What somebody has silenced: planned maintenance and acknowledgements, held against what a page would tell.

An event is silenced where people would not be told of it: it was acknowledged, or lies within a maintenance,
be that over or not. Other troubles of a scheduler are silenced as long as a silence of it lasts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from assets.alerts.silences import SilenceSubject, get_unsilenced_duration, is_acknowledged, matches_subject
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
        about = [one for one in self._silences if matches_subject(one, subject)]
        if is_acknowledged(about, subject, self._as_of):
            return self._told(
                next(one for one in about if one.event is not None and one.is_active(self._as_of))
            )
        start, end = event["start_time"], event["end_time"]
        if get_unsilenced_duration(about, subject, start, end) > timedelta(0):
            return None
        covering = (one for one in about if one.event is None and _reaches(one, start, end))
        return next(map(self._told, covering), None)

    def of_scheduler(self, scheduler: Scheduler, machine: Machine) -> SilencedTarget | None:
        """Return the silence under which a scheduler stands now."""
        subject = SilenceSubject(frozenset(), scheduler.arn, scheduler.name, machine.key)
        lasting = (one for one in self._silences if one.event is None and one.is_active(self._as_of))
        return next((self._told(one) for one in lasting if matches_subject(one, subject)), None)

    def others(self, told: Collection[SilencedTarget]) -> list[SilencedTarget]:
        """Return those that reach into the days of the page and silence nothing that it would tell."""
        reaching = (one for one in self._silences if _reaches(one, self._scope.start, self._scope.end))
        return [quiet for quiet in dict.fromkeys(map(self._told, reaching)) if quiet not in told]

    def _told(self, silence: Silence) -> SilencedTarget:
        zone = self._scope.zone
        since = f"from {format_timestamp(silence.since, zone)} " if silence.since else ""
        return SilencedTarget(
            silence.target, silence.who, f"{since}until {format_timestamp(silence.until, zone)}", silence.why
        )


def _reaches(silence: Silence, start: datetime, end: datetime) -> bool:
    return (silence.since is None or silence.since < end) and start < silence.until
