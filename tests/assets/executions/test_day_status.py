"""Each day of each scheduler has one state, and it follows from coverage alone."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.executions.coverage import compute_settle_time
from assets.executions.day_status import (
    COLUMNS,
    DayState,
    SettlementPolicy,
    find_days_without_coverage,
    find_scheduler_statuses,
    needs_action,
)
from assets.executions.selection import contiguous_ranges
from assets.framework.time_windows import get_day_window
from assets.tables import EXTRACTION_COVERAGE, PARTITION

SETTLE_AFTER = timedelta(hours=3)
NOW = datetime(2026, 6, 20, 12, tzinfo=UTC)
TERMS = SettlementPolicy(SETTLE_AFTER, lookback_days=7, now=NOW)
ENDED = SettlementPolicy(SETTLE_AFTER, lookback_days=7, now=NOW, last_expected=date(2026, 6, 10))
TODAY, YESTERDAY, OLD = date(2026, 6, 20), date(2026, 6, 19), date(2026, 5, 1)
SCHEMA = pa.schema(
    [*(EXTRACTION_COVERAGE.schema.field(name) for name in COLUMNS), pa.field(PARTITION, pa.date32())]
)


def row(day: date, arn: str = "arn:pump", **more: Any) -> dict[str, Any]:
    proven = {"complete_through": compute_settle_time(day, SETTLE_AFTER), "executions": 288, "in_progress": 0}
    return {"scheduler_arn": arn, "scheduler_name": arn[4:], PARTITION: day} | proven | more


def states(
    rows: list[dict[str, Any]],
    days: list[date],
    *,
    terms: SettlementPolicy = TERMS,
    failed: tuple[date, ...] = (),
    arn: str = "arn:pump",
) -> list[DayState]:
    coverage = pa.Table.from_pylist(rows, schema=SCHEMA)
    there = {one[PARTITION] for one in rows}
    found = {
        one.scheduler_arn: one.states for one in find_scheduler_statuses(coverage, days, there, failed, terms)
    }
    return [found[arn][day] for day in days]


def test_a_day_that_the_service_told_all_of_is_settled() -> None:
    assert states([row(OLD)], [OLD]) == [DayState.settled]


def test_an_execution_in_progress_on_a_settled_day_is_stuck() -> None:
    assert states([row(OLD, in_progress=1)], [OLD]) == [DayState.stuck]
    assert states([row(TODAY, in_progress=1, complete_through=NOW)], [TODAY]) == [DayState.open]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (TODAY, DayState.open),
        (YESTERDAY, DayState.open),
        (date(2026, 6, 13), DayState.open),
        (OLD, DayState.overdue),
    ],
    ids=["it goes on", "it could settle now", "the last day that a scheduled run reaches", "older than that"],
)
def test_a_day_that_did_not_settle_is_open_as_long_as_a_scheduled_run_asks_for_it(
    day: date, expected: DayState
) -> None:
    through = min(get_day_window(day).end, NOW - timedelta(hours=1))

    newest = [row(TODAY)] if day != TODAY else []
    assert states([row(day, complete_through=through), *newest], [day]) == [expected]


@pytest.mark.parametrize("through", [None, get_day_window(OLD).end], ids=["never asked", "asked too early"])
def test_without_a_service_what_is_recorded_is_all_that_can_be_known(through: datetime | None) -> None:
    assert states([row(OLD, complete_through=through)], [OLD], terms=ENDED) == [DayState.recorded]


def test_a_scheduler_that_only_saved_responses_tell_of_is_recorded_where_it_ran_and_never_missing() -> None:
    saved = [row(OLD + timedelta(days=n), complete_through=None) for n in (0, 2)]
    other = [row(OLD + timedelta(days=n), "arn:fan") for n in (0, 1, 2)]
    days = [OLD + timedelta(days=n) for n in range(3)]

    assert states(saved + other, days) == [DayState.recorded, DayState.unseen, DayState.recorded]


def test_a_listed_scheduler_without_a_row_on_an_extracted_day_is_missing() -> None:
    days = [OLD + timedelta(days=n) for n in range(3)]
    other = [row(day, "arn:fan") for day in days]

    assert states([row(days[0]), row(days[2]), *other], days) == [
        DayState.settled,
        DayState.missing,
        DayState.settled,
    ]


def test_before_it_was_seen_and_after_it_was_deleted_nothing_is_expected_of_a_scheduler() -> None:
    days = [OLD + timedelta(days=n) for n in range(3)]
    other = [row(day, "arn:fan") for day in days]

    assert states([row(days[1]), *other], days) == [DayState.unseen, DayState.settled, DayState.unseen]


def test_what_did_not_settle_before_a_scheduler_was_deleted_stays_as_recorded() -> None:
    early = row(OLD, complete_through=get_day_window(OLD).end)

    assert states([early, row(TODAY, "arn:fan")], [OLD]) == [DayState.recorded]


def test_a_listed_scheduler_that_was_never_answered_for_is_overdue_and_not_merely_recorded() -> None:
    refused = row(OLD, complete_through=None, executions=0)
    today = row(TODAY, complete_through=None, executions=0)

    assert states([refused, today, row(TODAY, "arn:fan")], [OLD]) == [DayState.overdue]


def test_a_day_that_the_last_run_failed_for_is_failed_whatever_is_recorded() -> None:
    assert states([row(OLD)], [OLD, TODAY], failed=(OLD, TODAY)) == [DayState.failed, DayState.failed]


def test_a_day_without_a_file_was_never_extracted_and_an_empty_file_is_one() -> None:
    nobody = find_scheduler_statuses(SCHEMA.empty_table(), [OLD], [OLD], [], TERMS)

    assert states([row(OLD)], [OLD, TODAY]) == [DayState.settled, DayState.never_extracted]
    assert nobody == []
    assert find_days_without_coverage([OLD, TODAY], [OLD]) == [TODAY]


def test_a_person_is_needed_where_no_scheduled_run_will_mend_it() -> None:
    needed = {state for state in DayState if needs_action(state, OLD, TERMS)}

    assert needed == {
        DayState.overdue,
        DayState.stuck,
        DayState.failed,
        DayState.missing,
        DayState.never_extracted,
    }
    assert not needs_action(DayState.never_extracted, TODAY, TERMS), "the next run records it"
    assert needs_action(DayState.never_extracted, date(2026, 6, 10), ENDED), "no run is scheduled any more"
    assert not needs_action(DayState.never_extracted, TODAY, ENDED), "nothing is expected of it"


def test_every_state_says_what_it_means() -> None:
    assert len({state.meaning for state in DayState}) == len(DayState)


@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 3, 1))))
def test_stretches_are_the_days_themselves_in_as_few_pieces_as_can_be(days: set[date]) -> None:
    found = contiguous_ranges(days)

    covered = [first + timedelta(days=n) for first, last in found for n in range((last - first).days + 1)]
    assert covered == sorted(days)
    assert all(b[0] - a[1] > timedelta(days=1) for a, b in pairwise(found))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arn:pump", "arn:fan", "arn:old"]),
            st.integers(0, 12),
            st.sampled_from([None, timedelta(0), timedelta(hours=20), timedelta(days=2)]),
            st.integers(0, 2),
        ),
        unique_by=lambda drawn: drawn[:2],
    ),
    st.booleans(),
    st.randoms(),
)
def test_each_day_has_one_state_that_no_order_changes_and_settled_means_proven(
    drawn: list[tuple[str, int, timedelta | None, int]], is_live: bool, chance: random.Random
) -> None:
    days = [date(2026, 6, 8) + timedelta(days=n) for n in range(13)]
    terms = SettlementPolicy(SETTLE_AFTER, 5, NOW, None if is_live else days[-1] - timedelta(days=9))
    rows = []
    for arn, number, after_start, running in drawn:
        through = None
        if after_start is not None:
            through = min(
                get_day_window(days[number]).start + after_start,
                compute_settle_time(days[number], SETTLE_AFTER),
            )
        rows.append(row(days[number], arn, complete_through=through, in_progress=running))
    there = {one[PARTITION] for one in rows}
    found = find_scheduler_statuses(pa.Table.from_pylist(rows, schema=SCHEMA), days, there, [], terms)
    chance.shuffle(rows)

    assert find_scheduler_statuses(pa.Table.from_pylist(rows, schema=SCHEMA), days, there, [], terms) == found
    proven = {
        (one["scheduler_arn"], one[PARTITION])
        for one in rows
        if one["complete_through"] == compute_settle_time(one[PARTITION], SETTLE_AFTER)
    }
    for one in found:
        assert set(one.states) == set(days)
        for day, state in one.states.items():
            assert (state in (DayState.settled, DayState.stuck)) == ((one.scheduler_arn, day) in proven)
            assert (state is DayState.never_extracted) == (day not in there)
            if not is_live:
                assert state is not DayState.overdue
