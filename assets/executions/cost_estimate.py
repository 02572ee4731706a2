"""What a backfill will cost, before anything is spent: questions, pages, calls.

A question is one scheduler over one stretch of days. It is answered in pages of 500 executions, and asks two
hours wider on each side. What a settled day holds is known exactly. Of any other day the grid tells how many
there are at most: as many as windows have ended by now. Where nothing is found the service is asked once
more, whether it still has that scheduler, so a question is never free.

Nobody knows whether the bounds of a query are inclusive. What lies exactly on one counts for the most, and
not for the least. Repetitions after throttling come on top.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import add

from assets.executions.selection import contiguous_ranges
from assets.framework.time_windows import get_day_window
from resources.sources.api import PAGE_SIZE, QUERY_PADDING
from resources.sources.base import ListedScheduler

_A_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?")
_SHORTEST = timedelta(minutes=5)


@dataclass(frozen=True)
class Estimate:
    """A number that is `expected` if every scheduler ran all the time, and surely from `least` to `most`."""

    least: int = 0
    expected: int = 0
    most: int = 0

    @classmethod
    def from_number(cls, number: int) -> "Estimate":
        """Return a number that is known."""
        return cls(number, number, number)

    @property
    def is_exact(self) -> bool:
        """Tell whether it cannot be any other."""
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
    """One scheduler in a plan: the days asked for, in so many questions, and what that takes.

    Of `settled_days` among them the lake knows how many executions there are.
    """

    scheduler: ListedScheduler
    source: str
    days: int
    settled_days: int
    questions: int
    executions: Estimate
    pages: Estimate
    checks: Estimate
    """Questions whether the service still has the scheduler, after an empty answer."""

    @property
    def calls(self) -> Estimate:
        """All calls for this scheduler."""
        return self.pages + self.checks


def estimate_scheduler(
    scheduler: ListedScheduler,
    source: str,
    batches: Iterable[Sequence[date]],
    known: LakeCounts,
    now: datetime,
) -> SchedulerEstimate:
    """Count what it takes to ask for one scheduler.

    Args:
        scheduler: as the service lists it.
        source: the source that lists it.
        batches: the days that are asked for, as a run works through them.
        known: what the lake holds of it.
        now: the moment of the plan; later windows have not run yet.
    """
    pieces = [list(contiguous_ranges(batch)) for batch in batches]
    counted = [[_executions(scheduler, first, last, known, now) for first, last in piece] for piece in pieces]
    everything = [amount for piece in counted for amount in piece]
    return SchedulerEstimate(
        scheduler,
        source,
        days=sum((last - first).days + 1 for piece in pieces for first, last in piece),
        settled_days=sum(
            first <= day <= last for piece in pieces for first, last in piece for day in known.counts
        ),
        questions=len(everything),
        executions=_sum(everything),
        pages=_sum(map(_pages, everything)),
        checks=_sum(_check(piece) for piece in counted if piece),
    )


def _sum(amounts: Iterable[Estimate]) -> Estimate:
    return reduce(add, amounts, ZERO)


def _pages(executions: Estimate) -> Estimate:
    least, expected, most = (
        max(1, -(-number // PAGE_SIZE)) for number in (executions.least, executions.expected, executions.most)
    )
    return Estimate(least, expected, most)


def _check(questions: Sequence[Estimate]) -> Estimate:
    """One for all questions of a batch, where any of them is answered with nothing."""
    return Estimate(
        least=int(any(amount.most == 0 for amount in questions)),
        expected=int(any(amount.expected == 0 for amount in questions)),
        # an empty answer that could have been several pages saves more than this costs
        most=int(any(amount.least == 0 and amount.most <= PAGE_SIZE for amount in questions)),
    )


def _executions(
    scheduler: ListedScheduler, first: date, last: date, known: LakeCounts, now: datetime
) -> Estimate:
    """Count what a question over some days is answered with, the padding included."""
    days = [first + n * _A_DAY for n in range((last - first).days + 1)]
    inner = _sum(_of_day(scheduler, day, known, now) for day in days)
    return (
        _before(scheduler, first - _A_DAY, known, now) + inner + _after(scheduler, last + _A_DAY, known, now)
    )


def _of_day(scheduler: ListedScheduler, day: date, known: LakeCounts, now: datetime) -> Estimate:
    if day in known.counts:
        return Estimate.from_number(known.counts[day])
    recorded = known.recorded_counts.get(day, 0)
    whole = get_day_window(day)
    most = max(recorded, _slots(scheduler, whole.start, whole.end, now))
    return Estimate(recorded, most, most)


def _before(scheduler: ListedScheduler, day: date, known: LakeCounts, now: datetime) -> Estimate:
    """Count what of the day before the first one starts later than the bound of a question."""
    midnight = get_day_window(day).end
    bound = midnight - QUERY_PADDING
    if day in known.counts:
        starts = [start for start, _ in known.near_midnight.get(day, ())]
        within = sum(start > bound for start in starts)
        return Estimate(within, within, sum(start >= bound for start in starts))
    within = _slots(scheduler, bound + parse_frequency(scheduler), midnight, now)
    return Estimate(0, within, _slots(scheduler, bound, midnight, now))


def _after(scheduler: ListedScheduler, day: date, known: LakeCounts, now: datetime) -> Estimate:
    """Count what of the day after the last one ends earlier than the bound of a question."""
    midnight = get_day_window(day).start
    bound = midnight + QUERY_PADDING
    if day in known.counts:
        ends = [end for _, end in known.near_midnight.get(day, ())]
        within = sum(end < bound for end in ends)
        return Estimate(within, within, sum(end <= bound for end in ends))
    within = _slots(scheduler, midnight, bound - parse_frequency(scheduler), now)
    return Estimate(0, within, _slots(scheduler, midnight, bound, now))


def _slots(scheduler: ListedScheduler, start: datetime, end: datetime, now: datetime) -> int:
    """Count the windows that start from `start` on and before `end`, and whose run is due by now."""
    step = parse_frequency(scheduler)
    due = now - timedelta(minutes=scheduler.delay_minutes or 0) - step
    upto = min(end, due + timedelta(microseconds=1))
    first, past_last = (-(-(moment - _EPOCH) // step) for moment in (start, upto))
    return max(0, past_last - first)


def parse_frequency(scheduler: ListedScheduler) -> timedelta:
    """Return how long a scheduler's windows are; where the service does not say, the shortest there are."""
    found = _DURATION.fullmatch(scheduler.frequency or "")
    hours, minutes = (int(text or 0) for text in found.groups()) if found else (0, 0)
    return timedelta(hours=hours, minutes=minutes) or _SHORTEST


