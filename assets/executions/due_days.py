"""Selection of the days that a scheduled run extracts: unsettled days within the lookback period."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from assets.executions.day_status import DayState, SettlementPolicy, find_scheduler_statuses
from assets.executions.selection import contiguous_ranges
from assets.framework.time_windows import Days

UNSETTLED = frozenset(
    {DayState.open, DayState.overdue, DayState.failed, DayState.missing, DayState.never_extracted}
)
"""The states of a day that another extraction can change."""

_RANGES_SHOWN = 3


@dataclass(frozen=True)
class DueDays:
    """The unsettled days of the history.

    Attributes:
        days: Days that scheduled runs extract, oldest first. Today is included while it is expected.
        backlog: Older unsettled or unextracted days; only a manual backfill extracts them.
    """

    days: tuple[date, ...]
    backlog: tuple[date, ...]

    @property
    def backlog_message(self) -> str:
        """The backlog and the command that extracts it; empty if there is none."""
        if not self.backlog:
            return ""
        ranges = contiguous_ranges(self.backlog)
        shown = ", ".join(f"{first}...{last}" for first, last in ranges[:_RANGES_SHOWN])
        more = f" and {len(ranges) - _RANGES_SHOWN} more ranges" if len(ranges) > _RANGES_SHOWN else ""
        return (
            f"{len(self.backlog)} days before the lookback period are not settled or were never extracted:"
            f" {shown}{more}. Run: ledger backfill --from {self.backlog[0]} --to {self.backlog[-1]}"
        )


def find_due_days(
    history: Days, coverage: pa.Table, extracted: Collection[date], policy: SettlementPolicy
) -> DueDays:
    """Find the days that are due.

    Args:
        history: the partitions.
        coverage: `day_status.COLUMNS` and `data_date` of `extraction_coverage`, for the lookback period and
            the older days to examine.
        extracted: the days for which `extraction_coverage` has a file.
        policy: when days settle and which ones scheduled runs extract.
    """
    today, extracted_days = policy.now.date(), set(extracted)
    last = today if policy.last_expected is None else min(today, policy.last_expected)
    if history.end is not None:
        last = min(last, history.end - timedelta(days=1))
    expected = [history.first + timedelta(days=number) for number in range((last - history.first).days + 1)]
    examined = sorted({*expected} & ({*coverage["data_date"].to_pylist()} | {today}))
    # The last days before the end of a service may still have to settle, so treat the service as live.
    # Whether it still answers shows in the extraction.
    live = SettlementPolicy(policy.settle_after, policy.lookback_days, policy.now)
    statuses = find_scheduler_statuses(coverage, examined, extracted_days, (), live)
    unsettled = {day for status in statuses for day, state in status.states.items() if state in UNSETTLED}
    unsettled |= {day for day in expected if day not in extracted_days or day == today}
    return DueDays(
        tuple(day for day in expected if day in unsettled and live.is_refreshed(day)),
        tuple(day for day in expected if day in unsettled and not live.is_refreshed(day)),
    )
