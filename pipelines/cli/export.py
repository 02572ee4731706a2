"""Query results as files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipelines.cli.query_output import format_csv, format_spreadsheet
from pipelines.operations.query import run_statement, select_exact, stream_batches
from resources.errors import ConfigurationError, DataError
from resources.storage.local import write_atomically


def write(
    connection: duckdb.DuckDBPyConnection, statement: str, file: Path, *, is_spreadsheet: bool = False
) -> int:
    """Write the result of a statement to a file, atomically and in constant memory.

    Args:
        connection: the lake.
        statement: one statement.
        file: its suffix selects the format.
        is_spreadsheet: a .csv file gets no formulas.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: the suffix is unknown, or the file cannot be written.
        DataError: the statement has no result.
        duckdb.Error: DuckDB rejects the statement.
    """
    suffix = file.suffix.lower()
    write_rows = _write_spreadsheet if is_spreadsheet and suffix == ".csv" else _WRITERS.get(suffix)
    if write_rows is None:
        raise ConfigurationError(
            f"Cannot write files with the suffix {file.suffix!r}",
            where=f"--out {file}",
            next_step=f"use the suffix {' or '.join(_WRITERS)}",
        )
    try:
        relation = run_statement(connection, statement)
        if relation is None:
            raise DataError(
                "Cannot write a file: the statement has no result",
                where=statement,
                next_step="use a SELECT statement",
            )
        with write_atomically(file) as temporary:
            return write_rows(relation, temporary)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write the result: {error.strerror or error}",
            where=f"--out {file}",
            next_step="name a file in an existing, writable folder",
        ) from None


def _write_parquet(relation: duckdb.DuckDBPyRelation, file: Path) -> int:
    rows = 0
    batches = stream_batches(select_exact(relation))
    first = next(batches)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_csv(relation: duckdb.DuckDBPyRelation, file: Path) -> int:
    return _write_lines(format_csv(relation), file)


def _write_spreadsheet(relation: duckdb.DuckDBPyRelation, file: Path) -> int:
    return _write_lines(format_spreadsheet(relation), file)


def _write_lines(lines: Iterator[str], file: Path) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        for line in lines:
            stream.write(line)
            count += 1
    return count - 1  # without the header


_WRITERS: dict[str, Callable[[duckdb.DuckDBPyRelation, Path], int]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
}
