"""The result tables of a day after forgetting: results follow their executions, or are removed."""

from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from assets.anomalies.execution_index import COLUMNS, KEY, ExecutionIndex, ExecutionKey
from assets.anomalies.merge import merge_predictions
from assets.anomalies.objects import index_object_records
from assets.anomalies.reassignment import find_moves, move_results
from assets.framework.row_content import stamp_changes
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from resources.lake.lake import Lake

RESULT_TABLES = (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)


@dataclass(frozen=True)
class ChangedResults:
    """Whether any table of a day changed, and which executions have other results now."""

    is_changed: bool
    unread: int


def update_results(lake: Lake, day: date, now: datetime) -> ChangedResults:
    """Move the results of a day to their present executions, and remove the others.

    A result whose execution has another object now is removed, and is read by the next run.
    """
    if not lake.has(RESULT_OBJECTS, day):
        return ChangedResults(is_changed=False, unread=0)
    executions = lake.read(INFERENCE_EXECUTIONS, day, COLUMNS)
    index = ExecutionIndex.from_executions(executions)
    moves = _find_moves(executions, index, lake.read(RESULT_OBJECTS, day))
    move_results(lake, day, moves, now)
    is_renamed = _update_execution_columns(lake, day, index, now)
    recorded = index_object_records(lake.read(RESULT_OBJECTS, day))
    return ChangedResults(
        is_changed=bool(moves) or is_renamed, unread=sum(key not in recorded for key in index.keys)
    )


def _find_moves(
    executions: pa.Table, index: ExecutionIndex, objects: pa.Table
) -> dict[ExecutionKey, ExecutionKey | None]:
    records = index_object_records(objects)
    moves = find_moves(executions, index, records)
    for key, record in records.items():
        number = index.numbers.get(key)
        location = record["result_s3_bucket"], record["result_s3_key"]
        if number is None or index.locations[number] != location:
            moves.setdefault(key, None)
    return moves


def _update_execution_columns(lake: Lake, day: date, index: ExecutionIndex, now: datetime) -> bool:
    """Copy the scheduler names and model versions of the executions to their results."""
    is_changed = False
    if lake.has(ANOMALY_PREDICTIONS, day):
        predictions = lake.update(
            ANOMALY_PREDICTIONS, day, lambda existing: merge_predictions(existing, index, [], (), now)
        )
        is_changed = predictions.changed
    objects = lake.update(RESULT_OBJECTS, day, lambda existing: _update_names(existing, index, now))
    return is_changed or objects.changed


def _update_names(existing: pa.Table, index: ExecutionIndex, now: datetime) -> pa.Table:
    names = index.rows["scheduler_name"].to_pylist()
    keys = zip(*(existing[name].to_pylist() for name in KEY), strict=True)
    before = existing["scheduler_name"].to_pylist()
    column = [
        names[index.numbers[key]] if key in index.numbers else name
        for key, name in zip(keys, before, strict=True)
    ]
    position = existing.schema.get_field_index("scheduler_name")
    rows = existing.set_column(position, existing.schema.field(position), pa.array(column, pa.string()))
    return stamp_changes(RESULT_OBJECTS, rows, existing, now)


def count_results(lake: Lake, day: date, removed: set[ExecutionKey]) -> dict[str, int]:
    """Count the rows of some executions in each result table."""
    counts = {}
    for table in RESULT_TABLES if removed else ():
        counts[table.name] = sum(
            _count_rows(batch, removed)
            for number in range(lake.shards(table, day))
            for batch in lake.read_batches(table, day, list(KEY), number)
        )
    return counts


def _count_rows(batch: pa.Table, removed: set[ExecutionKey]) -> int:
    groups = batch.group_by(list(KEY)).aggregate([([], "count_all")]).to_pylist()
    return sum(group["count_all"] for group in groups if (group[KEY[0]], group[KEY[1]]) in removed)
