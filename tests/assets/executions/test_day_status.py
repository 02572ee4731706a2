"""State of each day of each scheduler, derived from coverage only."""

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
POLICY = SettlementPolicy(SETTLE_AFTER, lookback_days=7, now=NOW)
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
    policy: SettlementPolicy = POLICY,
    failed: tuple[date, ...] = (),
    arn: str = "arn:pump",
) -> list[DayState]:
    coverage = pa.Table.from_pylist(rows, schema=SCHEMA)
    extracted = {coverage_row[PARTITION] for coverage_row in rows}
    statuses = find_scheduler_statuses(coverage, days, extracted, failed, policy)
    by_arn = {status.scheduler_arn: status.states for status in statuses}
    return [by_arn[arn][day] for day in days]


def test_completely_queried_day_is_settled() -> None:
    assert states([row(OLD)], [OLD]) == [DayState.settled]


def test_execution_in_progress_on_a_settled_day_is_stuck() -> None:
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
    ids=["today", "can settle now", "first lookback day", "older"],
)
def test_unsettled_day_is_open_within_the_lookback_period_and_overdue_before_it(
    day: date, expected: DayState
) -> None:
    through = min(get_day_window(day).end, NOW - timedelta(hours=1))

    newest = [row(TODAY)] if day != TODAY else []
    assert states([row(day, complete_through=through), *newest], [day]) == [expected]


@pytest.mark.parametrize(
    "through", [None, get_day_window(OLD).end], ids=["never queried", "queried too early"]
)
def test_unsettled_day_is_recorded_if_no_service_answers(through: datetime | None) -> None:
    assert states([row(OLD, complete_through=through)], [OLD], policy=ENDED) == [DayState.recorded]


def test_scheduler_known_from_saved_responses_is_recorded_or_unseen_but_never_missing() -> None:
    saved = [row(OLD + timedelta(days=n), complete_through=None) for n in (0, 2)]
    other = [row(OLD + timedelta(days=n), "arn:fan") for n in (0, 1, 2)]
    days = [OLD + timedelta(days=n) for n in range(3)]

    assert states(saved + other, days) == [DayState.recorded, DayState.unseen, DayState.recorded]


def test_listed_scheduler_without_coverage_of_an_extracted_day_is_missing() -> None:
    days = [OLD + timedelta(days=n) for n in range(3)]
    other = [row(day, "arn:fan") for day in days]

    assert states([row(days[0]), row(days[2]), *other], days) == [
        DayState.settled,
        DayState.missing,
        DayState.settled,
    ]


def test_scheduler_is_unseen_before_its_first_and_after_its_last_row() -> None:
    days = [OLD + timedelta(days=n) for n in range(3)]
    other = [row(day, "arn:fan") for day in days]

    assert states([row(days[1]), *other], days) == [DayState.unseen, DayState.settled, DayState.unseen]


def test_unsettled_day_of_a_deleted_scheduler_is_recorded() -> None:
    early = row(OLD, complete_through=get_day_window(OLD).end)

    assert states([early, row(TODAY, "arn:fan")], [OLD]) == [DayState.recorded]


def test_listed_scheduler_without_any_response_is_overdue() -> None:
    refused = row(OLD, complete_through=None, executions=0)
    today = row(TODAY, complete_through=None, executions=0)

    assert states([refused, today, row(TODAY, "arn:fan")], [OLD]) == [DayState.overdue]


def test_day_is_failed_if_the_last_run_failed_for_it() -> None:
    assert states([row(OLD)], [OLD, TODAY], failed=(OLD, TODAY)) == [DayState.failed, DayState.failed]


def test_day_is_never_extracted_only_without_a_coverage_file() -> None:
    statuses = find_scheduler_statuses(SCHEMA.empty_table(), [OLD], [OLD], [], POLICY)

    assert states([row(OLD)], [OLD, TODAY]) == [DayState.settled, DayState.never_extracted]
    assert statuses == []
    assert find_days_without_coverage([OLD, TODAY], [OLD]) == [TODAY]


def test_states_that_scheduled_runs_cannot_change_need_action() -> None:
    states_with_action = {state for state in DayState if needs_action(state, OLD, POLICY)}

    assert states_with_action == {
        DayState.overdue,
        DayState.stuck,
        DayState.failed,
        DayState.missing,
        DayState.never_extracted,
    }
    assert not needs_action(DayState.never_extracted, TODAY, POLICY), "the next scheduled run extracts it"
    assert needs_action(DayState.never_extracted, date(2026, 6, 10), ENDED), "no scheduled run extracts it"
    assert not needs_action(DayState.never_extracted, TODAY, ENDED), "no data is expected"


def test_every_state_has_its_own_meaning() -> None:
    assert len({state.meaning for state in DayState}) == len(DayState)


@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 3, 1))))
def test_contiguous_ranges_cover_the_days_with_as_few_ranges_as_possible(days: set[date]) -> None:
    ranges = contiguous_ranges(days)

    covered = [first + timedelta(days=n) for first, last in ranges for n in range((last - first).days + 1)]
    assert covered == sorted(days)
    assert all(b[0] - a[1] > timedelta(days=1) for a, b in pairwise(ranges))


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
def test_each_day_has_one_state_independent_of_row_order_and_settled_means_proven(
    drawn: list[tuple[str, int, timedelta | None, int]], is_live: bool, chance: random.Random
) -> None:
    days = [date(2026, 6, 8) + timedelta(days=n) for n in range(13)]
    policy = SettlementPolicy(SETTLE_AFTER, 5, NOW, None if is_live else days[-1] - timedelta(days=9))
    rows = []
    for arn, number, after_start, running in drawn:
        through = None
        if after_start is not None:
            through = min(
                get_day_window(days[number]).start + after_start,
                compute_settle_time(days[number], SETTLE_AFTER),
            )
        rows.append(row(days[number], arn, complete_through=through, in_progress=running))
    extracted = {coverage_row[PARTITION] for coverage_row in rows}
    in_order = pa.Table.from_pylist(rows, schema=SCHEMA)
    statuses = find_scheduler_statuses(in_order, days, extracted, [], policy)
    chance.shuffle(rows)

    shuffled = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert find_scheduler_statuses(shuffled, days, extracted, [], policy) == statuses
    proven = {
        (coverage_row["scheduler_arn"], coverage_row[PARTITION])
        for coverage_row in rows
        if coverage_row["complete_through"] == compute_settle_time(coverage_row[PARTITION], SETTLE_AFTER)
    }
    for status in statuses:
        assert set(status.states) == set(days)
        for day, state in status.states.items():
            assert (state in (DayState.settled, DayState.stuck)) == ((status.scheduler_arn, day) in proven)
            assert (state is DayState.never_extracted) == (day not in extracted)
            if not is_live:
                assert state is not DayState.overdue
