"""Estimate of the API calls of a backfill.

A query covers one scheduler and one contiguous range of days, padded by `QUERY_PADDING` on both sides. Its
response has pages of `PAGE_SIZE` executions. An empty response costs one more call: it checks whether the
scheduler still exists.

- The executions of a settled day are known exactly.
- On any other day there are at most as many as data windows have ended by now.
- It is undocumented whether the bounds of a query are inclusive. Executions exactly on a bound count for
  `most` but not for `least`.
- Retries after throttling are not included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import add

from assets.executions.selection import contiguous_ranges
from assets.framework.time_windows import get_day_window, parse_duration
from resources.sources.api import PAGE_SIZE
from resources.sources.base import ListedScheduler, ListingEstimate
from resources.sources.messages import QUERY_PADDING

_A_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST_FREQUENCY = timedelta(minutes=5)


@dataclass(frozen=True)
class Estimate:
    """A number between `least` and `most`; `expected` if every scheduler ran without interruption."""

    least: int = 0
    expected: int = 0
    most: int = 0

    @classmethod
    def from_number(cls, number: int) -> "Estimate":
        """Return an estimate without uncertainty."""
        return cls(number, number, number)

    @property
    def is_exact(self) -> bool:
        """Whether there is no uncertainty."""
        return self.least == self.most

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.least + other.least, self.expected + other.expected, self.most + other.most)

    def __mul__(self, times: int) -> "Estimate":
        return Estimate(self.least * times, self.expected * times, self.most * times)


ZERO = Estimate()


@dataclass(frozen=True)
class LakeCounts:
    """Recorded executions of one scheduler.

    Attributes:
        counts: Executions of the days that are proven complete, and of no others.
        recorded_counts: Executions recorded so far on the other days.
        near_midnight: Data windows (start, end) on complete days that start or end within the query padding.
    """

    counts: Mapping[date, int]
    recorded_counts: Mapping[date, int]
    near_midnight: Mapping[date, Sequence[tuple[datetime, datetime]]]


NO_COUNTS = LakeCounts({}, {}, {})


@dataclass(frozen=True)
class SchedulerEstimate:
    """The cost of one scheduler.

    Attributes:
        scheduler: The scheduler.
        source: The source that lists it.
        days: Number of days to query.
        settled_days: Number of these days whose executions are known exactly.
        queries: Number of queries, each over a contiguous range of days.
        executions: Executions in the responses.
        pages: Pages of the responses; one call each.
        existence_checks: Calls that check after an empty response whether the scheduler still exists.
    """

    scheduler: ListedScheduler
    source: str
    days: int
    settled_days: int
    queries: int
    executions: Estimate
    pages: Estimate
    existence_checks: Estimate

    @property
    def calls(self) -> Estimate:
        """All calls for this scheduler."""
        return self.pages + self.existence_checks


def estimate_scheduler(
    scheduler: ListedScheduler,
    source: str,
    batches: Iterable[Sequence[date]],
    counts: LakeCounts,
    now: datetime,
) -> SchedulerEstimate:
    """Estimate the cost of one scheduler.

    Args:
        scheduler: the scheduler, as the service lists it.
        source: the source that lists it.
        batches: the days to query, in the batches of the run.
        counts: executions of the scheduler in the lake.
        now: the current time; later data windows have not run yet.
    """
    ranges_by_batch = [contiguous_ranges(batch) for batch in batches]
    executions_by_batch = [
        [_estimate_executions(scheduler, first, last, counts, now) for first, last in ranges]
        for ranges in ranges_by_batch
    ]
    ranges = [days for batch in ranges_by_batch for days in batch]
    executions = [estimate for batch in executions_by_batch for estimate in batch]
    return SchedulerEstimate(
        scheduler,
        source,
        days=sum((last - first).days + 1 for first, last in ranges),
        settled_days=sum(first <= day <= last for first, last in ranges for day in counts.counts),
        queries=len(executions),
        executions=_sum(executions),
        pages=_sum(map(_estimate_pages, executions)),
        existence_checks=_sum(_estimate_existence_checks(batch) for batch in executions_by_batch if batch),
    )


def _sum(estimates: Iterable[Estimate]) -> Estimate:
    return reduce(add, estimates, ZERO)


def _estimate_pages(executions: Estimate) -> Estimate:
    least, expected, most = (
        max(1, -(-number // PAGE_SIZE)) for number in (executions.least, executions.expected, executions.most)
    )
    return Estimate(least, expected, most)


def _estimate_existence_checks(queries: Sequence[Estimate]) -> Estimate:
    """Return one check per batch if any query has an empty response."""
    return Estimate(
        least=int(any(executions.most == 0 for executions in queries)),
        expected=int(any(executions.expected == 0 for executions in queries)),
        # an empty response instead of several pages saves more calls than the check costs
        most=int(any(executions.least == 0 and executions.most <= PAGE_SIZE for executions in queries)),
    )


def _estimate_executions(
    scheduler: ListedScheduler, first: date, last: date, counts: LakeCounts, now: datetime
) -> Estimate:
    """Estimate the executions in the response of a query, including those in the padding."""
    days = [first + number * _A_DAY for number in range((last - first).days + 1)]
    return (
        _estimate_padding_before(scheduler, first - _A_DAY, counts, now)
        + _sum(_estimate_day(scheduler, day, counts, now) for day in days)
        + _estimate_padding_after(scheduler, last + _A_DAY, counts, now)
    )


def _estimate_day(scheduler: ListedScheduler, day: date, counts: LakeCounts, now: datetime) -> Estimate:
    if day in counts.counts:
        return Estimate.from_number(counts.counts[day])
    recorded = counts.recorded_counts.get(day, 0)
    window = get_day_window(day)
    most = max(recorded, _count_ended_windows(scheduler, window.start, window.end, now))
    return Estimate(recorded, most, most)


def _estimate_padding_before(
    scheduler: ListedScheduler, day: date, counts: LakeCounts, now: datetime
) -> Estimate:
    """Estimate the executions of the day before a range that start after the bound of the query."""
    midnight = get_day_window(day).end
    bound = midnight - QUERY_PADDING
    if day in counts.counts:
        starts = [start for start, _ in counts.near_midnight.get(day, ())]
        within = sum(start > bound for start in starts)
        return Estimate(within, within, sum(start >= bound for start in starts))
    within = _count_ended_windows(scheduler, bound + get_frequency(scheduler), midnight, now)
    return Estimate(0, within, _count_ended_windows(scheduler, bound, midnight, now))


def _estimate_padding_after(
    scheduler: ListedScheduler, day: date, counts: LakeCounts, now: datetime
) -> Estimate:
    """Estimate the executions of the day after a range that end before the bound of the query."""
    midnight = get_day_window(day).start
    bound = midnight + QUERY_PADDING
    if day in counts.counts:
        ends = [end for _, end in counts.near_midnight.get(day, ())]
        within = sum(end < bound for end in ends)
        return Estimate(within, within, sum(end <= bound for end in ends))
    within = _count_ended_windows(scheduler, midnight, bound - get_frequency(scheduler), now)
    return Estimate(0, within, _count_ended_windows(scheduler, midnight, bound, now))


def _count_ended_windows(scheduler: ListedScheduler, start: datetime, end: datetime, now: datetime) -> int:
    """Count the data windows that start in [`start`, `end`) and whose execution is due by `now`."""
    step = get_frequency(scheduler)
    due = now - timedelta(minutes=scheduler.delay_minutes or 0) - step
    limit = min(end, due + timedelta(microseconds=1))
    first, past_last = (-(-(moment - _EPOCH) // step) for moment in (start, limit))
    return max(0, past_last - first)


def get_frequency(scheduler: ListedScheduler) -> timedelta:
    """Return the length of a scheduler's data windows; the shortest possible one if it is unknown."""
    return parse_duration(scheduler.frequency) or _SHORTEST_FREQUENCY


