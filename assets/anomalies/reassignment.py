"""Results whose execution turned out to be another one.

The scheduler of a result in a bucket can become known, or ambiguous, after the result was read. Its rows then
move to the new execution, without reading the object again, or they are removed. A scheduler can move to
another shard of its day. The shards are changed one after the other, so memory is that of one shard.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from assets.anomalies.execution_index import (
    COLUMNS,
    KEY,
    ExecutionIndex,
    ExecutionKey,
    ExecutionRows,
    ObjectLocation,
    find_execution_rows,
)
from assets.anomalies.objects import REQUEST_COLUMNS
from assets.framework.row_content import stamp_changes
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.encoded_texts import decode_texts, encode_texts
from resources.lake.lake import Lake
from resources.lake.shards import Shard, hash_scheduler, join_rows
from resources.row_order import sort_rows
from resources.scheduler_arns import PLACEHOLDER

_LOCATION = ("result_s3_bucket", "result_s3_key")

Moves = Mapping[ExecutionKey, ExecutionKey | None]
"""The new execution of each moved one; None: its rows are removed."""


@dataclass(frozen=True)
class ResultsPart:
    """What a day or shard has before its results are read.

    Attributes:
        executions: its executions.
        index: those that have a result.
        objects: the `REQUEST_COLUMNS` of the recorded objects.
    """

    executions: pa.Table
    index: ExecutionIndex
    objects: pa.Table

    @classmethod
    def read(cls, lake: Lake, day: date, shard: Shard) -> "ResultsPart":
        """Read a shard of a day; raises the errors of `Lake.read`."""
        executions = lake.read(INFERENCE_EXECUTIONS, day, COLUMNS, shard)
        objects = lake.read(RESULT_OBJECTS, day, REQUEST_COLUMNS, shard)
        return cls(executions, ExecutionIndex.from_executions(executions), objects)

    def find_stale(self) -> dict[ExecutionKey, ObjectLocation]:
        """Return the location of each recorded object whose execution has no result now."""
        stale = self.objects.filter(pa.array(self.index.find_numbers(self.objects) < 0))
        return dict(zip(list_keys(stale), list_locations(stale), strict=True))


def list_keys(rows: pa.Table) -> list[ExecutionKey]:
    """Return the key of the execution of each row."""
    return list(zip(*(rows[name].to_pylist() for name in KEY), strict=True))


def list_locations(rows: pa.Table) -> list[ObjectLocation]:
    """Return the location of the object of each row."""
    return list(zip(*(rows[name].to_pylist() for name in _LOCATION), strict=True))


def find_moves(
    stale: Mapping[ExecutionKey, ObjectLocation], parts: Iterable[ResultsPart]
) -> dict[ExecutionKey, ExecutionKey | None]:
    """Find the recorded objects that belong to another execution now, or to none.

    Args:
        stale: the result of `ResultsPart.find_stale` of all parts.
        parts: all parts of the day; one is in memory at a time.
    """
    owners: dict[ObjectLocation, list[ExecutionKey]] = defaultdict(list)
    existing, recorded = set[ExecutionKey](), set[ExecutionKey]()
    locations = set(stale.values())
    for part in parts if stale else ():
        existing |= stale.keys() & set(list_keys(part.executions))
        objects = set(list_keys(part.objects))
        for location in locations & part.index.executions_by_object.keys():
            own = [part.index.keys[number] for number in part.index.executions_by_object[location]]
            owners[location] += own
            recorded |= objects.intersection(own)
    moves: dict[ExecutionKey, ExecutionKey | None] = {}
    for key, location in stale.items():
        target = owners[location][0] if len(owners[location]) == 1 else None
        if target is not None and target not in recorded:
            moves[key] = target
            recorded.add(target)
        elif target is not None or key in existing or key[0].startswith(PLACEHOLDER):
            moves[key] = None
    return moves


def move_results(lake: Lake, day: date, moves: Moves, now: datetime) -> None:
    """Apply moves to the result tables of a day.

    `result_objects` is written last, so that an interrupted move is found and repeated.
    """
    for table in (ANOMALY_PREDICTIONS, REJECTED_RESULTS, SENSOR_CONTRIBUTIONS, RESULT_OBJECTS):
        if moves and lake.has(table, day):
            _move_rows(lake, table, day, moves, now)


def _move_rows(lake: Lake, table: Table, day: date, moves: Moves, now: datetime) -> None:
    """Apply moves to a table; a stop at any point loses no row, because rows leave a shard last."""
    count = lake.shards(table, day)
    arriving: dict[int, dict[ExecutionKey, ExecutionKey]] = defaultdict(dict)
    removed, leaving = defaultdict[int, set[ExecutionKey]](set), defaultdict[int, set[ExecutionKey]](set)
    for key, target in moves.items():
        own = hash_scheduler(key[0]) % count
        new = own if target is None else hash_scheduler(target[0]) % count
        if target is not None:
            arriving[new][key] = target
        (removed if new == own else leaving)[own].add(key)
    for number in sorted(arriving.keys() | removed.keys()):
        rows = _read_moved(lake, table, day, arriving[number], count, now)
        _replace_rows(lake, table, day, Shard(number, count), removed[number], rows, now)
    for number, keys in sorted(leaving.items()):
        nothing = table.encoded_schema.empty_table()
        _replace_rows(lake, table, day, Shard(number, count), keys, nothing, now)


def _read_moved(lake: Lake, table: Table, day: date, moves: Moves, count: int, now: datetime) -> pa.Table:
    """Read the rows of moved executions with their new keys, sorted, with texts as dictionaries."""
    parts = [  # the new keys of a row group can have another order
        encode_texts(sort_rows(rows, table.key), table.encoded_schema)
        for number in sorted({hash_scheduler(arn) % count for arn, _ in moves})
        for group in lake.read_row_groups(table, day, Shard(number, count))
        if (rows := _assign_keys(group, moves, now)).num_rows
    ]
    return join_rows(parts, table.key, table.encoded_schema)


def _replace_rows(  # noqa: PLR0913, PLR0917 (the place has three parts)
    lake: Lake,
    table: Table,
    day: date,
    shard: Shard,
    removed: Collection[ExecutionKey],
    arriving: pa.Table,
    now: datetime,
) -> None:
    def merge(groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
        return insert_rows(groups, arriving, removed)

    def merge_and_stamp(existing: pa.Table) -> pa.Table:
        rows = pa.concat_tables([existing.slice(0, 0), *merge([existing])])
        return stamp_changes(table, rows.drop_columns("recorded_at"), existing, now)

    if table is SENSOR_CONTRIBUTIONS:
        lake.update_row_groups(table, day, merge, shard)
    else:
        lake.update(table, day, merge_and_stamp, shard=shard)


def insert_rows(
    groups: Iterable[pa.Table], arriving: pa.Table, removed: Collection[ExecutionKey]
) -> Iterator[pa.Table]:
    """Add executions to row groups and remove others; the result is in the order of the key.

    Args:
        groups: the row groups, in the order of the key.
        arriving: rows to add, in the order of the key, with texts as dictionaries. An execution that the
            groups have already stays as it is: an interrupted move added it.
        removed: the executions to remove.
    """
    pending = list(find_execution_rows(arriving))
    for group in groups:
        kept = [rows for rows in find_execution_rows(group) if rows.key not in removed]
        present = {rows.key for rows in kept}
        pending = [rows for rows in pending if rows.key not in present]
        due = [rows for rows in pending if kept and rows.key < kept[-1].key]
        pending = pending[len(due) :]
        parts = [(rows.key, group.slice(rows.offset, rows.length)) for rows in kept]
        parts += _slice_plain(arriving, due)
        if parts:
            yield pa.concat_tables([rows for _, rows in sorted(parts, key=lambda part: part[0])])
    if pending:
        yield pa.concat_tables([rows for _, rows in _slice_plain(arriving, pending)])


def _slice_plain(
    arriving: pa.Table, executions: list[ExecutionRows]
) -> Iterator[tuple[ExecutionKey, pa.Table]]:
    """Yield the rows of some executions, in their order, with plain texts."""
    if executions:
        first, last = executions[0], executions[-1]
        plain = decode_texts(arriving.slice(first.offset, last.offset + last.length - first.offset))
        for rows in executions:
            yield rows.key, plain.slice(rows.offset - first.offset, rows.length)


def _assign_keys(rows: pa.Table, moves: Moves, now: datetime) -> pa.Table:
    """Return the rows of moved executions with their new keys, recorded now, in the same order."""
    parts = [rows.slice(0, 0)]
    for execution in find_execution_rows(rows):
        target = moves.get(execution.key)
        if target is not None:
            part = rows.slice(execution.offset, execution.length)
            for name, value in zip((*KEY, "recorded_at"), (*target, now), strict=True):
                position = part.schema.get_field_index(name)
                field = part.schema.field(name)
                part = part.set_column(
                    position, field, pa.repeat(pa.scalar(value, field.type), part.num_rows)
                )
            parts.append(part)
    return pa.concat_tables(parts)
