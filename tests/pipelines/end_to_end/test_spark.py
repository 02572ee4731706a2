"""Spark reads the lake of a run with the unchanged DDL for Athena and with the DDL for Spark."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.tables import ANOMALY_EVENTS, INFERENCE_EXECUTIONS, TABLES, Table
from assets.tables.ddl import LakeLocation, build_external_table, render_athena_ddl, render_spark_ddl
from pipelines.definitions import build_defs
from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.dumps import Manifest
from tests.support.code_location import DAYS as EXTRACTED
from tests.support.code_location import NOW, Location

pytestmark = pytest.mark.spark

SAMPLES: dict[pa.DataType, Any] = {
    pa.string(): "it's 20 °C",
    pa.int64(): 7,
    pa.float64(): 0.25,
    pa.bool_(): True,
    pa.timestamp("ms", tz="UTC"): datetime(2026, 10, 25, 0, 59, 59, 123_000, tzinfo=UTC),
    pa.list_(pa.date32()): [date(2026, 10, 6), date(2026, 10, 7)],
}
DAYS = (date(2026, 3, 29), date(2026, 10, 25))
"""The days on which clocks change in Europe."""


@pytest.fixture(scope="module")
def lake(dumps: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of a run. Tables without rows get two sample rows, one of them with nulls."""
    lake = Lake(str(tmp_path_factory.mktemp("spark") / "lake"))
    settings = Settings(
        lake=LakeSettings(uri=lake.uri),
        history=HistorySettings(start_date=EXTRACTED[0], end_date=date(2026, 10, 9)),
        sources=(ArchiveSettings(uri=str(dumps[0])),),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        location = Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, lake)
        assert location.run().success
    for table in TABLES:
        written = lake.days(table) if table.partitioned else [None]
        if not any(lake.read(table, day).num_rows for day in written):
            for day in DAYS if table.partitioned else (None,):
                lake.update(table, day, lambda _, table=table: _build_sample_rows(table))
    return lake


def _build_sample_rows(table: Table) -> pa.Table:
    full = {column.name: SAMPLES[column.type] for column in table.columns}
    sparse = {column.name: SAMPLES[column.type] if column.required else None for column in table.columns}
    return pa.Table.from_pylist([full, sparse], schema=table.schema)


@pytest.fixture
def database(hive: Any, request: pytest.FixtureRequest) -> str:
    name = f"d{abs(hash(request.node.name)) % 10**9}"
    hive.sql(f"CREATE DATABASE {name}")
    return name


def list_sorted_rows(rows: pa.Table, table: Table) -> list[dict[str, Any]]:
    """Return sorted rows as plain values, independent of the order and time unit of the engine."""
    names = [*table.schema.names, *(["data_date"] if table.partitioned else [])]
    values = rows.select(names).to_pylist()
    return sorted(values, key=lambda row: [str(row[name]) for name in names])


@pytest.mark.parametrize("dialect", ["athena", "spark"])
def test_spark_reads_the_rows_of_every_table(hive: Any, lake: Lake, database: str, dialect: str) -> None:
    location = LakeLocation(lake.root.as_uri(), date(2025, 1, 1))
    for table in TABLES:
        statement = (render_athena_ddl if dialect == "athena" else render_spark_ddl)(
            build_external_table(table, location), database
        )
        for part in statement.removesuffix(";").split(";\n\n"):
            hive.sql(part)
        if dialect == "athena" and table.partitioned:
            hive.sql(
                f"MSCK REPAIR TABLE {database}.{table.name}"
            )  # Spark does not support partition projection

        frame = hive.table(f"{database}.{table.name}")

        expected = lake.dataset(table).to_table()
        assert expected.num_rows > 0
        assert list_sorted_rows(frame.toArrow(), table) == list_sorted_rows(expected, table), table.name
        comments = {field.name: field.metadata.get("comment") for field in frame.schema}
        assert comments == {
            **{column.name: column.comment for column in table.columns},
            **(
                {"data_date": "UTC date of the execution's DataStartTime; filter on it"}
                if table.partitioned
                else {}
            ),
        }


@pytest.mark.parametrize("dialect", ["athena", "spark"])
def test_a_table_without_files_is_empty(hive: Any, database: str, dialect: str, tmp_path: Path) -> None:
    location = LakeLocation((tmp_path / "lake").as_uri(), date(2025, 1, 1))
    for table in (INFERENCE_EXECUTIONS, ANOMALY_EVENTS):
        statement = (render_athena_ddl if dialect == "athena" else render_spark_ddl)(
            build_external_table(table, location), database
        )
        for part in statement.removesuffix(";").split(";\n\n"):
            hive.sql(part)

        assert hive.table(f"{database}.{table.name}").count() == 0


@pytest.mark.parametrize("dialect", ["athena", "spark"])
def test_a_filter_on_data_date_reads_only_the_files_of_those_days(
    hive: Any, lake: Lake, database: str, dialect: str
) -> None:
    table = next(table for table in TABLES if table.name == "inference_executions")
    location = LakeLocation(lake.root.as_uri(), date(2025, 1, 1))
    statement = (render_athena_ddl if dialect == "athena" else render_spark_ddl)(
        build_external_table(table, location), database
    )
    hive.sql(statement.removesuffix(";").split(";\n\n")[0])
    hive.sql(f"MSCK REPAIR TABLE {database}.{table.name}")

    day = hive.table(f"{database}.{table.name}").where("data_date = DATE '2026-10-06'")

    assert [Path(name).parent.name for name in day.inputFiles()] == ["data_date=2026-10-06"]
    assert day.count() == lake.read(table, date(2026, 10, 6)).num_rows > 500
