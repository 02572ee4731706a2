"""The command line: `ledger --help`.

A user's mistake ends with one message on standard error and exit code 2, a failed run with exit code 1.
"""

import sys

import typer
from rich.console import Console

from pipelines.cli.commands import (
    backfill,
    catalog,
    ddl,
    doctor,
    import_files,
    migrate,
    plan,
    report,
    sql,
    status,
    views,
)
from pipelines.runs import instance

START, EXTRACT, READ, ELSEWHERE = "Begin", "Extract", "Ask and report", "Take the lake elsewhere"
"""Groups of commands, in the order in which people come to need them."""

app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Every inference execution your Lookout for Equipment models ever ran, in Parquet that you own.",
    epilog="Begin with **ledger demo**; with your own settings: **ledger doctor**, then"
    " **ledger plan --from 2026-09-01 --to 2026-10-07**, **ledger backfill …** and **ledger status**."
    " Each command has examples: **ledger plan --help**. Dagster has the rest: **make dev** for its pages.",
)


@app.callback()
def _together() -> None:
    """Keep the commands as commands, be there one or more."""


@app.command(epilog="Example: **ledger demo**", rich_help_panel=START)
def demo() -> None:
    """Show the whole of it on made-up data, in a minute or two.

    Makes a fleet that misbehaves, takes its history into a lake through Dagster, from a service that plays
    the part of AWS's and from saved responses, reads what the models said in the last week, shows that what
    is recorded stays, and ends with the page. Everything lands below data/demo.
    """
    from pipelines.cli.demo.walkthrough import run  # noqa: PLC0415 (loads Dagster, which takes seconds)

    run(Console())


@app.command(epilog="Example: **ledger dev**, then open http://localhost:3000", rich_help_panel=START)
def dev() -> None:
    """Start Dagster's pages, until Ctrl-C.

    They show your own settings (ledger.toml beside workspace.yaml, or what LEDGER_CONFIG names). Where there
    are none yet they show the demo's fleet, and the service that it is asked from runs beside them.
    """
    from pipelines.cli.dev_server import run  # noqa: PLC0415

    sys.exit(run())


app.command(epilog=doctor.EXAMPLES, rich_help_panel=EXTRACT)(doctor.doctor)
app.command("import", epilog=import_files.EXAMPLES, rich_help_panel=EXTRACT)(import_files.import_)
app.command(epilog=plan.EXAMPLES, rich_help_panel=EXTRACT)(plan.plan)
app.command(epilog=backfill.EXAMPLES, rich_help_panel=EXTRACT)(backfill.backfill)
app.command(epilog=status.EXAMPLES, rich_help_panel=EXTRACT)(status.status)
app.command(epilog=sql.EXAMPLES, rich_help_panel=READ)(sql.sql)
app.command(epilog=views.EXAMPLES, rich_help_panel=READ)(views.views)
app.command(epilog=report.EXAMPLES, rich_help_panel=READ)(report.report)
app.command(epilog=ddl.EXAMPLES, rich_help_panel=ELSEWHERE)(ddl.ddl)
app.add_typer(catalog.app, rich_help_panel=ELSEWHERE)
app.command(epilog=migrate.EXAMPLES, rich_help_panel=ELSEWHERE)(migrate.migrate)


def main() -> None:
    """Run the command line; a user's mistake gives a message and never a traceback."""
    from resources.errors import LedgerError  # noqa: PLC0415

    instance.prepare()
    try:
        app()
    except LedgerError as problem:
        Console(stderr=True, highlight=False).print(str(problem), markup=False, soft_wrap=True)
        sys.exit(2)
