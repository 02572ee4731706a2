"""Events: stretches of anomalous points, joined from fragments of any number of days.

An event is a longest row of anomalous points of one scheduler that no normal point, no machine that is off
and no gap interrupts. Law: the events of any fragments of the same points, made in any order and of any
days at a time, are those of one pass over the whole history.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.anomalies.fragments import ANOMALOUS, BILLION, Ints
from assets.anomalies.timeline import Timeline, build_timeline
from assets.anomalies.top_sensors import add_contribution_sums, rank_top_sensors
from assets.framework.row_content import stamp_changes
from assets.tables import ANOMALY_EVENTS, INSTANT

CLOSED, OPEN, CUT = range(3)
_STATES = pa.array(["closed", "open", "cut"])


@dataclass(frozen=True)
class EventRule:
    """What the settings say of events.

    Attributes:
        gap_steps: A longer silence than so many usual steps cuts an event.
        min_duration: Shorter events are none.
    """

    gap_steps: float = 2.0
    min_duration: timedelta = timedelta(0)


@dataclass(frozen=True)
class EventSpans:
    """Events as runs `first` to `last` of a timeline; times in ms, `state` as its number."""

    first: Ints
    last: Ints
    start: Ints
    end: Ints
    state: Ints
    after_gap: NDArray[np.bool_]


def join_events(fragments: pa.Table, rule: EventRule, existing: pa.Table, now: datetime) -> pa.Table:
    """Make the rows of `anomaly_events` out of all fragments.

    Args:
        fragments: rows of `anomaly_fragments` with their `data_date`.
        rule: what the settings say.
        existing: the rows as recorded.
        now: becomes `recorded_at` of rows whose content changes.
    """
    runs = build_timeline(fragments)
    return stamp_changes(ANOMALY_EVENTS, _rows(runs, find_event_spans(runs, rule), fragments), existing, now)


def find_event_spans(runs: Timeline, rule: EventRule) -> EventSpans:
    """Find the events of a timeline."""
    gap, anomalous = runs.follows_gap(rule.gap_steps), runs.state == ANOMALOUS
    joined = np.zeros(len(gap), dtype=bool)  # with the run before
    joined[1:] = anomalous[1:] & anomalous[:-1] & ~gap[1:]
    first = np.flatnonzero(anomalous & ~joined)
    goes_on = np.zeros(len(gap), dtype=bool)
    goes_on[:-1] = joined[1:]
    last = np.flatnonzero(anomalous & ~goes_on)
    state = np.full(len(gap), OPEN)
    state[:-1] = np.where(runs.is_first_of_scheduler[1:], OPEN, np.where(gap[1:], CUT, CLOSED))
    start, end = runs.first[first], runs.valid_until[last]
    enough = end - start >= rule.min_duration // timedelta(milliseconds=1)
    first, last, start, end = first[enough], last[enough], start[enough], end[enough]
    return EventSpans(first, last, start, end, state[last], gap[first])


def compute_event_id(scheduler_arn: str, start: datetime) -> str:
    """Name an event by its scheduler and start: it stays the same while the event grows."""
    return blake2b(
        f"{scheduler_arn}\n{start.astimezone(UTC).isoformat()}".encode(), digest_size=10
    ).hexdigest()


def _rows(runs: Timeline, found: EventSpans, fragments: pa.Table) -> pa.Table:
    number = np.repeat(np.arange(len(found.first)), found.last - found.first + 1)
    heads = np.cumsum(found.last - found.first + 1) - (found.last - found.first + 1)
    inside = np.arange(len(number)) - heads[number] + found.first[number]  # the runs of all events
    rows = fragments.take(pa.array(runs.row[inside]))
    points = np.add.reduceat(runs.points[inside], heads) if len(heads) else heads
    sums, scored = (_summed(rows[name], heads) for name in ("score_sum", "scored_points"))
    peaks = rows["peak_score"].combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False)
    peaks = np.maximum.reduceat(peaks, heads) if len(heads) else peaks
    diagnosed, told = _summed(rows["diagnosed_points"], heads), rows["contribution_sums"].to_pylist()
    sensors = [
        add_contribution_sums(told[start:end])
        for start, end in zip(heads, np.append(heads, len(told))[1:], strict=True)
    ]
    head = rows.take(pa.array(heads))
    arns = head["scheduler_arn"].to_pylist()
    starts = pa.array(found.start).cast(INSTANT)
    columns = {
        "event_id": [
            compute_event_id(arn, start) for arn, start in zip(arns, starts.to_pylist(), strict=True)
        ],
        "scheduler_arn": arns,
        "scheduler_name": head["scheduler_name"],
        "start_time": starts,
        "end_time": pa.array(found.end).cast(INSTANT),
        "duration_seconds": (found.end - found.start) / 1000,
        "points": points,
        "peak_score": pa.array(peaks, mask=scored == 0),
        "mean_score": pa.array(sums / np.maximum(scored, 1) / BILLION, mask=scored == 0),
        "sensors": [len(each) for each in sensors],
        "top_sensors": [
            rank_top_sensors(each, count) for each, count in zip(sensors, diagnosed.tolist(), strict=True)
        ],
        "model_version": head["model_version"],
        "state": _STATES.take(pa.array(found.state)),
        "began_after_gap": found.after_gap,
    }
    schema = ANOMALY_EVENTS.content_schema
    return pa.table(columns).cast(schema)


def _summed(column: pa.ChunkedArray, heads: Ints) -> Ints:
    values = column.combine_chunks().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.add.reduceat(values, heads) if len(heads) else values