@dataclass(frozen=True)
class BackfillPlan:
    """What one run over some days takes.

    Attributes:
        first: The first day.
        last: The last day.
        batches: Months that the run works through, one after the other.
        settled_days: Days that are settled already, for every scheduler that is asked for.
        listing: Calls to list the schedulers, in the run.
        asked: The schedulers, in order of their source and name.
        files_to_read: Saved responses that are read; new ones may reach into several batches.
        files_to_write: Files of the lake that are written at most; what does not change is not.
        budget: Calls that a run may make; None: as many as it takes.
    """

    first: date
    last: date
    batches: int
    settled_days: int
    listing: int
    asked: Sequence[SchedulerEstimate]
    files_to_read: Estimate
    files_to_write: int
    budget: int | None = None

    @property
    def days(self) -> int:
        """How many days these are."""
        return (self.last - self.first).days + 1

    @property
    def calls(self) -> Estimate:
        """All calls of the run."""
        return Estimate.from_number(self.listing) + _sum(one.calls for one in self.asked)

    @property
    def is_stopped(self) -> bool:
        """Tell whether the budget may stop the run before its end."""
        return self.budget is not None and self.calls.most > self.budget

    def minutes(self, calls_per_second: float) -> float:
        """How long the calls take at some rate, if nothing is throttled."""
        return self.calls.expected / calls_per_second / 60
