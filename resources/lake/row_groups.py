"""Writing a file of the lake one row group at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.encoded_texts import combine_chunks, encode_texts
from resources.lake.shards import FileLayout, find_shards, select_rows
from resources.lake.table_contract import (
    StoredTable,
    check_rows,
    open_writer,
    parquet_options,
    write_rows,
)

ROW_GROUP_ROWS = 262_144
"""Rows that are collected before they become a row group."""

_WAITING_ROWS = 8 * ROW_GROUP_ROWS
"""Rows that wait for all files of a split together."""

MergeRowGroups = Callable[[Iterator[pa.Table]], Iterator[pa.Table]]


def write_row_groups(
    table: StoredTable,
    location: Path | str,
    row_groups: Iterable[pa.Table],
    sink: BinaryIO,
    layout: FileLayout = FileLayout(),  # noqa: B008 (frozen)
) -> None:
    """Write row groups to a file.

    Raises:
        LakeContractError: rows do not match the declaration of the table.
    """
    with pq.ParquetWriter(sink, table.schema, **parquet_options(table)) as writer:
        for rows in row_groups:
            check_rows(rows, table.name, table.schema, location)
            writer.write_table(pa.Table.from_arrays(rows.columns, schema=table.schema))
            del rows  # before the next ones are read
        if layout.entries:
            writer.add_key_value_metadata(layout.entries)


def write_encoded(
    table: StoredTable, batches: Iterable[pa.Table], sink: BinaryIO, layout: FileLayout
) -> None:
    """Write batches with the `encoded_schema` of a table to a file, several as one row group."""
    file = _GrowingFile(table, layout)
    for rows in batches:
        file.add(rows)
        if file.waiting_rows >= ROW_GROUP_ROWS:
            file.flush(sink)
    file.close(sink)


def write_split(
    table: StoredTable,
    batches: Iterable[pa.Table],
    shards: int,
    paths: Mapping[int, Path],
    layout: FileLayout,
) -> None:
    """Write batches with the `encoded_schema` of a table to one file for each shard.

    Args:
        table: the table.
        batches: the rows, sorted by key; each belongs to one of the shards.
        shards: the number of shards of the day.
        paths: the file of each shard, by its number.
        layout: the layout of the files.
    """
    with ExitStack() as stack:
        sinks = {number: stack.enter_context(path.open("wb")) for number, path in paths.items()}
        files = {number: _GrowingFile(table, layout) for number in paths}
        for rows in batches:
            owners = find_shards(rows, shards)
            for number in np.unique(owners).tolist():
                files[number].add(encode_texts(select_rows(rows, owners == number), table.encoded_schema))
            while sum(file.waiting_rows for file in files.values()) >= _WAITING_ROWS:
                number = max(files, key=lambda number: files[number].waiting_rows)
                files[number].flush(sinks[number])
        for number, file in files.items():
            file.close(sinks[number])


class _GrowingFile:
    """A file that gets its rows in batches."""

    def __init__(self, table: StoredTable, layout: FileLayout) -> None:
        self._table, self._layout = table, layout
        self._waiting: list[pa.Table] = []
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self.waiting_rows = 0

    def add(self, rows: pa.Table) -> None:
        """Add rows with the `encoded_schema` of the table."""
        self._waiting.append(rows)
        self.waiting_rows += rows.num_rows

    def flush(self, sink: BinaryIO) -> None:
        """Write the waiting rows as a row group."""
        if not self.waiting_rows:
            return
        if self._writer is None:
            schema = self._table.encoded_schema
            self._writer = self._stack.enter_context(open_writer(sink, self._table, schema, self._layout))
        self._writer.write_table(combine_chunks(pa.concat_tables(self._waiting)))
        self._waiting, self.waiting_rows = [], 0

    def close(self, sink: BinaryIO) -> None:
        """Write the remaining rows and the footer."""
        self.flush(sink)
        if self._writer is None:
            write_rows(self._table.schema.empty_table(), self._table, sink, self._layout)
        self._stack.close()
