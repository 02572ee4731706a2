"""`ledger catalog sync`: the tables of the lake in Glue, where Athena finds them."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.cli.commands.ddl import lake_place

if TYPE_CHECKING:
    from resources.aws.external_table import ExternalTable
    from resources.aws.glue_catalog import Catalog, TableOutcome

app = typer.Typer(name="catalog", no_args_is_help=True, help="The tables in Glue, where Athena finds them.")

_SIGNS = {"create": "[green]+[/]", "update": "[yellow]~[/]", "none": "[dim]=[/]", "refuse": "[red]![/]"}
_WORDS = {"create": "is created", "update": "is updated", "none": "is in step", "refuse": "is left alone"}


@app.callback()
def _together() -> None:
    """Keep the commands as commands, be there one or more."""


@app.command(
    epilog="Examples: **ledger catalog sync --database plant --dry-run** ·"
    " **ledger catalog sync --database plant --create-database** ·"
    " **ledger catalog sync --database plant inference_executions --json**"
)
def sync(  # noqa: PLR0913 (each is an option)
    tables: Annotated[
        list[str] | None, typer.Argument(help="Names of tables; all, if none is named.", show_default=False)
    ] = None,
    *,
    database: Annotated[str, typer.Option(help="Database in Glue that the tables belong to.")],
    location: Annotated[
        str | None,
        typer.Option(help="Where the lake lies, s3://…; else lake.uri of the settings.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the differences, change nothing.")] = False,
    create_database: Annotated[
        bool, typer.Option("--create-database", help="Create the database if it is not there.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over tables of these names that somebody else made.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a table.")] = False,
) -> None:
    """Create or update the tables of the lake in Glue, after showing the differences.

    No column is ever dropped, and no table touched that is not ours; run it as often as you like, also from
    several places at once. Region and credentials are those of the AWS CLI.
    """
    from assets.tables import select_tables  # noqa: PLC0415
    from assets.tables.ddl import build_external_table  # noqa: PLC0415
    from resources.aws.external_table import check_database  # noqa: PLC0415
    from resources.aws.glue_catalog import Catalog  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415

    place = lake_place(load_settings(), location, in_s3=True)
    wanted = [build_external_table(table, place) for table in select_tables(tables or [])]
    catalog = Catalog(check_database(database), adopt=adopt)
    planned = _compared(catalog, wanted, create_database=create_database)
    if not as_json:
        _show(planned, catalog)
    outcomes = planned
    if not dry_run:
        if create_database:
            catalog.create()
        outcomes = list(catalog.sync(wanted))
    if as_json:
        _print_json(outcomes)
    else:
        _sum_up(outcomes, dry_run=dry_run)
    if any(outcome.action == "refuse" for outcome in outcomes):
        raise typer.Exit(1)


def _compared(
    catalog: "Catalog", wanted: "list[ExternalTable]", *, create_database: bool
) -> "list[TableOutcome]":
    from resources.errors import ConfigurationError  # noqa: PLC0415

    if not create_database and not catalog.exists():
        raise ConfigurationError(
            f"there is no database {catalog.database}",
            where="Glue, in the region and account of this environment",
            next_step="create it with --create-database, or correct --database, AWS_PROFILE or"
            " AWS_DEFAULT_REGION",
        )
    return catalog.compare(wanted)


def _show(planned: "list[TableOutcome]", catalog: "Catalog") -> None:
    console = Console(highlight=False)
    for outcome in planned:
        name = f"{catalog.database}.{outcome.table}"
        console.print(f"{_SIGNS[outcome.action]} {name} {_WORDS[outcome.action]}", soft_wrap=True)
        for change in outcome.changes:
            console.print(f"    {change}", markup=False, soft_wrap=True)
        for column in outcome.kept:
            console.print(f"    = column {column}: not declared, and stays", markup=False, soft_wrap=True)
        if outcome.reason:
            console.print(f"    {outcome.reason}", markup=False, soft_wrap=True)


def _sum_up(outcomes: "list[TableOutcome]", *, dry_run: bool) -> None:
    said = {"create": "created", "update": "updated", "none": "in step", "refuse": "left alone"}
    if dry_run:
        said |= {"create": "to create", "update": "to update"}
    counts = {words: sum(outcome.action == action for outcome in outcomes) for action, words in said.items()}
    told = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    Console(highlight=False).print(f"{told}." + (" Nothing was changed." if dry_run else ""))


def _print_json(outcomes: "list[TableOutcome]") -> None:
    import msgspec  # noqa: PLC0415

    for outcome in outcomes:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
