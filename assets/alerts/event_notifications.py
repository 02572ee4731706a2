"""Plans the notifications about anomaly events: each event as new once, as over once, and its changes.

The records of earlier notifications are compared with the current events. An event matches a record by ID, or
by overlapping it on the same scheduler: late data can move the start of an event, which changes its ID, or
merge two events. Records are never deleted, so an event that disappears and reappears is not new.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from assets.alerts.silences import SilenceSubject, find_acknowledgement, get_unsilenced_duration
from resources.config.silences import Silence

NotificationKind = Literal["event_new", "event_over", "event_changed"]
Change = Literal[
    "new", "over", "joined", "split", "start_moved", "end_moved", "reopened", "disappeared", "reappeared"
]
OPEN, CLOSED, CUT, MERGED, GONE = "open", "closed", "cut", "merged", "gone"

PAST_EVENTS_INTERVAL = timedelta(hours=1)
"""A backfill computes events for a long time, but they are over, so their notifications can wait."""


@dataclass(frozen=True)
class Event:
    """A current anomaly event; `equipment` is its name in the registry."""

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
        """Whether the event ended, or data is missing after it."""
        return self.state != OPEN


@dataclass(frozen=True)
class NotificationRecord:
    """A row of the table `event_notifications`, which describes each field."""

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

    def overlaps(self, event: Event) -> bool:
        """Return whether an event covers part of the notified time range."""
        return self.scheduler_arn == event.scheduler_arn and event.start < self.end and self.start < event.end


@dataclass(frozen=True)
class Thresholds:
    """Minimum duration of an event, and the maximum time since its end, for a first notification."""

    min_duration: timedelta = timedelta(0)
    max_age: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Notification:
    """A due notification.

    Attributes:
        kind: The kind of the notice.
        change: What happened to the event.
        event: The current event; None: it is gone.
        records: The rows to upsert after delivery; the first one is the event's own.
        previous: The record before the change.
    """

    kind: NotificationKind
    change: Change
    event: Event | None
    records: tuple[NotificationRecord, ...]
    previous: NotificationRecord | None = None

    @property
    def is_past_event(self) -> bool:
        """Whether this is the first notification of an event, and the event is over."""
        return self.change == "new" and self.event is not None and self.event.is_over


def plan_notifications(
    records: Sequence[NotificationRecord],
    events: Iterable[Event],
    silences: Sequence[Silence],
    thresholds: Thresholds,
    now: datetime,
) -> list[Notification]:
    """Return the notifications that are due.

    No two of them share a record, so each can be delivered and recorded independently.

    Args:
        records: The records of all earlier notifications.
        events: All current events.
        silences: Planned maintenance and acknowledgements.
        thresholds: Limits for first notifications.
        now: The current time.
    """
    current = sorted(events, key=lambda event: (event.scheduler_arn, event.start))
    matches = _match_records(records, current)
    notifications: list[Notification] = []
    for event in current:
        own = matches.get(event.event_id, [])
        notification = (
            _plan_change(own, event, now) if own else _plan_first(event, records, silences, thresholds, now)
        )
        subject = _build_subject(event, own)
        if notification and not find_acknowledgement(silences, subject, now):
            notifications.append(notification)
    matched_ids = {record.event_id for own in matches.values() for record in own}
    notifications += [
        _plan_gone(record, now)
        for record in records
        if record.event_id not in matched_ids
        and record.state not in (GONE, MERGED)
        and now - record.end <= thresholds.max_age
    ]
    return notifications


def group_notifications(
    notifications: Sequence[Notification],
    records: Sequence[NotificationRecord],
    now: datetime,
    *,
    max_singles: int,
) -> list[list[Notification]]:
    """Return the notifications to send now; each group is one message.

    The first notifications of a lake are one group. Later, events that were over when they were first seen,
    as after a backfill, are one group. At most one such group is sent in an hour; the others wait. More than
    `max_singles` other notifications are one group too.
    """
    if not records:
        return [list(notifications)] if notifications else []
    past = [item for item in notifications if item.is_past_event]
    others = [item for item in notifications if not item.is_past_event]
    groups = [others] if len(others) > max_singles else [[item] for item in others]
    last_past = max(
        (item.first_notified_at for item in records if item.first_notified_at == item.end_notified_at),
        default=None,
    )
    if past and (last_past is None or now - last_past >= PAST_EVENTS_INTERVAL):
        groups.append(past)
    return groups


def _build_subject(event: Event, own: Iterable[NotificationRecord] = ()) -> SilenceSubject:
    earlier = {event_id for record in own for event_id in (record.event_id, record.current_event_id)}
    ids = frozenset({event.event_id, *filter(None, earlier)})
    return SilenceSubject(ids, event.scheduler_arn, event.scheduler_name, event.equipment)


def _match_records(
    records: Sequence[NotificationRecord], events: Sequence[Event]
) -> dict[str, list[NotificationRecord]]:
    """Return the records of each event by its ID, the oldest first.

    A record matches the event with its ID, or else the first event that overlaps it: one event at most.
    """
    by_id = {event.event_id: event for event in events}
    by_scheduler: dict[str, list[Event]] = {}
    for event in events:
        by_scheduler.setdefault(event.scheduler_arn, []).append(event)
    matches: dict[str, list[NotificationRecord]] = {}
    for record in sorted(records, key=lambda row: (row.first_notified_at, row.start, row.event_id)):
        same_id = by_id.get(record.event_id) or by_id.get(record.current_event_id or "")
        overlapping = (
            event for event in by_scheduler.get(record.scheduler_arn, []) if record.overlaps(event)
        )
        match = same_id or next(overlapping, None)
        if match is not None:
            matches.setdefault(match.event_id, []).append(record)
    return matches


def _plan_first(
    event: Event,
    records: Sequence[NotificationRecord],
    silences: Sequence[Silence],
    thresholds: Thresholds,
    now: datetime,
) -> Notification | None:
    unsilenced = get_unsilenced_duration(silences, _build_subject(event), event.start, event.end)
    is_too_old = now - event.end > thresholds.max_age
    is_too_short = unsilenced <= timedelta(0) or unsilenced < thresholds.min_duration
    if is_too_old or is_too_short or not event.is_critical_enough:
        return None
    record = NotificationRecord(
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
    overlapping = [earlier for earlier in records if earlier.overlaps(event)]
    if overlapping:
        return Notification("event_changed", "split", event, (record,), overlapping[0])
    return Notification("event_new", "new", event, (record,))


def _plan_change(own: Sequence[NotificationRecord], event: Event, now: datetime) -> Notification | None:
    """Compare an event with its records: the oldest one stays, and the others are merged into it."""
    unmerged = [record for record in own if record.state != MERGED]
    lead = (unmerged or list(own))[0]
    joined = [record for record in unmerged if record is not lead]
    end_notified_at = next((record.end_notified_at for record in own if record.end_notified_at), None)
    merged = tuple(
        replace(
            record,
            state=MERGED,
            merged_into=lead.event_id,
            changes=record.changes + 1,
            last_notified_at=now,
        )
        for record in joined
    )
    updated = replace(
        lead,
        current_event_id=event.event_id,
        start=event.start,
        end=event.end,
        state=event.state,
        merged_into=None,
        last_notified_at=now,
        end_notified_at=end_notified_at or (now if event.is_over else None),
    )
    change = _classify_change(
        lead, event, is_joined=bool(joined), was_end_notified=end_notified_at is not None
    )
    if change is None:
        return None
    if change == "over":
        return Notification("event_over", change, event, (updated,), lead)
    updated = replace(updated, changes=lead.changes + 1)
    return Notification("event_changed", change, event, (updated, *merged), lead)


def _classify_change(
    lead: NotificationRecord, event: Event, *, is_joined: bool, was_end_notified: bool
) -> Change | None:
    if is_joined:
        return "joined"
    if lead.state == GONE:
        return "reappeared"
    if event.start != lead.start:
        return "start_moved"
    if event.is_over and not was_end_notified:
        return "over"
    if lead.state != OPEN and not event.is_over:
        return "reopened"
    has_other_end = event.is_over and (event.state, event.end) != (lead.state, lead.end)
    return "end_moved" if has_other_end else None


def _plan_gone(record: NotificationRecord, now: datetime) -> Notification:
    updated = replace(
        record, current_event_id=None, state=GONE, changes=record.changes + 1, last_notified_at=now
    )
    return Notification("event_changed", "disappeared", None, (updated,), record)
