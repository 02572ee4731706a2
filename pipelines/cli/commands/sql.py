"""`ledger sql`: queries over the lake."""

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from pipelines.cli.export import write
from pipelines.cli.output import format_count, open_console
from pipelines.cli.query_output import Shape, show
from pipelines.cli.sql_shell import Shell
from pipelines.cli.sql_splitter import Statement, is_blank, split
from pipelines.operations.query import connect, run_statement, translate_errors
from resources.config.settings import load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake

EXAMPLES = (
    'ledger sql "SELECT status, count(*) FROM inference_executions GROUP BY status"',
    "ledger sql --format csv \"FROM extraction_coverage WHERE data_date = '2026-10-06'\" > day.csv",
    "ledger sql --out october.parquet \"FROM inference_executions WHERE data_date >= '2026-10-01'\"",
    "ledger sql < queries.sql",
)
_MAX_SCRIPT = 50_000_000


def sql(
    statement: Annotated[
        str | None,
        typer.Argument(metavar="STATEMENT", help="One statement in DuckDB's SQL; each table is a view."),
    ] = None,
    shape: Annotated[
        Shape,
        typer.Option(
            "--format", help="Format of the result. spreadsheet is CSV in which no text is a formula."
        ),
    ] = Shape.table,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write the result to this file: .parquet or .csv.", dir_okay=False
        ),
    ] = None,
) -> None:
    """Query the lake in SQL: one statement, a script or a shell.

    Without a statement the command opens a shell, or runs the statements from standard input. Filter on
    data_date where you can: DuckDB then reads only the files of those days.
    """
    lake = Lake.from_settings(load_settings())
    if out is not None:
        _export(lake, statement, out, is_spreadsheet=shape is Shape.spreadsheet)
    elif statement is not None:
        _run_all(lake, [(statement, "the SQL statement")], shape)
    elif sys.stdin.isatty():
        with connect(lake) as connection:
            Shell(connection, shape, open_console()).run()
    else:
        _run_all(lake, _split_script(_read_script()), shape)


def _read_script() -> str:
    script = sys.stdin.read(_MAX_SCRIPT + 1)
    if len(script) > _MAX_SCRIPT:
        raise ConfigurationError(
            f"Cannot read the SQL script: it has more than {_MAX_SCRIPT:,} characters",
            where="standard input",
            next_step="split it; DuckDB reads data faster from files, for example with read_csv('FILE')",
        )
    return script


def _run_all(lake: Lake, statements: list[tuple[str, str]], shape: Shape) -> None:
    with connect(lake) as connection:
        for statement, where in statements:
            with translate_errors(lake, statement, where):
                relation = run_statement(connection, statement)
                if relation is not None:
                    show(relation, shape)


def _split_script(script: str) -> list[tuple[str, str]]:
    statements, rest = split(script)
    if not is_blank(rest):  # the last statement needs no semicolon
        line = script[: len(script) - len(rest.lstrip())].count("\n") + 1
        statements = [*statements, Statement(rest.strip(), line)]
    return [
        (statement.text, f"the statement on line {statement.line} of the input") for statement in statements
    ]


def _export(lake: Lake, statement: str | None, file: Path, *, is_spreadsheet: bool) -> None:
    if statement is None:
        raise ConfigurationError(
            "Cannot write a file without a statement",
            where=f"--out {file}",
            next_step=f'add a statement: ledger sql --out {quote(str(file))} "FROM inference_schedulers"',
        )
    with connect(lake) as connection, translate_errors(lake, statement):
        rows = write(connection, statement, file, is_spreadsheet=is_spreadsheet)
    open_console(stderr=True).print(f"{format_count(rows, 'row')} in {file}", soft_wrap=True)
