"""Upsert of executions from several sources, by primary key.

A row has three groups of columns: identity with configuration, times, and outcome. Each group is taken as a
whole from the candidate with the highest rank in a total order. The merge is therefore commutative,
associative and idempotent: the order and repetition of sources do not change the table. It never removes a
row.

Candidates rank by these criteria, in this order:

1. For the outcome only: the rank of the status (`statuses.rank_statuses`).
2. The kind of source: `api` over `archive` over `bucket`.
3. The number of columns that are not null.
4. The values themselves.

`source` is the kind of source of identity and times, which rank by the same criteria and therefore come from
the same kind. `outcome_source` is the kind of source of the outcome.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.executions.statuses import rank_statuses
from assets.framework.row_content import deduplicate, sort_by_key, stamp_changes
from assets.tables import INFERENCE_EXECUTIONS
from resources.encoded_texts import (
    combine_chunks,
    decode_texts,
    encode_texts,
    get_chunk,
    get_comparable,
    get_sortable,
    join_tables,
)

MOST_ROWS_AT_ONCE = 50_000
"""Larger days are merged some schedulers at a time, because a merge needs several copies of its rows."""

ROWS_OF_PIECE = 25_000
"""About how many rows of a larger day are merged at once."""

_KEY = list(INFERENCE_EXECUTIONS.key)
_TIMES = ("scheduled_start_time", "data_end_time", "source")
_OUTCOME = ("status", "failed_reason", "result_s3_bucket", "result_s3_key", "outcome_source")
_IDENTITY = tuple(
    name for name in INFERENCE_EXECUTIONS.content_columns if name not in (*_KEY, *_TIMES, *_OUTCOME)
)  # includes `unrecognized`

_SOURCES_BY_RANK = ["bucket", "archive", "api"]


def merge_executions(existing: pa.Table, candidates: pa.Table, now: datetime) -> pa.Table:
    """Merge candidates into the recorded rows of a day.

    Args:
        existing: recorded rows of `inference_executions`.
        candidates: rows as pages give them (`flatten.ROWS`), in any number and order.
        now: becomes `recorded_at` of rows whose content changes.

    Returns:
        One row for every key of either side, sorted by key, with the table's `encoded_schema`.
    """
    schema = INFERENCE_EXECUTIONS.encoded_schema
    if not existing.num_rows and not candidates.num_rows:  # most days of an old archive
        return schema.empty_table()
    if existing.num_rows + candidates.num_rows <= MOST_ROWS_AT_ONCE:
        return _merge(encode_texts(existing, schema) if existing.num_rows else existing, candidates, now)
    candidates = combine_chunks(candidates)
    ranges = SchedulerRanges.plan([existing, candidates])
    numbers = ranges.find(candidates)
    pieces = (_take_piece(candidates, np.flatnonzero(numbers == number)) for number in range(ranges.count))
    return merge_ranges(existing, ranges, pieces, now)


@dataclass(frozen=True)
class SchedulerRanges:
    """Ranges of schedulers in the order of their ARNs, with about `ROWS_OF_PIECE` rows or one scheduler each.

    Attributes:
        numbers: the number of the range of each ARN.
        count: the number of ranges.
    """

    numbers: Mapping[str, int]
    count: int

    @classmethod
    def plan(cls, tables: Iterable[pa.Table]) -> "SchedulerRanges":
        """Plan ranges for the rows of several tables, whose ARNs may be dictionaries."""
        counts = Counter[str]()
        for rows in tables:
            counted = get_chunk(rows["scheduler_arn"]).value_counts()
            counts.update(dict(zip(*(part.to_pylist() for part in counted.flatten()), strict=True)))
        numbers, total = {}, 0
        for arn in sorted(counts):
            total += counts[arn]
            numbers[arn] = (total - 1) // ROWS_OF_PIECE
        used = {number: position for position, number in enumerate(sorted(set(numbers.values())))}
        return cls({arn: used[number] for arn, number in numbers.items()}, len(used))

    def find(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the number of the range of each row."""
        arns = get_chunk(rows["scheduler_arn"])
        if not pa.types.is_dictionary(arns.type):
            arns = arns.dictionary_encode()
        numbers = np.array([self.numbers.get(arn, -1) for arn in arns.dictionary.to_pylist()], np.int64)
        of_rows: NDArray[np.int64] = numbers[arns.indices.to_numpy()]
        return of_rows


