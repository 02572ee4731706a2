"""The session of Spark that all tests share: with Hive's catalog, as near to Athena as runs anywhere."""

from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A SparkSession; its catalog lives in memory, and times are UTC whatever the machine's zone is.

    Each test makes a database of its own. It takes a quarter of a minute to start: mark the tests `spark`.
    """
    sql = pytest.importorskip("pyspark.sql", reason="pip install '.[spark]'")
    home = tmp_path_factory.mktemp("spark")
    settings = QUICK | {
        "spark.driver.extraJavaOptions": f"{JAVA} -Dderby.system.home={home} -Duser.timezone=UTC",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:catalog;create=true",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(home / "warehouse"),
    }
    session = sql.SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
