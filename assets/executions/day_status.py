"""State of each day of each scheduler, derived from `extraction_coverage` only.

A scheduler that the service lists has a row on every extracted day, with or without executions. A scheduler
that is known only from saved responses has rows on the days on which it ran.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.executions.coverage import compute_settle_time
from assets.framework.time_windows import DAY_MS
from assets.tables import EXTRACTION_COVERAGE, PARTITION
from resources.encoded_texts import get_chunk
from resources.lake.lake import Lake

COLUMNS = ["scheduler_arn", "scheduler_name", "complete_through", "executions", "in_progress"]
"""The columns of `extraction_coverage` that the rules read, besides `data_date`."""

_A_DAY = timedelta(days=1)


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


def read_coverage(
    lake: Lake, first: date | None = None, last: date | None = None, columns: Sequence[str] = COLUMNS
) -> pa.Table:
    """Read columns of `extraction_coverage`, and `data_date`, for some days; None: no bound.

    Raises:
        LedgerError: the lake cannot be read.
    """
    stop = last + _A_DAY if last else None
    return lake.scan(EXTRACTION_COVERAGE, first, stop, columns=[*columns, PARTITION])


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
    if not coverage.num_rows:
        return []
    matrices = _Coverage.build(coverage, days, policy.settle_after)
    states = matrices.classify(days, set(extracted), set(failed), policy)
    statuses = [
        SchedulerStatus(arn, name, dict(zip(days, map(_STATES.__getitem__, numbers), strict=True)))
        for arn, name, numbers in zip(matrices.arns, matrices.names, states.tolist(), strict=True)
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


@dataclass(frozen=True)
class _Coverage:
    """Rows of `extraction_coverage` as matrices, with a row for each scheduler and a column for each day.

    Attributes:
        arns: The schedulers.
        names: Their latest names; the ARN where no name is recorded.
        days: The days, as days since 1970 in ascending order.
        has_row: Whether there is a row of coverage.
        is_proven: Whether the service answered.
        is_empty: Whether the row has no executions.
        is_settled: Whether the day is proven complete.
        is_running: Whether executions are in progress.
    """

    arns: Sequence[str]
    names: Sequence[str]
    days: NDArray[np.int64]
    has_row: NDArray[np.bool_]
    is_proven: NDArray[np.bool_]
    is_empty: NDArray[np.bool_]
    is_settled: NDArray[np.bool_]
    is_running: NDArray[np.bool_]

    @classmethod
    def build(cls, rows: pa.Table, days: Sequence[date], settle_after: timedelta) -> "_Coverage":
        columns = {name: get_chunk(rows[name]) for name in [*COLUMNS, PARTITION]}
        arns = columns["scheduler_arn"].dictionary_encode()
        schedulers = arns.indices.to_numpy()
        row_days = columns[PARTITION].cast(pa.int32()).cast(pa.int64()).to_numpy()
        all_days = np.union1d(row_days, _number_days(days))
        through = columns["complete_through"].cast(pa.int64())
        settle_times = (row_days + 1) * DAY_MS + settle_after // timedelta(milliseconds=1)
        is_settled = pc.fill_null(pc.greater_equal(through, settle_times), False)
        positions = schedulers, np.searchsorted(all_days, row_days)

        def fill(values: pa.Array | NDArray[np.bool_]) -> NDArray[np.bool_]:
            matrix = np.zeros((len(arns.dictionary), len(all_days)), bool)
            matrix[positions] = values
            return matrix

        return cls(
            arns.dictionary.to_pylist(),
            _find_latest_names(arns, columns["scheduler_name"], row_days),
            all_days,
            fill(np.ones(len(row_days), bool)),
            fill(through.is_valid()),
            fill(pc.equal(columns["executions"], 0)),
            fill(is_settled),
            fill(pc.greater(columns["in_progress"], 0)),
        )

    def classify(
        self, days: Sequence[date], extracted: set[date], failed: set[date], policy: SettlementPolicy
    ) -> NDArray[np.int64]:
        """Return the number of the state in `_STATES` for each scheduler and requested day."""
        at = np.searchsorted(self.days, _number_days(days))
        is_between, is_listed_now = self._find_listed()
        is_past = _mark(days, lambda day: policy.now >= compute_settle_time(day, policy.settle_after))
        has_row, is_settled = self.has_row[:, at], self.is_settled[:, at]
        is_unsettled_past = has_row & is_past
        rules = {
            DayState.failed: _mark(days, failed.__contains__),
            DayState.never_extracted: _mark(days, lambda day: day not in extracted),
            DayState.stuck: is_settled & self.is_running[:, at],
            DayState.settled: is_settled,
            DayState.recorded: is_unsettled_past & ~(is_listed_now & policy.is_live),
            DayState.overdue: is_unsettled_past & _mark(days, lambda day: not policy.is_refreshed(day)),
            DayState.open: has_row,
            DayState.missing: is_between[:, at],
        }
        conditions = [np.broadcast_to(rule, has_row.shape) for rule in rules.values()]
        return np.select(conditions, [*map(_STATES.index, rules)], _STATES.index(DayState.unseen))

    def _find_listed(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the days between those on which the service listed a scheduler, and whether it still does.

        Only the service can have caused a row with an answer or without executions. A scheduler without
        such a row is known from saved responses only, and a day without a row then means nothing.
        """
        is_listed = self.has_row & (self.is_proven | self.is_empty)
        is_ever_listed = is_listed.any(axis=1, keepdims=True)
        last = is_listed.shape[1] - 1 - is_listed[:, ::-1].argmax(axis=1, keepdims=True)
        is_listed_now = np.zeros_like(is_ever_listed)
        answered = np.flatnonzero(self.is_proven.any(axis=0))
        if len(answered):
            is_listed_now = is_ever_listed & self.has_row[:, answered[-1:]]
            last = np.where(is_listed_now, answered[-1], last)
        columns = np.arange(is_listed.shape[1])
        is_after_first = columns > is_listed.argmax(axis=1, keepdims=True)
        return is_ever_listed & is_after_first & (columns < last), is_listed_now


_STATES = [*DayState]


def _find_latest_names(arns: pa.DictionaryArray, names: pa.Array, row_days: NDArray[np.int64]) -> list[str]:
    """Return the newest name of each scheduler; its ARN where no row has a name."""
    has_name = pc.fill_null(pc.not_equal(names, ""), False).to_numpy(zero_copy_only=False)
    order = np.flatnonzero(has_name)[np.argsort(row_days[has_name], kind="stable")]
    latest = np.full(len(arns.dictionary), -1)
    latest[arns.indices.to_numpy()[order]] = order  # of repeated schedulers, the last one counts
    found = names.take(pa.array(latest, mask=latest < 0)).to_pylist()
    return [name or arn for name, arn in zip(found, arns.dictionary.to_pylist(), strict=True)]


def _number_days(days: Iterable[date]) -> NDArray[np.int64]:
    """Return the days since 1970."""
    return np.array([*days], "datetime64[D]").astype(np.int64)


def _mark(days: Sequence[date], condition: Callable[[date], bool]) -> NDArray[np.bool_]:
    return np.array([*map(condition, days)], bool)
