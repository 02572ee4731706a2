"""Sessions of Spark for tests, made to start and to answer small questions quickly."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""How Java is told that it will not run for long."""

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
"""Settings that change no answer: nothing is compiled, since questions as small as ours do not repay it."""


HIVE = {
    "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:catalog;create=true",
    "spark.sql.catalogImplementation": "hive",
}
"""Hive's catalog, as near to Athena's as runs anywhere. It triples what it costs to make a table."""


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A SparkSession of its own; mark the tests `spark`."""
    yield from _session(tmp_path_factory.mktemp("spark"), {})


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A SparkSession with Hive support, whose catalog lives in memory; mark the tests `spark`."""
    yield from _session(tmp_path_factory.mktemp("hive"), HIVE)


def _session(home: Path, more: dict[str, str]) -> Iterator[Any]:
    """Times are UTC whatever the machine's zone is. One session at a time; they all share one Java."""
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
