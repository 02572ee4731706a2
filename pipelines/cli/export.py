"""Query results as files."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.cli.output import flatten_cells
from pipelines.operations.query import stream_batches
from resources.errors import ConfigurationError
from resources.storage.local import write_atomically

_WRITERS: dict[str, Callable[[str, pa.Schema], AbstractContextManager[Any]]] = {
    ".parquet": lambda file, schema: pq.ParquetWriter(file, schema, compression="zstd"),
    ".csv": pyarrow.csv.CSVWriter,
}


def write(connection: duckdb.DuckDBPyConnection, statement: str, file: Path) -> int:
    """Write the result of a statement to a file, atomically and in constant memory.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: the suffix is unknown, or the file cannot be written.
        duckdb.Error: DuckDB rejects the statement.
    """
    open_writer = _WRITERS.get(file.suffix.lower())
    if open_writer is None:
        raise ConfigurationError(
            f"Cannot write files with the suffix {file.suffix!r}",
            where=f"--out {file}",
            next_step=f"use the suffix {' or '.join(_WRITERS)}",
        )
    is_text = open_writer is _WRITERS[".csv"]
    rows = 0
    try:
        batches = stream_batches(connection, statement)
        schema = flatten_cells(batches.schema.empty_table()).schema if is_text else batches.schema
        with write_atomically(file) as temporary, open_writer(str(temporary), schema) as writer:
            for batch in batches:
                part = pa.Table.from_batches([batch])
                writer.write_table(flatten_cells(part) if is_text else part)
                rows += batch.num_rows
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write the result: {error.strerror or error}",
            where=f"--out {file}",
            next_step="name a file in an existing, writable folder",
        ) from None
    return rows
