"""How long each machine ran, was off, and was anomalous, by day.

A point is valid for one usual step, or until the next point. A machine can have several schedulers:

- It is anomalous while any of them reports an anomaly.
- It runs while any of them has a normal or anomalous point.
- It is off while any of them reports it off and it does not run.

The rest of the time is unknown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.anomalies.fragments import ANOMALOUS, NORMAL, OFF, Flags, Ints
from assets.anomalies.timeline import Timeline
from assets.framework.time_windows import DAY_MS

HOUR_MS = 3_600_000
_MINUTE_MS = 60_000

Minutes = NDArray[np.float64]


@dataclass(frozen=True)
class RunningTime:
    """Minutes and hours by machine (rows) and day (columns)."""

    running: Minutes
    off: Minutes
    anomalous: Minutes
    anomalous_hours: Ints


def compute_running_time(
    runs: Timeline, machine: Ints, machine_count: int, days: range, now_ms: int
) -> RunningTime:
    """Sum the times of each machine and day.

    Args:
        runs: the runs of all schedulers.
        machine: the number of each run's machine.
        machine_count: the number of machines.
        days: the days to return, in days since 1970.
        now_ms: time after this is not counted.
    """
    first, last = days.start * DAY_MS, days.stop * DAY_MS
    begin = np.clip(runs.first, first, last)
    end = np.clip(np.minimum(runs.valid_until, now_ms), first, last)
    counted = np.flatnonzero(end > begin)
    segments = _build_segments(
        begin[counted], end[counted], runs.state[counted], machine[counted], machine_count, days
    )
    is_anomalous = segments.active[ANOMALOUS] > 0
    is_running = is_anomalous | (segments.active[NORMAL] > 0)
    is_off = (segments.active[OFF] > 0) & ~is_running
    return RunningTime(
        _sum_minutes(segments, is_running, machine_count, days),
        _sum_minutes(segments, is_off, machine_count, days),
        _sum_minutes(segments, is_anomalous, machine_count, days),
        _count_hours(segments, is_anomalous, machine_count, days),
    )


@dataclass(frozen=True)
class _Segments:
    """Time segments of constant state, none across midnight.

    `active` has a row per state: the number of runs in that state.
    """

    machine: Ints
    begin: Ints
    end: Ints
    active: NDArray[np.int64]


def _build_segments(
    begin: Ints, end: Ints, state: Ints, machine: Ints, machine_count: int, days: range
) -> _Segments:
    midnights = np.arange(days.start, days.stop + 1) * DAY_MS
    edge_machine = np.concatenate((machine, machine, np.repeat(np.arange(machine_count), len(midnights))))
    edge_time = np.concatenate((begin, end, np.tile(midnights, machine_count)))
    change = np.zeros((len(edge_time), 3), dtype=np.int64)
    number = np.arange(len(begin))
    change[number, state] = 1
    change[number + len(begin), state] = -1
    order = np.lexsort((edge_time, edge_machine))
    edge_machine, edge_time = edge_machine[order], edge_time[order]
    active = np.cumsum(change[order], axis=0)  # returns to 0 at the last edge of each machine
    starts = np.flatnonzero((edge_machine[1:] == edge_machine[:-1]) & (edge_time[1:] > edge_time[:-1]))
    return _Segments(edge_machine[starts], edge_time[starts], edge_time[starts + 1], active[starts].T)


def _sum_minutes(segments: _Segments, selected: Flags, machine_count: int, days: range) -> Minutes:
    cell = segments.machine * len(days) + segments.begin // DAY_MS - days.start
    length = (segments.end - segments.begin).astype(np.float64)  # integers, so that sums are exact
    sums = np.bincount(cell[selected], length[selected], machine_count * len(days))
    return sums.reshape(machine_count, len(days)).astype(np.float64) / _MINUTE_MS


def _count_hours(segments: _Segments, selected: Flags, machine_count: int, days: range) -> Ints:
    """Count the clock hours (UTC) of each day that contain a selected segment."""
    first, last = segments.begin[selected] // HOUR_MS, (segments.end[selected] - 1) // HOUR_MS
    count = last - first + 1
    segment = np.repeat(np.arange(len(first)), count)
    hour = first[segment] + np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count)
    hours_per_machine = 24 * len(days)
    is_counted = np.zeros(machine_count * hours_per_machine, dtype=np.int64)
    is_counted[segments.machine[selected][segment] * hours_per_machine + hour - days.start * 24] = 1
    return np.asarray(is_counted.reshape(machine_count, len(days), 24).sum(axis=2))
