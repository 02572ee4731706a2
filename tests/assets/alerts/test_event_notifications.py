"""The rules of event notifications, under late data, crashes and restarts."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.alerts.event_notifications import (
    Event,
    Notification,
    NotificationRecord,
    Thresholds,
    group_notifications,
    plan_notifications,
)
from resources.config.silences import Silence

T0 = datetime(2026, 10, 6, 3, tzinfo=UTC)
NOW = T0 + timedelta(hours=12)
MINUTE = timedelta(minutes=1)
ALL = Thresholds()


def event(start: int, end: int, state: str = "closed", scheduler: str = "pump-1", **more: Any) -> Event:
    return Event(
        f"{scheduler}@{start}",
        f"arn:{scheduler}",
        scheduler,
        T0 + start * MINUTE,
        T0 + end * MINUTE,
        state,
        **more,
    )


def upsert(
    records: Sequence[NotificationRecord], notifications: Sequence[Notification]
) -> list[NotificationRecord]:
    rows = {record.event_id: record for record in records}
    for notification in notifications:
        rows |= {record.event_id: record for record in notification.records}
    return list(rows.values())


def notify(
    records: Sequence[NotificationRecord], *events: Event, **more: Any
) -> tuple[list[str], list[NotificationRecord]]:
    """Return the changes that are notified, and the records after their delivery."""
    notifications = plan_notifications(
        records, events, more.get("silences", []), more.get("thresholds", ALL), more.get("now", NOW)
    )
    return [notification.change for notification in notifications], upsert(records, notifications)


def test_event_is_notified_once_as_new_and_once_as_over() -> None:
    first, records = notify([], event(0, 10, "open"))
    still, records = notify(records, event(0, 20, "open"))
    over, records = notify(records, event(0, 25))
    after, _ = notify(records, event(0, 25))

    assert (first, still, over, after) == (["new"], [], ["over"], [])


def test_event_that_is_over_at_first_sight_is_notified_once() -> None:
    first, records = notify([], event(0, 10))

    assert first == ["new"]
    assert records[0].end_notified_at == NOW
    assert notify(records, event(0, 10))[0] == []


@pytest.mark.parametrize(
    ("later", "changes"),
    [
        ([event(-5, 10)], ["start_moved"]),
        ([event(5, 10)], ["start_moved"]),
        ([], ["disappeared"]),
        ([event(0, 10, "open")], ["reopened"]),
        ([event(0, 15)], ["end_moved"]),
        ([event(0, 4), event(6, 10)], ["end_moved", "split"]),
    ],
    ids=["earlier", "later", "withdrawn", "reopened", "longer", "split"],
)
def test_late_data_is_notified_as_a_change(later: list[Event], changes: list[str]) -> None:
    _, records = notify([], event(0, 10))

    assert notify(records, *later)[0] == changes
    assert {planned.kind for planned in plan_notifications(records, later, [], ALL, NOW)} == {"event_changed"}


def test_merged_events_are_notified_as_one_change() -> None:
    _, records = notify([], event(0, 10), event(20, 30))

    changes, records = notify(records, event(0, 30))

    assert changes == ["joined"]
    assert {record.event_id: (record.state, record.merged_into) for record in records} == {
        "pump-1@0": ("closed", None),
        "pump-1@20": ("merged", "pump-1@0"),
    }
    assert notify(records, event(0, 30))[0] == []


def test_event_that_reappears_is_not_new() -> None:
    _, records = notify([], event(0, 10))
    gone, records = notify(records)
    again, records = notify(records)
    back, _ = notify(records, event(0, 10))

    assert (gone, again, back) == (["disappeared"], [], ["reappeared"])


def test_overlapping_events_of_different_schedulers_are_independent() -> None:
    _, records = notify([], event(0, 10))

    assert notify(records, event(0, 10), event(0, 10, scheduler="fan-2"))[0] == ["new"]


def test_short_event_is_notified_when_it_reaches_the_minimum_duration() -> None:
    short = Thresholds(min_duration=10 * MINUTE)

    assert notify([], event(0, 9, "open"), thresholds=short)[0] == []
    assert notify([], event(0, 10, "open"), thresholds=short)[0] == ["new"]


def test_uncritical_equipment_and_old_events_are_not_notified() -> None:
    assert notify([], event(0, 10, is_critical_enough=False))[0] == []
    assert notify([], event(0, 10), now=T0 + timedelta(days=8))[0] == []


def build_silence(**more: Any) -> Silence:
    return Silence("shift lead", "bearing", **{"until": T0 + 60 * MINUTE} | more)


@pytest.mark.parametrize(
    "target",
    [{"equipment": "Pump 7"}, {"scheduler": "pump-*"}, {"scheduler": "arn:pump-1"}, {"event": "pump-1@0"}],
    ids=str,
)
def test_silence_of_equipment_scheduler_or_event_suppresses_the_notification(target: dict[str, str]) -> None:
    silenced = event(0, 10, equipment="Pump 7")

    assert notify([], silenced, silences=[build_silence(**target)], now=T0 + 20 * MINUTE)[0] == []
    other = event(0, 10, scheduler="fan-2", equipment="Fan 2")
    assert notify([], other, silences=[build_silence(**target)], now=T0 + 20 * MINUTE)[0] == ["new"]


def test_anomaly_during_maintenance_is_not_notified_after_it() -> None:
    maintenance = [build_silence(scheduler="pump-1", since=T0)]

    assert notify([], event(5, 55), silences=maintenance, now=NOW)[0] == []


def test_anomaly_that_outlasts_maintenance_is_notified_when_the_rest_is_long_enough() -> None:
    maintenance = [build_silence(scheduler="pump-1", since=T0)]
    short = Thresholds(min_duration=10 * MINUTE)

    assert notify([], event(5, 69, "open"), silences=maintenance, thresholds=short)[0] == []
    assert notify([], event(5, 70, "open"), silences=maintenance, thresholds=short)[0] == ["new"]


def test_acknowledgement_covers_its_event_even_if_the_start_moves() -> None:
    _, records = notify([], event(0, 10, "open"), now=T0 + 10 * MINUTE)
    acknowledgements = [build_silence(event="pump-1@0")]

    assert notify(records, event(-5, 30), silences=acknowledgements, now=T0 + 30 * MINUTE)[0] == []
    assert notify(records, event(-5, 30), silences=acknowledgements, now=T0 + 90 * MINUTE)[0] == [
        "start_moved"
    ]


worlds = st.lists(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from(["open", "closed", "cut"])),
        max_size=4,
    ),
    min_size=1,
    max_size=8,
)


def build_events(world: list[tuple[int, int, str]]) -> list[Event]:
    """Build events that do not overlap, as the event rule guarantees."""
    events: list[Event] = []
    for start, length, state in sorted(world):
        if not events or T0 + start * MINUTE > events[-1].end:
            events.append(event(start, start + length, state))
    return events


@settings(deadline=None, max_examples=100)
@given(worlds, st.randoms(use_true_random=False))
def test_each_event_is_notified_at_most_once_as_new_and_once_as_over(worlds: Any, dice: Any) -> None:
    """Each world is the state of the events after more late data; some deliveries fail."""
    records: list[NotificationRecord] = []
    times: Counter[tuple[str, str]] = Counter()
    for number, world in enumerate(worlds):
        notifications = plan_notifications(records, build_events(world), [], ALL, NOW + number * MINUTE)
        delivered = [notification for notification in notifications if dice.random() < 0.8]
        for notification in delivered:
            if notification.event and notification.kind != "event_changed":
                times[notification.kind, notification.event.event_id] += 1
        records = upsert(records, delivered)

    assert max(times.values(), default=0) <= 1


@settings(deadline=None, max_examples=100)
@given(worlds)
def test_after_delivery_nothing_is_due_and_each_event_has_its_record(worlds: Any) -> None:
    records: list[NotificationRecord] = []
    for number, world in enumerate(worlds):
        now = NOW + number * MINUTE
        before = {record.event_id for record in records}
        notifications = plan_notifications(records, build_events(world), [], ALL, now)
        changed = [record.event_id for notification in notifications for record in notification.records]
        assert len(changed) == len(set(changed)), "no two notifications share a record"
        records = upsert(records, notifications)
        assert plan_notifications(records, build_events(world), [], ALL, now) == []
        assert before <= {record.event_id for record in records}, "records are never deleted"
        active = {record.current_event_id for record in records if record.state not in ("merged", "gone")}
        assert {current.event_id for current in build_events(world)} == active


def group_names(
    notifications: Sequence[Notification], records: Sequence[NotificationRecord], now: datetime = NOW
) -> list[list[str]]:
    groups = group_notifications(notifications, records, now, max_singles=2)
    return [[str(item.event and item.event.scheduler_name) for item in group] for group in groups]


def test_first_notifications_are_one_group_and_later_ones_are_single_up_to_a_limit() -> None:
    events = [event(0, 10, "open", name) for name in ("a", "b", "c")]
    planned = plan_notifications([], events, [], ALL, NOW)
    _, earlier = notify([], event(0, 10, "open", "z"))

    assert group_names(planned, []) == [["a", "b", "c"]]
    assert group_names(planned[:2], earlier) == [["a"], ["b"]]
    assert group_names(planned, earlier) == [["a", "b", "c"]]
    assert group_names([], []) == []


def test_past_events_are_grouped_and_wait_an_hour_after_the_last_group() -> None:
    _, earlier = notify([], event(0, 10, "closed", "z"))
    states = {"a": "closed", "b": "open", "c": "cut", "z": "closed"}
    events = [event(0, 10, state, name) for name, state in states.items()]
    planned = plan_notifications(earlier, events, [], ALL, NOW)

    assert group_names(planned, earlier, NOW + timedelta(minutes=59)) == [["b"]]
    assert group_names(planned, earlier, NOW + timedelta(minutes=60)) == [["b"], ["a", "c"]]
