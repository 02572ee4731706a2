"""DuckDB views over the tables.

A view declares the columns of its files (`schema`) instead of reading them from the files. DuckDB then opens
no file that a filter on the day excludes, and returns null for columns that older files lack. The day is
extracted from the file name, which prunes files like Hive partitions; DuckDB does not combine those with
`schema`. This requires DuckDB 1.5; `docs/explanation/decisions/0009` says what it saves.
"""

from collections.abc import Iterable

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

_DAY = f"CAST(left(string_split(filename, '{PARTITION}=')[-1], 10) AS DATE)"
"""DuckDB evaluates it for each file of each query; a regular expression takes a quarter more CPU time."""

_HEAD = """\
-- The tables of the lake as views, for DuckDB 1.5 and newer. Written by `ledger views`.
-- See docs/how-to/query-the-lake.md.
-- Filter on data_date in every query, so that only the files of these days are read.
SET TimeZone = 'UTC';
"""


def render_view(table: Table, files: str | None) -> str:
    """Return the statement that creates a view of a table.

    Args:
        table: the table.
        files: glob pattern of its files; None for an empty view with the declared types.
    """
    return _create_view(table, _select_nothing(table) if files is None else _select_files(table, files))


def render_empty_view(table: Table, files: str) -> str:
    """Return the statement that creates a view of a table without files.

    From DuckDB 2.0 on the view shows files that are added later, but reads all of them. In older versions it
    stays empty until it is created again with `render_view`.
    """
    rows = (
        f"{_select_nothing(table, 'filename')}"
        f" UNION ALL BY NAME FROM {_read_files(table, files, allow_empty=True)}"
    )
    before_v2, from_v2 = _quote(_select_nothing(table)), _quote(_select_columns(table, f"({rows})"))
    return _create_view(table, f"FROM query(CASE WHEN version() < 'v2' THEN {before_v2} ELSE {from_v2} END)")


def render_views_script(tables: Iterable[tuple[Table, str, bool]]) -> str:
    """Return `views.sql`, which creates a view of every table.

    Args:
        tables: each table with the glob pattern of its files, and whether any file exists.
    """
    views = [
        f"\n-- {table.description}\n"
        + (
            render_view(table, files)
            if has_files
            else f"-- No file yet. Run `ledger views` again later.\n{render_empty_view(table, files)}"
        )
        + ";\n"
        for table, files, has_files in tables
    ]
    return "".join([_HEAD, *views])


def _create_view(table: Table, select: str) -> str:
    return f'CREATE OR REPLACE VIEW "{table.name}" AS {select}'


def _select_files(table: Table, files: str) -> str:
    return _select_columns(table, _read_files(table, files))


def _select_columns(table: Table, source: str) -> str:
    names = [f'"{column.name}"' for column in table.columns]
    names += [f"{_DAY} AS {PARTITION}"] if table.partitioned else []
    return f"SELECT {', '.join(names)} FROM {source}"  # noqa: S608 (names from the declarations)


def _read_files(table: Table, files: str, *, allow_empty: bool = False) -> str:
    schema = ", ".join(
        f"'{column.name}': {{name: '{column.name}', type: '{_get_type(column.type)}', default_value: NULL}}"
        for column in table.columns
    )
    options = f"filename = true, schema = MAP {{{schema}}}" + (", allow_empty = true" if allow_empty else "")
    return f"read_parquet({_quote(files)}, {options})"


def _select_nothing(table: Table, text: str | None = None) -> str:
    """Return a query without rows that has the columns of the table, and a text column or the partition."""
    columns = [(f'"{column.name}"', _get_type(column.type)) for column in table.columns]
    if text:
        columns.append((text, "VARCHAR"))
    elif table.partitioned:
        columns.append((PARTITION, "DATE"))
    return "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns) + " WHERE false"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _get_type(arrow: pa.DataType) -> str:
    return "TIMESTAMP WITH TIME ZONE" if pa.types.is_timestamp(arrow) else _TYPES[arrow]
