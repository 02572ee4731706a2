"""The tables as DuckDB views.

A view tells DuckDB the columns of its files (`schema`) instead of letting it look: so it opens no file that a
filter on the day leaves out, and a file of an older version gives null for columns that came later. The day
is taken from the name of the file, which prunes as the engine's own Hive partitions do; DuckDB takes either
those or `schema`. Both hold from DuckDB 1.5 on; `docs/explanation/decisions/0009` says what it saves.
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

_DAY = f"CAST(regexp_extract(filename, '{PARTITION}=([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}).part-0', 1) AS DATE)"

_HEAD = """\
-- The tables of the lake as views, for DuckDB 1.5 and newer. Written by `ledger views`.
-- See docs/how-to/query-the-lake.md.
-- A filter on data_date keeps the files of other days closed: let every query have one.
SET TimeZone = 'UTC';
"""


def render_view(table: Table, files: str | None) -> str:
    """Return the statement that makes a view of a table.

    Args:
        table: what to show.
        files: pattern of its files; None where there are none yet: the view is empty, of the right types.
    """
    return _view(table, _nothing(table) if files is None else _over(table, files))


def render_empty_view(table: Table, files: str) -> str:
    """Return the statement that makes a view of a table that has no file yet.

    From DuckDB 2.0 on it shows the rows of files that come later (and reads all of them, until it is written
    again as `render_view`); before, it stays empty.
    """
    select = f"{_nothing(table, 'filename')} UNION ALL BY NAME FROM {_read(table, files, awaiting=True)}"
    chosen = f"if(version() < 'v2', {_quoted(_nothing(table))}, {_quoted(_columns(table, f'({select})'))})"
    return _view(table, f"FROM query({chosen})")


def render_views_script(tables: Iterable[tuple[Table, str, bool]]) -> str:
    """Return `views.sql`: the statements that make a view of every table.

    Args:
        tables: each with the pattern of its files, and whether there are any.
    """
    views = [
        f"\n-- {table.description}\n"
        + (
            render_view(table, files)
            if has_files
            else f"-- No file yet: write this again once there are some.\n{render_empty_view(table, files)}"
        )
        + ";\n"
        for table, files, has_files in tables
    ]
    return "".join([_HEAD, *views])


def _view(table: Table, select: str) -> str:
    return f'CREATE OR REPLACE VIEW "{table.name}" AS {select}'


def _over(table: Table, files: str) -> str:
    return _columns(table, _read(table, files))


def _columns(table: Table, source: str) -> str:
    names = [f'"{column.name}"' for column in table.columns]
    names += [f"{_DAY} AS {PARTITION}"] if table.partitioned else []
    return f"SELECT {', '.join(names)} FROM {source}"  # noqa: S608 (our own names)


def _read(table: Table, files: str, *, awaiting: bool = False) -> str:
    schema = ", ".join(
        f"'{column.name}': {{name: '{column.name}', type: '{_type(column.type)}', default_value: NULL}}"
        for column in table.columns
    )
    options = f"filename = true, schema = MAP {{{schema}}}" + (", allow_empty = true" if awaiting else "")
    return f"read_parquet({_quoted(files)}, {options})"


def _nothing(table: Table, text: str | None = None) -> str:
    """No rows, of the right types; with one more column of text, or else the day where there is one."""
    columns = [(f'"{column.name}"', _type(column.type)) for column in table.columns]
    if text:
        columns.append((text, "VARCHAR"))
    elif table.partitioned:
        columns.append((PARTITION, "DATE"))
    return "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns) + " WHERE false"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _type(arrow: pa.DataType) -> str:
    return "TIMESTAMP WITH TIME ZONE" if pa.types.is_timestamp(arrow) else _TYPES[arrow]
