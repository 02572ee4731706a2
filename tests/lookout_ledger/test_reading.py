"""The lake in one line of Python: types, days, filters, and words for what is taken amiss."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import lookout_ledger
from assets.tables import INFERENCE_EXECUTIONS, TABLES
from resources.errors import ConfigurationError, DataError, LakeContractError
from resources.lake.lake import Lake
from tests.support.engine_world import DAYS, World, build

TABLE = "inference_executions"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("reading") / "lake")


def read(world: World, *days: Any, **more: Any) -> pa.Table:
    return lookout_ledger.read(TABLE, *days, as_="arrow", lake=world.uri, **more)


def days_of(rows: pa.Table) -> set[date]:
    return set(rows["data_date"].to_pylist())


def test_the_end_is_excluded(world: World) -> None:
    assert days_of(read(world, "2026-10-24", "2026-10-25")) == {date(2026, 10, 24)}
    assert days_of(read(world, "2026-10-25", "2026-11-02")) == {date(2026, 10, 25), date(2026, 11, 1)}
    assert read(world, "2026-10-25", "2026-10-25").num_rows == 0


def test_no_bound_is_no_bound(world: World) -> None:
    assert days_of(read(world)) == set(DAYS)
    assert days_of(read(world, "2026-10-25")) == {date(2026, 10, 25), date(2026, 11, 1)}
    assert days_of(read(world, end="2026-10-25")) == {date(2026, 3, 29), date(2026, 10, 24)}


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 10, 25),
        "2026-10-25",
        datetime(2026, 10, 25, tzinfo=UTC),
        pd.Timestamp("2026-10-25"),
        pd.Timestamp("2026-10-25 02:00", tz="Europe/Istanbul").normalize() + pd.Timedelta(hours=3),
    ],
    ids=["date", "text", "datetime", "Timestamp", "midnight in UTC, written in another zone"],
)
def test_a_day_may_be_written_in_many_ways(world: World, day: Any) -> None:
    assert days_of(read(world, day, "2026-10-26")) == {date(2026, 10, 25)}


def test_columns_come_in_the_order_asked_for(world: World) -> None:
    assert read(world, columns=["status", "data_date", "scheduler_name"]).schema.names == [
        "status",
        "data_date",
        "scheduler_name",
    ]


def test_schedulers_are_named_or_given_by_arn(world: World) -> None:
    arn = f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{'pump-1'}"

    assert set(read(world, schedulers=arn)["scheduler_arn"].to_pylist()) == {arn}
    assert set(read(world, schedulers=["pümp 2"])["scheduler_name"].to_pylist()) == {"pümp 2"}
    assert read(world, schedulers="pump-9").num_rows == 0


def test_files_of_other_days_are_not_opened(world: World, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for day in DAYS:
        lake.update(INFERENCE_EXECUTIONS, day, lambda _, day=day: world.lake.read(INFERENCE_EXECUTIONS, day))
    Path(lake.path(INFERENCE_EXECUTIONS, DAYS[0])).write_bytes(b"no Parquet")

    assert lookout_ledger.read(TABLE, DAYS[1], lake=lake.uri, as_="arrow").num_rows == 3 * 18
    with pytest.raises(LakeContractError, match="Cannot read a file of the lake"):
        lookout_ledger.read(TABLE, lake=lake.uri, as_="arrow")


def test_pandas_has_aware_times_dates_and_nulls(world: World) -> None:
    frame = lookout_ledger.read(TABLE, lake=world.uri)

    assert str(frame["data_start_time"].dtype) == "datetime64[ms, UTC]"
    assert str(frame["model_version"].dtype) == "Int64"
    assert type(frame["data_date"].iloc[0]) is date
    assert frame["model_version"].isna().sum() > 0
    assert 2**53 + 1 in set(frame["model_version"].dropna())


@pytest.mark.parametrize(
    ("words", "more", "told"),
    [
        (["inference_execution"], {}, ["inference_execution", "inference_executions"]),
        ([TABLE, "2026-13-01"], {}, ["'2026-13-01' is no day", "start"]),
        ([TABLE, None, 20261001], {}, ["20261001 is no day", "end"]),
        ([TABLE, datetime(2026, 10, 1, 5, tzinfo=UTC)], {}, ["has a time", "2026-10-01"]),
        ([TABLE, "2026-10-02", "2026-10-01"], {}, ["before the start"]),
        (["archive_files", "2026-10-01"], {}, ["archive_files has no days"]),
        ([TABLE], {"columns": ["statsu"]}, ["statsu", '"status"']),
        ([TABLE], {"columns": "status"}, ["columns=['status']"]),
        (["archive_files"], {"schedulers": "pump-1"}, ["of no scheduler"]),
        ([TABLE], {"as_": "polars"}, ["polars", "arrow"]),
        ([TABLE], {"lake": "gs://lake"}, ["gs://lake"]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_taken_amiss_is_told_with_the_mend(
    world: World, words: list[Any], more: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        lookout_ledger.read(*words, **({"lake": world.uri} | more))

    assert all(part in str(refused.value) for part in told)


def test_sql_gives_frames_too(world: World) -> None:
    found = lookout_ledger.sql("SELECT sum(prediction) AS n FROM anomaly_predictions", lake=world.uri)

    assert str(found["n"].dtype) == "Int64"
    with pytest.raises(DataError, match="syntax error"):
        lookout_ledger.sql("SELEKT", lake=world.uri, as_="arrow")


def test_tables_are_listed_with_their_meaning() -> None:
    assert list(lookout_ledger.tables()) == [table.name for table in TABLES]


def test_pandas_and_duckdb_are_loaded_when_asked_for() -> None:
    program = "import sys, lookout_ledger; print({'pandas', 'duckdb', 'boto3', 'dagster'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
