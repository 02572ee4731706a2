"""A file of the lake, read and written a row group at a time."""

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
    translate_read_errors,
)
from resources.storage.base import OpenFile, WriteFile

MergeRowGroups = Callable[[Iterator[pa.Table]], Iterator[pa.Table]]


def read_row_groups(opened: OpenFile, table: StoredTable, place: Path | str) -> Iterator[pa.Table]:
    """Yield the row groups of a file; none where there is no file.

    Raises:
        LakeContractError: it does not hold what the table declares.
    """
    with (
        translate_read_errors(place),
        suppress(FileNotFoundError),
        opened() as file,
        pq.ParquetFile(file) as stored,
    ):
        yield from read_conformed_row_groups(stored, table.schema, table.version, place)


def merge_row_groups(
    table: StoredTable, place: Path | str, merge: MergeRowGroups
) -> Callable[[OpenFile], tuple[None, WriteFile]]:
    """Return what makes of a file another one, piece by piece, as storages take it."""

    def change(opened: OpenFile) -> tuple[None, WriteFile]:
        def write(sink: BinaryIO) -> None:
            with pq.ParquetWriter(sink, table.schema, **parquet_options(table)) as writer:
                for piece in merge(read_row_groups(opened, table, place)):
                    check_rows(piece, table, place)
                    writer.write_table(pa.Table.from_arrays(piece.columns, schema=table.schema))

        return None, write

    return change
