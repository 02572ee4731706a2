"""Running time: how long each machine ran, was off, and was anomalous, day by day.

A point stands for one usual step, or up to the next point. A machine that several schedulers watch is
anomalous while one of them says so, runs while one sees it running, and is off while one says so and none
sees it running. Of all other time nothing is known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.anomalies.fragments import ANOMALOUS, NORMAL, OFF, Ints
from assets.anomalies.timeline import Timeline
from assets.framework.time_windows import DAY_MS

HOUR_MS = 3_600_000

Minutes = NDArray[np.float64]


@dataclass(frozen=True)
class RunningTime:
    """Minutes and hours by machine (rows) and day (columns)."""

    running: Minutes
    off: Minutes
    anomalous: Minutes
    anomalous_hours: Ints


def compute_running_time(
    runs: Timeline, machine: Ints, machines: int, days: range, now_ms: int
) -> RunningTime:
    """Add up the times of machines.

    Args:
        runs: the runs of all schedulers.
        machine: the machine of each run, by number.
        machines: how many there are.
        days: days since 1970, of which the times are wanted.
        now_ms: what would stand beyond this moment does not count.
    """
    first, last = days.start * DAY_MS, days.stop * DAY_MS
    begin = np.clip(runs.first, first, last)
    end = np.clip(np.minimum(runs.valid_until, now_ms), first, last)
    there = np.flatnonzero(end > begin)
    segment = _segments(begin[there], end[there], runs.state[there], machine[there], machines, days)
    shape, place = (machines, len(days)), segment.machine * len(days) + segment.begin // DAY_MS - days.start
    length = (segment.end - segment.begin).astype(np.float64)  # whole numbers, so that sums are exact
    is_running = (segment.seen[ANOMALOUS] > 0) | (segment.seen[NORMAL] > 0)
    kinds = (is_running, (segment.seen[OFF] > 0) & ~is_running, segment.seen[ANOMALOUS] > 0)
    size = shape[0] * shape[1]
    sums: list[Minutes] = [
        np.bincount(place[kind], length[kind], size).reshape(shape).astype(np.float64) / 60_000
        for kind in kinds
    ]
    return RunningTime(sums[0], sums[1], sums[2], _hours(segment, kinds[2], days, machines))


@dataclass(frozen=True)
class _Segments:
    """Stretches in which nothing changes, none of them across midnight; `seen` by state: how often."""

    machine: Ints
    begin: Ints
    end: Ints
    seen: NDArray[np.int64]


def _segments(begin: Ints, end: Ints, state: Ints, machine: Ints, machines: int, days: range) -> _Segments:
    midnights = np.arange(days.start, days.stop + 1) * DAY_MS
    everyone = np.repeat(np.arange(machines), len(midnights))
    of = np.concatenate((machine, machine, everyone))
    at = np.concatenate((begin, end, np.tile(midnights, machines)))
    change = np.zeros((len(at), 3), dtype=np.int64)
    number = np.arange(len(begin))
    change[number, state] = 1
    change[number + len(begin), state] = -1
    order = np.lexsort((at, of))
    of, at = of[order], at[order]
    seen = np.cumsum(change[order], axis=0)  # of each machine it ends at 0
    lasts = np.flatnonzero((of[1:] == of[:-1]) & (at[1:] > at[:-1]))
    return _Segments(of[lasts], at[lasts], at[lasts + 1], seen[lasts].T)


def _hours(segment: _Segments, anomalous: NDArray[np.bool_], days: range, machines: int) -> Ints:
    """Count the clock hours (UTC) of each day in which something was anomalous."""
    first, last = segment.begin[anomalous] // HOUR_MS, (segment.end[anomalous] - 1) // HOUR_MS
    count = last - first + 1
    each = np.repeat(np.arange(len(first)), count)
    hour = first[each] + np.arange(len(each)) - np.repeat(np.cumsum(count) - count, count)
    hours = 24 * len(days)
    touched = np.zeros(machines * hours, dtype=np.int64)
    touched[segment.machine[anomalous][each] * hours + hour - days.start * 24] = 1
    return np.asarray(touched.reshape(machines, len(days), 24).sum(axis=2))
