"""Many questions to the lake over one connection, as a page asks them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from pipelines.operations.query import connect
from resources.errors import DataError
from resources.lake.lake import Lake


@contextmanager
def open_query(lake: Lake) -> Iterator[Callable[[str], pa.Table]]:
    """Open a connection; what it gives answers one statement after the other.

    Raises:
        DataError: DuckDB refuses a statement.
        LedgerError: the lake cannot be looked into.
    """
    try:
        with connect(lake) as connection:
            yield lambda statement: connection.sql(statement).to_arrow_table()
    except duckdb.Error as problem:
        raise DataError(
            f"the lake cannot be asked: {problem}",
            where=f"the lake at {lake.uri}",
            next_step="ask it with `ledger sql`; a file of it that cannot be read is named above",
        ) from None
