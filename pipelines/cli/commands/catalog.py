"""`ledger catalog sync`: the tables of the lake in AWS Glue, for Athena."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from assets.tables import select_tables
from assets.tables.ddl import build_external_table
from pipelines.cli.commands.ddl import lake_location
from pipelines.cli.json_output import CatalogChange, CatalogOutput, CatalogTable
from pipelines.cli.options import Json, Location, TableNames, format_examples
from pipelines.cli.output import open_console, print_json
from resources.aws.external_table import ExternalTable, check_database
from resources.aws.glue_catalog import Catalog, TableOutcome
from resources.config.settings import load_settings
from resources.errors import ConfigurationError

EXAMPLES = (
    "ledger catalog sync --database plant --dry-run",
    "ledger catalog sync --database plant --create-database",
    "ledger catalog sync --database plant inference_executions --json",
)

app = typer.Typer(
    name="catalog",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Manage the tables of the lake in AWS Glue.",
)

_SIGNS = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "none": ("=", "dim"),
    "refuse": ("!", "red"),
}
"""Sign and style of each action."""
_STATES = {"create": "create", "update": "update", "none": "up to date", "refuse": "refused"}


@app.callback()
def _require_subcommand() -> None:
    """Keep `sync` a subcommand: Typer would merge a single command into its group."""


@app.command(epilog=format_examples(EXAMPLES))
def sync(  # noqa: PLR0913 (each is an option)
    tables: Annotated[list[str] | None, TableNames] = None,
    *,
    database: Annotated[str, typer.Option(metavar="NAME", help="Glue database of the tables.")],
    location: Annotated[str | None, Location] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the differences; change nothing.")] = False,
    create_database: Annotated[
        bool, typer.Option("--create-database", help="Create the database if it does not exist.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Update existing tables of the same names that others created.")
    ] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Create or update the tables of the lake in AWS Glue.

    Shows the differences first. The command is idempotent and safe to run concurrently. It drops no column
    and changes no table that it did not create. Region and credentials come from the AWS environment. Exit
    code 1: a table was refused.
    """
    lake = lake_location(load_settings(), location, in_s3=True)
    declared = [build_external_table(table, lake) for table in select_tables(tables or [])]
    catalog = Catalog(check_database(database), adopt=adopt)
    planned = _compare(catalog, declared, create_database=create_database)
    if not as_json:
        _print_plan(planned, catalog)
    outcomes = planned
    if not dry_run:
        if create_database:
            catalog.create()
        outcomes = list(catalog.sync(declared))
    if as_json:
        print_json(CatalogOutput(catalog.database, dry_run, [_build_json(outcome) for outcome in outcomes]))
    else:
        _print_summary(outcomes, dry_run=dry_run)
    if any(outcome.action == "refuse" for outcome in outcomes):
        raise typer.Exit(1)


def _compare(
    catalog: Catalog, declared: Sequence[ExternalTable], *, create_database: bool
) -> list[TableOutcome]:
    if not create_database and not catalog.exists():
        raise ConfigurationError(
            f"Cannot find the database {catalog.database}",
            where="AWS Glue, in the region and account of this environment",
            next_step="add --create-database, or correct --database, AWS_PROFILE or AWS_DEFAULT_REGION",
        )
    return catalog.compare(declared)


def _print_plan(planned: Sequence[TableOutcome], catalog: Catalog) -> None:
    console = open_console()
    for outcome in planned:
        name = f"{catalog.database}.{outcome.table}"
        heading = Text.assemble(_SIGNS[outcome.action], f" {name}: {_STATES[outcome.action]}")
        console.print(heading, soft_wrap=True)
        for change in outcome.changes:
            console.print(f"    {change}", soft_wrap=True)
        for column in outcome.kept:
            console.print(f"    = column {column}: undeclared, kept", soft_wrap=True)
        if outcome.reason:
            console.print(f"    {outcome.reason}", soft_wrap=True)


def _print_summary(outcomes: Sequence[TableOutcome], *, dry_run: bool) -> None:
    words = {"create": "created", "update": "updated", "none": "up to date", "refuse": "refused"}
    if dry_run:
        words |= {"create": "to create", "update": "to update"}
    counts = {word: sum(outcome.action == action for outcome in outcomes) for action, word in words.items()}
    summary = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    open_console().print(f"{summary}." + (" Nothing was changed." if dry_run else ""))


def _build_json(outcome: TableOutcome) -> CatalogTable:
    return CatalogTable(
        table=outcome.table,
        action=outcome.action,
        changes=[CatalogChange(change.what, change.before, change.after) for change in outcome.changes],
        undeclared_columns=list(outcome.kept),
        reason=outcome.reason,
    )
