"""`ledger ddl`: statements that declare the tables of the lake in Athena or Spark."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from assets.tables import select_tables
from assets.tables.ddl import LakeLocation, build_external_table, render_athena_ddl, render_spark_ddl
from pipelines.cli.options import Location, TableNames
from pipelines.cli.output import print_text
from resources.aws.external_table import check_database
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.storage.open import is_s3, to_uri

EXAMPLES = (
    "ledger ddl --database plant inference_executions",
    "ledger ddl --location s3://plant-a/lake > tables.sql",
    "ledger ddl --spark > tables.sql && spark-sql -f tables.sql",
)


def ddl(
    tables: Annotated[list[str] | None, TableNames] = None,
    *,
    spark: Annotated[
        bool, typer.Option("--spark/--athena", help="SQL for Spark, or for Athena (default).")
    ] = False,
    database: Annotated[
        str | None, typer.Option(metavar="NAME", help="Database to create the tables in.", show_default=False)
    ] = None,
    location: Annotated[str | None, Location] = None,
) -> None:
    """Print CREATE TABLE statements for Athena or Spark.

    The Athena tables use partition projection: they need no crawler and no MSCK REPAIR for new days. The
    command only prints; **ledger catalog sync** creates the tables in AWS Glue.
    """
    selected = select_tables(tables or [])
    checked_database = check_database(database) if database is not None else None
    lake = lake_location(load_settings(), location, in_s3=not spark)
    render = render_spark_ddl if spark else render_athena_ddl
    statements = [render(build_external_table(table, lake), checked_database) for table in selected]
    print_text("\n\n".join(statements) + "\n")


def lake_location(settings: Settings, location: str | None, *, in_s3: bool) -> LakeLocation:
    """Build the location of the lake and its range of days.

    Args:
        settings: give the range of days, and the default location.
        location: replaces lake.uri of the settings.
        in_s3: whether the location must be in S3, as Athena requires.

    Raises:
        ConfigurationError: the location must be in S3 and is not.
    """
    uri = location or settings.lake.uri
    setting = "--location" if location else "lake.uri"
    if in_s3 and not (is_s3(uri, setting) and urlsplit(uri).netloc):
        raise ConfigurationError(
            f"Cannot use {uri} in Athena: Athena reads only from S3",
            where=setting,
            next_step="set --location s3://bucket/prefix; copy a local lake there with `aws s3 sync`",
        )
    return LakeLocation(to_uri(uri), settings.history.start_date, settings.history.end_date)
