"""Fragments of many days as one timeline: doubles across midnight resolved, the usual step of each day known.

The last windows of a day may reach beyond midnight, and hold times that the first ones of the next day hold
too: of doubles that of the later day counts. Only where runs of two days lie across each other are they taken
apart into points; each fragment is made such that this loses nothing.
"""

from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.anomalies.fragments import LONGEST_WINDOW, STATES, TRUSTED_STEPS, Flags, Ints
from assets.tables import PARTITION

CARRIED_DAYS = 7
"""A day with too few points takes the usual step of the last day before it that has enough, up to so many
days back."""

_A_SCHEDULER = 1 << 45  # more milliseconds than a timeline is long


@dataclass(frozen=True)
class Timeline:
    """Runs by scheduler and time, which do not overlap; times and steps in ms.

    `row` is the fragment that a run is made of. `step` is the usual one of its day, 0 where nobody can know
    it. `valid_until` is where its last point ends: a step later, or with the next point.
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
        """The first run of each scheduler."""
        begins = np.ones(len(self.scheduler), dtype=bool)
        begins[1:] = self.scheduler[1:] != self.scheduler[:-1]
        return begins

    @property
    def time_since_previous(self) -> Ints:
        """From the last point before a run to its first one, in ms; meaningless for a scheduler's first."""
        silence = np.zeros_like(self.first)
        silence[1:] = self.first[1:] - self.last[:-1]
        return silence

    def last_run_before(self, run: NDArray[np.intp], limit: Ints) -> NDArray[np.intp]:
        """Return the last run of the same scheduler that begins before a time, for each of some runs."""
        position = self.first + self.scheduler * _A_SCHEDULER
        return np.searchsorted(position, limit + self.scheduler[run] * _A_SCHEDULER) - 1

    @property
    def valid_until(self) -> Ints:
        """Where each run is over."""
        until = self.last + self.step
        within = ~self.is_first_of_scheduler[1:]
        until[:-1][within] = np.minimum(until[:-1], self.first[1:])[within]
        return until

    def follows_gap(self, gap_steps: float) -> Flags:
        """Mark the runs before which data is missing; the first of each scheduler is one of them.

        Where the usual step is unknown, the longest possible one counts: a longer silence proves nothing.
        """
        step = np.where(self.step > 0, self.step, LONGEST_WINDOW // timedelta(milliseconds=1))
        too_long = self.time_since_previous > gap_steps * step
        return self.is_first_of_scheduler | too_long


def build_timeline(fragments: pa.Table) -> Timeline:
    """Put the rows of `anomaly_fragments` of any days, with their `data_date`, side by side."""
    scheduler = _scheduler_numbers(fragments["scheduler_arn"])
    first, last = (_ints(fragments[name].cast(pa.int64())) for name in ("first_time", "last_time"))
    day = _ints(fragments[PARTITION].cast(pa.int32()))
    state = _ints(pc.index_in(fragments["state"], pa.array(STATES)))
    order = np.lexsort((day, first, scheduler))
    runs = Timeline(
        scheduler[order],
        first[order],
        last[order],
        day[order],
        state[order],
        _ints(fragments["points"])[order],
        _usual_steps(scheduler, day, fragments)[order],
        order,
    )
    return _resolved(runs)


def _usual_steps(scheduler: Ints, day: Ints, fragments: pa.Table) -> Ints:
    """Return the usual step for each row, in ms: its day's own, or where that has few, an earlier one's."""
    if not len(day):
        return day
    own = _ints(pc.fill_null(fragments["usual_step_ms"], 0))
    trusted = _ints(fragments["usual_steps"]) >= TRUSTED_STEPS
    order = np.lexsort((day, scheduler))
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (np.diff(scheduler[order]) != 0) | (np.diff(day[order]) != 0)
    head = order[begins]  # one row a scheduler and day
    number = np.arange(len(head))
    source = np.maximum.accumulate(np.where(trusted[head], number, 0))
    sure = trusted[head[source]] & (scheduler[head[source]] == scheduler[head])
    sure &= day[head] - day[head[source]] <= CARRIED_DAYS
    step = np.where(sure, own[head[source]], own[head])
    result = np.empty_like(own)
    result[order] = step[np.cumsum(begins) - 1]
    return result


def _resolved(runs: Timeline) -> Timeline:
    """Split overlapping and sparse runs into points; where two days have one time, keep the later day's."""
    offset = runs.scheduler * _A_SCHEDULER
    latest = np.maximum.accumulate(runs.last + offset)
    overlaps = np.zeros(len(latest), dtype=bool)
    overlaps[1:] = runs.first[1:] + offset[1:] <= latest[:-1]
    # a day with few points may take a shorter step from an earlier day: its runs then have gaps inside
    sparse = (runs.step > 0) & (runs.last - runs.first > runs.step * (runs.points - 1))
    if not overlaps.any() and not sparse.any():
        return runs
    knot = np.cumsum(~overlaps)
    tied = (np.bincount(knot)[knot] > 1) | sparse
    pieces = _points(_taken(runs, np.flatnonzero(tied)))
    order = np.lexsort((pieces.day, pieces.first, pieces.scheduler))
    newest = np.ones(len(order), dtype=bool)
    time, scheduler = pieces.first[order], pieces.scheduler[order]
    newest[:-1] = (time[1:] != time[:-1]) | (scheduler[1:] != scheduler[:-1])
    rest, pieces = _taken(runs, np.flatnonzero(~tied)), _taken(pieces, order[newest])
    both = Timeline(
        *(np.concatenate((getattr(rest, one.name), getattr(pieces, one.name))) for one in fields(Timeline))
    )
    return _taken(both, np.lexsort((both.first, both.scheduler)))


def _points(runs: Timeline) -> Timeline:
    """Take even runs apart into their points."""
    each = np.repeat(np.arange(len(runs.points)), runs.points)
    number = np.arange(len(each)) - np.repeat(np.cumsum(runs.points) - runs.points, runs.points)
    apart = (runs.last - runs.first) // np.maximum(runs.points - 1, 1)
    time = runs.first[each] + number * apart[each]
    taken = _taken(runs, each)
    return Timeline(
        taken.scheduler, time, time, taken.day, taken.state, np.ones_like(time), taken.step, taken.row
    )


def _taken(runs: Timeline, rows: NDArray[np.intp]) -> Timeline:
    return Timeline(*(getattr(runs, one.name)[rows] for one in fields(Timeline)))


def _scheduler_numbers(arns: pa.ChunkedArray) -> Ints:
    encoded = arns.combine_chunks().dictionary_encode()
    ranks = _ints(pc.index_in(encoded.dictionary, encoded.dictionary.sort()))
    return ranks[_ints(encoded.indices)]


def _ints(column: pa.ChunkedArray | pa.Array) -> Ints:
    return column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)  # type: ignore[no-any-return]
