"""Merge rules for the result tables of a day: which stored rows new results replace.

An object that was read replaces all rows of its execution. All other rows stay, also when their object is
gone or was not read again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import KEY, ExecutionIndex, find_execution_rows
from assets.framework.row_content import stamp_changes
from assets.tables import ANOMALY_PREDICTIONS, REJECTED_RESULTS, Table
from resources.encoded_texts import decode_texts, get_chunk, has_encoded_texts

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
    if not lines and existing_rows.equals(existing):
        return existing
    schema = _get_schema(ANOMALY_PREDICTIONS, existing)
    new = _add_execution_columns(lines, index, ["scheduler_name", "model_version"], schema)
    return _combine(ANOMALY_PREDICTIONS, [existing_rows, *new], existing, now)


def merge_rejected_results(
    existing: pa.Table,
    index: ExecutionIndex,
    rejected: Sequence[pa.Table],
    replaced: Collection[int],
    now: datetime,
) -> pa.Table:
    """Build the rows of `rejected_results` for a day; arguments as in `merge_predictions`."""
    schema = _get_schema(REJECTED_RESULTS, existing)
    new = _add_execution_columns(rejected, index, ["result_s3_bucket", "result_s3_key"], schema)
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
    """Find the executions in `read` whose contributions differ from the rows in the lake.

    The rows are in key order, and those of one execution are in memory at a time.
    """
    changed, without_rows = set(read), set(read)
    for number, stored in groupby(_select_values(existing, index, read), key=itemgetter(0)):
        if new.equals_stored(number, [values for _, values in stored]):
            changed.remove(number)
        without_rows.discard(number)
    return changed - {number for number in without_rows if new.equals_stored(number, [])}


def _select_values(
    existing: Iterable[pa.Table], index: ExecutionIndex, selected: Collection[int]
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the stored values of the selected executions, with the numbers of these."""
    for table in existing:
        for rows in find_execution_rows(table):
            number = index.numbers.get(rows.key, -1)
            if number in selected:
                yield number, table.slice(rows.offset, rows.length).select(ContributionBuffer.VALUES)


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
        column = pc.if_else(is_known, current, get_chunk(decode_texts(rows.select([name]))[name]))
        field = rows.schema.field(name)
        column = column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
        rows = rows.set_column(rows.schema.get_field_index(name), field, column)
    return rows


def _get_schema(table: Table, existing: pa.Table) -> pa.Schema:
    """Return the schema of a table with texts as the rows in the lake have them: plain or as dictionaries."""
    return table.encoded_schema if has_encoded_texts(existing.schema) else table.schema


def _add_execution_columns(
    tables: Sequence[pa.Table], index: ExecutionIndex, names: Sequence[str], schema: pa.Schema
) -> list[pa.Table]:
    executions = _encode(index.rows.select([*KEY, *names]), schema)

    def add_columns(rows: pa.Table) -> pa.Table:
        selected = executions.take(rows["execution"])
        for name in selected.schema.names:
            rows = rows.append_column(name, selected[name])
        return _encode(rows.drop_columns("execution"), schema)

    return [add_columns(rows) for rows in tables]


def _encode(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with dictionaries in the columns that have them in a schema."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_dictionary(schema.field(field.name).type) and not pa.types.is_dictionary(field.type):
            column = rows[field.name].cast(pa.string()).dictionary_encode()
            rows = rows.set_column(index, field.name, column)
    return rows


def _combine(table: Table, parts: Sequence[pa.Table], existing: pa.Table, now: datetime) -> pa.Table:
    combined: Any = pa.concat_tables(
        [_get_schema(table, existing).empty_table(), *map(_drop_recorded_at, parts)],
        promote_options="permissive",
    )
    return stamp_changes(table, combined, existing, now)


def _drop_recorded_at(rows: pa.Table) -> pa.Table:
    return rows.drop_columns("recorded_at") if "recorded_at" in rows.schema.names else rows
