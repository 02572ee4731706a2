"""The result tables of a day after forgetting: results follow their executions, or are removed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from assets.anomalies.execution_index import KEY, ExecutionIndex, ExecutionKey, ObjectLocation
from assets.anomalies.merge import merge_predictions
from assets.anomalies.reassignment import ResultsPart, find_moves, list_keys, list_locations, move_results
from assets.framework.row_content import stamp_changes
from assets.tables import (
    ANOMALY_PREDICTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from resources.lake.lake import Lake
from resources.lake.shards import Shard, list_shards

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
    shards = list_shards(lake.shards(RESULT_OBJECTS, day))

    def read_parts() -> Iterator[ResultsPart]:
        return (ResultsPart.read(lake, day, shard) for shard in shards)

    stale, moves = dict[ExecutionKey, ObjectLocation](), dict[ExecutionKey, ExecutionKey | None]()
    for part in read_parts():
        stale |= part.find_stale()
        moves |= dict.fromkeys(_find_replaced(part))
    moves |= dict.fromkeys(stale) | find_moves(stale, read_parts())
    move_results(lake, day, moves, now)
    is_renamed, unread = False, 0
    for shard, part in zip(shards, read_parts(), strict=True):
        is_renamed |= _update_execution_columns(lake, day, shard, part.index, now)
        unread += len(part.index) - int((part.index.find_numbers(part.objects) >= 0).sum())
    return ChangedResults(is_changed=bool(moves) or is_renamed, unread=unread)


def _find_replaced(part: ResultsPart) -> Iterator[ExecutionKey]:
    """Yield the recorded objects whose execution has another object now."""
    numbers = part.index.find_numbers(part.objects).tolist()
    locations = part.index.locations
    recorded = zip(numbers, list_keys(part.objects), list_locations(part.objects), strict=True)
    for number, key, location in recorded:
        if number >= 0 and locations[number] != location:
            yield key


def _update_execution_columns(
    lake: Lake, day: date, shard: Shard, index: ExecutionIndex, now: datetime
) -> bool:
    """Copy the scheduler names and model versions of the executions to their results."""
    is_changed = False
    if lake.has(ANOMALY_PREDICTIONS, day):
        predictions = lake.update(
            ANOMALY_PREDICTIONS,
            day,
            lambda existing: merge_predictions(existing, index, [], (), now),
            encoded=True,
            shard=shard,
        )
        is_changed = predictions.changed
    objects = lake.update(
        RESULT_OBJECTS, day, lambda existing: _update_names(existing, index, now), shard=shard
    )
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


def count_results(lake: Lake, day: date, shard: Shard, removed: set[ExecutionKey]) -> dict[str, int]:
    """Count the rows of some executions of a shard in each result table."""
    return {
        table.name: sum(_count_rows(rows, removed) for rows in lake.read_row_groups(table, day, shard, KEY))
        for table in (RESULT_TABLES if removed else ())
    }


def _count_rows(batch: pa.Table, removed: set[ExecutionKey]) -> int:
    groups = batch.group_by(list(KEY)).aggregate([([], "count_all")]).to_pylist()
    return sum(group["count_all"] for group in groups if (group[KEY[0]], group[KEY[1]]) in removed)
