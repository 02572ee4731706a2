"""What was read now, merged with what the lake holds of a day's results.

An object that was read replaces the rows of its execution. All else stays as it is: rows of executions whose
object is gone, or was not read again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import KEY, ExecutionIndex, ExecutionKey, find_execution_rows
from assets.framework.row_content import stamp_changes
from assets.tables import ANOMALY_PREDICTIONS, REJECTED_RESULTS, Table

MIN_ROW_GROUP_ROWS = 262_144


def merge_predictions(
    existing: pa.Table, named: ExecutionIndex, lines: Sequence[pa.Table], read: Collection[int], now: datetime
) -> pa.Table:
    """Make the rows of `anomaly_predictions` for a day.

    Args:
        existing: the rows that the lake holds.
        named: the day's executions.
        lines: lines as `parse` has them, given to their executions.
        read: the numbers of the executions whose object was read.
        now: becomes `recorded_at` of rows whose content changes.
    """
    stays = _staying(existing, named, read)
    new = _with_execution(lines, named, ["scheduler_name", "model_version"])
    return _merged(ANOMALY_PREDICTIONS, [_as_executed(stays, named), *new], existing, now)


def merge_rejected_results(
    existing: pa.Table,
    named: ExecutionIndex,
    rejected: Sequence[pa.Table],
    read: Collection[int],
    now: datetime,
) -> pa.Table:
    """Make the rows of `rejected_results` for a day; the arguments are those of `merge_predictions`."""
    new = _with_execution(rejected, named, ["result_s3_bucket", "result_s3_key"])
    return _merged(REJECTED_RESULTS, [_staying(existing, named, read), *new], existing, now)


def merge_sensor_contributions(
    existing: Iterable[pa.Table],
    named: ExecutionIndex,
    new: ContributionBuffer,
    read: Collection[int],
    now: datetime,
) -> Iterator[pa.Table]:
    """Make the rows of `sensor_contributions` for a day, piece by piece.

    Args:
        existing: the rows that the lake holds, in their order, in pieces.
        named: the day's executions.
        new: the contributions that were read.
        read: the numbers of the executions whose rows they replace.
        now: becomes their `recorded_at`.
    """
    return _regrouped(_in_order(existing, named, new, read, now))


def find_changed_executions(
    existing: Iterable[pa.Table], named: ExecutionIndex, new: ContributionBuffer, read: Collection[int]
) -> set[int]:
    """Return those of the executions that were read whose contributions are not what the lake holds."""
    stored: dict[int, list[pa.Table]] = {number: [] for number in read}
    for piece in existing:
        for run in find_execution_rows(piece):
            number = named.numbers.get(run.key, -1)
            if number in stored:
                stored[number].append(piece.slice(run.offset, run.length).select(ContributionBuffer.VALUES))
    return {number for number, before in stored.items() if not new.holds(number, before)}


def _in_order(
    existing: Iterable[pa.Table],
    named: ExecutionIndex,
    new: ContributionBuffer,
    read: Collection[int],
    now: datetime,
) -> Iterator[pa.Table]:
    """Yield pieces in the order of the key: rows that stay, and new ones of executions among them."""
    coming = sorted(set(read) & new.numbers)
    for piece in existing:
        stay = [run for run in find_execution_rows(piece) if named.numbers.get(run.key, -1) not in read]
        last = max((run.key for run in stay), default=None)
        due = [number for number in coming if last is not None and named.keys[number] < last]
        coming = coming[len(due) :]
        yield from _interleaved(
            [(run.key, piece.slice(run.offset, run.length)) for run in stay],
            [(named.keys[number], new.rows(number, named, now)) for number in due],
        )
    for number in coming:
        yield new.rows(number, named, now)


def _interleaved(
    staying: Sequence[tuple[ExecutionKey, pa.Table]], coming: Sequence[tuple[ExecutionKey, pa.Table]]
) -> Iterator[pa.Table]:
    for _, rows in sorted([*staying, *coming], key=lambda one: one[0]):
        yield rows


def _regrouped(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Put small pieces together: a row group wants to be large."""
    waiting: list[pa.Table] = []
    rows = 0
    for piece in pieces:
        waiting.append(piece)
        rows += piece.num_rows
        if rows >= MIN_ROW_GROUP_ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _staying(existing: pa.Table, named: ExecutionIndex, read: Collection[int]) -> pa.Table:
    stays = np.ones(existing.num_rows, bool)
    for run in find_execution_rows(existing):
        if named.numbers.get(run.key, -1) in read:
            stays[run.offset : run.offset + run.length] = False
    return existing if stays.all() else existing.filter(pa.array(stays))


def _as_executed(rows: pa.Table, named: ExecutionIndex) -> pa.Table:
    """Let rows that stay follow what has become known of their execution since."""
    numbers = np.full(rows.num_rows, -1, np.int64)
    for run in find_execution_rows(rows):
        numbers[run.offset : run.offset + run.length] = named.numbers.get(run.key, -1)
    for name in ("scheduler_name", "model_version"):
        at = pa.array(numbers, mask=numbers < 0)
        found = named.rows[name].combine_chunks().take(at)
        kept = rows[name].combine_chunks()
        column = pc.if_else(pa.array(numbers >= 0), found, kept)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows


def _with_execution(
    tables: Sequence[pa.Table], named: ExecutionIndex, names: Sequence[str]
) -> list[pa.Table]:
    def joined(rows: pa.Table) -> pa.Table:
        executions = named.rows.select([*KEY, *names]).take(rows["execution"])
        for name in executions.schema.names:
            rows = rows.append_column(name, executions[name])
        return rows.drop_columns("execution")

    return [joined(rows) for rows in tables]


def _merged(table: Table, tables: Sequence[pa.Table], existing: pa.Table, now: datetime) -> pa.Table:
    both: Any = pa.concat_tables(
        [table.schema.empty_table(), *map(_unstamped, tables)], promote_options="permissive"
    )
    return stamp_changes(table, both, existing, now)


def _unstamped(rows: pa.Table) -> pa.Table:
    return rows.drop_columns("recorded_at") if "recorded_at" in rows.schema.names else rows
