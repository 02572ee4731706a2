"""SQL queries over the lake with DuckDB, and views for other DuckDB programs."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import duckdb
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from assets.tables import TABLES, Table
from assets.tables.duckdb_views import render_view, render_views_script
from resources.clock import sleep_up_to
from resources.errors import ConfigurationError, DataError
from resources.lake.lake import Lake

T = TypeVar("T")

_ROWS_PER_BATCH = 20_000

_READ_ATTEMPTS = 5
_MAX_PAUSE_SECONDS = 0.05
_TORN_READS = {duckdb.Error, duckdb.IOException, duckdb.InvalidInputException}
"""The errors that DuckDB raises if a file is replaced while it reads: it opens each path several times."""

_MEMORY_LIMIT = "600MB"
"""The memory of DuckDB for a report, which also needs memory for Python."""

_STORAGE_VERSION = "v1.5.0"
"""The oldest DuckDB version that pyproject.toml allows; older versions open no newer database file."""

_RESULT = "ledger_result"
"""The name of a result within the statements that convert it."""

_STATUS_COLUMNS = (["Success"], ["Count"])
"""The columns that DuckDB returns for statements without a result, such as SET, CREATE and INSERT."""

_HUGE_INTEGERS = {"hugeint", "uhugeint"}
_CONTAINERS = {"list", "struct", "map", "array"}
_EXACT = {
    *("null", "boolean", "tinyint", "smallint", "integer", "bigint"),
    *("utinyint", "usmallint", "uinteger", "ubigint", "float", "double", "decimal"),
    *("date", "time", "time_ns", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"),
    *("timestamp with time zone", "timestamptz_ns", "uuid", "varchar", "blob", "enum"),
}
"""The types that Arrow and Parquet hold without loss; newer types become text until they are listed."""

_UNKNOWN_COLUMN = re.compile(r'Referenced column ("(?:[^"]|"")+") (?:was )?not found')


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
    with translate_errors(lake, statement), connect(lake) as connection:
        return execute(connection, statement)


def retry_read(action: Callable[[], T]) -> T:
    """Repeat an action that DuckDB could not complete because another process replaced a file meanwhile.

    An error that remains is raised: then the file is damaged, or the error has another cause.

    Raises:
        duckdb.Error: the error of the last attempt.
    """
    for attempt in count(1):
        try:
            return action()
        except duckdb.Error as error:
            if type(error) not in _TORN_READS or attempt == _READ_ATTEMPTS:
                raise
            sleep_up_to(_MAX_PAUSE_SECONDS)
    raise AssertionError  # count has no end


def execute(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    """Run one statement; a statement without a result returns a table without columns.

    Raises:
        duckdb.Error: DuckDB rejects the statement.
    """
    relation = run_statement(connection, statement)
    if relation is None:
        return pa.table({})
    return _restore_integers(retry_read(select_exact(relation).to_arrow_table))


def run_statement(connection: duckdb.DuckDBPyConnection, statement: str) -> duckdb.DuckDBPyRelation | None:
    """Run one statement; None if it has no result. A query runs only when its rows are read.

    Raises:
        duckdb.Error: DuckDB rejects the statement.
    """
    relation: duckdb.DuckDBPyRelation | None = retry_read(lambda: connection.sql(statement))
    if relation is None:
        return None
    has_result = relation.type != "MATERIALIZED_RELATION" or relation.columns not in _STATUS_COLUMNS
    return relation if has_result else None


def select_columns(
    relation: duckdb.DuckDBPyRelation, render: Callable[[str, DuckDBPyType], str]
) -> duckdb.DuckDBPyRelation:
    """Select an expression for each column; names are unique, `a` and `a` become `a` and `a_1`.

    Args:
        relation: the result of a statement.
        render: returns the expression for a column, from its alias and its type.

    Raises:
        duckdb.Error: DuckDB rejects an expression.
    """
    names = _query(relation, f"FROM {_RESULT}").columns
    aliases = [f"c{index}" for index in range(len(names))]
    selected = ", ".join(
        f"{render(alias, kind)} AS {_quote_name(name)}"
        for alias, kind, name in zip(aliases, relation.types, names, strict=True)
    )
    source = f"{_RESULT} AS {_RESULT}({', '.join(aliases)})"
    return _query(relation, f"SELECT {selected} FROM {source}")  # noqa: S608 (quoted names)


def _query(relation: duckdb.DuckDBPyRelation, statement: str) -> duckdb.DuckDBPyRelation:
    result = retry_read(lambda: relation.query(_RESULT, statement))
    assert result is not None  # noqa: S101 (a query has a result)
    return result


def select_exact(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Convert columns that Arrow and Parquet cannot hold: integers over 64 bits to decimals, others to text.

    Raises:
        duckdb.Error: DuckDB rejects an expression.
    """
    return select_columns(relation, _render_exact)


