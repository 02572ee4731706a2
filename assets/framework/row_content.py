"""Comparison of rows by content: the values of all columns except the volatile ones.

Parquet bytes and Arrow buffers change with the library version and with slicing, so only values are compared.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import INSTANT, Table

_STAMP = "recorded_at"


def deduplicate(table: Table, rows: pa.Table) -> pa.Table:
    """Return the distinct rows by content, in any order, with `recorded_at` null."""
    distinct = rows.group_by(list(table.content_columns), use_threads=False).aggregate([])
    return distinct.append_column(_STAMP, pa.nulls(distinct.num_rows, INSTANT)).select(rows.schema.names)


def stamp_changes(table: Table, rows: pa.Table, existing: pa.Table, now: datetime) -> pa.Table:
    """Set `recorded_at` to the recorded time if `existing` has the same content, else to `now`.

    `rows` has at most one row per key. The result has the table's schema and is sorted by key.
    """
    content = list(table.content_columns)
    if not existing.num_rows:
        return conform(table, _stamp(rows, table, pa.repeat(pa.scalar(now, INSTANT), rows.num_rows)))
    if rows.num_rows == existing.num_rows:
        in_order = conform(table, _stamp(rows, table, existing[_STAMP]))
        if in_order.select(content).equals(existing.select(content)):
            return conform(table, existing)
    new = rows.select(content).append_column(_STAMP, pa.nulls(rows.num_rows, INSTANT))
    pool = pa.concat_tables([existing.select(new.schema.names), new], promote_options="permissive")
    is_new = pa.array(np.arange(pool.num_rows) >= existing.num_rows)
    merged = (
        pool.append_column("new", is_new)
        .group_by(content, use_threads=False)
        .aggregate([(_STAMP, "min"), ("new", "max")])
    )
    current = merged.filter(merged["new_max"])
    recorded_at = pc.fill_null(current[f"{_STAMP}_min"], pa.scalar(now, INSTANT))
    return conform(table, current.select(content).append_column(_STAMP, recorded_at))


def _stamp(rows: pa.Table, table: Table, recorded_at: pa.Array) -> pa.Table:
    return rows.select(list(table.content_columns)).append_column(_STAMP, recorded_at)


def count_changed_rows(table: Table, before: pa.Table, after: pa.Table) -> int:
    """Count the rows of `after` whose content is not in `before`."""
    if after.equals(before):
        return 0
    if not before.num_rows:
        return int(after.num_rows)
    pool = pa.concat_tables([before, after])
    return int(deduplicate(table, pool).num_rows - before.num_rows)


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows in their stored form: the table's columns and types, sorted by key.

    Raises:
        ValueError: a required value is null.
        KeyError: a column is missing.
    """
    return sort_by_key(table, rows.select(table.schema.names).cast(table.schema))


def sort_by_key(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows in the order of the primary key, ascending."""
    if _is_sorted(rows, table.key):
        return rows
    return rows.sort_by([(name, "ascending") for name in table.key])


def _is_sorted(rows: pa.Table, key: Sequence[str]) -> bool:
    """Whether rows are in ascending order already, which is much cheaper to see than to sort."""
    in_order, is_equal = False, True
    for name in key:
        column = rows[name].combine_chunks() if rows[name].num_chunks != 1 else rows[name].chunk(0)
        if column.null_count:
            return False
        previous, current = column[:-1], column[1:]
        in_order = pc.or_(in_order, pc.and_(is_equal, pc.less(previous, current)))
        is_equal = pc.and_(is_equal, pc.equal(previous, current))
    return bool(pc.all(pc.or_(in_order, is_equal), min_count=0).as_py())


def compute_content_version(table: Table, rows: pa.Table) -> str:
    """Return a hash of the rows' content as hexadecimal text, for Dagster data versions.

    Equal values give equal hashes on every machine and library version, in any order of rows. Volatile
    columns such as `recorded_at` are ignored; null differs from every value.
    """
    declared = table.content_schema
    ordered = sort_by_key(table, rows.select(declared.names).cast(declared))  # dictionaries become values
    digest = blake2b(digest_size=16)
    for name in declared.names:
        column = ordered[name].combine_chunks()
        digest.update(f"{name}:{column.type}:{len(column)};".encode())
        for part in _canonical(column):
            digest.update(part)
    return digest.hexdigest()


def _join_bytes(texts: pa.StringArray) -> bytes | memoryview:
    """Return the bytes of all texts without a separator; they are adjacent in memory."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    bounds = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    return memoryview(data)[bounds[0] : bounds[1]]


def _canonical(column: pa.Array) -> list[bytes]:
    validity = np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(column.type):
        texts = pc.fill_null(column, "")
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        return [validity, lengths, _join_bytes(texts)]
    if pa.types.is_floating(column.type):
        measured = column.fill_null(0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        return [validity, measured.astype("<f8").tobytes()]
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return [validity, numbers.astype("<i8").tobytes()]
