"""Query engines in this process: `python -m tests.support.engine_process LAKE ENGINE...`."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from assets.tables import ANOMALY_EVENTS, ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, TABLES
from resources.lake.lake import Lake
from tests.support.engine_questions import Engine, asked
from tests.support.engines import Arrow, DuckDB, Pandas, Polars, Spark
from tests.support.spark import QUICK

SPARKS = (INFERENCE_EXECUTIONS, ANOMALY_PREDICTIONS, ANOMALY_EVENTS)
"""For the engine that takes seconds a table: one of each kind of instant, and what is joined."""


def main(uri: str, *names: str) -> None:
    told: dict[str, Any] = {"zone of the machine": time.tzname[0]}
    for name in names:
        found = asked(_opened(name, Lake(uri)), SPARKS if name == "Spark" else TABLES)
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
    """As a user has it: nothing set of times but what the docs say."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 (which one in five needs)

    home = Path(tempfile.mkdtemp())
    settings = QUICK | {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(home),
    }
    return SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()


if __name__ == "__main__":
    main(*sys.argv[1:])