def _render_exact(column: str, kind: DuckDBPyType) -> str:
    if kind.id in _HUGE_INTEGERS:
        return f"CAST({column} AS DECIMAL(38, 0))"
    if _is_exact(kind):
        return column
    return render_json(column) if is_nested(kind) else f"CAST({column} AS VARCHAR)"


def _is_exact(kind: DuckDBPyType) -> bool:
    if kind.id not in _CONTAINERS:
        return kind.id in _EXACT
    children = [child for _, child in kind.children if isinstance(child, DuckDBPyType)]
    return bool(children) and all(map(_is_exact, children))


def is_nested(kind: DuckDBPyType) -> bool:
    """Whether the values have parts, so that JSON represents them better than text."""
    return kind.id in {*_CONTAINERS, "union", "tuple", "variant"}


def render_json(column: str) -> str:
    """Return the expression for a column as JSON text."""
    return f"CAST(to_json({column}) AS VARCHAR)"


def _quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escape(text: str) -> str:
    return text.replace("'", "''")


def stream_batches(relation: duckdb.DuckDBPyRelation) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a result, which may exceed the memory; the first batch can be empty.

    Raises:
        duckdb.Error: DuckDB cannot compute the rows.
    """
    reader, batch = retry_read(lambda: _open_reader(relation))
    yield pa.RecordBatch.from_pylist([], schema=reader.schema)
    while batch is not None:
        yield batch
        batch = _read_batch(reader)


def _open_reader(relation: duckdb.DuckDBPyRelation) -> tuple[pa.RecordBatchReader, pa.RecordBatch | None]:
    """Start to read; with the first batch, because most errors of a replaced file occur there."""
    reader = relation.to_arrow_reader(_ROWS_PER_BATCH)
    return reader, _read_batch(reader)


def _read_batch(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (OSError, pa.ArrowException) as error:  # an error after the first rows arrives through Arrow
        raise duckdb.Error(str(error)) from None


def _run(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    relation = connection.sql(statement)
    return pa.table({}) if relation is None else relation.to_arrow_table()


@contextmanager
def open_query(lake: Lake) -> Iterator[Callable[[str], pa.Table]]:
    """Open a connection and yield a function that runs one statement.

    A statement without a result returns no columns. What exceeds the memory limit is written to a temporary
    folder.

    Raises:
        DataError: DuckDB rejects a statement.
        LedgerError: the lake cannot be read.
    """
    try:
        with TemporaryDirectory(prefix="ledger-") as folder, connect(lake) as connection:
            connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
            connection.execute(f"SET temp_directory = '{_escape(folder)}'")
            yield lambda statement: retry_read(partial(_run, connection, statement))
    except duckdb.Error as error:
        raise DataError(
            f"Cannot query the lake: {error}",
            where=f"the lake at {lake.uri}",
            next_step="run a query with `ledger sql`; the message names any file that cannot be read",
        ) from None


_STEPS: dict[type[duckdb.Error], str] = {
    duckdb.IOException: "check that the file exists, and that this user may read or write it",
    duckdb.ConversionException: "cast the value to another type, such as VARCHAR",
}
"""The next step after an error that has nothing to do with the names of tables."""


@contextmanager
def translate_errors(lake: Lake, statement: str, where: str = "the SQL statement") -> Iterator[None]:
    """Raise DuckDB errors as `DataError`; the message of DuckDB has the position in the statement.

    Args:
        lake: the lake.
        statement: the statement, or the script that contains it.
        where: which statement it is.
    """
    try:
        yield
    except duckdb.Error as error:
        tables = f"the tables are {', '.join(table.name for table in TABLES)}"
        raise DataError(
            str(error),
            where=f"{where}, over the lake at {lake.uri}",
            next_step=explain_quotes(str(error), statement) or _STEPS.get(type(error), tables),
        ) from None


def explain_quotes(message: str, statement: str) -> str:
    """Return the quoting rule if a statement has text in double quotes; else an empty text.

    Args:
        message: the error message of DuckDB.
        statement: the statement.
    """
    match = _UNKNOWN_COLUMN.search(message)
    if not match or match[1] not in statement:
        return ""
    text = match[1][1:-1].replace("'", "''")
    return f"write '{text}': double quotes name columns, single quotes enclose text"


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
    """Create or update the views in a DuckDB database file, which DuckDB 1.5 and newer open.

    Raises:
        ConfigurationError: the file is not a DuckDB database, is in use, or cannot be written.
    """
    try:
        with duckdb.connect() as connection:
            connection.execute(
                f"ATTACH '{_escape(str(file))}' AS ledger_views (STORAGE_VERSION '{_STORAGE_VERSION}')"
            )
            connection.execute("USE ledger_views")
            connection.execute(script)
            connection.execute("USE memory")
            connection.execute("DETACH ledger_views")
    except duckdb.Error as error:
        raise ConfigurationError(
            f"Cannot write the database: {error}",
            where=str(file),
            next_step="close the programs that use the file, or name a new file; a file of a newer DuckDB"
            " version cannot be updated",
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
