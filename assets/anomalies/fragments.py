"""Fragments: the runs of like points of one day, from which events are joined.

A fragment depends on no other day and on no setting, so later rules can use it as it is. Inside a run,
points are at most one usual step of that day apart, so a gap rule never splits a run. Points of another day
can lie between (`MAX_WINDOW`), and the usual step can be uncertain. There, a run can be expanded into
points: it is evenly spaced and normal, or a single anomalous point. Scores and contributions are summed as
integers, so that sums do not depend on the order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.anomalies.top_sensors import SUM_SCALE, sum_contributions
from assets.framework.time_windows import DAY_MS
from assets.tables import ANOMALY_FRAGMENTS, INSTANT, PARTITION

PREDICTION_COLUMNS = [
    "scheduler_arn",
    "scheduler_name",
    "data_start_time",
    "timestamp",
    "prediction",
    "prediction_reason",
    "anomaly_score",
    "model_version",
]
"""The columns of `anomaly_predictions` that this module reads."""

NORMAL, ANOMALOUS, OFF = range(3)
STATES = ("normal", "anomalous", "off")
"""The names of the point states, by number."""

MAX_WINDOW = timedelta(hours=1)
"""The longest window of the service: no result line is later than this after the start of its window."""

TRUSTED_STEPS = 10
"""How often the most frequent step of a day must occur to be trusted."""

MAX_WINDOW_MS = MAX_WINDOW // timedelta(milliseconds=1)
_STEP_LIMIT = 2 * DAY_MS  # longer than any step of a day, which spans a day and the longest window

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Points:
    """One point per scheduler, day and time, in that order; times in ms.

    Attributes:
        scheduler: the index in `arns`.
        day: the day of the execution, in days since 1970.
        start: the start of the execution's window.
        time: the time of the point.
        state: the index in `STATES`.
        version: the model version; -1: unknown.
        row: the row of the prediction.
        arns: the scheduler ARNs, sorted.
    """

    scheduler: Ints
    day: Ints
    start: Ints
    time: Ints
    state: Ints
    version: Ints
    row: Ints
    arns: pa.Array


def build_fragments(predictions: pa.Table, contributions: Iterable[pa.Table]) -> pa.Table:
    """Build the rows of `anomaly_fragments` with their `data_date`; each day is independent.

    Args:
        predictions: all rows of `anomaly_predictions` (`PREDICTION_COLUMNS`) of some days.
        contributions: all rows of `sensor_contributions` of the same days, in batches; they are read only if
            a point is anomalous.
    """
    points = select_points(predictions)
    step, step_count = find_usual_steps(points)
    heads = np.flatnonzero(_find_run_starts(points, step, step_count))
    ends = np.append(heads[1:], len(points.time)) - 1 if len(heads) else heads
    arns = points.arns.take(pa.array(points.scheduler[heads]))
    names = predictions["scheduler_name"].combine_chunks().take(pa.array(points.row[heads]))
    columns = {
        "scheduler_arn": arns,
        "scheduler_name": names,
        "first_time": _to_timestamps(points.time[heads]),
        "last_time": _to_timestamps(points.time[ends]),
        "state": pa.array(STATES).take(pa.array(points.state[heads])),
        "points": pa.array(ends - heads + 1),
        "model_version": pa.array(points.version[heads], mask=points.version[heads] < 0),
        "usual_step_ms": pa.array(step[heads], mask=step[heads] == 0),
        "usual_steps": pa.array(step_count[heads]),
        **_sum_scores(points, heads, predictions),
        **_sum_contributions(points, heads, contributions),
        PARTITION: pa.array(points.day[heads].astype(np.int32), pa.date32()),
    }
    schema = ANOMALY_FRAGMENTS.content_schema
    return pa.table(columns).cast(schema.append(pa.field(PARTITION, pa.date32())))


def select_points(predictions: pa.Table) -> Points:
    """Select one point per scheduler, day and time from result lines; the later execution wins.

    Lines without a state and lines outside the longest possible window of their execution are dropped.
    """
    start, time = (to_int64(predictions[name].cast(pa.int64())) for name in ("data_start_time", "timestamp"))
    state = _read_states(predictions)
    encoded_arns = predictions["scheduler_arn"].combine_chunks().dictionary_encode()
    arns = encoded_arns.dictionary.sort()
    ranks = to_int64(pc.index_in(encoded_arns.dictionary, arns).cast(pa.int64()))
    scheduler = ranks[to_int64(encoded_arns.indices)]
    version = to_int64(pc.fill_null(predictions["model_version"], -1))
    age = time - start
    usable = np.flatnonzero((state >= 0) & (age >= 0) & (age <= MAX_WINDOW_MS))
    day = start // DAY_MS
    order = usable[np.lexsort((start[usable], time[usable], day[usable], scheduler[usable]))]
    is_latest = np.ones(len(order), dtype=bool)
    is_latest[:-1] = _differs(scheduler[order]) | _differs(day[order]) | _differs(time[order])
    row = order[is_latest]
    return Points(scheduler[row], day[row], start[row], time[row], state[row], version[row], row, arns)


def find_usual_steps(points: Points) -> tuple[Ints, Ints]:
    """Find the most frequent step of each point's scheduler and day, in ms, and how often it occurs.

    A step is the distance of two adjacent points. If two steps are equally frequent, the shorter one wins.
    0: the day has one point only.
    """
    group = _number_scheduler_days(points)
    step = np.diff(points.time, prepend=0)
    inner = np.flatnonzero(~_is_first(group))
    if not len(inner):
        return np.zeros_like(group), np.zeros_like(group)
    pairs, pair_counts = np.unique(group[inner] * _STEP_LIMIT + step[inner], return_counts=True)
    pair_group, pair_step = np.divmod(pairs, _STEP_LIMIT)
    best = np.lexsort((pair_step, -pair_counts, pair_group))
    best = best[_is_first(pair_group[best])]
    usual, count = np.zeros(group[-1] + 1, dtype=np.int64), np.zeros(group[-1] + 1, dtype=np.int64)
    usual[pair_group[best]], count[pair_group[best]] = pair_step[best], pair_counts[best]
    return usual[group], count[group]


def to_int64(column: pa.ChunkedArray | pa.Array) -> Ints:
    """Convert an Arrow column of integers without nulls."""
    return column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)  # type: ignore[no-any-return]


def _find_run_starts(points: Points, usual_step: Ints, step_count: Ints) -> Flags:
    """Mark the first point of each run."""
    if not len(points.time):
        return np.zeros(0, dtype=bool)
    step = np.diff(points.time, prepend=0)
    is_anomalous = points.state == ANOMALOUS
    # where points of an adjacent day can lie between, and where the usual step is uncertain
    midnight = points.day * DAY_MS
    is_loose = (points.time < midnight + MAX_WINDOW_MS) | (points.time >= midnight + DAY_MS)
    is_loose |= step_count < TRUSTED_STEPS
    starts = _is_first(_number_scheduler_days(points)) | (step > usual_step)
    starts[1:] |= _differs(points.state) | _differs(points.version)
    starts[1:] |= _differs(points.time // DAY_MS)  # no run crosses midnight
    starts[1:] |= _differs(is_loose)
    starts |= is_loose & is_anomalous
    starts[1:] |= (is_loose & is_anomalous)[:-1]
    is_uneven = np.zeros_like(starts)
    is_uneven[1:] = _differs(step) & ~starts[:-1] & is_loose[1:]
    return starts | is_uneven


def _sum_scores(points: Points, heads: Ints, predictions: pa.Table) -> dict[str, pa.Array]:
    scores = predictions["anomaly_score"].combine_chunks().take(pa.array(points.row))
    values = scores.fill_null(np.nan).to_numpy(zero_copy_only=False)
    is_scored = (points.state == ANOMALOUS) & np.isfinite(values)
    scaled = np.where(is_scored, np.rint(np.where(is_scored, values, 0) * SUM_SCALE), 0).astype(np.int64)
    counts = _reduce_runs(np.add, is_scored.astype(np.int64), heads)
    peaks = _reduce_runs(np.maximum, scaled, heads) / SUM_SCALE
    return {
        "scored_points": pa.array(counts),
        "score_sum": pa.array(_reduce_runs(np.add, scaled, heads), mask=counts == 0),
        "peak_score": pa.array(peaks, mask=counts == 0),
    }


def _sum_contributions(points: Points, heads: Ints, contributions: Iterable[pa.Table]) -> dict[str, pa.Array]:
    is_anomalous = points.state == ANOMALOUS
    run = np.zeros(len(points.time), dtype=np.int64)
    run[heads] = 1
    run = np.cumsum(run) - 1
    anomalous_points = pa.table(
        {
            "scheduler_arn": points.arns.take(pa.array(points.scheduler[is_anomalous])),
            "data_start_time": _to_timestamps(points.start[is_anomalous]),
            "timestamp": _to_timestamps(points.time[is_anomalous]),
            "run": run[is_anomalous],
        }
    )
    diagnosed, sums = sum_contributions(contributions, anomalous_points, len(heads))
    return {"diagnosed_points": pa.array(diagnosed), "contribution_sums": sums}


def _read_states(predictions: pa.Table) -> Ints:
    """Return the state of each line; -1: it has none. The reason MACHINE_OFF overrides the prediction."""
    reason = pc.fill_null(predictions["prediction_reason"], "")
    prediction = to_int64(pc.fill_null(predictions["prediction"], -1))
    by_reason = to_int64(
        pc.fill_null(
            pc.index_in(reason, pa.array(["NO_ANOMALY_DETECTED", "ANOMALY_DETECTED", "MACHINE_OFF"])), -1
        ).cast(pa.int64())
    )
    state = np.where(np.isin(prediction, (NORMAL, ANOMALOUS)), prediction, by_reason)
    return np.where(by_reason == OFF, OFF, state)


def _number_scheduler_days(points: Points) -> Ints:
    changes = np.zeros(len(points.time), dtype=np.int64)
    changes[1:] = _differs(points.scheduler) | _differs(points.day)
    return np.cumsum(changes)


def _reduce_runs(function: np.ufunc, values: Ints, heads: Ints) -> Ints:
    return np.asarray(function.reduceat(values, heads)) if len(heads) else values[:0]


def _is_first(sorted_values: Ints) -> Flags:
    is_first = np.ones(len(sorted_values), dtype=bool)
    is_first[1:] = _differs(sorted_values)
    return is_first


def _differs(values: Ints | Flags) -> Flags:
    return np.asarray(values[1:] != values[:-1])


def _to_timestamps(ms: Ints) -> pa.Array:
    return pa.array(ms).cast(INSTANT)