def merge_ranges(
    existing: pa.Table, ranges: SchedulerRanges, candidates: Iterable[pa.Table], now: datetime
) -> pa.Table:
    """Merge candidates as `merge_executions` does, one range of schedulers at a time.

    Args:
        existing: recorded rows.
        ranges: the ranges.
        candidates: the candidates of each range, in the order of the ranges.
        now: becomes `recorded_at` of rows whose content changes.
    """
    schema = INFERENCE_EXECUTIONS.encoded_schema
    existing = encode_texts(existing, schema)
    numbers = ranges.find(existing)

    def take_recorded(number: int) -> pa.Table:
        return _take_piece(existing, np.flatnonzero(numbers == number))

    def merge_range(number: int, rows: pa.Table) -> pa.Table | None:
        recorded = take_recorded(number)
        merged = _merge(recorded, rows, now)
        return None if merged.equals(recorded) else merged

    changed = [*map(merge_range, range(ranges.count), candidates)]  # a loop would hold the last candidates
    if all(rows is None for rows in changed) and (numbers[1:] >= numbers[:-1]).all():
        return existing
    pieces = [take_recorded(number) if rows is None else rows for number, rows in enumerate(changed)]
    changed.clear()
    return encode_texts(join_tables(pieces), schema)


def _merge(existing: pa.Table, candidates: pa.Table, now: datetime) -> pa.Table:
    pool = candidates
    if existing.num_rows:
        pool = pa.concat_tables([_clear_stamp(existing), _clear_stamp(candidates)])
    return stamp_changes(INFERENCE_EXECUTIONS, reduce_candidates(pool), existing, now)


def _take_piece(rows: pa.Table, positions: NDArray[np.int64]) -> pa.Table:
    """Return some rows, without the texts that only other rows have."""
    return encode_texts(rows.take(pa.array(positions)), rows.schema)


def reduce_candidates(rows: pa.Table) -> pa.Table:
    """Merge all candidates with the same key to one row; sorted by key."""
    pool = _sort(_clear_stamp(rows))
    repeats = _find_repeated_keys(pool)
    if not repeats.any():  # as of most new days
        return pool
    pool = _drop_repeats(pool, repeats)
    has_rivals = _find_rows_with_rivals(pool)
    if not has_rivals.any():
        return pool
    rivals = sort_by_key(
        INFERENCE_EXECUTIONS,
        deduplicate(INFERENCE_EXECUTIONS, decode_texts(pool.filter(pa.array(has_rivals)))),
    )
    merged = _merge_rivals(rivals)
    unique = pool.filter(pa.array(~has_rivals))
    return _sort(pa.concat_tables([unique, encode_texts(merged, pool.schema)]))


def _drop_repeats(sorted_rows: pa.Table, is_repeat: NDArray[np.bool_]) -> pa.Table:
    """Drop the rows with the content of the previous row: most candidates of a recorded day are such rows.

    `is_repeat` marks, among all rows but the first, those with the key of the previous row.
    """
    for name in INFERENCE_EXECUTIONS.content_columns:
        if name not in _KEY and is_repeat.any():
            is_repeat = is_repeat & _equals_previous(get_comparable(sorted_rows[name].chunk(0)))
    if not is_repeat.any():
        return sorted_rows
    return sorted_rows.filter(pa.array(np.concatenate([[True], ~is_repeat])))


