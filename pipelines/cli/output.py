"""Query results and JSON on standard output."""

import sys
from enum import StrEnum

import msgspec
import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table as Grid

_LARGE = 100
"""Numbers from here on are shown with one decimal, smaller ones with three."""

_EXPLAIN_COLUMNS = ["explain_key", "explain_value"]
"""The columns of an EXPLAIN result, which is a drawing that must not be wrapped."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Shape(StrEnum):
    """Output formats of a query result."""

    table = "table"
    csv = "csv"
    json = "json"


def show(rows: pa.Table, shape: Shape = Shape.table) -> None:
    """Print rows on standard output as a table, CSV or JSON lines."""
    if shape is Shape.csv:
        sys.stdout.flush()
        pyarrow.csv.write_csv(flatten_cells(rows), sys.stdout.buffer)
    elif shape is Shape.json:
        for row in rows.to_pylist():
            sys.stdout.write(_encode(row) + "\n")
    elif rows.schema.names == _EXPLAIN_COLUMNS:
        sys.stdout.writelines(f"{plan}\n" for plan in rows["explain_value"].to_pylist())
    else:
        Console().print(build_grid(rows))


def print_json(output: msgspec.Struct) -> None:
    """Print one JSON object on standard output, indented."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(output), indent=2).decode() + "\n")


def flatten_cells(rows: pa.Table) -> pa.Table:
    """Convert columns that CSV cannot hold: nested values to JSON text, bytes to base64."""
    return pa.table(
        [column if _fits_csv(column.type) else _convert_to_text(column) for column in rows.columns],
        names=rows.schema.names,
    )


def _fits_csv(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_interval(kind))


def _convert_to_text(column: pa.ChunkedArray) -> pa.Array:
    values = (None if value is None else _encode(value) for value in column.to_pylist())
    return pa.array([value and value.strip('"') for value in values], pa.string())


def _encode(value: object) -> str:
    return _ENCODER.encode(value).decode()


def build_grid(rows: pa.Table) -> Grid:
    """Build a table: numbers are right-aligned, times are in UTC."""
    grid = Grid(header_style="bold", box=None, pad_edge=False)
    for field in rows.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        grid.add_column(field.name, justify="right" if is_number else "left", overflow="fold")
    for row in rows.to_pylist():
        grid.add_row(*map(_format_cell, row.values()))
    return grid


def _format_cell(value: object) -> str:
    match value:
        case None:
            return "[dim]·[/]"
        case float():
            return f"{value:,.1f}" if abs(value) >= _LARGE else f"{value:,.3f}"
    text = str(value).removesuffix("+00:00") if hasattr(value, "tzinfo") else str(value)
    return text.replace("[", "\\[")
