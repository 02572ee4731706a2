"""Reading and writing a file of the lake one row group at a time."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.table_contract import (
    StoredTable,
    check_rows,
    parquet_options,
    read_conformed_row_groups,
    refuse_foreign_columns,
    translate_read_errors,
)
from resources.storage.base import OpenFile, WriteFile

MergeRowGroups = Callable[[Iterator[pa.Table]], Iterator[pa.Table]]


def read_row_groups(open_file: OpenFile, table: StoredTable, location: Path | str) -> Iterator[pa.Table]:
    """Yield the row groups of a file; none without a file.

    Raises:
        LakeContractError: the file does not match the declaration of the table.
    """
    with (
        translate_read_errors(location),
        suppress(FileNotFoundError),
        open_file() as file,
        pq.ParquetFile(file) as stored,
    ):
        yield from read_conformed_row_groups(stored, table.schema, table.version, location)


def merge_row_groups(
    table: StoredTable, location: Path | str, merge: MergeRowGroups
) -> Callable[[OpenFile], tuple[None, WriteFile]]:
    """Return a `change` for `Storage.update` that merges a file one row group at a time."""

    def change(open_file: OpenFile) -> tuple[None, WriteFile]:
        with (
            translate_read_errors(location),
            suppress(FileNotFoundError),
            open_file() as file,
            pq.ParquetFile(file) as stored,
        ):
            refuse_foreign_columns(stored, table, location)

        def write(sink: BinaryIO) -> None:
            with pq.ParquetWriter(sink, table.schema, **parquet_options(table)) as writer:
                for rows in merge(read_row_groups(open_file, table, location)):
                    check_rows(rows, table.name, table.schema, location)
                    writer.write_table(pa.Table.from_arrays(rows.columns, schema=table.schema))

        return None, write

    return change