def _equals_previous(column: pa.Array) -> NDArray[np.bool_]:
    """Mark, among all values but the first, those that equal the previous one; null equals null."""
    previous, current = column[:-1], column[1:]
    equal = pc.fill_null(pc.equal(previous, current), False)
    if column.null_count:
        equal = pc.or_(equal, pc.and_(previous.is_null(), current.is_null()))
    marks: NDArray[np.bool_] = equal.to_numpy(zero_copy_only=False).astype(bool)
    return marks


def _clear_stamp(rows: pa.Table) -> pa.Table:
    index = rows.schema.get_field_index("recorded_at")
    field = rows.schema.field(index).with_nullable(True)
    return rows.set_column(index, field, pa.nulls(rows.num_rows, field.type))


def _sort(rows: pa.Table) -> pa.Table:
    """Sort by key, over the numbers of the ARNs instead of their texts; chunks are combined."""
    rows = combine_chunks(rows)
    if rows.num_rows < 2:  # noqa: PLR2004
        return rows
    arns = get_sortable(rows["scheduler_arn"].chunk(0)).to_numpy()
    starts = rows["data_start_time"].chunk(0).cast(pa.int64()).to_numpy()
    is_ordered = (arns[1:] > arns[:-1]) | ((arns[1:] == arns[:-1]) & (starts[1:] >= starts[:-1]))
    return rows if is_ordered.all() else rows.take(pa.array(np.lexsort((starts, arns))))


def _find_rows_with_rivals(sorted_rows: pa.Table) -> NDArray[np.bool_]:
    """Mark the rows whose key occurs more than once."""
    marks = np.zeros(sorted_rows.num_rows, dtype=bool)
    repeats = _find_repeated_keys(sorted_rows)
    marks[1:] |= repeats
    marks[:-1] |= repeats
    return marks


def _find_repeated_keys(sorted_rows: pa.Table) -> NDArray[np.bool_]:
    """Mark, among all rows but the first, those with the key of the previous row."""
    if sorted_rows.num_rows < 2:  # noqa: PLR2004
        return np.zeros(0, dtype=bool)
    columns = (get_comparable(get_chunk(sorted_rows[name])) for name in _KEY)
    repeats: NDArray[np.bool_] = reduce(np.logical_and, map(_equals_previous, columns))
    return repeats


def _merge_rivals(rows: pa.Table) -> pa.Table:
    source, outcome_source = (
        pc.index_in(rows[name], pa.array(_SOURCES_BY_RANK)) for name in ("source", "outcome_source")
    )
    winners = {
        _IDENTITY: _select_highest(rows, [source], _IDENTITY),
        _TIMES: _select_highest(rows, [source], _TIMES),
        _OUTCOME: _select_highest(rows, [rank_statuses(rows["status"]), outcome_source], _OUTCOME),
    }
    columns = {name: winners[_IDENTITY][name] for name in _KEY}
    columns |= {name: winner[name] for group, winner in winners.items() for name in group}
    columns["recorded_at"] = pa.nulls(len(columns[_KEY[0]]), rows.schema.field("recorded_at").type)
    return pa.table([columns[name] for name in rows.schema.names], schema=rows.schema)


def _select_highest(rows: pa.Table, ranks: list[pa.ChunkedArray], group: tuple[str, ...]) -> pa.Table:
    """Return the row with the highest rank for each key, in key order."""
    non_null = reduce(pc.add, (pc.is_valid(rows[name]).cast(pa.int8()) for name in group))
    columns = {f"rank_{number}": rank for number, rank in enumerate([*ranks, non_null])}
    table = rows.select([*_KEY, *group])
    for name, column in columns.items():
        table = table.append_column(name, column)
    table = table.sort_by([(name, "ascending") for name in [*_KEY, *columns, *group]])
    last = np.ones(table.num_rows, dtype=bool)
    last[:-1] = ~_find_repeated_keys(table)
    return table.filter(pa.array(last))
