"""How answers look on a terminal, and how programs get them."""

import sys
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from rich.console import Console
from rich.table import Table as Grid

if TYPE_CHECKING:
    import msgspec


_LARGE = 100
"""From here on one decimal of a number is enough to read."""

_OF_A_PLAN = ["explain_key", "explain_value"]
"""The columns that EXPLAIN answers with; a plan is drawn already, and folding it would tear it."""


class Shape(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show(rows: pa.Table, shape: Shape = Shape.table) -> None:
    """Print rows on standard output: as a grid for people, as CSV or JSON lines for programs."""
    if shape is Shape.csv:
        import pyarrow.csv  # noqa: PLC0415

        sys.stdout.flush()
        pyarrow.csv.write_csv(flatten_cells(rows), sys.stdout.buffer)
    elif shape is Shape.json:
        for row in rows.to_pylist():
            sys.stdout.write(_json(row) + "\n")
    elif rows.schema.names == _OF_A_PLAN:
        sys.stdout.writelines(f"{plan}\n" for plan in rows["explain_value"].to_pylist())
    else:
        Console().print(grid(rows))


def print_json(answer: object) -> None:
    """Print one JSON object on standard output, laid out for people who look at it all the same."""
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")


def flatten_cells(rows: pa.Table) -> pa.Table:
    """Return the rows as CSV can have them: lists and the like as JSON text, bytes as base64."""
    return pa.table(
        [column if _fits_csv(column.type) else _as_text(column) for column in rows.columns],
        names=rows.schema.names,
    )


def _fits_csv(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_interval(kind))


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    values = (None if value is None else _json(value) for value in column.to_pylist())
    return pa.array([value and value.strip('"') for value in values], pa.string())


def _json(value: object) -> str:
    return _encoder().encode(value).decode()


@cache
def _encoder() -> "msgspec.json.Encoder":
    import msgspec  # noqa: PLC0415

    return msgspec.json.Encoder(decimal_format="number")


def grid(rows: pa.Table) -> Grid:
    """Lay rows out for reading: numbers to the right, times in UTC to the second."""
    drawn = Grid(header_style="bold", box=None, pad_edge=False)
    for field in rows.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        drawn.add_column(field.name, justify="right" if is_number else "left", overflow="fold")
    for row in rows.to_pylist():
        drawn.add_row(*map(_cell, row.values()))
    return drawn


def _cell(value: object) -> str:
    match value:
        case None:
            return "[dim]·[/]"
        case float():
            return f"{value:,.1f}" if abs(value) >= _LARGE else f"{value:,.3f}"
    text = str(value).removesuffix("+00:00") if hasattr(value, "tzinfo") else str(value)
    return text.replace("[", "\\[")
