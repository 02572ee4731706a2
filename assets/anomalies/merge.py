"""Merge rules for the result tables of a day: which stored rows new results replace.

An object that was read replaces all rows of its execution. All other rows stay, also when their object is
gone or was not read again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import KEY, ExecutionIndex, find_execution_rows
from assets.framework.row_content import stamp_changes
from assets.tables import ANOMALY_PREDICTIONS, REJECTED_RESULTS, Table

MIN_ROW_GROUP_ROWS = 262_144


def merge_predictions(
    existing: pa.Table,
    index: ExecutionIndex,
    lines: Sequence[pa.Table],
    replaced: Collection[int],
    now: datetime,
) -> pa.Table:
    """Build the rows of `anomaly_predictions` for a day.

    Args:
        existing: the rows in the lake.
        index: the executions of the day.
        lines: parsed lines after `ExecutionIndex.assign_executions`.
        replaced: the numbers of the executions whose objects were read.
        now: `recorded_at` of rows whose content changes.
    """
    existing_rows = _update_execution_columns(_drop_replaced(existing, index, replaced), index)
    new = _add_execution_columns(lines, index, ["scheduler_name", "model_version"])
    return _combine(ANOMALY_PREDICTIONS, [existing_rows, *new], existing, now)


def merge_rejected_results(
    existing: pa.Table,
    index: ExecutionIndex,
    rejected: Sequence[pa.Table],
    replaced: Collection[int],
    now: datetime,
) -> pa.Table:
    """Build the rows of `rejected_results` for a day; arguments as in `merge_predictions`."""
    new = _add_execution_columns(rejected, index, ["result_s3_bucket", "result_s3_key"])
    return _combine(REJECTED_RESULTS, [_drop_replaced(existing, index, replaced), *new], existing, now)


def merge_sensor_contributions(
    existing: Iterable[pa.Table],
    index: ExecutionIndex,
    new: ContributionBuffer,
    replaced: Collection[int],
    now: datetime,
) -> Iterator[pa.Table]:
    """Build the rows of `sensor_contributions` for a day, as a stream of tables.

    Args:
        existing: the rows in the lake, in key order, as a stream of tables.
        index: the executions of the day.
        new: the contributions that were read.
        replaced: the numbers of the executions whose rows are replaced.
        now: `recorded_at` of the new rows.
    """
    return _regroup(_merge_in_key_order(existing, index, new, replaced, now))


def find_changed_executions(
    existing: Iterable[pa.Table], index: ExecutionIndex, new: ContributionBuffer, read: Collection[int]
) -> set[int]:
    """Find the executions in `read` whose contributions differ from the rows in the lake."""
    stored: dict[int, list[pa.Table]] = {number: [] for number in read}
    for table in existing:
        for rows in find_execution_rows(table):
            number = index.numbers.get(rows.key, -1)
            if number in stored:
                values = table.slice(rows.offset, rows.length).select(ContributionBuffer.VALUES)
                stored[number].append(values)
    return {number for number, tables in stored.items() if not new.equals_stored(number, tables)}


def _merge_in_key_order(
    existing: Iterable[pa.Table],
    index: ExecutionIndex,
    new: ContributionBuffer,
    replaced: Collection[int],
    now: datetime,
) -> Iterator[pa.Table]:
    """Yield the kept rows and the new rows, one table per execution."""
    pending = sorted(set(replaced) & new.executions)
    for table in existing:
        kept_rows = [
            rows for rows in find_execution_rows(table) if index.numbers.get(rows.key, -1) not in replaced
        ]
        last_key = max((rows.key for rows in kept_rows), default=None)
        due = [number for number in pending if last_key is not None and index.keys[number] < last_key]
        pending = pending[len(due) :]
        keyed_tables = [
            *((rows.key, table.slice(rows.offset, rows.length)) for rows in kept_rows),
            *((index.keys[number], new.build_rows(number, index, now)) for number in due),
        ]
        for _, part in sorted(keyed_tables, key=lambda keyed_table: keyed_table[0]):
            yield part
    for number in pending:
        yield new.build_rows(number, index, now)


def _regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Combine small tables, because each becomes a row group."""
    waiting: list[pa.Table] = []
    row_count = 0
    for table in tables:
        waiting.append(table)
        row_count += table.num_rows
        if row_count >= MIN_ROW_GROUP_ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, row_count = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _drop_replaced(existing: pa.Table, index: ExecutionIndex, replaced: Collection[int]) -> pa.Table:
    if not replaced:
        return existing
    is_kept = np.ones(existing.num_rows, bool)
    for rows in find_execution_rows(existing):
        if index.numbers.get(rows.key, -1) in replaced:
            is_kept[rows.offset : rows.offset + rows.length] = False
    return existing if is_kept.all() else existing.filter(pa.array(is_kept))


def _update_execution_columns(rows: pa.Table, index: ExecutionIndex) -> pa.Table:
    """Copy the scheduler name and model version of each execution to its kept rows.

    An execution can learn them after its object was read.
    """
    numbers = index.find_numbers(rows)
    is_known = pa.array(numbers >= 0)
    positions = pa.array(numbers, mask=numbers < 0)
    for name in ("scheduler_name", "model_version"):
        current = index.rows[name].combine_chunks().take(positions)
        column = pc.if_else(is_known, current, rows[name].combine_chunks())
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows


def _add_execution_columns(
    tables: Sequence[pa.Table], index: ExecutionIndex, names: Sequence[str]
) -> list[pa.Table]:
    def add_columns(rows: pa.Table) -> pa.Table:
        executions = index.rows.select([*KEY, *names]).take(rows["execution"])
        for name in executions.schema.names:
            rows = rows.append_column(name, executions[name])
        return rows.drop_columns("execution")

    return [add_columns(rows) for rows in tables]


def _combine(table: Table, parts: Sequence[pa.Table], existing: pa.Table, now: datetime) -> pa.Table:
    combined: Any = pa.concat_tables(
        [table.schema.empty_table(), *map(_drop_recorded_at, parts)], promote_options="permissive"
    )
    return stamp_changes(table, combined, existing, now)


def _drop_recorded_at(rows: pa.Table) -> pa.Table:
    return rows.drop_columns("recorded_at") if "recorded_at" in rows.schema.names else rows
