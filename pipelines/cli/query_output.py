"""Query results as text: CSV, JSON, or a table for a terminal or a pipe."""

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from enum import StrEnum
from itertools import islice

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.sqltypes import DuckDBPyType
from rich.cells import cell_len

from pipelines.cli.output import open_console, print_text
from pipelines.operations.query import is_nested, render_json, retry_read, select_columns, stream_batches
from resources.control_characters import escape_control_characters, replace_control_characters
from resources.errors import ConfigurationError

_MIN_RENDERER_WIDTH = 80
"""DuckDB's renderer draws no narrower table."""

_MAX_TERMINAL_ROWS = 200
"""A terminal shows the first and last rows of a longer result; a pipe and a file get all rows."""

_LINES_PER_WRITE = 1000

_EXPLAIN_COLUMNS = ["explain_key", "explain_value"]
"""The columns of an EXPLAIN result, which is a drawing that must not be wrapped."""

_NUMBERS = {
    *("tinyint", "smallint", "integer", "bigint", "hugeint", "bignum", "float", "double", "decimal"),
    *("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"),
}

_FORMULA = r"[=+\-@\t\r\n＝＋－＠]"  # noqa: RUF001 (spreadsheets treat full-width signs alike)
"""The first character of a text that a spreadsheet program evaluates."""

_JSON_TIME = re.compile(r'"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00"')
_JSON_TIMES = ("timestamp with time zone", "timestamptz_ns")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity|nan|inf)\b')


class Shape(StrEnum):
    """Output formats of a query result."""

    table = "table"
    csv = "csv"
    spreadsheet = "spreadsheet"
    json = "json"
    jsonl = "jsonl"


def show(relation: duckdb.DuckDBPyRelation, shape: Shape = Shape.table) -> None:
    """Print a result on standard output: CSV, CSV for spreadsheets, a JSON array, JSON lines, or a table.

    A terminal gets the table of DuckDB's renderer, fitted to its width. A pipe gets unwrapped lines.

    Raises:
        duckdb.Error: DuckDB cannot compute the rows.
    """
    _write(_WRITERS[shape](relation))


def _write(texts: Iterable[str]) -> None:
    pending = iter(texts)
    while part := "".join(islice(pending, _LINES_PER_WRITE)):
        try:
            print_text(part)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ConfigurationError(
                f"Cannot write the result: {error.strerror}",
                where="standard output",
                next_step="free disk space, or write to another file",
            ) from None


