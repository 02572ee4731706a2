"""Rules on the days of the lake: missing days, settlement, stuck executions and daily counts.

These checks warn: the recorded data is correct but may be incomplete.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

import pyarrow as pa

from assets.checks.context import list_days_before
from assets.checks.result import CheckOutcome, build_backfill_commands, build_status_commands, summarize
from assets.executions.coverage import compute_settle_time
from assets.executions.day_status import DayState, SchedulerStatus
from assets.tables import PARTITION

_A_DAY = timedelta(days=1)
UNSETTLED_STATES = (DayState.overdue, DayState.missing)
"""States of days that should be settled. Failed and never extracted days have checks of their own."""

BASELINE_DAYS = 28
MIN_BASELINE_DAYS = 7
"""With fewer days of baseline, the count that the frequency gives is the baseline."""

USUAL_RANGE = (0.5, 1.5)
"""Share of the baseline count that passes. A restart or a changed frequency lies outside."""


def evaluate_no_missing_days(lake_days: Sequence[date]) -> CheckOutcome:
    """Check that no day is missing between the first and the last day of a table.

    Args:
        lake_days: All days of the table, oldest first.
    """
    if not lake_days:
        return CheckOutcome(True, "The lake has no days yet.", {"days": 0, "days_missing": 0}, problem_ids=[])
    first, last = lake_days[0], lake_days[-1]
    existing, count = set(lake_days), (last - first).days + 1
    missing = [day for day in (first + number * _A_DAY for number in range(count)) if day not in existing]
    message = f"All {count} days from {first} to {last} were extracted."
    if missing:
        message = (
            f"{len(missing)} of {count} days from {first} to {last} are missing:"
            f" {summarize(map(str, missing))}. Backfill these days."
        )
    return CheckOutcome(
        not missing,
        message,
        {"days": len(lake_days), "days_missing": len(missing)},
        [{"day": day} for day in missing],
        build_backfill_commands(missing),
        problem_ids=[str(day) for day in missing],
    )


def evaluate_days_settled(statuses: Sequence[SchedulerStatus], days: Sequence[date]) -> CheckOutcome:
    """Check that each scheduler is proven complete on each day that should be settled."""
    unsettled = [
        (status, behind)
        for status in statuses
        if (behind := [day for day in days if status.states.get(day) in UNSETTLED_STATES])
    ]
    states = [status.states.get(day) for status in statuses for day in days]
    message = f"{len(statuses)} schedulers on {len(days)} days examined: all days that should be settled are."
    if unproven := states.count(DayState.recorded):
        message += (
            f" No service can confirm {unproven} scheduler-days, because only saved responses or buckets"
            " cover them."
        )
    if unsettled:
        message = (
            f"{len(unsettled)} of {len(statuses)} schedulers are not settled on days that should be settled: "
            f"{summarize(status.scheduler_name for status, _ in unsettled)}. Backfill these days."
        )
    examples = [
        {
            "scheduler": status.scheduler_name,
            "days": len(behind),
            "first": behind[0],
            "state": status.states[behind[0]],
        }
        for status, behind in unsettled
    ]
    days_to_backfill = {day for _, behind in unsettled for day in behind}
    return CheckOutcome(
        not unsettled,
        message,
        {"schedulers_behind": len(unsettled), "days_behind": sum(len(behind) for _, behind in unsettled)},
        examples,
        [*build_status_commands(days), *build_backfill_commands(days_to_backfill)] if unsettled else [],
        problem_ids=[status.scheduler_arn for status, _ in unsettled],
    )


def evaluate_no_stuck_executions(
    statuses: Sequence[SchedulerStatus], days: Sequence[date], in_progress: pa.Table
) -> CheckOutcome:
    """Check that no execution is IN_PROGRESS on a day that is settled for its scheduler.

    Args:
        statuses: The state of each scheduler on each day.
        days: The days to examine.
        in_progress: `scheduler_arn`, `scheduler_name`, `data_start_time` and the day of all executions that
            are IN_PROGRESS.
    """
    stuck_on = {
        (status.scheduler_arn, day)
        for status in statuses
        for day in days
        if status.states.get(day) is DayState.stuck
    }
    stuck = [row for row in in_progress.to_pylist() if (row["scheduler_arn"], row[PARTITION]) in stuck_on]
    schedulers = sorted({row["scheduler_name"] or row["scheduler_arn"] for row in stuck})
    message = f"None of {in_progress.num_rows} IN_PROGRESS executions is on a settled day."
    if unproven := _count_unproven(statuses, days, in_progress):
        message += (
            f" No service can confirm how {unproven} of them ended: only saved responses or buckets do."
        )
    if stuck:
        message = (
            f"{len(stuck)} executions are IN_PROGRESS although their day is settled:"
            f" {summarize(schedulers)}. "
            "Scheduled runs do not read settled days again. Backfill these days once more."
        )
    examples = [
        {"scheduler": row["scheduler_name"], "data_start_time": row["data_start_time"].isoformat()}
        for row in stuck
    ]
    stuck_days = {day for _, day in stuck_on}
    return CheckOutcome(
        not stuck,
        message,
        {"stuck": len(stuck), "in_progress": in_progress.num_rows},
        examples,
        [*build_status_commands(stuck_days), *build_backfill_commands(stuck_days)],
        problem_ids=sorted({row["scheduler_arn"] for row in stuck}),
    )


def _count_unproven(statuses: Sequence[SchedulerStatus], days: Sequence[date], in_progress: pa.Table) -> int:
    """Count the executions that are IN_PROGRESS on days that only saved responses cover."""
    recorded = {
        (status.scheduler_arn, day)
        for status in statuses
        for day in days
        if status.states.get(day) is DayState.recorded
    }
    return sum((row["scheduler_arn"], row[PARTITION]) in recorded for row in in_progress.to_pylist())


def evaluate_execution_count_in_range(
    coverage: pa.Table,
    days: Sequence[date],
    grid: Mapping[tuple[str, date], int],
    now: datetime,
    settle_after: timedelta,
) -> CheckOutcome:
    """Compare the daily execution count of each scheduler with its baseline.

    The baseline is the median of the four weeks before if they have seven days, else the count that the
    frequency gives. Counts below half or above one and a half times of it fail. Not compared are days that
    can still grow, the first and the last day of a scheduler, and days without a baseline.

    Args:
        coverage: `scheduler_arn`, `scheduler_name`, `executions` and the day, of the days to examine and of
            the four weeks before each of them.
        days: The days to examine.
        grid: Executions that the frequency gives in a whole day, by ARN and day.
        now: The time of the check.
        settle_after: How long after its end a day can still grow.
    """
    settled_days = [day for day in days if now >= compute_settle_time(day, settle_after)]
    compared, unusual = _compare_counts(coverage, settled_days, grid)
    message = (
        f"{compared} scheduler-days compared: all have a usual number of executions. Not compared: days that"
        " can still grow, the first and the last day of a scheduler, and days without a baseline."
    )
    if not compared:
        message = "No scheduler-day can be compared: none has a baseline and is between two other days."
    if unusual:
        message = (
            f"{len(unusual)} of {compared} scheduler-days have an unusual number of executions: "
            f"{summarize(dict.fromkeys(row['scheduler'] for row in unusual))}."
            " Check whether these schedulers were stopped, restarted or set to another frequency."
        )
    return CheckOutcome(
        not unusual,
        message,
        {"compared": compared, "unusual": len(unusual)},
        sorted(unusual, key=lambda row: row["day"], reverse=True),
        build_status_commands({row["day"] for row in unusual}),
        problem_ids=[f"{row['scheduler']} {row['day']}" for row in unusual],
    )


def _compare_counts(
    coverage: pa.Table, days: Sequence[date], grid: Mapping[tuple[str, date], int]
) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of scheduler-days with a baseline, and a row for each unusual one."""
    counts: dict[str, dict[date, int]] = {}
    names: dict[str, str] = {}
    for row in coverage.to_pylist():
        counts.setdefault(row["scheduler_arn"], {})[row[PARTITION]] = row["executions"]
        names[row["scheduler_arn"]] = row["scheduler_name"] or row["scheduler_arn"]
    compared, unusual = 0, list[dict[str, Any]]()
    for arn, day_counts in counts.items():
        for day in days:
            baseline = _estimate_baseline(day_counts, day, grid.get((arn, day)))
            if day not in day_counts or day in (min(day_counts), max(day_counts)) or not baseline:
                continue
            compared += 1
            count = day_counts[day]
            if not USUAL_RANGE[0] * baseline <= count <= USUAL_RANGE[1] * baseline:
                unusual.append(
                    {"scheduler": names[arn], "day": day, "executions": count, "usual": round(baseline)}
                )
    return compared, unusual


def _estimate_baseline(day_counts: Mapping[date, int], day: date, grid: int | None) -> float | None:
    earlier = [day_counts[past] for past in list_days_before(day, BASELINE_DAYS) if past in day_counts]
    return median(earlier) if len(earlier) >= MIN_BASELINE_DAYS else grid
