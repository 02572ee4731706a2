"""State of each day of each scheduler, derived from `extraction_coverage` only.

A scheduler that the service lists has a row on every extracted day, with or without executions. A scheduler
that is known only from saved responses has rows on the days on which it ran.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pyarrow as pa

from assets.executions.coverage import compute_settle_time, is_settled

COLUMNS = ["scheduler_arn", "scheduler_name", "complete_through", "executions", "in_progress"]
"""The columns of `extraction_coverage` that the rules read, besides `data_date`."""


class DayState(StrEnum):
    """State of one day of one scheduler."""

    settled = "settled"
    recorded = "recorded"
    open = "open"
    overdue = "overdue"
    stuck = "stuck"
    failed = "failed"
    missing = "missing"
    never_extracted = "never_extracted"
    unseen = "unseen"

    @property
    def meaning(self) -> str:
        """One sentence about the state, for people."""
        return _MEANINGS[self]


_MEANINGS = {
    DayState.settled: "complete; the service answered after the day had settled",
    DayState.recorded: "recorded from saved responses or a bucket; no service can prove that it is complete",
    DayState.open: "can still change; the next scheduled run extracts it",
    DayState.overdue: "not settled, and too old for scheduled runs",
    DayState.stuck: "settled, but executions are still IN_PROGRESS",
    DayState.failed: "the last run failed for this day",
    DayState.missing: "extracted, but not for this scheduler, although the service lists it",
    DayState.never_extracted: "no run has extracted this day",
    DayState.unseen: "before the scheduler was first seen, or after it was deleted",
}


ACTION_STATES = (
    DayState.failed,
    DayState.missing,
    DayState.never_extracted,
    DayState.overdue,
    DayState.stuck,
)
"""The states that can need action (see `needs_action`), most urgent first."""


@dataclass(frozen=True)
class SettlementPolicy:
    """When days settle, and which days scheduled runs extract.

    Attributes:
        settle_after: Time after the end of a day at which it settles.
        lookback_days: Number of days before today that scheduled runs extract while they are unsettled.
        now: The current time.
        last_expected: The last day for which any source has data; None if there is no end.
    """

    settle_after: timedelta
    lookback_days: int
    now: datetime
    last_expected: date | None = None

    @property
    def is_live(self) -> bool:
        """Whether any service still answers queries. Without one, no further day can settle."""
        return self.last_expected is None or self.last_expected >= self.now.date()

    def is_expected(self, day: date) -> bool:
        """Return whether any source should have data for a day."""
        return self.last_expected is None or day <= self.last_expected

    def is_refreshed(self, day: date) -> bool:
        """Return whether scheduled runs extract a day while it is unsettled."""
        return self.is_live and day >= self.now.date() - timedelta(days=self.lookback_days)


@dataclass(frozen=True)
class SchedulerStatus:
    """The state of one scheduler on each requested day."""

    scheduler_arn: str
    scheduler_name: str
    states: Mapping[date, DayState]


def find_scheduler_statuses(
    coverage: pa.Table,
    days: Sequence[date],
    extracted: Collection[date],
    failed: Collection[date],
    policy: SettlementPolicy,
) -> list[SchedulerStatus]:
    """Return the state of each scheduler on each day, sorted by name.

    Args:
        coverage: `COLUMNS` and `data_date` of `extraction_coverage`, for all recorded days. The rows of other
            days show whether a scheduler is missing on a day.
        days: the requested days.
        extracted: the days for which `extraction_coverage` has a file, with or without rows.
        failed: the days for which the last run failed.
        policy: when days settle.
    """
    by_scheduler = _group_by_scheduler(coverage)
    extracted_days, failed_days = set(extracted), set(failed)
    newest_answered = max(
        (day for rows in by_scheduler.values() for day, row in rows.items() if row["complete_through"]),
        default=None,
    )
    statuses = [
        SchedulerStatus(
            arn,
            _get_latest_name(arn, rows),
            _find_states(rows, days, extracted_days, failed_days, newest_answered, policy),
        )
        for arn, rows in by_scheduler.items()
    ]
    return sorted(statuses, key=lambda status: (status.scheduler_name, status.scheduler_arn))


def needs_action(state: DayState, day: date, policy: SettlementPolicy) -> bool:
    """Return True if no scheduled run will change this state."""
    if state is DayState.never_extracted:
        return policy.is_expected(day) and not policy.is_refreshed(day)
    return state in ACTION_STATES


def find_days_without_coverage(days: Iterable[date], extracted: Collection[date]) -> list[date]:
    """Return the days that no run has extracted, in the given order."""
    extracted_days = set(extracted)
    return [day for day in days if day not in extracted_days]


def _group_by_scheduler(coverage: pa.Table) -> dict[str, dict[date, dict[str, Any]]]:
    by_scheduler: dict[str, dict[date, dict[str, Any]]] = {}
    for row in coverage.to_pylist():
        by_scheduler.setdefault(row["scheduler_arn"], {})[row["data_date"]] = row
    return by_scheduler


def _get_latest_name(arn: str, rows: Mapping[date, Mapping[str, Any]]) -> str:
    names = (rows[day]["scheduler_name"] for day in sorted(rows, reverse=True))
    return next((name for name in names if name), arn)


def _find_states(
    rows: Mapping[date, Mapping[str, Any]],
    days: Iterable[date],
    extracted: set[date],
    failed: set[date],
    newest_answered: date | None,
    policy: SettlementPolicy,
) -> dict[date, DayState]:
    # A row that only the service can have caused. A scheduler without one is known from saved responses
    # only, and a day without a row then means nothing.
    listed = [day for day, row in rows.items() if row["complete_through"] or not row["executions"]]
    is_listed_now = bool(listed) and newest_answered in rows
    last_listed = newest_answered if is_listed_now else max(listed, default=None)

    def find_state(day: date) -> DayState:
        if day in failed:
            return DayState.failed
        if day not in extracted:
            return DayState.never_extracted
        row = rows.get(day)
        if row is not None:
            return _classify_row(row, day, policy, can_be_queried=policy.is_live and is_listed_now)
        is_between = listed and last_listed and min(listed) < day < last_listed
        return DayState.missing if is_between else DayState.unseen

    return {day: find_state(day) for day in days}


def _classify_row(
    row: Mapping[str, Any], day: date, policy: SettlementPolicy, *, can_be_queried: bool
) -> DayState:
    settles_at = compute_settle_time(day, policy.settle_after)
    if is_settled(row["complete_through"], settles_at):
        return DayState.stuck if row["in_progress"] else DayState.settled
    is_past = policy.now >= settles_at
    if is_past and not can_be_queried:
        return DayState.recorded
    return DayState.overdue if is_past and not policy.is_refreshed(day) else DayState.open
