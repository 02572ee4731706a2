"""`ledger views`: the tables of the lake for DuckDB elsewhere: its shell, Python, notebooks."""

import sys
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = (
    "Examples: **ledger views --out views.sql**, then **duckdb -init views.sql** ·"
    " **ledger views --database ledger.duckdb**, then **duckdb ledger.duckdb** ·"
    " **ledger views --relative --out views.sql**, for a folder that moves as a whole"
)


def views(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the SQL to this file; default: print it.", dir_okay=False),
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option("--database", help="Write a DuckDB database with the views.", dir_okay=False),
    ] = None,
    relative: Annotated[
        bool,
        typer.Option("--relative", help="Paths start at the folder of the file; start DuckDB there."),
    ] = False,
) -> None:
    """Write a view of every table for DuckDB elsewhere: its shell, Python, notebooks.

    The views show the rows that are there when they are asked, so they need writing again only after an
    update of this software, or when a table that had no file yet got its first.
    """
    from pipelines.operations.query import views as script  # noqa: PLC0415
    from pipelines.operations.query import write_database  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415

    place = (out or database or Path("views.sql")).absolute().parent
    text = script(Lake(load_settings().lake.uri), place if relative else None)
    if database is not None:
        write_database(database, text)
    if out is not None:
        _write(out, text)
    if out is None and database is None:
        sys.stdout.write(text)


def _write(file: Path, text: str) -> None:
    from resources.errors import ConfigurationError  # noqa: PLC0415
    from resources.storage.local import write_text_atomically  # noqa: PLC0415

    try:
        write_text_atomically(file, text)
    except OSError as problem:
        raise ConfigurationError(
            f"the views cannot be written: {problem.strerror}",
            where=f"--out {file}",
            next_step="name a file in a folder that is there and writable",
        ) from None
