"""When are two sets of rows the same: the content of a table, apart from how and when it was recorded.

Parquet bytes and Arrow buffers change with the library and with slicing; values do not. So everything here
looks at values only.
"""

from datetime import datetime
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import INSTANT, Table

_STAMP = "recorded_at"


def deduplicate(table: Table, rows: pa.Table) -> pa.Table:
    """Return each content once, in any order, with `recorded_at` null."""
    once = rows.group_by(list(table.content_columns), use_threads=False).aggregate([])
    return once.append_column(_STAMP, pa.nulls(once.num_rows, INSTANT)).select(rows.schema.names)


def stamp_changes(table: Table, rows: pa.Table, existing: pa.Table, now: datetime) -> pa.Table:
    """Set `recorded_at`: as it was where `existing` holds the same content, else `now`.

    `rows` has at most one row a key; the result is sorted by the key and fits the table's schema.
    """
    content = list(table.content_columns)
    new = rows.select(content).append_column(_STAMP, pa.nulls(rows.num_rows, INSTANT))
    pool = pa.concat_tables([existing.select(new.schema.names), new], promote_options="permissive")
    is_new = pa.array(np.arange(pool.num_rows) >= existing.num_rows)
    merged = (
        pool.append_column("new", is_new)
        .group_by(content, use_threads=False)
        .aggregate([(_STAMP, "min"), ("new", "max")])
    )
    kept = merged.filter(merged["new_max"])
    recorded = pc.fill_null(kept[f"{_STAMP}_min"], pa.scalar(now, INSTANT))
    return conform(table, kept.select(content).append_column(_STAMP, recorded))


def count_changed_rows(table: Table, before: pa.Table, after: pa.Table) -> int:
    """Count the rows of `after` whose content is not among those of `before`."""
    if after.equals(before):
        return 0
    both = pa.concat_tables([before, after])
    return int(deduplicate(table, both).num_rows - before.num_rows)


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows as they are stored: the table's columns and types, sorted by its key.

    Raises:
        ValueError: a required value is null, or a column is missing.
    """
    return sort_by_key(table, rows.select(table.schema.names).cast(table.schema))


def sort_by_key(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows sorted by the table's key, as they are stored."""
    return rows.sort_by([(name, "ascending") for name in table.key])


def compute_content_version(table: Table, rows: pa.Table) -> str:
    """Fingerprint of the rows' content; the same values give the same text on any machine and library.

    The order of rows does not count, nor does `recorded_at`; nulls count as such.
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


def _canonical(column: pa.Array) -> list[bytes]:
    known = np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(column.type):
        texts = pc.fill_null(column, "")
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        return [known, lengths, "".join(texts.to_pylist()).encode()]
    if pa.types.is_floating(column.type):
        measured = column.fill_null(0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        return [known, measured.astype("<f8").tobytes()]
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return [known, numbers.astype("<i8").tobytes()]
