"""Comparison of rows by content: the values of all columns except the volatile ones.

Parquet bytes and Arrow buffers change with the library version and with slicing, so only values are compared.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.tables import INSTANT, Table
from resources.encoded_texts import encode_texts, get_chunk, has_encoded_texts
from resources.row_order import sort_rows

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
    positions, is_same = _match_rows(table, rows, existing)
    recorded_at = pc.if_else(is_same, existing[_STAMP].take(positions), pa.scalar(now, INSTANT))
    return conform(table, _stamp(rows, table, recorded_at))


def _match_rows(table: Table, rows: pa.Table, existing: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Return for each row the position of the existing row with its key, and whether its content is equal.

    Both have at most one row per key, so keys are compared first, and contents only where keys are equal.
    Without such a row, the position is 0 and the content is not equal.
    """
    keys = _number_keys([(existing[name], rows[name]) for name in table.key])
    existing_keys, row_keys = keys[: existing.num_rows], keys[existing.num_rows :]
    matches = pc.index_in(row_keys, existing_keys)
    is_same = matches.is_valid()
    positions = matches.fill_null(0)
    for name in table.content_columns:
        if name not in table.key:
            is_same = pc.and_(is_same, _are_equal(existing[name].take(positions), rows[name]))
    return positions, is_same


def _number_keys(columns: Sequence[tuple[pa.ChunkedArray, pa.ChunkedArray]]) -> pa.Array:
    """Number the distinct keys of two tables, from a pair of columns for each part of the key."""
    keys = None
    for pair in columns:
        part = _number_values(_join(*pair))
        # the numbers are below the count of rows, so their product does not overflow
        keys = part if keys is None else np.unique(keys * (part.max() + 1) + part, return_inverse=True)[1]
    return pa.array(keys)


def _number_values(column: pa.Array) -> NDArray[np.int64]:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    numbers: NDArray[np.int64] = pc.add(column.indices.cast(pa.int64()).fill_null(-1), 1).to_numpy()
    return numbers


def _join(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.Array:
    tables = (pa.table([column], ["column"]) for column in (first, second))
    return get_chunk(pa.concat_tables(tables, promote_options="permissive")["column"])


def _are_equal(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.Array:
    """Compare two columns row by row; null equals null, and NaN equals NaN."""
    both = _join(first, second)
    if pa.types.is_dictionary(both.type):
        both = both.indices
    values, others = both[: len(first)], both[len(first) :]
    equal = pc.fill_null(pc.equal(values, others), False)
    equal = pc.or_(equal, pc.and_(values.is_null(), others.is_null()))
    if pa.types.is_floating(both.type):
        equal = pc.or_(equal, pc.fill_null(pc.and_(pc.is_nan(values), pc.is_nan(others)), False))
    return equal


def _stamp(rows: pa.Table, table: Table, recorded_at: pa.Array) -> pa.Table:
    return rows.select(list(table.content_columns)).append_column(_STAMP, recorded_at)


def count_changed_rows(table: Table, before: pa.Table, after: pa.Table) -> int:
    """Count the rows of `after` whose content is not in `before`."""
    if after.equals(before):
        return 0
    if not before.num_rows:
        return int(after.num_rows)
    _, is_same = _match_rows(table, after, before)
    return int(pc.sum(pc.invert(is_same)).as_py() or 0)


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows in their stored form: the table's columns and types, sorted by key.

    If texts of the rows are dictionaries, the result has the table's `encoded_schema`.

    Raises:
        ValueError: a required value is null.
        KeyError: a column is missing.
    """
    selected = sort_by_key(table, rows.select(table.schema.names))
    if has_encoded_texts(rows.schema):
        return encode_texts(selected, table.encoded_schema)
    return selected.cast(table.schema)


def sort_by_key(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows in the order of the primary key, ascending."""
    return sort_rows(rows, table.key)


def compute_content_version(table: Table, rows: pa.Table) -> str:
    """Return a hash of the rows' content as hexadecimal text, for Dagster data versions.

    Equal values give equal hashes on every machine and library version, in any order of rows. Volatile
    columns such as `recorded_at` are ignored; null differs from every value. Texts that repeat are hashed
    once, with the number of the text of each row.
    """
    if not rows.num_rows:
        return _compute_empty_version(table)
    return _hash_rows(table, rows)


@cache
def _compute_empty_version(table: Table) -> str:
    """Return the version of no rows; archives have many days without executions."""
    return _hash_rows(table, table.schema.empty_table())


def _hash_rows(table: Table, rows: pa.Table) -> str:
    names = list(table.content_columns)
    encoded = pa.schema([table.encoded_schema.field(name) for name in names])
    ordered = encode_texts(sort_by_key(table, rows.select(names)), encoded)
    digest = blake2b(digest_size=16)
    for field in table.content_schema:
        column = get_chunk(ordered[field.name])
        digest.update(f"{field.name}:{field.type}:{len(column)};".encode())
        for part in _canonical(column):
            digest.update(part)
    return digest.hexdigest()


def _canonical(column: pa.Array) -> list[Any]:
    """Return the bytes to hash, as objects with a buffer: most columns need no copy."""
    if pa.types.is_dictionary(column.type):
        numbers = column.indices.fill_null(-1) if column.null_count else column.indices
        texts = column.dictionary
        return [_get_bytes(numbers, "<i4"), f"{len(texts)};".encode(), *_canonical(texts)]
    validity = _pack_validity(column)
    if pa.types.is_string(column.type):
        return [validity, *_get_texts(pc.fill_null(column, "") if column.null_count else column)]
    if pa.types.is_list(column.type):
        lengths = pc.list_value_length(column).fill_null(0)
        return [validity, _get_bytes(lengths, "<i8"), *_canonical(column.flatten())]
    if pa.types.is_floating(column.type):
        measured = (column.fill_null(0) if column.null_count else column).to_numpy(zero_copy_only=False)
        return [validity, (measured + 0.0).astype("<f8", copy=False)]  # -0.0 is 0.0
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    numbers = column.cast(pa.int64())
    return [validity, _get_bytes(numbers.fill_null(0) if column.null_count else numbers, "<i8")]


def _pack_validity(column: pa.Array) -> bytes:
    if not column.null_count:
        return _pack_ones(len(column))
    return np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()


@lru_cache(maxsize=64)
def _pack_ones(count: int) -> bytes:
    return np.packbits(np.ones(count, bool)).tobytes()


def _get_bytes(numbers: pa.Array, layout: str) -> NDArray[Any]:
    return np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False), layout)


def _get_texts(texts: pa.StringArray) -> list[Any]:
    """Return the lengths and the bytes of all texts; their bytes are adjacent in memory."""
    _, offsets, data = texts.buffers()
    if not len(texts):
        return [b"", b""]
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return [
        np.diff(bounds).astype("<i8"),
        b"" if data is None else memoryview(data)[bounds[0] : bounds[-1]],
    ]
