"""Fragments of many days as one timeline without overlaps, with the usual step of each day.

The last windows of a day can reach past midnight and repeat times of the next day's first windows. For such
duplicates the later day wins. Only overlapping runs and runs with gaps inside are expanded into points;
fragments are built so that this loses nothing.
"""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.anomalies.fragments import MAX_WINDOW_MS, STATES, TRUSTED_STEPS, Flags, Ints, to_int64
from assets.tables import PARTITION

CARRIED_DAYS = 7
"""A day with too few points takes the usual step of the last day before it that has enough, at most this many
days back."""

_SCHEDULER_OFFSET = 1 << 45  # in ms, longer than any timeline


@dataclass(frozen=True)
class Timeline:
    """Runs of like points by scheduler and time, without overlaps; times and steps in ms.

    Attributes:
        scheduler: the number of the scheduler.
        first: the time of the first point.
        last: the time of the last point.
        day: the day of the fragment, in days since 1970.
        state: the index in `STATES`.
        points: the number of points.
        step: the usual step of the day; 0: unknown.
        row: the row of the fragment that the run comes from.
    """

    scheduler: Ints
    first: Ints
    last: Ints
    day: Ints
    state: Ints
    points: Ints
    step: Ints
    row: Ints

    @property
    def is_first_of_scheduler(self) -> Flags:
        """Whether each run is the first one of its scheduler."""
        is_first = np.ones(len(self.scheduler), dtype=bool)
        is_first[1:] = self.scheduler[1:] != self.scheduler[:-1]
        return is_first

    @property
    def time_since_previous(self) -> Ints:
        """From the last point before each run to its first one, in ms; undefined for a scheduler's first."""
        elapsed = np.zeros_like(self.first)
        elapsed[1:] = self.first[1:] - self.last[:-1]
        return elapsed

    @property
    def valid_until(self) -> Ints:
        """Where the last point of each run ends: one step later, or at the next point if that is earlier."""
        until = self.last + self.step
        has_next = ~self.is_first_of_scheduler[1:]
        until[:-1][has_next] = np.minimum(until[:-1], self.first[1:])[has_next]
        return until

    def follows_gap(self, gap_steps: float) -> Flags:
        """Mark the runs with missing data before them, which includes the first of each scheduler.

        An unknown usual step counts as the longest possible one.
        """
        step = np.where(self.step > 0, self.step, MAX_WINDOW_MS)
        return self.is_first_of_scheduler | find_gaps(self.time_since_previous, step, gap_steps)

    def find_last_runs_before(self, runs: NDArray[np.intp], times: Ints) -> NDArray[np.intp]:
        """For each run, find the last run of its scheduler that begins before a time in ms."""
        position = self.first + self.scheduler * _SCHEDULER_OFFSET
        return np.searchsorted(position, times + self.scheduler[runs] * _SCHEDULER_OFFSET) - 1


def find_gaps(
    elapsed: NDArray[np.generic],
    usual_step: NDArray[np.generic] | float,
    gap_steps: float,
    resolution: float = 0.0,
) -> Flags:
    """Mark the intervals between two points that are gaps: longer than `gap_steps` usual steps.

    Args:
        elapsed: the length of each interval.
        usual_step: the usual step of each interval or of all, in the same unit.
        gap_steps: see `EventRule`.
        resolution: shorter intervals are no gaps.
    """
    return np.asarray(elapsed > np.maximum(gap_steps * np.asarray(usual_step), resolution))


def build_timeline(fragments: pa.Table) -> Timeline:
    """Build the timeline of any days from rows of `anomaly_fragments` with their `data_date`."""
    scheduler = _number_schedulers(fragments["scheduler_arn"])
    first, last = (to_int64(fragments[name].cast(pa.int64())) for name in ("first_time", "last_time"))
    day = to_int64(fragments[PARTITION].cast(pa.int32()))
    state = to_int64(pc.index_in(fragments["state"], pa.array(STATES)))
    order = np.lexsort((day, first, scheduler))
    runs = Timeline(
        scheduler[order],
        first[order],
        last[order],
        day[order],
        state[order],
        to_int64(fragments["points"])[order],
        _find_usual_steps(scheduler, day, fragments)[order],
        order,
    )
    return _remove_overlaps(runs)


