"""The command line: `ledger --help`.

Belongs here: arguments, tables on the screen, exit codes.
Does not belong here: doing the work a second time; every command calls what Dagster calls.

A user's mistake ends with one message on standard error and exit code 2, a failed run with exit code 1.
"""

import sys
from enum import StrEnum
from typing import Annotated

import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table as Grid

from pipelines import home

app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Every inference execution your Lookout for Equipment models ever ran, in Parquet that you own.",
    epilog="Dagster has the rest: **make dev** for its pages,"
    " **dg launch --assets inference_executions --partition-range A...B** for a range of days.",
)


class Shape(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.callback()
def _together() -> None:
    """Keep the commands as commands, be there one or more."""


@app.command(epilog="Example: **ledger demo**")
def demo() -> None:
    """Show the whole of it on made-up data, in about half a minute.

    Makes a fleet that misbehaves, takes its history into a lake through Dagster, from a service that plays
    the part of AWS's and from saved responses, shows what came of it, and does it again to show that nothing
    changes. Everything lands below data/demo.
    """
    from pipelines.demo import run  # noqa: PLC0415 (loads Dagster, which takes seconds)

    run(Console())


@app.command(epilog="Example: **ledger dev**, then open http://localhost:3000")
def dev() -> None:
    """Start Dagster's pages, until Ctrl-C.

    They show your own settings (ledger.toml beside workspace.yaml, or what LEDGER_CONFIG names). Where there
    are none yet they show the demo's fleet, and the service that it is asked from runs beside them.
    """
    from pipelines.pages import run  # noqa: PLC0415

    sys.exit(run())


@app.command(
    epilog="Examples: **ledger sql 'SELECT status, count(\\*) FROM inference_executions GROUP BY 1'** ·"
    " **ledger sql --format csv 'FROM extraction_coverage' > coverage.csv** ·"
    " **ledger sql 'SHOW TABLES'**"
)
def sql(
    statement: Annotated[str, typer.Argument(help="One statement in DuckDB's SQL; every table is a view.")],
    shape: Annotated[Shape, typer.Option("--format", help="How to print the answer.")] = Shape.table,
) -> None:
    """Ask the lake a question in SQL.

    Filter on data_date wherever you can: only those days are then read.
    """
    from pipelines.query import answer  # noqa: PLC0415
    from resources.lake import Lake  # noqa: PLC0415
    from resources.settings import load_settings  # noqa: PLC0415

    show(answer(Lake(load_settings().lake.uri), statement), shape)


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


def main() -> None:
    """Run the command line; a user's mistake gives a message and never a traceback."""
    from resources.errors import LedgerError  # noqa: PLC0415

    home.prepare()
    try:
        app()
    except LedgerError as problem:
        Console(stderr=True, highlight=False).print(str(problem), markup=False, soft_wrap=True)
        sys.exit(2)
