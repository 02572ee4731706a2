"""Anomaly events, joined from the fragments of any number of days.

An event is a maximal run of consecutive anomalous points of one scheduler. A normal point, a point with the
machine off, or a gap in the data ends it. Events do not depend on the days that were processed together or
on their order: they equal the events of one pass over the whole history.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.anomalies.fragments import ANOMALOUS, Ints
from assets.anomalies.timeline import Timeline, build_timeline
from assets.anomalies.top_sensors import SUM_SCALE, add_contribution_sums, rank_top_sensors
from assets.framework.row_content import stamp_changes
from assets.tables import ANOMALY_EVENTS, INSTANT

CLOSED, OPEN, CUT = range(3)
_STATES = ["closed", "open", "cut"]


@dataclass(frozen=True)
class EventRule:
    """The settings for events.

    Attributes:
        gap_steps: An interval without points that is longer than this many usual steps ends an event.
        min_duration: Shorter events are dropped.
    """

    gap_steps: float = 2.0
    min_duration: timedelta = timedelta(0)


@dataclass(frozen=True)
class EventSpans:
    """Events as ranges of a timeline's runs, `first` to `last` inclusive.

    Times are in ms; `state` is CLOSED, OPEN or CUT.
    """

    first: Ints
    last: Ints
    start: Ints
    end: Ints
    state: Ints
    after_gap: NDArray[np.bool_]


def join_events(fragments: pa.Table, rule: EventRule, existing: pa.Table, now: datetime) -> pa.Table:
    """Build the rows of `anomaly_events` from all fragments.

    Args:
        fragments: rows of `anomaly_fragments` with their `data_date`.
        rule: the settings for events.
        existing: the rows in the lake.
        now: `recorded_at` of rows whose content changes.
    """
    runs = build_timeline(fragments)
    return stamp_changes(
        ANOMALY_EVENTS, _build_rows(runs, find_event_spans(runs, rule), fragments), existing, now
    )


def find_event_spans(runs: Timeline, rule: EventRule) -> EventSpans:
    """Find the events of a timeline."""
    gap, anomalous = runs.follows_gap(rule.gap_steps), runs.state == ANOMALOUS
    continues_previous = np.zeros(len(gap), dtype=bool)
    continues_previous[1:] = anomalous[1:] & anomalous[:-1] & ~gap[1:]
    first = np.flatnonzero(anomalous & ~continues_previous)
    continues_in_next = np.zeros(len(gap), dtype=bool)
    continues_in_next[:-1] = continues_previous[1:]
    last = np.flatnonzero(anomalous & ~continues_in_next)
    state = np.full(len(gap), OPEN)
    state[:-1] = np.where(runs.is_first_of_scheduler[1:], OPEN, np.where(gap[1:], CUT, CLOSED))
    start, end = runs.first[first], runs.valid_until[last]
    is_long_enough = end - start >= rule.min_duration // timedelta(milliseconds=1)
    first, last = first[is_long_enough], last[is_long_enough]
    return EventSpans(first, last, start[is_long_enough], end[is_long_enough], state[last], gap[first])


def compute_event_id(scheduler_arn: str, start: datetime) -> str:
    """Hash scheduler and start, so that the id stays the same while the event grows."""
    return blake2b(
        f"{scheduler_arn}\n{start.astimezone(UTC).isoformat()}".encode(), digest_size=10
    ).hexdigest()


def _build_rows(runs: Timeline, spans: EventSpans, fragments: pa.Table) -> pa.Table:
    lengths = spans.last - spans.first + 1
    heads = np.cumsum(lengths) - lengths  # the position of each event's first run among the runs of events
    event = np.repeat(np.arange(len(spans.first)), lengths)
    event_runs = np.arange(len(event)) - heads[event] + spans.first[event]
    rows = fragments.take(pa.array(runs.row[event_runs]))
    points = np.add.reduceat(runs.points[event_runs], heads) if len(heads) else heads
    score_sums, scored = (_sum_by_event(rows[name], heads) for name in ("score_sum", "scored_points"))
    peaks = rows["peak_score"].combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False)
    peaks = np.maximum.reduceat(peaks, heads) if len(heads) else peaks
    sensors = _add_contributions(rows, heads)
    diagnosed = _sum_by_event(rows["diagnosed_points"], heads).tolist()
    head_rows = rows.take(pa.array(heads))
    arns = head_rows["scheduler_arn"].to_pylist()
    starts = pa.array(spans.start).cast(INSTANT)
    columns = {
        "event_id": [
            compute_event_id(arn, start) for arn, start in zip(arns, starts.to_pylist(), strict=True)
        ],
        "scheduler_arn": arns,
        "scheduler_name": head_rows["scheduler_name"],
        "start_time": starts,
        "end_time": pa.array(spans.end).cast(INSTANT),
        "duration_seconds": (spans.end - spans.start) / 1000,
        "points": points,
        "peak_score": pa.array(peaks, mask=scored == 0),
        "mean_score": pa.array(score_sums / np.maximum(scored, 1) / SUM_SCALE, mask=scored == 0),
        "sensors": [len(sums) for sums in sensors],
        "top_sensors": [
            rank_top_sensors(sums, count) for sums, count in zip(sensors, diagnosed, strict=True)
        ],
        "model_version": head_rows["model_version"],
        "state": pa.array(_STATES).take(pa.array(spans.state)),
        "began_after_gap": spans.after_gap,
    }
    schema = ANOMALY_EVENTS.content_schema
    return pa.table(columns).cast(schema)


def _sum_by_event(column: pa.ChunkedArray, heads: Ints) -> Ints:
    values = column.combine_chunks().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.add.reduceat(values, heads) if len(heads) else values


def _add_contributions(rows: pa.Table, heads: Ints) -> list[dict[str, int]]:
    sums = rows["contribution_sums"].to_pylist()
    ends = np.append(heads, len(sums))[1:]
    return [add_contribution_sums(sums[start:end]) for start, end in zip(heads, ends, strict=True)]
