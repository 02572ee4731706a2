"""Which anomaly events people are told of: each once as new and once as over, and changes as changes.

What was told is held against the events as they are now. An event is known by its id, else by overlapping
one of the same scheduler that was told: late data may have moved its start, which changes its id, or joined
it with another. A row once told stays, so an event that goes and comes back is no new one either.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from assets.alerts.silences import SilenceSubject, get_unsilenced_duration, is_acknowledged
from resources.config.silences import Silence

NotificationKind = Literal["event_new", "event_over", "event_changed"]
OPEN, CLOSED, CUT, MERGED, GONE = "open", "closed", "cut", "merged", "gone"


@dataclass(frozen=True)
class Event:
    """An anomaly event as it is now; `equipment` is what the registry calls its machine."""

    event_id: str
    scheduler_arn: str
    scheduler_name: str
    start: datetime
    end: datetime
    state: str
    equipment: str = ""
    is_critical_enough: bool = True

    @property
    def is_over(self) -> bool:
        """Whether nothing more is known to come of it: it ended, or data are missing after it."""
        return self.state != OPEN


@dataclass(frozen=True)
class NotificationRecord:
    """What was told of one event; see the table `event_notifications` for what each member means."""

    event_id: str
    current_event_id: str | None
    scheduler_arn: str
    scheduler_name: str
    start: datetime
    end: datetime
    state: str
    first_notified_at: datetime
    last_notified_at: datetime
    merged_into: str | None = None
    end_notified_at: datetime | None = None
    changes: int = 0

    @property
    def ids(self) -> frozenset[str]:
        """The ids that it had when it was told first and last."""
        return frozenset(known for known in (self.event_id, self.current_event_id) if known)

    def overlaps(self, event: Event) -> bool:
        """Tell whether an event covers part of what was told."""
        return self.scheduler_arn == event.scheduler_arn and event.start < self.end and self.start < event.end


@dataclass(frozen=True)
class Thresholds:
    """What is worth telling: of what length, and how long ago it may have ended."""

    min_duration: timedelta = timedelta(0)
    max_age: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Notification:
    """One thing to tell, and the rows that stand once it is told. `event` None: it is gone."""

    kind: NotificationKind
    what: str
    event: Event | None
    rows: tuple[NotificationRecord, ...]
    before: NotificationRecord | None = None


def plan_notifications(
    told: Sequence[NotificationRecord],
    events: Iterable[Event],
    silences: Sequence[Silence],
    thresholds: Thresholds,
    now: datetime,
) -> list[Notification]:
    """Decide what to tell.

    Each telling is about rows that no other one is about, so that any of them may be told and kept alone.

    Args:
        told: all that was told before.
        events: all events as they are now.
        silences: planned maintenance and acknowledgements.
        thresholds: see there.
        now: the time of the decision.
    """
    current = sorted(events, key=lambda event: (event.scheduler_arn, event.start))
    owners = _owners(told, current)
    found: list[Notification] = []
    for event in current:
        mine = owners.get(event.event_id, [])
        telling = _changed(mine, event, now) if mine else _new(event, told, silences, thresholds, now)
        ids = frozenset(
            {event.event_id, *(i for one in mine for i in (one.event_id, one.current_event_id) if i)}
        )
        subject = SilenceSubject(ids, event.scheduler_arn, event.scheduler_name, event.equipment)
        if telling and not is_acknowledged(silences, subject, now):
            found.append(telling)
    owned = {one.event_id for rows in owners.values() for one in rows}
    lost = (one for one in told if one.event_id not in owned and one.state not in (GONE, MERGED))
    found += [_gone(one, now) for one in lost if now - one.end <= thresholds.max_age]
    return found


def _owners(
    told: Sequence[NotificationRecord], events: Sequence[Event]
) -> dict[str, list[NotificationRecord]]:
    """Return by the id of each event the rows that it goes on with, the oldest first.

    A row goes to the event with its id, else to the first one that overlaps it: no row goes to two.
    """
    by_id = {event.event_id: event for event in events}
    by_scheduler: dict[str, list[Event]] = {}
    for event in events:
        by_scheduler.setdefault(event.scheduler_arn, []).append(event)
    owners: dict[str, list[NotificationRecord]] = {}
    for one in sorted(told, key=lambda row: (row.first_notified_at, row.start, row.event_id)):
        same = by_id.get(one.event_id) or (by_id.get(one.current_event_id) if one.current_event_id else None)
        others = (event for event in by_scheduler.get(one.scheduler_arn, []) if one.overlaps(event))
        goes_on = same or next(others, None)
        if goes_on is not None:
            owners.setdefault(goes_on.event_id, []).append(one)
    return owners


def _new(
    event: Event,
    told: Sequence[NotificationRecord],
    silences: Sequence[Silence],
    thresholds: Thresholds,
    now: datetime,
) -> Notification | None:
    subject = SilenceSubject(
        frozenset({event.event_id}), event.scheduler_arn, event.scheduler_name, event.equipment
    )
    loud = get_unsilenced_duration(silences, subject, event.start, event.end)
    is_history = now - event.end > thresholds.max_age
    if is_history or not event.is_critical_enough or loud <= timedelta(0) or loud < thresholds.min_duration:
        return None
    row = NotificationRecord(
        event.event_id,
        event.event_id,
        event.scheduler_arn,
        event.scheduler_name,
        event.start,
        event.end,
        event.state,
        first_notified_at=now,
        last_notified_at=now,
        end_notified_at=now if event.is_over else None,
    )
    split_off = [one for one in told if one.overlaps(event)]
    if split_off:
        return Notification("event_changed", "split", event, (row,), split_off[0])
    return Notification("event_new", "new", event, (row,))


def _changed(mine: Sequence[NotificationRecord], event: Event, now: datetime) -> Notification | None:
    """Compare an event with the rows that it goes on with: the first of them leads, the others join it."""
    standing = [one for one in mine if one.state != MERGED]
    lead = (standing or list(mine))[0]
    joined = [one for one in standing if one is not lead]
    over = next((one.end_notified_at for one in mine if one.end_notified_at), None)
    merged = tuple(
        replace(one, state=MERGED, merged_into=lead.event_id, changes=one.changes + 1, last_notified_at=now)
        for one in joined
    )
    after = replace(
        lead,
        current_event_id=event.event_id,
        start=event.start,
        end=event.end,
        state=event.state,
        merged_into=None,
        last_notified_at=now,
        end_notified_at=over or (now if event.is_over else None),
    )
    what = _difference(lead, event, is_joined=bool(joined), was_over=over is not None)
    if what is None:
        return None
    if what == "over":
        return Notification("event_over", what, event, (after,), lead)
    return Notification(
        "event_changed", what, event, (replace(after, changes=lead.changes + 1), *merged), lead
    )


def _difference(lead: NotificationRecord, event: Event, *, is_joined: bool, was_over: bool) -> str | None:
    if is_joined:
        return "joined"
    if lead.state == GONE:
        return "back"
    if event.start != lead.start:
        return "moved"
    if event.is_over and not was_over:
        return "over"
    if lead.state != OPEN and not event.is_over:
        return "goes on"
    ended_anew = event.is_over and (event.state, event.end) != (lead.state, lead.end)
    return "ended anew" if ended_anew else None


def _gone(one: NotificationRecord, now: datetime) -> Notification:
    after = replace(one, current_event_id=None, state=GONE, changes=one.changes + 1, last_notified_at=now)
    return Notification("event_changed", "gone", None, (after,), one)
