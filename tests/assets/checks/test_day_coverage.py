"""The rules on missing days, settlement, stuck executions and daily counts."""

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.checks import day_coverage
from assets.executions.day_status import DayState, SchedulerStatus
from assets.tables import (
    PARTITION,
)
from tests.support.check_days import NOW, SETTLE, days_back


@settings(deadline=None)
@given(st.sets(st.integers(0, 40)))
def test_missing_days_are_all_absent_days_between_the_first_and_the_last(numbers: set[int]) -> None:
    lake_days = sorted(days_back(*numbers))

    outcome = day_coverage.evaluate_no_missing_days(lake_days)

    missing = max(numbers, default=0) - min(numbers, default=0) + 1 - len(numbers) if numbers else 0
    assert outcome.metadata["days_missing"] == missing
    assert outcome.passed is (missing == 0)


def test_missing_days_are_reported_with_their_backfill_command() -> None:
    outcome = day_coverage.evaluate_no_missing_days(sorted(days_back(0, 3, 4)))

    assert outcome.commands == ["ledger backfill --from 2026-03-08 --to 2026-03-09"]


def test_unsettled_schedulers_are_named() -> None:
    days = days_back(2, 1, 0)
    settled = SchedulerStatus("arn:a", "pump-1", dict.fromkeys(days, DayState.settled))
    behind = SchedulerStatus(
        "arn:b", "pump-2", {days[0]: DayState.overdue, days[1]: DayState.missing, days[2]: DayState.open}
    )

    outcome = day_coverage.evaluate_days_settled([settled, behind], days)

    assert not outcome.passed
    assert "pump-2" in outcome.message
    assert "pump-1" not in outcome.message
    assert outcome.metadata == {"schedulers_behind": 1, "days_behind": 2}
    assert "ledger backfill --from 2026-03-08 --to 2026-03-09" in outcome.commands
    assert day_coverage.evaluate_days_settled([settled], days).passed


def test_only_executions_of_settled_days_are_stuck() -> None:
    days = days_back(1, 0)
    in_progress = pa.table(
        {
            "scheduler_arn": ["a", "a"],
            "scheduler_name": ["pump-1", "pump-1"],
            "data_start_time": [NOW - timedelta(days=1), NOW],
            PARTITION: days,
        }
    )

    outcome = day_coverage.evaluate_no_stuck_executions(
        [SchedulerStatus("a", "pump-1", {days[0]: DayState.stuck, days[1]: DayState.open})], days, in_progress
    )

    assert not outcome.passed
    assert outcome.metadata == {"stuck": 1, "in_progress": 2}


def test_executions_of_recorded_days_may_have_ended() -> None:
    (day,) = days_back(1)
    in_progress = pa.table(
        {
            "scheduler_arn": ["a"],
            "scheduler_name": ["pump-1"],
            "data_start_time": [NOW],
            PARTITION: [day],
        }
    )

    outcome = day_coverage.evaluate_no_stuck_executions(
        [SchedulerStatus("a", "pump-1", {day: DayState.recorded})], [day], in_progress
    )

    assert outcome.passed
    assert "No service can confirm how 1 of them ended" in outcome.message


def counts(of_days_back: dict[int, int]) -> pa.Table:
    numbers = list(of_days_back)
    return pa.table(
        {
            "scheduler_arn": ["a"] * len(numbers),
            "scheduler_name": ["pump-1"] * len(numbers),
            "executions": list(of_days_back.values()),
            PARTITION: pa.array(days_back(*numbers), pa.date32()),
        }
    )


@pytest.mark.parametrize(
    ("executions", "passed"), [(288, True), (144, True), (143, False), (0, False), (432, True), (433, False)]
)
def test_count_passes_between_half_and_one_and_a_half_times_the_median(executions: int, passed: bool) -> None:
    coverage = counts(dict.fromkeys(range(3, 20), 288) | {2: executions, 1: 288})

    assert (
        day_coverage.evaluate_execution_count_in_range(coverage, days_back(2), {}, NOW, SETTLE).passed
        is passed
    )


def test_day_with_few_days_before_it_is_compared_with_the_grid() -> None:
    coverage = counts({5: 10, 4: 10, 3: 10, 2: 10})

    (day,) = days_back(3)
    assert not day_coverage.evaluate_execution_count_in_range(
        coverage, [day], {("a", day): 288}, NOW, SETTLE
    ).passed
    outcome = day_coverage.evaluate_execution_count_in_range(coverage, [day], {}, NOW, SETTLE)
    assert outcome.metadata["compared"] == 0
    assert outcome.message.startswith("No scheduler-day can be compared")


def test_growing_days_and_the_first_and_last_day_of_a_scheduler_are_not_compared() -> None:
    coverage = counts({2: 1, 1: 288, 0: 1})

    grid = {("a", day): 288 for day in days_back(2, 1, 0)}
    assert day_coverage.evaluate_execution_count_in_range(
        coverage, days_back(2, 1, 0), grid, NOW, SETTLE
    ).metadata == {
        "compared": 1,
        "unusual": 0,
    }
