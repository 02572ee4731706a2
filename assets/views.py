"""The tables as DuckDB views.

Belongs here: SQL text derived from the declarations.
Does not belong here: running it (see `pipelines.query`).

The type of the partition is declared: engines disagree when they infer it.
"""

import pyarrow as pa

from assets.tables import PARTITION, Table

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.list_(pa.date32()): "DATE[]",
}


def duckdb_view(table: Table, files: str | None) -> str:
    """Return the statement that makes a view of a table.

    Args:
        table: what to show.
        files: pattern of its files; None where there are none yet: the view is empty, of the right types.
    """
    select = _select_nothing(table) if files is None else _select_files(table, files)
    return f'CREATE OR REPLACE VIEW "{table.name}" AS {select}'


def _select_files(table: Table, files: str) -> str:
    quoted = files.replace("'", "''")
    hive = f", hive_partitioning = true, hive_types = {{'{PARTITION}': DATE}}" if table.partitioned else ""
    return f"SELECT * FROM read_parquet('{quoted}', union_by_name = true{hive})"  # noqa: S608 (our own names)


def _select_nothing(table: Table) -> str:
    columns = [(column.name, _type(column.type)) for column in table.columns]
    columns += [(PARTITION, "DATE")] if table.partitioned else []
    return "SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns) + " WHERE false"


def _type(arrow: pa.DataType) -> str:
    return "TIMESTAMP WITH TIME ZONE" if pa.types.is_timestamp(arrow) else _TYPES[arrow]
