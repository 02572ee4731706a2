"""What people are told of events: the laws, whatever late data, crashes and restarts bring."""

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


def kept(told: Sequence[NotificationRecord], tellings: Sequence[Notification]) -> list[NotificationRecord]:
    rows = {one.event_id: one for one in told}
    for telling in tellings:
        rows |= {row.event_id: row for row in telling.rows}
    return list(rows.values())


def said(
    told: Sequence[NotificationRecord], *events: Event, **more: Any
) -> tuple[list[str], list[NotificationRecord]]:
    tellings = plan_notifications(
        told, events, more.get("silences", []), more.get("thresholds", ALL), more.get("now", NOW)
    )
    return [telling.what for telling in tellings], kept(told, tellings)


def test_an_event_is_told_as_new_then_as_over_and_never_again() -> None:
    first, told = said([], event(0, 10, "open"))
    still, told = said(told, event(0, 20, "open"))
    over, told = said(told, event(0, 25))
    after, _ = said(told, event(0, 25))

    assert (first, still, over, after) == (["new"], [], ["over"], [])


def test_an_event_that_is_over_when_it_becomes_known_is_told_once() -> None:
    first, told = said([], event(0, 10))

    assert first == ["new"]
    assert told[0].end_notified_at == NOW
    assert said(told, event(0, 10))[0] == []


@pytest.mark.parametrize(
    ("later", "what"),
    [
        ([event(-5, 10)], ["moved"]),
        ([event(5, 10)], ["moved"]),
        ([], ["gone"]),
        ([event(0, 10, "open")], ["goes on"]),
        ([event(0, 15)], ["ended anew"]),
        ([event(0, 4), event(6, 10)], ["ended anew", "split"]),
    ],
    ids=["earlier", "later", "taken back", "goes on", "longer", "split"],
)
def test_what_late_data_do_to_a_told_event_is_a_change(later: list[Event], what: list[str]) -> None:
    _, told = said([], event(0, 10))

    assert said(told, *later)[0] == what
    assert {t.kind for t in plan_notifications(told, later, [], ALL, NOW)} == {"event_changed"}


def test_events_that_late_data_join_are_told_as_one_change() -> None:
    _, told = said([], event(0, 10), event(20, 30))

    what, told = said(told, event(0, 30))

    assert what == ["joined"]
    assert {one.event_id: (one.state, one.merged_into) for one in told} == {
        "pump-1@0": ("closed", None),
        "pump-1@20": ("merged", "pump-1@0"),
    }
    assert said(told, event(0, 30))[0] == []


def test_an_event_that_is_gone_and_comes_back_is_no_new_one() -> None:
    _, told = said([], event(0, 10))
    gone, told = said(told)
    again, told = said(told)
    back, _ = said(told, event(0, 10))

    assert (gone, again, back) == (["gone"], [], ["back"])


def test_schedulers_do_not_touch_each_other() -> None:
    _, told = said([], event(0, 10))

    assert said(told, event(0, 10), event(0, 10, scheduler="fan-2"))[0] == ["new"]


def test_short_events_wait_until_they_are_long_enough() -> None:
    short = Thresholds(min_duration=10 * MINUTE)

    assert said([], event(0, 9, "open"), thresholds=short)[0] == []
    assert said([], event(0, 10, "open"), thresholds=short)[0] == ["new"]


def test_uncritical_equipment_and_history_are_not_told() -> None:
    assert said([], event(0, 10, is_critical_enough=False))[0] == []
    assert said([], event(0, 10), now=T0 + timedelta(days=8))[0] == []


def silence(**more: Any) -> Silence:
    return Silence("shift lead", "bearing", **{"until": T0 + 60 * MINUTE} | more)


@pytest.mark.parametrize(
    "about",
    [{"equipment": "Pump 7"}, {"scheduler": "pump-*"}, {"scheduler": "arn:pump-1"}, {"event": "pump-1@0"}],
    ids=str,
)
def test_a_silence_of_the_machine_its_scheduler_or_the_event_silences_it(about: dict[str, str]) -> None:
    found = event(0, 10, equipment="Pump 7")

    assert said([], found, silences=[silence(**about)], now=T0 + 20 * MINUTE)[0] == []
    other = event(0, 10, scheduler="fan-2", equipment="Fan 2")
    assert said([], other, silences=[silence(**about)], now=T0 + 20 * MINUTE)[0] == ["new"]


def test_an_anomaly_of_a_maintenance_is_not_told_by_late_data_either() -> None:
    maintenance = [silence(scheduler="pump-1", since=T0)]

    assert said([], event(5, 55), silences=maintenance, now=NOW)[0] == []


def test_an_anomaly_that_outlasts_a_maintenance_is_told_when_the_rest_is_long_enough() -> None:
    maintenance = [silence(scheduler="pump-1", since=T0)]
    short = Thresholds(min_duration=10 * MINUTE)

    assert said([], event(5, 69, "open"), silences=maintenance, thresholds=short)[0] == []
    assert said([], event(5, 70, "open"), silences=maintenance, thresholds=short)[0] == ["new"]


def test_an_acknowledgement_holds_its_event_for_as_long_as_it_lasts_even_if_the_start_moves() -> None:
    _, told = said([], event(0, 10, "open"), now=T0 + 10 * MINUTE)
    mine = [silence(event="pump-1@0")]

    assert said(told, event(-5, 30), silences=mine, now=T0 + 30 * MINUTE)[0] == []
    assert said(told, event(-5, 30), silences=mine, now=T0 + 90 * MINUTE)[0] == ["moved"]


worlds = st.lists(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from(["open", "closed", "cut"])),
        max_size=4,
    ),
    min_size=1,
    max_size=8,
)


def events_of(world: list[tuple[int, int, str]]) -> list[Event]:
    """Make events that do not overlap, as the rule that makes them guarantees."""
    found: list[Event] = []
    for start, length, state in sorted(world):
        if not found or T0 + start * MINUTE > found[-1].end:
            found.append(event(start, start + length, state))
    return found


@settings(deadline=None, max_examples=300)
@given(worlds, st.randoms(use_true_random=False))
def test_every_event_is_told_at_most_once_as_new_and_once_as_over(worlds: Any, dice: Any) -> None:
    """The worlds are what late data make of the events; some tellings are lost to a dead webhook."""
    told: list[NotificationRecord] = []
    times: Counter[tuple[str, str]] = Counter()
    for number, world in enumerate(worlds):
        tellings = plan_notifications(told, events_of(world), [], ALL, NOW + number * MINUTE)
        arrived = [telling for telling in tellings if dice.random() < 0.8]
        for telling in arrived:
            if telling.event and telling.kind != "event_changed":
                times[telling.kind, telling.event.event_id] += 1
        told = kept(told, arrived)

    assert max(times.values(), default=0) <= 1


@settings(deadline=None, max_examples=300)
@given(worlds)
def test_once_all_is_told_there_is_nothing_to_tell_and_every_event_has_its_row(worlds: Any) -> None:
    told: list[NotificationRecord] = []
    for number, world in enumerate(worlds):
        now = NOW + number * MINUTE
        before = {one.event_id for one in told}
        tellings = plan_notifications(told, events_of(world), [], ALL, now)
        touched = [row.event_id for telling in tellings for row in telling.rows]
        assert len(touched) == len(set(touched)), "no two tellings are about one row"
        told = kept(told, tellings)
        assert plan_notifications(told, events_of(world), [], ALL, now) == []
        assert before <= {one.event_id for one in told}, "what was told stays"
        standing = {one.current_event_id for one in told if one.state not in ("merged", "gone")}
        assert {found.event_id for found in events_of(world)} == standing
