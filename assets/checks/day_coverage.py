"""Whether the days are there, and known as far as they should be.

These warn and do not block: what is recorded is right, there may only be more of it.
"""

from collections.abc import Iterable, Mapping, Sequence
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
OPEN_ENDED = (DayState.overdue, DayState.missing)
"""States that should be settled by now; days that failed or were never extracted have checks of their own."""

WEEKS_BEFORE_DAYS = 28
ENOUGH_DAYS = 7
"""With fewer days before it, a day is held against the scheduler's grid and not against their median."""

USUAL = (0.5, 1.5)
"""Shares of the usual count that are still usual: a restart or a changed frequency lies outside."""


def no_missing_days(in_lake: Sequence[date]) -> CheckOutcome:
    """Judge the days of a table (oldest first): none is missing between the first and the last."""
    there = set(in_lake)
    span = (in_lake[-1] - in_lake[0]).days + 1 if in_lake else 0
    gaps = [
        day
        for day in (in_lake[0] + number * _A_DAY for number in range(span))
        if in_lake and day not in there
    ]
    said = "The lake has no day yet."
    if in_lake:
        said = f"All {span} days from {in_lake[0]} to {in_lake[-1]} are there."
    if gaps:
        said = f"{len(gaps)} of {span} days from {in_lake[0]} to {in_lake[-1]} are not there: "
        said += f"{summarize(map(str, gaps))}."
    return CheckOutcome(
        not gaps,
        said,
        {"days": len(in_lake), "days_missing": len(gaps)},
        [{"day": gap} for gap in gaps],
        build_backfill_commands(gaps),
        causes=[str(gap) for gap in gaps],
    )


def days_settled(standings: Iterable[SchedulerStatus], days: Sequence[date]) -> CheckOutcome:
    """Judge the coverage: each scheduler is proven complete on each day that could settle."""
    late = ((one, [day for day in days if one.states.get(day) in OPEN_ENDED]) for one in standings)
    behind = [(one, wrong) for one, wrong in late if wrong]
    said = "Each scheduler is settled on each day that could settle, as far as a service can be asked."
    if behind:
        said = (
            f"{len(behind)} schedulers are not settled on days that should be: "
            f"{summarize(one.scheduler_name for one, _ in behind)}."
        )
    examples = [
        {"scheduler": one.scheduler_name, "days": len(wrong), "first": wrong[0], "is": one.states[wrong[0]]}
        for one, wrong in behind
    ]
    return CheckOutcome(
        not behind,
        said,
        {"schedulers_behind": len(behind), "days_behind": sum(len(wrong) for _, wrong in behind)},
        examples,
        [
            *build_status_commands(days),
            *build_backfill_commands({day for _, wrong in behind for day in wrong}),
        ]
        if behind
        else [],
        causes=[one.scheduler_arn for one, _ in behind],
    )


def no_stuck_executions(
    standings: Iterable[SchedulerStatus], days: Sequence[date], running: pa.Table
) -> CheckOutcome:
    """Judge the executions: none is IN_PROGRESS on a day that is settled for its scheduler.

    Args:
        standings: how the days stand.
        days: those that are looked at.
        running: `scheduler_arn`, `scheduler_name`, `data_start_time` and the day of all that are IN_PROGRESS.
    """
    stuck_on = {
        (one.scheduler_arn, day) for one in standings for day in days if one.states.get(day) is DayState.stuck
    }
    stuck = [row for row in running.to_pylist() if (row["scheduler_arn"], row[PARTITION]) in stuck_on]
    schedulers = sorted({row["scheduler_name"] or row["scheduler_arn"] for row in stuck})
    said = "No execution is IN_PROGRESS beyond its time."
    if stuck:
        said = (
            f"{len(stuck)} executions are IN_PROGRESS although their day is settled:"
            f" {summarize(schedulers)}. "
            "Their results will not come by themselves; ask the service once more."
        )
    examples = [
        {"scheduler": row["scheduler_name"], "data_start_time": row["data_start_time"].isoformat()}
        for row in stuck
    ]
    wrong = {day for _, day in stuck_on}
    return CheckOutcome(
        not stuck,
        said,
        {"stuck": len(stuck), "in_progress": running.num_rows},
        examples,
        [*build_status_commands(wrong), *build_backfill_commands(wrong)],
        causes=sorted({row["scheduler_arn"] for row in stuck}),
    )


def execution_count_in_range(
    coverage: pa.Table,
    days: Sequence[date],
    grid: Mapping[str, int | None],
    now: datetime,
    settle_after: timedelta,
) -> CheckOutcome:
    """Judge how many executions a scheduler has on a day against what is usual for it.

    Usual is the median of the four weeks before, with seven days of them at least; else the grid of its
    frequency. A count below half of that or above one and a half times of it is told. Days that can still
    grow, the first and the last day of a scheduler and schedulers that usually run nothing are left out.

    Args:
        coverage: `scheduler_arn`, `scheduler_name`, `executions` and the day, of the days looked at and of
            the four weeks before each of them.
        days: those that are looked at.
        grid: executions a day by the frequency of each scheduler, by ARN.
        now: the time of the check.
        settle_after: how long after its end a day can still grow.
    """
    counts: dict[str, dict[date, int]] = {}
    names: dict[str, str] = {}
    for row in coverage.to_pylist():
        counts.setdefault(row["scheduler_arn"], {})[row[PARTITION]] = row["executions"]
        names[row["scheduler_arn"]] = row["scheduler_name"] or row["scheduler_arn"]
    past = [day for day in days if now >= compute_settle_time(day, settle_after)]
    judged, odd = 0, list[dict[str, Any]]()
    for arn, of_days in counts.items():
        for day in past:
            usual = _usual(of_days, day, grid.get(arn))
            if day not in of_days or day in (min(of_days), max(of_days)) or not usual:
                continue
            judged += 1
            if not USUAL[0] * usual <= of_days[day] <= USUAL[1] * usual:
                odd.append(
                    {"scheduler": names[arn], "day": day, "executions": of_days[day], "usual": round(usual)}
                )
    said = f"{judged} days of schedulers have a usual number of executions."
    if odd:
        said = (
            f"{len(odd)} of {judged} days of schedulers have an unusual number of executions: "
            f"{summarize(dict.fromkeys(row['scheduler'] for row in odd))}."
        )
    return CheckOutcome(
        not odd,
        said,
        {"judged": judged, "unusual": len(odd)},
        sorted(odd, key=lambda row: row["day"], reverse=True),
        build_status_commands({row["day"] for row in odd}),
        causes=[f"{row['scheduler']} {row['day']}" for row in odd],
    )


def _usual(of_days: Mapping[date, int], day: date, grid: int | None) -> float | None:
    earlier = [of_days[past] for past in list_days_before(day, WEEKS_BEFORE_DAYS) if past in of_days]
    return median(earlier) if len(earlier) >= ENOUGH_DAYS else grid
