"""What a scheduled run has to ask for: the days that are not settled, as far back as it reaches."""

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
"""The states of a day that more questions can change."""

_RANGES_SHOWN = 3


@dataclass(frozen=True)
class DueDays:
    """What there is to do.

    Attributes:
        days: The days to ask for, oldest first, today among them while it is expected.
        behind: Older days that are unsettled or were never extracted: only a person's backfill gets them.
    """

    days: tuple[date, ...]
    backlog: tuple[date, ...]

    @property
    def backlog_message(self) -> str:
        """What lies behind, and the command for it; nothing where nothing does."""
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
    history: Days, coverage: pa.Table, extracted: Collection[date], terms: SettlementPolicy
) -> DueDays:
    """Find the days that are due.

    Args:
        history: the days that are partitions.
        coverage: `standing.COLUMNS` and `data_date` of `extraction_coverage`, for the days within reach and
            for as many before them as are to be looked at.
        extracted: the days that `extraction_coverage` has a file of.
        terms: see `find_scheduler_statuses`.
    """
    today, there = terms.now.date(), set(extracted)
    last = today if terms.last_expected is None else min(today, terms.last_expected)
    if history.end is not None:
        last = min(last, history.end - timedelta(days=1))
    expected = [history.first + timedelta(days=number) for number in range((last - history.first).days + 1)]
    looked_at = sorted({*expected} & ({*coverage["data_date"].to_pylist()} | {today}))
    # once the services have ended nothing is reached any more, but what they told of their last days may
    # still have to settle: whether they answer then is theirs to say
    live = SettlementPolicy(terms.settle_after, terms.lookback_days, terms.now)
    found = find_scheduler_statuses(coverage, looked_at, there, (), live)
    unsettled = {day for one in found for day, state in one.states.items() if state in UNSETTLED}
    unsettled |= {day for day in expected if day not in there or day == today}
    return DueDays(
        tuple(day for day in expected if day in unsettled and live.is_refreshed(day)),
        tuple(day for day in expected if day in unsettled and not live.is_refreshed(day)),
    )
