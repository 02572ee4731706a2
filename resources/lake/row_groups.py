"""A file of the lake, read and written a row group at a time."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.table_contract import StoredTable, check, conformed_pieces, reading, storage
from resources.storage.base import Opened, Write

MergePieces = Callable[[Iterator[pa.Table]], Iterator[pa.Table]]


def stored_pieces(opened: Opened, table: StoredTable, place: Path | str) -> Iterator[pa.Table]:
    """Yield the row groups of a file; none where there is no file.

    Raises:
        LakeContractError: it does not hold what the table declares.
    """
    with reading(place), suppress(FileNotFoundError), opened() as file, pq.ParquetFile(file) as stored:
        yield from conformed_pieces(stored, table.schema, table.version, place)


def changing(
    table: StoredTable, place: Path | str, merge: MergePieces
) -> Callable[[Opened], tuple[None, Write]]:
    """Return what makes of a file another one, piece by piece, as storages take it."""

    def change(opened: Opened) -> tuple[None, Write]:
        def write(sink: BinaryIO) -> None:
            with pq.ParquetWriter(sink, table.schema, **storage(table)) as writer:
                for piece in merge(stored_pieces(opened, table, place)):
                    check(piece, table, place)
                    writer.write_table(pa.Table.from_arrays(piece.columns, schema=table.schema))

        return None, write

    return change
