"""SQL queries over the lake with DuckDB, and views for other DuckDB programs."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from assets.tables import TABLES, Table
from assets.tables.duckdb_views import render_view, render_views_script
from resources.errors import ConfigurationError, DataError
from resources.lake.lake import Lake

_ROWS_A_BATCH = 100_000


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """Open a connection with a view of each table; the time zone of the session is UTC."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table in TABLES:
        if lake.is_local:
            files = lake.files(table) if _has_files(lake, table) else None
            connection.execute(render_view(table, files))
        else:  # DuckDB would need an extension and its own credentials to read S3
            connection.register(table.name, lake.dataset(table))
    return connection


def query_once(lake: Lake, statement: str) -> pa.Table:
    """Run one statement over a new connection.

    Raises:
        DataError: DuckDB rejects the statement; the message is from DuckDB.
        LedgerError: the lake cannot be read.
    """
    with translate_errors(lake), connect(lake) as connection:
        return execute(connection, statement)


def execute(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    """Run one statement; a statement without a result returns a table without columns.

    Raises:
        duckdb.Error: DuckDB rejects the statement.
    """
    relation = connection.sql(statement)
    return pa.table({}) if relation is None else _restore_integers(relation.to_arrow_table())


def stream_batches(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.RecordBatchReader:
    """Run one statement and stream its result, which may exceed the memory.

    Raises:
        duckdb.Error: DuckDB rejects the statement.
        DataError: the statement has no result.
    """
    relation = connection.sql(statement)
    if relation is None:
        raise DataError("The statement has no result", where=statement, next_step="use a SELECT statement")
    return relation.to_arrow_reader(_ROWS_A_BATCH)


@contextmanager
def open_query(lake: Lake) -> Iterator[Callable[[str], pa.Table]]:
    """Open a connection and yield a function that runs one statement.

    Raises:
        DataError: DuckDB rejects a statement.
        LedgerError: the lake cannot be read.
    """
    try:
        with connect(lake) as connection:
            yield lambda statement: connection.sql(statement).to_arrow_table()
    except duckdb.Error as error:
        raise DataError(
            f"Cannot query the lake: {error}",
            where=f"the lake at {lake.uri}",
            next_step="run a query with `ledger sql`; the message names any file that cannot be read",
        ) from None


@contextmanager
def translate_errors(lake: Lake, where: str = "the SQL statement") -> Iterator[None]:
    """Raise DuckDB errors as `DataError`; the message of DuckDB has the position in the statement."""
    try:
        yield
    except duckdb.Error as error:
        raise DataError(
            str(error),
            where=f"{where}, over the lake at {lake.uri}",
            next_step=f"the tables are {', '.join(table.name for table in TABLES)}",
        ) from None


def views(lake: Lake, relative_to: Path | None = None) -> str:
    """Return SQL that creates a view of each table in any DuckDB.

    Args:
        lake: the lake. For a lake in S3, DuckDB needs its httpfs extension.
        relative_to: write paths relative to this folder, where DuckDB must start; None: absolute paths.

    Raises:
        ConfigurationError: `relative_to` is set for a lake in S3.
    """
    location = lake
    if relative_to is not None:
        if not lake.is_local:
            raise ConfigurationError(
                "Cannot write relative paths for a lake in S3",
                where=f"--relative, and lake.uri = {lake.uri}",
                next_step="remove --relative",
            )
        location = Lake(os.path.relpath(lake.root, relative_to))
    return render_views_script((table, location.files(table), _has_files(lake, table)) for table in TABLES)


def write_database(file: Path, script: str) -> None:
    """Create or update the views in a DuckDB database file.

    Raises:
        ConfigurationError: the file is not a DuckDB database, is in use, or cannot be written.
    """
    try:
        with duckdb.connect(str(file)) as connection:
            connection.execute(script)
    except duckdb.Error as error:
        raise ConfigurationError(
            f"Cannot write the database: {error}",
            where=str(file),
            next_step="close the programs that use the file, or name a new file",
        ) from None


def _restore_integers(rows: pa.Table) -> pa.Table:
    """Cast sums back to integers: DuckDB returns HUGEINT, which Arrow receives as a decimal."""
    columns = [_cast_to_integer(column) if _is_hugeint(column.type) else column for column in rows.columns]
    return pa.table(columns, names=rows.schema.names)


def _is_hugeint(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind)) and kind.scale == 0


def _cast_to_integer(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column  # the values exceed 64 bits


def _has_files(lake: Lake, table: Table) -> bool:
    return bool(lake.days(table)) if table.partitioned else lake.has(table)