def format_csv(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Yield CSV: the text of DuckDB, JSON for nested values, base64 for bytes, an empty field for null."""
    for index, batch in enumerate(stream_batches(select_columns(relation, _render_csv))):
        if index == 0:
            yield ",".join(map(_quote_csv, batch.schema.names)) + "\n"
        null = '""' if batch.num_columns == 1 else ""  # readers skip empty lines
        yield from _join_columns([_quote_csv_column(column) for column in batch.columns], ",", null)


def format_spreadsheet(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Yield CSV in which no text is a formula: texts that begin with = + - @ or a tab get an apostrophe."""
    for index, batch in enumerate(stream_batches(select_columns(relation, _render_spreadsheet))):
        if index == 0:
            names = (f"'{name}" if re.match(_FORMULA, name) else name for name in batch.schema.names)
            yield ",".join(map(_quote_csv, names)) + "\n"
        null = '""' if batch.num_columns == 1 else ""
        yield from _join_columns([_quote_csv_column(column) for column in batch.columns], ",", null)


def format_json_lines(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Yield one JSON object for each row."""
    kinds = relation.types
    for batch in stream_batches(select_columns(relation, _render_json)):
        members = [
            pc.binary_join_element_wise(
                pa.scalar(f"{msgspec.json.encode(name).decode()}:"),
                _normalize_json(column, kind),
                "",
                null_handling="replace",
                null_replacement="null",
            )
            for name, column, kind in zip(batch.schema.names, batch.columns, kinds, strict=True)
        ]
        yield from (f"{{{line[:-1]}}}\n" for line in _join_columns(members, ",", "null"))


def _format_json_array(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    separator = "[\n"
    for line in format_json_lines(relation):
        yield f"{separator}  {line[:-1]}"
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _format_table(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    if relation.columns == _EXPLAIN_COLUMNS:
        plans = retry_read(relation.fetchall)
        yield from (f"{escape_control_characters(plan)}\n" for _, plan in plans)
        return
    width = open_console().width
    if not sys.stdout.isatty():
        yield from (f"{line}\n" for line in _format_lines(relation))
    elif width < _MIN_RENDERER_WIDTH:
        yield from (f"{_crop(line, width)}\n" for line in _format_lines(relation))
    else:
        drawing = retry_read(lambda: _draw(relation, width))
        yield replace_control_characters(drawing.rstrip("\n") + "\n")


def _draw(relation: duckdb.DuckDBPyRelation, width: int) -> str:
    drawing = io.StringIO()
    with redirect_stdout(drawing):
        relation.show(max_width=width, max_rows=_MAX_TERMINAL_ROWS)
    return drawing.getvalue()


def _format_lines(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Yield a header and one line for each row, in aligned columns; numbers are right-aligned."""
    names, kinds = relation.columns, relation.types
    values: list[list[str]] = [[_format_cell(name)] for name in names]
    for batch in stream_batches(select_columns(relation, lambda column, _: f"CAST({column} AS VARCHAR)")):
        for cells, column in zip(values, batch.columns, strict=True):
            cells.extend(map(_format_cell, column.to_pylist()))
    widths = [max(map(cell_len, cells)) for cells in values]
    for row in zip(*values, strict=True):
        padded = (
            " " * (width - cell_len(cell)) + cell
            if kind.id in _NUMBERS
            else cell + " " * (width - cell_len(cell))
            for cell, width, kind in zip(row, widths, kinds, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _format_cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    return escape_control_characters(value).replace("\n", "\\n").replace("\t", "\\t")


def _crop(line: str, width: int) -> str:
    if cell_len(line) <= width:
        return line
    while cell_len(line) > width - 1:
        line = line[: width - 1] if len(line) > width - 1 else line[:-1]
    return f"{line}…"


def _join_columns(columns: list[pa.Array], separator: str, null: str) -> Iterator[str]:
    lines = pc.binary_join_element_wise(
        *columns, separator, null_handling="replace", null_replacement=null
    ).to_pylist()
    yield from (f"{line}\n" for line in lines)


def _render_csv(column: str, kind: DuckDBPyType) -> str:
    if kind.id == "blob":
        return f"base64({column})"
    return render_json(column) if is_nested(kind) else f"CAST({column} AS VARCHAR)"


def _render_spreadsheet(column: str, kind: DuckDBPyType) -> str:
    text = _render_csv(column, kind)
    if kind.id in _NUMBERS:
        return text
    return f"CASE WHEN regexp_matches({text}, '^{_FORMULA}') THEN chr(39) || {text} ELSE {text} END"


def _render_json(column: str, kind: DuckDBPyType) -> str:
    return render_json(f"base64({column})" if kind.id == "blob" else column)


def _quote_csv(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if text == "" or re.search('[",\r\n]', text) else text


def _quote_csv_column(column: pa.Array) -> pa.Array:
    """Quote values with separators or quotes, and empty texts; null stays null."""
    needs_quotes = pc.or_(pc.match_substring_regex(column, '[",\r\n]'), pc.equal(column, ""))
    if not pc.any(needs_quotes).as_py():
        return column
    doubled = pc.replace_substring(column, '"', '""')
    return pc.if_else(needs_quotes, pc.binary_join_element_wise('"', doubled, '"', ""), column)


def _normalize_json(column: pa.Array, kind: DuckDBPyType) -> pa.Array:
    """Write UTC times as in RFC 3339, and NaN and infinity as strings, which JSON numbers lack."""
    if kind.id in _JSON_TIMES:
        return pc.replace_substring_regex(column, _JSON_TIME.pattern, r'"\1T\2Z"')
    if kind.id in ("float", "double") or is_nested(kind):
        return pa.array(
            [None if text is None else _JSON_TOKEN.sub(_quote_json, text) for text in column.to_pylist()],
            pa.string(),
        )
    return column


def _quote_json(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith('"') else f'"{match[0]}"'


_WRITERS: dict[Shape, Callable[[duckdb.DuckDBPyRelation], Iterator[str]]] = {
    Shape.table: _format_table,
    Shape.csv: format_csv,
    Shape.spreadsheet: format_spreadsheet,
    Shape.json: _format_json_array,
    Shape.jsonl: format_json_lines,
}
