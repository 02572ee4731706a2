"""`ledger views`: the tables of the lake as views for other DuckDB programs."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import print_text
from pipelines.operations import query
from resources.config.settings import load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.storage.local import write_text_atomically

EXAMPLES = (
    "ledger views --out views.sql && duckdb -init views.sql",
    "ledger views --database ledger.duckdb && duckdb ledger.duckdb",
    "ledger views --relative --out views.sql",
)


def views(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write the SQL to this file. Default: print it.", dir_okay=False
        ),
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option(
            "--database", metavar="FILE", help="Write a DuckDB database with the views.", dir_okay=False
        ),
    ] = None,
    relative: Annotated[
        bool,
        typer.Option("--relative", help="Use paths relative to the file; start DuckDB in its folder."),
    ] = False,
) -> None:
    """Write a view of each table for use in other DuckDB programs.

    Use the views in the DuckDB shell, in Python or in notebooks. They read the current files of the lake.
    Write them again after an upgrade of lookout-ledger, and when a table gets its first file.
    """
    folder = (out or database or Path("views.sql")).absolute().parent
    script = query.views(Lake.from_settings(load_settings()), folder if relative else None)
    if database is not None:
        query.write_database(database, script)
    if out is not None:
        _write(out, script)
    if out is None and database is None:
        print_text(script)


def _write(file: Path, script: str) -> None:
    try:
        write_text_atomically(file, script)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write the views: {error.strerror}",
            where=f"--out {file}",
            next_step="name a file in an existing, writable folder",
        ) from None
