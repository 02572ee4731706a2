"""`ledger ddl`: the statements that make the lake known to Athena or Spark."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from assets.tables.ddl import LakeLocation
    from resources.config.settings import Settings

EXAMPLES = (
    "Examples: **ledger ddl --database plant inference_executions** ·"
    " **ledger ddl --location s3://plant-a/lake > tables.sql** ·"
    " **ledger ddl --spark > tables.sql && spark-sql -f tables.sql**"
)


def ddl(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Names of tables; all, if none is named.", show_default=False)
    ] = None,
    *,
    spark: Annotated[
        bool, typer.Option("--spark/--athena", help="For Spark SQL, or for Athena (Glue, Hive).")
    ] = False,
    database: Annotated[
        str | None, typer.Option(help="Database that the tables go to.", show_default=False)
    ] = None,
    location: Annotated[
        str | None,
        typer.Option(help="Where the lake lies, s3://…; else lake.uri of the settings.", show_default=False),
    ] = None,
) -> None:
    """Print CREATE statements for the tables of the lake.

    For Athena with partition projection: new days are found without a crawler and without MSCK REPAIR.
    Nothing is run and nobody is asked; **ledger catalog sync** creates the tables in Glue itself.
    """
    from assets.tables import select_tables  # noqa: PLC0415
    from assets.tables.ddl import build_external_table, render_athena_ddl, render_spark_ddl  # noqa: PLC0415
    from resources.aws.external_table import check_database  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415

    chosen = select_tables(tables or [])
    named = check_database(database) if database is not None else None
    place = lake_place(load_settings(), location, in_s3=not spark)
    write = render_spark_ddl if spark else render_athena_ddl
    statements = [write(build_external_table(table, place), named) for table in chosen]
    sys.stdout.write("\n\n".join(statements) + "\n")


def lake_place(settings: "Settings", location: str | None, *, in_s3: bool) -> "LakeLocation":
    """Say where the lake lies and which days it can have.

    Args:
        settings: name the lake and the days.
        location: where it lies instead, or how its readers call that place.
        in_s3: refuse any other place, which Athena cannot reach.

    Raises:
        ConfigurationError: it is not in S3 though it has to be.
    """
    from pathlib import Path  # noqa: PLC0415

    from assets.tables.ddl import LakeLocation  # noqa: PLC0415
    from resources.errors import ConfigurationError  # noqa: PLC0415

    uri = location or settings.lake.uri
    if in_s3 and (not uri.startswith("s3://") or uri == "s3://"):
        raise ConfigurationError(
            f"Athena reads from S3 alone, and {uri} is not there",
            where="--location" if location else "lake.uri",
            next_step="name the place with --location s3://bucket/prefix; `aws s3 sync` copies a lake there",
        )
    if "://" not in uri:
        uri = Path(uri).absolute().as_uri()
    return LakeLocation(uri, settings.history.start_date, settings.history.end_date)
