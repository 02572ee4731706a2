"""SQL over the lake, with DuckDB inside this process, and the views for DuckDB elsewhere."""

import os
from collections.abc import Iterator
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
    """Open a connection; times are shown in UTC whatever the machine's zone is."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table in TABLES:
        if lake.is_local:
            files = lake.files(table) if _is_there(lake, table) else None
            connection.execute(render_view(table, files))
        else:  # DuckDB would have to download an extension first, and to find credentials a second time
            connection.register(table.name, lake.dataset(table))
    return connection


def query_once(lake: Lake, statement: str) -> pa.Table:
    """Answer one statement.

    Raises:
        DataError: DuckDB refuses it; the message is DuckDB's.
        LedgerError: the lake cannot be looked into.
    """
    with refusals(lake), connect(lake) as connection:
        return execute(connection, statement)


def execute(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    """Answer one statement over an open connection; one that answers nothing gives no columns.

    Raises:
        duckdb.Error: DuckDB refuses it.
    """
    found = connection.sql(statement)
    return pa.table({}) if found is None else _plain(found.to_arrow_table())


def batches(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.RecordBatchReader:
    """Answer one statement bit by bit, for answers that are too large for memory.

    Raises:
        duckdb.Error: DuckDB refuses it.
        DataError: it answers nothing.
    """
    found = connection.sql(statement)
    if found is None:
        raise DataError("the statement has no answer", where=statement, next_step="give one that SELECTs")
    return found.to_arrow_reader(_ROWS_A_BATCH)


@contextmanager
def refusals(lake: Lake, where: str = "the SQL statement") -> Iterator[None]:
    """Turn what DuckDB refuses into this project's words; its message tells the position."""
    try:
        yield
    except duckdb.Error as problem:
        raise DataError(
            str(problem),
            where=f"{where}, over the lake at {lake.uri}",
            next_step=f"the tables are {', '.join(table.name for table in TABLES)}",
        ) from None


def views(lake: Lake, relative_to: Path | None = None) -> str:
    """Return `views.sql` for a lake: a view of every table, for any DuckDB.

    Args:
        lake: the lake; of one in S3 the views name s3:// files, which DuckDB's httpfs reads.
        relative_to: the folder that DuckDB will be started in, where paths shall start there; None: they are
            absolute.

    Raises:
        ConfigurationError: paths of a lake in S3 shall be relative.
    """
    named = lake
    if relative_to is not None:
        if not lake.is_local:
            raise ConfigurationError(
                "a lake in S3 has no relative paths",
                where=f"--relative, and lake.uri = {lake.uri}",
                next_step="leave --relative away",
            )
        named = Lake(os.path.relpath(lake.root, relative_to))
    return render_views_script((table, named.files(table), _is_there(lake, table)) for table in TABLES)


def write_database(file: Path, text: str) -> None:
    """Write a DuckDB database that holds the views, in place of what it held of them before.

    Raises:
        ConfigurationError: the file is no such database, or in use, or cannot be written.
    """
    try:
        with duckdb.connect(str(file)) as connection:
            connection.execute(text)
    except duckdb.Error as problem:
        raise ConfigurationError(
            f"the database cannot be written: {problem}",
            where=str(file),
            next_step="close what has it open, or name a file that is not there yet",
        ) from None


def _plain(rows: pa.Table) -> pa.Table:
    """Give whole numbers back as such: DuckDB adds them up as HUGEINT, for which Arrow has decimals only."""
    columns = [_whole(column) if _is_huge(column.type) else column for column in rows.columns]
    return pa.table(columns, names=rows.schema.names)


def _is_huge(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind)) and kind.scale == 0


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column  # more than 64 bits hold


def _is_there(lake: Lake, table: Table) -> bool:
    return bool(lake.days(table)) if table.partitioned else lake.has(table)
