"""Answers as files."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.cli.output import flatten_cells
from pipelines.operations.query import batches
from resources.errors import ConfigurationError
from resources.storage.local import write_atomically

_WRITERS: dict[str, Callable[[str, pa.Schema], AbstractContextManager[Any]]] = {
    ".parquet": lambda file, schema: pq.ParquetWriter(file, schema, compression="zstd"),
    ".csv": pyarrow.csv.CSVWriter,
}


def write(connection: duckdb.DuckDBPyConnection, statement: str, file: Path) -> int:
    """Write the answer to a statement to a file, which is there as a whole or not at all.

    Memory does not grow with the answer.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: the ending is not known, or the file cannot be written.
        duckdb.Error: DuckDB refuses the statement.
    """
    make = _WRITERS.get(file.suffix.lower())
    if make is None:
        raise ConfigurationError(
            f"the ending {file.suffix!r} is of no format that can be written",
            where=f"--out {file}",
            next_step=f"let it end with {' or '.join(_WRITERS)}",
        )
    is_text = make is _WRITERS[".csv"]
    rows = 0
    try:
        found = batches(connection, statement)
        schema = flatten_cells(found.schema.empty_table()).schema if is_text else found.schema
        with write_atomically(file) as temporary, make(str(temporary), schema) as writer:
            for batch in found:
                part = pa.Table.from_batches([batch])
                writer.write_table(flatten_cells(part) if is_text else part)
                rows += batch.num_rows
    except OSError as problem:
        raise ConfigurationError(
            f"the answer cannot be written: {problem.strerror or problem}",
            where=f"--out {file}",
            next_step="name a file in a folder that is there and writable",
        ) from None
    return rows
