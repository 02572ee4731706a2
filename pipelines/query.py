"""SQL over the lake, with DuckDB inside this process.

Belongs here: a connection with every table under its name, wherever the lake is.
Does not belong here: the views' text (see `assets.views`) and how answers are printed (see `cli`).
"""

import duckdb
import pyarrow as pa

from assets.tables import TABLES, Table
from assets.views import duckdb_view
from resources.errors import DataError
from resources.lake import Lake


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """Open a connection; times are shown in UTC whatever the machine's zone is."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table in TABLES:
        if not _is_there(lake, table):
            connection.execute(duckdb_view(table, None))
        elif lake.is_local:
            connection.execute(duckdb_view(table, lake.files(table)))
        else:  # DuckDB would have to download an extension first, and to find credentials a second time
            connection.register(table.name, lake.dataset(table))
    return connection


def answer(lake: Lake, statement: str) -> pa.Table:
    """Answer one statement.

    Raises:
        DataError: DuckDB refuses it; the message is DuckDB's.
        LedgerError: the lake cannot be looked into.
    """
    try:
        with connect(lake) as connection:
            return connection.sql(statement).to_arrow_table()
    except duckdb.Error as problem:
        raise DataError(
            str(problem),
            where=f"the SQL statement, over the lake at {lake.uri}",
            next_step=f"the tables are {', '.join(table.name for table in TABLES)}",
        ) from None


def _is_there(lake: Lake, table: Table) -> bool:
    return bool(lake.days(table)) if table.partitioned else lake.has(table)
