"""Texts that repeat, as Arrow dictionaries: each distinct text once, and a number for each row.

A row of executions has about 1.3 kB of texts, nearly all of which repeat, so dictionaries need a tenth of the
memory. Their order is canonical: equal rows are then equal tables and give files of equal bytes.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LARGE_COLUMN_BYTES = 1 << 20
_FEW_ROWS = 1 << 16
"""So many rows may be in memory twice."""


def encode_texts(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with a schema, in one chunk; its dictionaries have the used texts in order of their rows.

    Raises:
        ValueError: a required value is null.
    """
    rows = combine_chunks(rows)
    columns = [_encode(rows[field.name], field.type) for field in schema]
    for field, column in zip(schema, columns, strict=True):
        if column.null_count and not field.nullable:
            raise ValueError(f"{field.name}: no value where one is required")
    return pa.Table.from_arrays(columns, schema=schema)


def decode_texts(rows: pa.Table) -> pa.Table:
    """Return rows with plain texts in place of dictionaries."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            plain = field.with_type(field.type.value_type)
            rows = rows.set_column(index, plain, rows[field.name].cast(plain.type))
    return rows


def has_encoded_texts(schema: pa.Schema) -> bool:
    """Return whether a column is a dictionary."""
    return any(pa.types.is_dictionary(field.type) for field in schema)


def combine_chunks(rows: pa.Table) -> pa.Table:
    """Return rows with one chunk a column, and dictionaries with each text once."""
    return rows.combine_chunks()


def join_tables(tables: list[pa.Table]) -> pa.Table:
    """Return the rows of one or more tables with one chunk a column, and empty the list.

    Large tables are joined column by column, so that only one column is in memory twice.
    """
    schema = tables[0].schema
    if sum(rows.num_rows for rows in tables) <= _FEW_ROWS:
        joined = combine_chunks(pa.concat_tables(tables))
        tables.clear()
        return joined
    parts = [[column.chunks for column in table.columns] for table in tables]
    tables.clear()
    columns = []
    for position, field in enumerate(schema):
        chunks = [chunk for part in parts for chunk in part[position]]
        for part in parts:
            part[position] = []
        columns.append(get_chunk(pa.chunked_array(chunks, field.type)))
        chunks.clear()
        if columns[-1].nbytes > _LARGE_COLUMN_BYTES:
            pa.default_memory_pool().release_unused()  # it would keep the chunks for a second
    return pa.table(columns, schema=schema)


def get_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    if not column.num_chunks:
        return pa.array([], column.type)
    return column.combine_chunks()


def get_comparable(column: pa.Array) -> pa.Array:
    """Return the numbers of a dictionary, which are equal if the texts are; other columns as they are."""
    return column.indices if pa.types.is_dictionary(column.type) else column


def get_sortable(column: pa.Array) -> pa.Array:
    """Return numbers in the order of the texts of a dictionary; other columns as they are."""
    if not pa.types.is_dictionary(column.type):
        return column
    ranks = np.empty(len(column.dictionary), np.int32)
    ranks[pc.sort_indices(column.dictionary).to_numpy()] = np.arange(len(ranks))
    return pa.array(ranks).take(column.indices)


def _encode(column: pa.ChunkedArray, arrow_type: pa.DataType) -> pa.Array:
    values = get_chunk(column)
    if not pa.types.is_dictionary(arrow_type):
        return values if values.type == arrow_type else values.cast(arrow_type)
    if not pa.types.is_dictionary(values.type):
        return values.cast(arrow_type.value_type).dictionary_encode()
    size = len(values.dictionary)
    if size <= 1 and (not size or values.null_count < len(values)):
        return values
    used = pc.unique(values.indices).drop_null().to_numpy()
    if len(used) == size and (used == np.arange(len(used))).all():
        return values
    numbers = np.zeros(size, np.int32)
    numbers[used] = np.arange(len(used))
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers).take(values.indices), values.dictionary.take(pa.array(used))
    )
