"""How each day of each scheduler stands: settled, open, or in need of a person.

The rule reads coverage alone. A scheduler that the service lists has a row on every day that was asked for,
with executions or without; one that only saved responses tell of has rows where it ran.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pyarrow as pa

from assets.executions.coverage import compute_settle_time, is_settled

COLUMNS = ["scheduler_arn", "scheduler_name", "complete_through", "executions", "in_progress"]
"""The columns of `extraction_coverage` that the rule reads, beside the day."""


class DayState(StrEnum):
    """What is known of one day of one scheduler; `meaning` says it in words."""

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
        """The state in a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    DayState.settled: "complete, as the service said after it had settled",
    DayState.recorded: "what was saved; no service can say if that is all",
    DayState.open: "can still change; the next scheduled run asks for it",
    DayState.overdue: "not settled, and too old for a scheduled run to ask",
    DayState.stuck: "settled, but executions are still IN_PROGRESS",
    DayState.failed: "the last run over this day failed for it",
    DayState.missing: "extracted, but not of this scheduler, which is listed",
    DayState.never_extracted: "no run has recorded this day",
    DayState.unseen: "the scheduler was not seen yet, or not any more",
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
    """What the rule must know besides the coverage.

    `lookback_days` is how far back scheduled runs reach. `last_expected` is the last day that any source will
    tell of; None: there is no end to it.
    """

    settle_after: timedelta
    lookback_days: int
    now: datetime
    last_expected: date | None = None

    @property
    def is_live(self) -> bool:
        """Whether any service can still be asked; without one nothing can settle any more."""
        return self.last_expected is None or self.last_expected >= self.now.date()

    def is_expected(self, day: date) -> bool:
        """Tell whether any source will tell of a day, or should have."""
        return self.last_expected is None or day <= self.last_expected

    def is_refreshed(self, day: date) -> bool:
        """Tell whether a scheduled run asks for a day by itself, as long as it is not settled."""
        return self.is_live and day >= self.now.date() - timedelta(days=self.lookback_days)


@dataclass(frozen=True)
class SchedulerStatus:
    """One scheduler: its state on each of the days that were asked for."""

    scheduler_arn: str
    scheduler_name: str
    states: Mapping[date, DayState]


def find_scheduler_statuses(
    coverage: pa.Table,
    days: Sequence[date],
    extracted: Collection[date],
    failed: Collection[date],
    terms: SettlementPolicy,
) -> list[SchedulerStatus]:
    """Find the state of each scheduler on each day, by name.

    Args:
        coverage: `COLUMNS` and `data_date` of `extraction_coverage`: all days that are there, as what stands
            on other days tells whether a scheduler is missing on this one.
        days: the days that are wanted.
        extracted: the days that `extraction_coverage` has a file of, with rows or without.
        failed: the days that the last run over them failed for.
        terms: see there.
    """
    rows = _by_scheduler(coverage)
    there, broken = set(extracted), set(failed)
    asked = (day for of_days in rows.values() for day, row in of_days.items() if row["complete_through"])
    newest = max(asked, default=None)
    found = [
        SchedulerStatus(arn, _name(arn, of_days), _states(of_days, days, there, broken, newest, terms))
        for arn, of_days in rows.items()
    ]
    return sorted(found, key=lambda one: (one.scheduler_name, one.scheduler_arn))


def needs_action(state: DayState, day: date, policy: SettlementPolicy) -> bool:
    """Return True if no scheduled run will change this state."""
    if state is DayState.never_extracted:
        return policy.is_expected(day) and not policy.is_refreshed(day)
    return state in ACTION_STATES


def find_days_without_coverage(days: Iterable[date], extracted: Collection[date]) -> list[date]:
    """Return the days that no run has recorded."""
    there = set(extracted)
    return [day for day in days if day not in there]


def _by_scheduler(coverage: pa.Table) -> dict[str, dict[date, dict[str, Any]]]:
    found: dict[str, dict[date, dict[str, Any]]] = {}
    for row in coverage.to_pylist():
        found.setdefault(row["scheduler_arn"], {})[row["data_date"]] = row
    return found


def _name(arn: str, of_days: Mapping[date, Mapping[str, Any]]) -> str:
    latest = (of_days[day]["scheduler_name"] for day in sorted(of_days, reverse=True))
    return next((name for name in latest if name), arn)


def _states(
    of_days: Mapping[date, Mapping[str, Any]],
    days: Iterable[date],
    extracted: set[date],
    failed: set[date],
    newest: date | None,
    terms: SettlementPolicy,
) -> dict[date, DayState]:
    # the service lists it: else saved responses alone tell of it, and a day without a row says nothing
    listed = [day for day, row in of_days.items() if row["complete_through"] or not row["executions"]]
    is_listed_now = bool(listed) and newest in of_days
    last_listed = newest if is_listed_now else max(listed, default=None)

    def state(day: date) -> DayState:
        if day in failed:
            return DayState.failed
        if day not in extracted:
            return DayState.never_extracted
        row = of_days.get(day)
        if row is not None:
            return _of_row(row, day, terms, can_be_asked=terms.is_live and is_listed_now)
        is_between = listed and last_listed and min(listed) < day < last_listed
        return DayState.missing if is_between else DayState.unseen

    return {day: state(day) for day in days}


def _of_row(row: Mapping[str, Any], day: date, terms: SettlementPolicy, *, can_be_asked: bool) -> DayState:
    settles_at = compute_settle_time(day, terms.settle_after)
    if is_settled(row["complete_through"], settles_at):
        return DayState.stuck if row["in_progress"] else DayState.settled
    is_past = terms.now >= settles_at
    if is_past and not can_be_asked:
        return DayState.recorded
    return DayState.overdue if is_past and not terms.is_refreshed(day) else DayState.open
