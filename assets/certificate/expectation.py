"""Which windows of a scheduler are expected, from evidence before and after them.

Evidence is a recorded execution, a setting that a service listed, or a frequency in the settings. The windows
between two pieces of evidence are expected if both have the same frequency and fit one grid: the frequency is
then taken as unchanged between them. Everywhere else the expected windows are not known: before the first
evidence, after the last, around a change of frequency or grid, and beside executions without a known end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assets.health.slots import Expectation, Flags, Ints, UnknownPeriod

BEFORE, AFTER, CHANGE, NO_FREQUENCY = (
    "before_first_evidence",
    "after_last_evidence",
    "change_of_frequency",
    "frequency_not_known",
)

UNKNOWN_MEANINGS = {
    BEFORE: "before the first evidence of the scheduler",
    AFTER: "after the last evidence of the scheduler, which may have been changed or deleted",
    CHANGE: "between evidence of different frequencies or grids: the time of the change is not known",
    NO_FREQUENCY: "beside executions whose frequency is not known",
}

EXPECTATION_MEANING = (
    "An execution is expected for each window between two pieces of evidence of one frequency and grid:"
    " recorded executions, listed settings, or a frequency in the settings of a source. The frequency is"
    " taken as unchanged between them. Everywhere else, the expected executions are not known, unless the"
    " service proved the day complete."
)

PREFIX_MEANING = (
    "A scheduler without account and region is one output prefix. Unless results or other sources"
    " contradict it, all results of a prefix are taken as those of one scheduler."
)

_NO_GRID = -1
_SHORTEST_WINDOW = 300_000
_NO_TIMES = np.zeros(0, np.int64)
NO_EXPECTATION = Expectation(_NO_TIMES, _NO_TIMES)


@dataclass(frozen=True)
class Evidence:
    """What is known of a scheduler's settings at some times, in ms, in ascending order.

    Attributes:
        start: the times.
        covered: no other window starts between `start` and this time.
        frequency: the frequency; 0: not known.
        grid: the start of any window of this frequency; -1: not known.
    """

    start: Ints
    covered: Ints
    frequency: Ints
    grid: Ints

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: slice) -> "Evidence":
        return Evidence(self.start[rows], self.covered[rows], self.frequency[rows], self.grid[rows])


def build_evidence(start: Ints, end: Ints, has_end: Flags) -> Evidence:
    """Build the evidence of executions, sorted by start; `end` is undefined without `has_end`."""
    frequency = np.where(has_end, np.maximum(end - start, 0), 0)
    # without a known end, a window has at least the shortest length that the service offers
    covered = np.maximum.accumulate(start + np.where(frequency > 0, frequency, _SHORTEST_WINDOW))
    return Evidence(start, covered, frequency, np.where(frequency > 0, start, _NO_GRID))


def build_settings(settings: Sequence[tuple[int, int]]) -> Evidence:
    """Build the evidence of settings, each a time and a frequency in ms; their grids are not known."""
    times, frequencies = np.array(settings, np.int64).reshape(-1, 2).T
    return Evidence(times, times, frequencies, np.full(len(times), _NO_GRID))


NO_EVIDENCE = Evidence(_NO_TIMES, _NO_TIMES, _NO_TIMES, _NO_TIMES)


def join_evidence(parts: Sequence[Evidence]) -> Evidence:
    """Join evidence in ascending order."""
    columns = zip(*((part.start, part.covered, part.frequency, part.grid) for part in parts), strict=True)
    return Evidence(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class SchedulerTrace:
    """What is known of a scheduler apart from the executions of the days.

    Attributes:
        seed: the latest setting before the first day.
        settings: listed settings and declared frequencies since then, by time.
        expects_nothing: its rows are results of other schedulers in the lake that could not be matched.
        placeholders: the placeholder ARNs of its output prefixes.
    """

    seed: Evidence = NO_EVIDENCE
    settings: Evidence = NO_EVIDENCE
    expects_nothing: bool = False
    placeholders: tuple[str, ...] = ()


def build_expectation(
    trace: SchedulerTrace,
    held: Evidence,
    find_next: Callable[[], Evidence],
    begin: int,
    end: int,
) -> Expectation:
    """Build the expectation of a scheduler.

    Args:
        trace: what is known apart from executions.
        held: the latest execution before `begin`, and those up to `end`.
        find_next: finds the first execution after them, if it is needed.
        begin: the first time in ms.
        end: the time in ms before which windows start.
    """
    if trace.expects_nothing or begin >= end:
        return NO_EXPECTATION
    if not len(held) or held.covered[-1] < end:
        held = join_evidence([held, find_next()])
    return find_expected(_insert_settings(held, trace.settings), begin, end)


def exclude_windows(expectation: Expectation, starts: Ints) -> Expectation:
    """Return an expectation without the windows that begin at `starts`."""
    is_left = ~np.isin(expectation.start, starts)
    return Expectation(expectation.start[is_left], expectation.end[is_left], expectation.unknown)


def _insert_settings(chain: Evidence, settings: Evidence) -> Evidence:
    """Insert settings by time. A setting has the grid of an execution of its frequency before it."""
    if not len(settings):
        return chain
    joined = join_evidence([chain, settings])
    order = np.argsort(joined.start, kind="stable")
    grid, frequency = joined.grid[order], joined.frequency[order]
    for number in np.flatnonzero(grid[1:] == _NO_GRID) + 1:
        if frequency[number] and frequency[number] == frequency[number - 1]:
            grid[number] = grid[number - 1]
    covered = np.maximum.accumulate(joined.covered[order])
    return Evidence(joined.start[order], covered, frequency, grid)


def find_expected(evidence: Evidence, begin: int, end: int) -> Expectation:
    """Find the expected windows without execution, and the periods in which they are not known.

    Args:
        evidence: all evidence from the last before `begin` to the first after `end`.
        begin: the first time in ms.
        end: the time in ms before which windows start.
    """
    periods: list[UnknownPeriod] = []
    windows = [_NO_TIMES]
    lengths = [_NO_TIMES]
    if not len(evidence):
        return Expectation(_NO_TIMES, _NO_TIMES, (UnknownPeriod(begin, end, BEFORE),))
    start, covered, frequency, grid = evidence.start, evidence.covered, evidence.frequency, evidence.grid
    _add_period(periods, UnknownPeriod(begin, min(int(start[0]), end), BEFORE))
    latest = 0
    for number in np.flatnonzero(start[1:] > covered[:-1]).tolist():
        first, stop = max(int(covered[number]), begin), min(int(start[number + 1]), end)
        if first >= stop:
            continue
        step = int(frequency[number])
        if _fit_one_grid(evidence, number):
            anchor = int(grid[number] if grid[number] != _NO_GRID else grid[number + 1])
            starts = np.arange(first + (anchor - first) % step, stop, step, dtype=np.int64)
            windows.append(starts)
            lengths.append(np.full(len(starts), step, np.int64))
            continue
        both_known = step and frequency[number + 1]
        period = UnknownPeriod(first, stop, CHANGE if both_known else NO_FREQUENCY)
        is_continued = not frequency[latest + 1 : number + 1].any()
        _add_period(periods, period, join=is_continued and period.reason == NO_FREQUENCY)
        latest = number
    _add_period(periods, UnknownPeriod(max(int(covered[-1]), begin), end, AFTER))
    starts = np.concatenate(windows)
    return Expectation(starts, starts + np.concatenate(lengths), tuple(periods))


def _fit_one_grid(evidence: Evidence, number: int) -> bool:
    """Return whether evidence and the next one have one frequency and can be on one grid."""
    step, following = int(evidence.frequency[number]), int(evidence.frequency[number + 1])
    grid, next_grid = int(evidence.grid[number]), int(evidence.grid[number + 1])
    if not step or step != following or grid == next_grid == _NO_GRID:
        return False
    return _NO_GRID in {grid, next_grid} or (next_grid - grid) % step == 0


def _add_period(periods: list[UnknownPeriod], period: UnknownPeriod, *, join: bool = False) -> None:
    """Add a period that is not empty; `join` extends the last one if it has the same reason."""
    if period.start >= period.end:
        return
    if join and periods and periods[-1].reason == period.reason:
        period = UnknownPeriod(periods.pop().start, period.end, period.reason)
    periods.append(period)
