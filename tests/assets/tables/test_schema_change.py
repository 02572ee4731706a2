"""Added columns: every engine reads files of both versions as one table."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from assets.tables import EXTRACTION_COVERAGE, INSTANT, Column
from assets.tables.ddl import LakeLocation, build_external_table, render_athena_ddl, render_spark_ddl
from assets.tables.duckdb_views import render_view
from resources.lake.lake import Lake

OLD = EXTRACTION_COVERAGE
NEW = replace(  # between other columns, so that positions differ
    OLD,
    version=2,
    columns=(
        OLD.columns[0],
        Column("added_at", INSTANT, "since version 2", "UTC", encoding="delta"),
        *OLD.columns[1:],
    ),
)
MOMENT = datetime(2026, 10, 2, 3, 4, 5, 678_000, tzinfo=UTC)
ROW = {
    "scheduler_arn": "arn",
    "executions": 7,
    "in_progress": 0,
    "failed": 1,
    "recorded_at": datetime(2026, 10, 9, tzinfo=UTC),
}
EXPECTED = [(date(2026, 10, 1), 7, None), (date(2026, 10, 2), 7, MOMENT)]


@pytest.fixture(params=["older and newer days", "after ledger migrate"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    lake.update(OLD, date(2026, 10, 1), lambda _: pa.Table.from_pylist([ROW], OLD.schema))
    newer = pa.Table.from_pylist([ROW | {"added_at": MOMENT}], NEW.schema)
    lake.update(NEW, date(2026, 10, 2), lambda _: newer)
    if request.param == "after ledger migrate":
        assert lake.rewrite(NEW, date(2026, 10, 1))
    return lake


def select_columns(rows: pa.Table) -> list[tuple[Any, ...]]:
    chosen = rows.select(["data_date", "executions", "added_at"]).to_pylist()
    return sorted((tuple(row.values()) for row in chosen), key=lambda row: row[0])


def test_duckdb_reads_both_versions(lake: Lake) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(render_view(NEW, lake.files(NEW)))
        assert select_columns(connection.sql(f"FROM {NEW.name}").to_arrow_table()) == EXPECTED


def test_pyarrow_reads_both_versions(lake: Lake) -> None:
    assert select_columns(lake.dataset(NEW).to_table()) == EXPECTED


def test_polars_reads_both_versions(lake: Lake) -> None:
    actual = pl.scan_parquet(
        lake.files(NEW), hive_schema={"data_date": pl.Date}, missing_columns="insert", schema=_polars_schema()
    )
    assert select_columns(actual.collect().to_arrow()) == EXPECTED


def _polars_schema() -> pl.Schema:
    empty = pl.from_arrow(NEW.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def test_lake_reads_each_day_as_declared(lake: Lake) -> None:
    assert lake.read(NEW, date(2026, 10, 1))["added_at"].to_pylist() == [None]
    assert lake.read(NEW, date(2026, 10, 2))["added_at"].to_pylist() == [MOMENT]


@pytest.mark.spark
@pytest.mark.parametrize("dialect", ["athena", "spark"])
def test_spark_reads_both_versions(hive: Any, lake: Lake, dialect: str) -> None:
    database = f"grown_{dialect}_{abs(hash(lake.uri)) % 10**6}"
    hive.sql(f"CREATE DATABASE {database}")
    external = build_external_table(NEW, LakeLocation(lake.root.as_uri(), date(2026, 10, 1)))
    statement = (render_athena_ddl if dialect == "athena" else render_spark_ddl)(external, database)
    hive.sql(statement.removesuffix(";").split(";\n\n")[0])
    hive.sql(f"MSCK REPAIR TABLE {database}.{NEW.name}")

    assert select_columns(hive.table(f"{database}.{NEW.name}").toArrow()) == EXPECTED
