"""Results whose execution turned out to be another one.

The scheduler of a result in a bucket can become known, or ambiguous, after the result was read. Its rows then
move to the new execution, without reading the object again, or they are removed.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import partial

import pyarrow as pa

from assets.anomalies.execution_index import KEY, ExecutionIndex, ExecutionKey, find_execution_rows
from assets.anomalies.objects import ObjectRecords
from assets.framework.row_content import sort_by_key, stamp_changes
from assets.tables import (
    ANOMALY_PREDICTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.lake.lake import Lake
from resources.scheduler_arns import PLACEHOLDER

Moves = Mapping[ExecutionKey, ExecutionKey | None]
"""The new execution of each moved one; None: its rows are removed."""


def find_moves(
    executions: pa.Table, index: ExecutionIndex, records: ObjectRecords
) -> dict[ExecutionKey, ExecutionKey | None]:
    """Find the recorded objects that belong to another execution now, or to none.

    Args:
        executions: all executions of the day.
        index: those that have a result.
        records: the recorded objects.
    """
    stale = [key for key in records if key not in index.numbers]
    if not stale:
        return {}
    existing = set(zip(*(executions[name].to_pylist() for name in KEY), strict=True))
    moves: dict[ExecutionKey, ExecutionKey | None] = {}
    for key in stale:
        record = records[key]
        owners = index.executions_by_object.get((record["result_s3_bucket"], record["result_s3_key"]), [])
        target = index.keys[owners[0]] if len(owners) == 1 else None
        if target is not None and target not in records:
            moves[key] = target
        elif target is not None or key in existing or key[0].startswith(PLACEHOLDER):
            moves[key] = None
    return moves


def move_results(lake: Lake, day: date, moves: Moves, now: datetime) -> None:
    """Apply moves to the result tables of a day.

    `result_objects` is written last, so that an interrupted move is found and repeated.
    """
    if not moves:
        return
    for table in (ANOMALY_PREDICTIONS, REJECTED_RESULTS):
        lake.update(table, day, partial(_move_and_stamp, table, moves=moves, now=now))
    if lake.has(SENSOR_CONTRIBUTIONS, day):
        lake.update_row_groups(SENSOR_CONTRIBUTIONS, day, lambda groups: _move_groups(groups, moves))
    lake.update(RESULT_OBJECTS, day, partial(_move_and_stamp, RESULT_OBJECTS, moves=moves, now=now))


def _move_and_stamp(table: Table, rows: pa.Table, moves: Moves, now: datetime) -> pa.Table:
    moved = sort_by_key(table, move_rows(rows, moves)).drop_columns("recorded_at")
    return stamp_changes(table, moved, rows, now)


def _move_groups(groups: Iterable[pa.Table], moves: Moves) -> Iterator[pa.Table]:
    """Move rows in memory, because moved rows can belong anywhere in the order of the file."""
    if not any(moves.values()):  # rows are only removed
        yield from (rows for group in groups if (rows := move_rows(group, moves)).num_rows)
        return
    tables = [move_rows(group, moves) for group in groups]
    if tables:
        yield sort_by_key(SENSOR_CONTRIBUTIONS, pa.concat_tables(tables))


def move_rows(rows: pa.Table, moves: Moves) -> pa.Table:
    """Return rows with the keys of their new executions, in the same order; without the removed ones."""
    parts = [rows.slice(0, 0)]
    for execution in find_execution_rows(rows):
        part = rows.slice(execution.offset, execution.length)
        target = moves.get(execution.key, execution.key)
        if target is None:
            continue
        if target != execution.key:
            for name, value in zip(KEY, target, strict=True):
                position = part.schema.get_field_index(name)
                field = part.schema.field(name)
                column = pa.repeat(pa.scalar(value, field.type), part.num_rows)
                part = part.set_column(position, field, column)
        parts.append(part)
    return pa.concat_tables(parts)
