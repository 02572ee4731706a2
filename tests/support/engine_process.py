"""Query engines in this process: `python -m tests.support.engine_process LAKE ENGINE...`."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from assets.tables import ANOMALY_EVENTS, ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, TABLES
from resources.lake.lake import Lake
from tests.support.engine_questions import Engine, collect_answers
from tests.support.engines import Arrow, DuckDB, Pandas, Polars, Spark
from tests.support.spark import QUICK

SPARK_TABLES = (INFERENCE_EXECUTIONS, ANOMALY_PREDICTIONS, ANOMALY_EVENTS)
"""The tables for Spark, which takes seconds for each: every kind of instant, and the tables of the join."""


def main(uri: str, *names: str) -> None:
    output: dict[str, Any] = {"zone of the machine": time.tzname[0]}
    for name in names:
        answers = collect_answers(_open_engine(name, Lake(uri)), SPARK_TABLES if name == "Spark" else TABLES)
        output[name] = {question: repr(answer) for question, answer in answers.items()}
    print(json.dumps(output))


def _open_engine(name: str, lake: Lake) -> Engine:
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
    return Spark(lake, tables, _open_session(), "elsewhere")


def _open_session() -> Any:
    """Open a session with only the time settings that the docs recommend."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 (only Spark needs it)

    home = Path(tempfile.mkdtemp())
    settings = QUICK | {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(home),
    }
    return SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()


if __name__ == "__main__":
    main(*sys.argv[1:])
