"""Spark sessions that start quickly and run small queries quickly."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options of Java for short processes."""

QUICK = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": JAVA,
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""Settings that do not change results. Compiling code does not pay off for queries this small."""


HIVE = {
    "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:catalog;create=true",
    "spark.sql.catalogImplementation": "hive",
}
"""A Hive catalog in memory, like the catalog of Athena. Creating a table takes three times as long."""


def open_session(home: Path, more: dict[str, str]) -> Iterator[Any]:
    """Open a session in UTC. Only one session can be open, because all sessions share one Java process."""
    sql = pytest.importorskip("pyspark.sql", reason="pip install '.[spark]'")
    settings = QUICK | {
        "spark.driver.extraJavaOptions": f"{JAVA} -Dderby.system.home={home} -Duser.timezone=UTC",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(home / "warehouse"),
    }
    session = sql.SparkSession.builder.master("local[2]").config(map=settings | more).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
