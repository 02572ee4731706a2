"""Asks engines in this process: `python -m tests.engines.elsewhere LAKE ENGINE...` prints the answers."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from assets.tables import TABLES
from resources.lake import Lake
from tests.engines.engines import Arrow, DuckDB, Pandas, Polars, Spark
from tests.engines.questions import Engine, asked


def main(uri: str, *names: str) -> None:
    told: dict[str, Any] = {"zone of the machine": time.tzname[0]}
    for name in names:
        found = asked(_opened(name, Lake(uri)), TABLES)
        told[name] = {question: repr(answer) for question, answer in found.items()}
    print(json.dumps(told))


def _opened(name: str, lake: Lake) -> Engine:
    tables = list(TABLES)
    match name:
        case "DuckDB":
            return DuckDB(lake, tables)
        case "pyarrow":
            return Arrow(lake, tables)
        case "pandas":
            return Pandas(lake, tables)
        case "polars":
            return Polars(lake, tables)
    return Spark(lake, tables, _session(), "elsewhere")


def _session() -> Any:
    """As a user has it: nothing set but where it keeps its files."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 (which one in five needs)

    home = Path(tempfile.mkdtemp())
    return (
        SparkSession.builder.master("local[1]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", str(home))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
