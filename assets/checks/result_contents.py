"""Rules that compare the contents of result objects with the executions that they belong to.

The key of a result shows the start of its data window. Its lines have their own times, and their diagnostics
name the sensors of one model. Both show whether a result belongs to its execution.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.checks.result import EXAMPLES, CheckOutcome, summarize
from assets.tables import SENSOR_CONTRIBUTIONS
from resources.sources.bucket import KIND
from resources.sources.bucket_keys import infer_frequency

KEY = ["scheduler_arn", "data_start_time"]
EXECUTION_COLUMNS = [*KEY, "scheduler_name", "data_end_time", "source", "outcome_source"]
PREDICTION_COLUMNS = [*KEY, "timestamp"]
DIAGNOSTIC_COLUMNS = list(SENSOR_CONTRIBUTIONS.key)

_LONGEST_WINDOW = timedelta(hours=1)
"""The longest data window of the service, for executions whose end is unknown."""

_TIMES_SQL = (
    "ledger sql 'SELECT scheduler_arn, data_start_time, min(timestamp), max(timestamp)"
    " FROM anomaly_predictions GROUP BY ALL'"
)


def find_times_outside_window(executions: pa.Table, predictions: pa.Table) -> tuple[int, pa.Table]:
    """Find the results of a day with lines before the start or after the end of their data window.

    Args:
        executions: `inference_executions` (`EXECUTION_COLUMNS`).
        predictions: `anomaly_predictions` (`PREDICTION_COLUMNS`).

    Returns:
        The number of results with lines, and those with lines outside: `scheduler_name`, `data_start_time`,
        and the first and last time of the lines.
    """
    bounds = predictions.group_by(KEY).aggregate([("timestamp", "min"), ("timestamp", "max")])
    rows = bounds.join(executions.select([*KEY, "scheduler_name", "data_end_time"]), KEY, join_type="inner")
    starts = rows["data_start_time"]
    longest = pc.add(starts, pa.scalar(_LONGEST_WINDOW, pa.duration("ms")))
    ends = pc.coalesce(rows["data_end_time"], longest)
    is_outside = pc.or_(pc.less(rows["timestamp_min"], starts), pc.greater(rows["timestamp_max"], ends))
    columns = ["scheduler_name", "data_start_time", "timestamp_min", "timestamp_max"]
    return rows.num_rows, rows.filter(is_outside).select(columns).sort_by("data_start_time")


def evaluate_result_times_in_window(results: int, outside: Sequence[pa.Table]) -> CheckOutcome:
    """Check that the lines of each result are in the data window of its execution.

    Args:
        results: the number of results with lines.
        outside: those of each day with lines outside, from `find_times_outside_window`.
    """
    rows = [row for table in outside for row in table.slice(0, EXAMPLES).to_pylist()]
    count = sum(table.num_rows for table in outside)
    names = sorted({str(name) for table in outside for name in table["scheduler_name"].unique().to_pylist()})
    message = f"{results:,} results examined: their lines are in the data windows of their executions."
    if not results:
        message = "No result of these days has lines, so no time was examined."
    if names:
        message = (
            f"{count:,} of {results:,} results have lines outside the data window of their execution:"
            f" {summarize(names)}. The time in the key of a result should be the start of its window. If all"
            " lines of a scheduler differ by the same number of hours, set time_zone of its source."
        )
    return CheckOutcome(
        not names,
        message,
        {"results": results, "outside": count},
        rows[:EXAMPLES],
        [_TIMES_SQL] if names else [],
        problem_ids=names,
    )


@dataclass(frozen=True)
class SharedPrefix:
    """Evidence that several schedulers wrote the results of one; `day` is when."""

    day: date
    name: str
    evidence: str


@dataclass
class SensorSets:
    """A digest of the sensors in the first line with diagnostics of each result of a day.

    A result has all sensors of its model in each such line, so equal digests mean one model.
    """

    _lines: dict[tuple[str, datetime], tuple[datetime, int, int]] = field(default_factory=dict)

    def add(self, rows: pa.Table) -> None:
        """Add rows of `sensor_contributions` (`DIAGNOSTIC_COLUMNS`), sorted by key, in any batches."""
        if not rows.num_rows:
            return
        names = rows["diagnostic_name"].combine_chunks().dictionary_encode()
        digests = np.array([_digest(name) for name in names.dictionary.to_pylist()], np.uint64)
        firsts = _find_line_starts(rows)
        sums = np.add.reduceat(digests[names.indices.to_numpy()], firsts)
        counts = np.diff([*firsts, rows.num_rows])
        lines = rows.select([*KEY, "timestamp"]).take(pa.array(firsts))
        for arn, start, time, total, count in zip(*lines.to_pydict().values(), sums, counts, strict=True):
            known = self._lines.get((arn, start))
            if known is None or time < known[0]:
                self._lines[arn, start] = time, int(total), int(count)
            elif time == known[0]:  # the line continues in the next batch
                digest = (known[1] + int(total)) % 2**64
                self._lines[arn, start] = time, digest, known[2] + int(count)

    @property
    def results(self) -> int:
        """The number of results."""
        return len(self._lines)

    def list_by_scheduler(self) -> Mapping[str, list[tuple[datetime, int, int]]]:
        """Return start, digest and number of sensors of each result, by ARN, in the order of time."""
        results: dict[str, list[tuple[datetime, int, int]]] = {}
        for (arn, start), (_, total, count) in sorted(self._lines.items()):
            results.setdefault(arn, []).append((start, total, count))
        return results


def _digest(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())


def _find_line_starts(rows: pa.Table) -> NDArray[np.int64]:
    """Return the positions at which another line begins than in the row before."""
    is_new = np.zeros(rows.num_rows, bool)
    is_new[0] = True
    for name in DIAGNOSTIC_COLUMNS[:-1]:
        column = rows[name].combine_chunks()
        is_new[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(is_new)


def select_bucket_rows(executions: pa.Table) -> pa.Table:
    """Return the executions (`EXECUTION_COLUMNS`) whose identity or outcome comes from a bucket."""
    is_bucket = (pc.equal(executions[name], KIND) for name in ("source", "outcome_source"))
    return executions.filter(pc.or_(*is_bucket))


def find_shared_prefixes(day: date, executions: pa.Table, sensors: SensorSets) -> list[SharedPrefix]:
    """Find the schedulers of a bucket whose results of a day come from several schedulers.

    The starts of their windows contradict a single frequency, or the sensors of their results alternate. A
    model that is replaced changes the sensors once.

    Args:
        day: the day.
        executions: rows of `select_bucket_rows`.
        sensors: the sensors of its results.
    """
    sets = sensors.list_by_scheduler()
    shared = []
    by_scheduler = executions.group_by("scheduler_arn").aggregate(
        [("data_start_time", "list"), ("scheduler_name", "max")]
    )
    for row in sorted(by_scheduler.to_pylist(), key=lambda row: row["scheduler_arn"]):
        name = row["scheduler_name_max"] or row["scheduler_arn"]
        grid = infer_frequency(sorted(row["data_start_time_list"]))
        evidence = [grid.text] if grid.is_mixed else []
        evidence += _describe_alternation(sets.get(row["scheduler_arn"], []))
        shared += [SharedPrefix(day, name, text) for text in evidence]
    return shared


def _describe_alternation(results: Sequence[tuple[datetime, int, int]]) -> list[str]:
    """Describe sets of sensors that return after another one; none if there is at most one change."""
    changes = sum(earlier[1] != later[1] for earlier, later in pairwise(results))
    counts = {total: count for _, total, count in results}
    # each set occurs in one contiguous range, as when a model is replaced
    if not results or len(counts) >= changes + 1:
        return []
    sizes = ", ".join(str(count) for count in sorted(counts.values()))
    times = f"{results[0][0]:%H:%M} to {results[-1][0]:%H:%M} UTC"
    return [f"{len(counts)} sets of sensors ({sizes} sensors) alternate, {changes:,} times from {times}"]


def evaluate_output_prefixes_not_shared(
    schedulers: int, with_sensors: int, shared: Iterable[SharedPrefix]
) -> CheckOutcome:
    """Check that the results of each output prefix come from one scheduler.

    Args:
        schedulers: the number of schedulers that a bucket shows, on all days together.
        with_sensors: the number of their results whose sensors were compared.
        shared: the evidence of all days.
    """
    found = list(shared)
    names = sorted({item.name for item in found})
    message = (
        f"{schedulers:,} schedulers from buckets examined: nothing in their times, or in the sensors of"
        f" {with_sensors:,} results, contradicts one scheduler per output prefix."
    )
    if not schedulers:
        message = "No execution of these days comes from a bucket."
    elif not with_sensors:
        message = (
            f"{schedulers:,} schedulers from buckets examined: nothing in their times contradicts one"
            " scheduler per output prefix. No result with sensors was read, so sensors were not compared."
        )
    if names:
        message = (
            f"Several schedulers seem to write to the output prefix of {summarize(names)}:"
            f" {found[0].evidence} on {found[0].day}. Their executions cannot be distinguished."
        )
    return CheckOutcome(
        not names,
        message,
        {"schedulers": schedulers, "results_with_sensors": with_sensors, "shared": len(names)},
        [{"day": item.day, "scheduler": item.name, "evidence": item.evidence} for item in found],
        [],
        problem_ids=names,
    )
