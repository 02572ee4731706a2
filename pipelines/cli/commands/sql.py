"""`ledger sql`: questions to the lake in SQL."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import Shape

if TYPE_CHECKING:
    from resources.lake.lake import Lake

EXAMPLES = (
    'Examples: **ledger sql "SELECT status, count(\\*) FROM inference_executions'
    " WHERE data_date >= '2026-10-01' GROUP BY 1\"**"
    " · **ledger sql --format csv \"FROM extraction_coverage WHERE data_date = '2026-10-06'\" > day.csv**"
    " · **ledger sql --out october.parquet \"FROM inference_executions WHERE data_date >= '2026-10-01'\"**"
    " · **ledger sql < questions.sql** · **ledger sql** for a shell"
)


def sql(
    statement: Annotated[
        str | None, typer.Argument(help="One statement in DuckDB's SQL; every table is a view.")
    ] = None,
    shape: Annotated[Shape, typer.Option("--format", help="How to print the answer.")] = Shape.table,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write the answer to this file instead: .parquet or .csv.", dir_okay=False
        ),
    ] = None,
) -> None:
    """Ask the lake a question in SQL; without a statement, open a shell or read statements from a pipe.

    Filter on data_date wherever you can: only those days are then read.
    """
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415

    lake = Lake(load_settings().lake.uri)
    if out is not None:
        _write(lake, statement, out)
    elif statement is not None:
        _answer_all(lake, [(statement, "the SQL statement")], shape)
    elif sys.stdin.isatty():
        _talk(lake, shape)
    else:
        _answer_all(lake, _from_pipe(sys.stdin.read()), shape)


def _answer_all(lake: "Lake", statements: list[tuple[str, str]], shape: Shape) -> None:
    from pipelines.cli.output import show  # noqa: PLC0415
    from pipelines.operations.query import connect, execute, refusals  # noqa: PLC0415

    with connect(lake) as connection:
        for statement, where in statements:
            with refusals(lake, where):
                rows = execute(connection, statement)
            if rows.num_columns:
                show(rows, shape)


def _from_pipe(text: str) -> list[tuple[str, str]]:
    from pipelines.cli.sql_splitter import Statement, is_blank, split  # noqa: PLC0415

    found, rest = split(text)
    if not is_blank(rest):  # the last needs no semicolon
        line = text[: len(text) - len(rest.lstrip())].count("\n") + 1
        found = [*found, Statement(rest.strip(), line)]
    return [(one.text, f"the statement on line {one.line} of the input") for one in found]


def _talk(lake: "Lake", shape: Shape) -> None:
    from rich.console import Console  # noqa: PLC0415

    from pipelines.cli.sql_shell import Shell  # noqa: PLC0415
    from pipelines.operations.query import connect, refusals  # noqa: PLC0415

    with refusals(lake), connect(lake) as connection:
        Shell(connection, shape, Console()).run()


def _write(lake: "Lake", statement: str | None, file: Path) -> None:
    from pipelines.cli.export import write  # noqa: PLC0415
    from pipelines.operations.query import connect, refusals  # noqa: PLC0415
    from resources.errors import ConfigurationError  # noqa: PLC0415

    if statement is None:
        raise ConfigurationError(
            "a file is to be written, and no statement says of what",
            where=f"--out {file}",
            next_step=f'give one: ledger sql --out {file} "FROM inference_schedulers"',
        )
    with connect(lake) as connection, refusals(lake):
        rows = write(connection, statement, file)
    print(f"{rows:,} rows in {file}", file=sys.stderr)  # noqa: T201 (standard output is for answers)