@dataclass(frozen=True)
class CostEstimate:
    """The cost of one run over a range of days.

    Attributes:
        first: The first day.
        last: The last day.
        batches: Number of batches of days, which the run processes one after the other.
        settled_days: Number of days that are settled for every selected scheduler.
        list_calls: Calls that list the schedulers.
        schedulers: Estimates by scheduler, sorted by source and name.
        files_to_read: Saved responses to read; a new file may be read in several batches.
        buckets: Cost of listing each bucket, by URI.
        files_to_write: Maximum number of lake files to write; unchanged files are not written.
        budget: Maximum number of calls of the run; None if unlimited.
    """

    first: date
    last: date
    batches: int
    settled_days: int
    list_calls: int
    schedulers: Sequence[SchedulerEstimate]
    files_to_read: Estimate
    files_to_write: int
    buckets: Mapping[str, ListingEstimate] = field(default_factory=dict)
    budget: int | None = None

    @property
    def days(self) -> int:
        """Number of days."""
        return (self.last - self.first).days + 1

    @property
    def calls(self) -> Estimate:
        """Calls of the whole run."""
        return Estimate.from_number(self.list_calls) + _sum(estimate.calls for estimate in self.schedulers)

    @property
    def may_exceed_budget(self) -> bool:
        """Whether the budget may stop the run before its end."""
        return self.budget is not None and self.calls.most > self.budget

    @property
    def list_requests(self) -> int:
        """Number of requests that list buckets."""
        return sum(bucket.requests for bucket in self.buckets.values())

    def estimate_minutes(self, calls_per_second: float) -> float:
        """Return the duration of the expected calls in minutes, without throttling."""
        return self.calls.expected / calls_per_second / 60