def _find_usual_steps(scheduler: Ints, day: Ints, fragments: pa.Table) -> Ints:
    """Return the usual step of each row in ms, of its day or, if that has too few points, an earlier one."""
    if not len(day):
        return day
    own_step = to_int64(pc.fill_null(fragments["usual_step_ms"], 0))
    is_trusted = to_int64(fragments["usual_steps"]) >= TRUSTED_STEPS
    order = np.lexsort((day, scheduler))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(scheduler[order]) != 0) | (np.diff(day[order]) != 0)
    head = order[is_first]  # one row per scheduler and day
    source = np.maximum.accumulate(np.where(is_trusted[head], np.arange(len(head)), 0))
    is_usable = is_trusted[head[source]] & (scheduler[head[source]] == scheduler[head])
    is_usable &= day[head] - day[head[source]] <= CARRIED_DAYS
    step = np.where(is_usable, own_step[head[source]], own_step[head])
    result = np.empty_like(own_step)
    result[order] = step[np.cumsum(is_first) - 1]
    return result


def _remove_overlaps(runs: Timeline) -> Timeline:
    """Expand overlapping and sparse runs into points, and keep the later day's point of each time."""
    offset = runs.scheduler * _SCHEDULER_OFFSET
    latest = np.maximum.accumulate(runs.last + offset)
    overlaps = np.zeros(len(latest), dtype=bool)
    overlaps[1:] = runs.first[1:] + offset[1:] <= latest[:-1]
    # a day with few points can take a shorter step from an earlier day, so its runs can contain gaps
    is_sparse = (runs.step > 0) & (runs.last - runs.first > runs.step * (runs.points - 1))
    if not overlaps.any() and not is_sparse.any():
        return runs
    group = np.cumsum(~overlaps)
    is_expanded = (np.bincount(group)[group] > 1) | is_sparse
    points = _expand_to_points(_take(runs, np.flatnonzero(is_expanded)))
    order = np.lexsort((points.day, points.first, points.scheduler))
    is_latest_day = np.ones(len(order), dtype=bool)
    time, scheduler = points.first[order], points.scheduler[order]
    is_latest_day[:-1] = (time[1:] != time[:-1]) | (scheduler[1:] != scheduler[:-1])
    others, points = _take(runs, np.flatnonzero(~is_expanded)), _take(points, order[is_latest_day])
    combined = Timeline(
        *(
            np.concatenate((getattr(others, field.name), getattr(points, field.name)))
            for field in fields(Timeline)
        )
    )
    return _take(combined, np.lexsort((combined.first, combined.scheduler)))


def _expand_to_points(runs: Timeline) -> Timeline:
    """Turn each run, whose points are evenly spaced, into one run per point."""
    run = np.repeat(np.arange(len(runs.points)), runs.points)
    position = np.arange(len(run)) - np.repeat(np.cumsum(runs.points) - runs.points, runs.points)
    spacing = (runs.last - runs.first) // np.maximum(runs.points - 1, 1)
    time = runs.first[run] + position * spacing[run]
    repeated = _take(runs, run)
    return Timeline(
        repeated.scheduler,
        time,
        time,
        repeated.day,
        repeated.state,
        np.ones_like(time),
        repeated.step,
        repeated.row,
    )


def _take(runs: Timeline, rows: NDArray[np.intp]) -> Timeline:
    return Timeline(*(getattr(runs, field.name)[rows] for field in fields(Timeline)))


def _number_schedulers(arns: pa.ChunkedArray) -> Ints:
    """Number the schedulers in the order of their ARNs."""
    encoded = arns.combine_chunks().dictionary_encode()
    ranks = to_int64(pc.index_in(encoded.dictionary, encoded.dictionary.sort()))
    return ranks[to_int64(encoded.indices)]
