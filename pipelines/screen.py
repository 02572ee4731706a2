"""How answers look on a terminal, and how programs get them.

Belongs here: printing Arrow tables, for people and for programs.
Does not belong here: what is printed.
"""

import sys
from enum import StrEnum

import pyarrow as pa
from rich.console import Console
from rich.table import Table as Grid


class Shape(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show(rows: pa.Table, shape: Shape = Shape.table) -> None:
    """Print rows on standard output: as a grid for people, as CSV or JSON lines for programs."""
    if shape is Shape.csv:
        import pyarrow.csv  # noqa: PLC0415

        pyarrow.csv.write_csv(rows, sys.stdout.buffer)
    elif shape is Shape.json:
        import msgspec  # noqa: PLC0415

        for row in rows.to_pylist():
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
    else:
        Console().print(grid(rows))


def say_json(answer: object) -> None:
    """Print one JSON object on standard output, laid out for people who look at it all the same."""
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")


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
            return f"{value:,.1f}"
    text = str(value).removesuffix("+00:00") if hasattr(value, "tzinfo") else str(value)
    return text.replace("[", "\\[")
