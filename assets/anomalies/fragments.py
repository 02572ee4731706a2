"""Points to fragments: the runs of like points of a day, from which events are joined.

A fragment keeps all that a later rule could ask: nothing of it depends on another day or on a setting. Within
a run no two points are farther apart than the usual step of that day, so no gap rule ever has to cut one.
Where points of another day may lie in between (`LONGEST_WINDOW`), and on days with too few points to know
the usual step, a run is one that can be taken apart again: normal points at even distances, or one anomalous
point. Scores and contributions are summed in whole billionths, so that sums are the same in any order.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.anomalies.top_sensors import sum_contributions
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
"""The columns of `anomaly_predictions` that the rule reads."""

NORMAL, ANOMALOUS, OFF = range(3)
STATES = ("normal", "anomalous", "off")
"""What a point says, by number and in words."""

LONGEST_WINDOW = timedelta(hours=1)
"""The longest window of the service: no line of a result lies farther from its start."""

TRUSTED_STEPS = 10
"""So often must the most frequent step of a day be found to be believed."""

BILLION = 1_000_000_000
DAY_MS = 86_400_000
_A_STEP = 2 * DAY_MS  # no step of a day is longer: a day and the longest window

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Points:
    """One point a scheduler, day and time, in that order; times in milliseconds, `row` is the prediction."""

    scheduler: Ints
    day: Ints
    start: Ints
    time: Ints
    state: Ints
    version: Ints  # -1: unknown
    row: Ints
    names: pa.Array  # the ARNs that `scheduler` numbers, sorted


def build_fragments(predictions: pa.Table, contributions: pa.Table) -> pa.Table:
    """Make the rows of `anomaly_fragments`, with their `data_date`; days do not touch each other.

    Args:
        predictions: rows of `anomaly_predictions` (`PREDICTION_COLUMNS`), whole days of them.
        contributions: rows of `sensor_contributions` of the same days.
    """
    found = select_points(predictions)
    step, count = find_usual_steps(found)
    heads = np.flatnonzero(_begins(found, step, count))
    return _rows(found, heads, step, count, predictions, contributions)


def select_points(predictions: pa.Table) -> Points:
    """Take the points out of result lines: one a scheduler, day and time, that of the later execution.

    A line that says nothing, and one that lies outside of any window that its execution could have had, is
    no point.
    """
    start, time = (_ms(predictions[name]) for name in ("data_start_time", "timestamp"))
    state = _states(predictions)
    arns = predictions["scheduler_arn"].combine_chunks().dictionary_encode()
    names = arns.dictionary.sort()
    scheduler = _ints(pc.index_in(arns.dictionary, names).cast(pa.int64()))[_ints(arns.indices)]
    version = _ints(pc.fill_null(predictions["model_version"], -1))
    late = time - start
    usable = np.flatnonzero(
        (state >= 0) & (late >= 0) & (late <= LONGEST_WINDOW // timedelta(milliseconds=1))
    )
    day = start // DAY_MS
    order = usable[np.lexsort((start[usable], time[usable], day[usable], scheduler[usable]))]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = _differs(scheduler[order]) | _differs(day[order]) | _differs(time[order])
    row = order[last]
    return Points(scheduler[row], day[row], start[row], time[row], state[row], version[row], row, names)


def find_usual_steps(found: Points) -> tuple[Ints, Ints]:
    """Return for each point the most frequent step of its scheduler and day, in ms, and how often it is.

    A step is the distance of two neighbours; of two that are as frequent the shorter one counts. 0: there is
    none.
    """
    group = _groups(found)
    step = np.diff(found.time, prepend=0)
    inner = np.flatnonzero(~_first(group))
    if not len(inner):
        return np.zeros_like(group), np.zeros_like(group)
    pairs, counts = np.unique(group[inner] * _A_STEP + step[inner], return_counts=True)
    of_group, length = np.divmod(pairs, _A_STEP)
    best = np.lexsort((length, -counts, of_group))
    best = best[_first(of_group[best])]
    usual, often = np.zeros(group[-1] + 1, dtype=np.int64), np.zeros(group[-1] + 1, dtype=np.int64)
    usual[of_group[best]], often[of_group[best]] = length[best], counts[best]
    return usual[group], often[group]


def _begins(found: Points, usual: Ints, count: Ints) -> Flags:
    """Mark the points that a run begins with."""
    if not len(found.time):
        return np.zeros(0, dtype=bool)
    step = np.diff(found.time, prepend=0)
    anomalous = found.state == ANOMALOUS
    # where points of the days beside may lie in between, and where the usual step is not sure
    midnight = found.day * DAY_MS
    loose = (found.time < midnight + LONGEST_WINDOW // timedelta(milliseconds=1)) | (
        found.time >= midnight + DAY_MS
    )
    loose |= count < TRUSTED_STEPS
    begins = _first(_groups(found)) | (step > usual)
    begins[1:] |= _differs(found.state) | _differs(found.version)
    begins[1:] |= _differs(found.time // DAY_MS)  # what is said of a day must not hide in the one before
    begins[1:] |= _differs(loose)
    begins |= loose & anomalous
    begins[1:] |= (loose & anomalous)[:-1]
    uneven = np.zeros_like(begins)
    uneven[1:] = _differs(step) & ~begins[:-1] & loose[1:]
    return begins | uneven


def _rows(
    found: Points, heads: Ints, usual: Ints, count: Ints, predictions: pa.Table, contributions: pa.Table
) -> pa.Table:
    ends = np.append(heads[1:], len(found.time)) - 1 if len(heads) else heads
    anomalous = found.state == ANOMALOUS
    run = np.zeros(len(found.time), dtype=np.int64)
    run[heads] = 1
    run = np.cumsum(run) - 1
    score = predictions["anomaly_score"].combine_chunks().take(pa.array(found.row))
    value = score.fill_null(np.nan).to_numpy(zero_copy_only=False)
    scored = anomalous & np.isfinite(value)
    exact = np.where(scored, np.rint(np.where(scored, value, 0) * BILLION), 0).astype(np.int64)
    sums, peaks = _reduced(np.add, exact, heads), _reduced(np.maximum, exact, heads)
    numbers = _reduced(np.add, scored.astype(np.int64), heads)
    diagnosed, told = sum_contributions(
        contributions,
        pa.table(
            {
                "scheduler_arn": found.names.take(pa.array(found.scheduler[anomalous])),
                "data_start_time": _instants(found.start[anomalous]),
                "timestamp": _instants(found.time[anomalous]),
                "run": run[anomalous],
            }
        ),
        len(heads),
    )
    without = numbers == 0
    columns = {
        "scheduler_arn": found.names.take(pa.array(found.scheduler[heads])),
        "scheduler_name": predictions["scheduler_name"].combine_chunks().take(pa.array(found.row[heads])),
        "first_time": _instants(found.time[heads]),
        "last_time": _instants(found.time[ends]),
        "state": pa.array(STATES).take(pa.array(found.state[heads])),
        "points": pa.array(ends - heads + 1),
        "model_version": pa.array(found.version[heads], mask=found.version[heads] < 0),
        "usual_step_ms": pa.array(usual[heads], mask=usual[heads] == 0),
        "usual_steps": pa.array(count[heads]),
        "scored_points": pa.array(numbers),
        "score_sum": pa.array(sums, mask=without),
        "peak_score": pa.array(peaks / BILLION, mask=without),
        "diagnosed_points": pa.array(diagnosed),
        "contribution_sums": told,
        PARTITION: pa.array(found.day[heads].astype(np.int32), pa.date32()),
    }
    schema = ANOMALY_FRAGMENTS.content_schema
    return pa.table(columns).cast(schema.append(pa.field(PARTITION, pa.date32())))


def _states(predictions: pa.Table) -> Ints:
    """Return what each line says; -1: nothing. The reason of a machine that is off goes before all else."""
    reason = pc.fill_null(predictions["prediction_reason"], "")
    prediction = _ints(pc.fill_null(predictions["prediction"], -1))
    by_reason = _ints(
        pc.fill_null(
            pc.index_in(reason, pa.array(["NO_ANOMALY_DETECTED", "ANOMALY_DETECTED", "MACHINE_OFF"])), -1
        ).cast(pa.int64())
    )
    said = np.where(np.isin(prediction, (NORMAL, ANOMALOUS)), prediction, by_reason)
    return np.where(by_reason == OFF, OFF, said)


def _groups(found: Points) -> Ints:
    """Number the scheduler-days."""
    changes = np.zeros(len(found.time), dtype=np.int64)
    changes[1:] = _differs(found.scheduler) | _differs(found.day)
    return np.cumsum(changes)


def _reduced(how: np.ufunc, values: Ints, heads: Ints) -> Ints:
    return np.asarray(how.reduceat(values, heads)) if len(heads) else values[:0]


def _first(sorted_values: Ints) -> Flags:
    first = np.ones(len(sorted_values), dtype=bool)
    first[1:] = _differs(sorted_values)
    return first


def _differs(values: Ints | Flags) -> Flags:
    return np.asarray(values[1:] != values[:-1])


def _ms(column: pa.ChunkedArray) -> Ints:
    return _ints(column.cast(pa.int64()))


def _ints(column: pa.ChunkedArray | pa.Array) -> Ints:
    return column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)  # type: ignore[no-any-return]


def _instants(ms: Ints) -> pa.Array:
    return pa.array(ms).cast(INSTANT)
