"""The Python API of the lake: types, days, filters and error messages."""

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
from lookout_ledger import reading
from resources.errors import ConfigurationError, DataError, LakeContractError
from resources.lake.lake import Lake
from tests.support.engine_world import DAYS, World, write_world

TABLE = "inference_executions"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("reading") / "lake")


def read(world: World, *days: Any, **options: Any) -> pa.Table:
    return lookout_ledger.read(TABLE, *days, as_="arrow", lake=world.uri, **options)


def get_days(rows: pa.Table) -> set[date]:
    return set(rows["data_date"].to_pylist())


def test_the_end_is_excluded(world: World) -> None:
    assert get_days(read(world, "2026-10-24", "2026-10-25")) == {date(2026, 10, 24)}
    assert get_days(read(world, "2026-10-25", "2026-11-02")) == {date(2026, 10, 25), date(2026, 11, 1)}
    assert read(world, "2026-10-25", "2026-10-25").num_rows == 0


def test_without_bounds_all_days_are_read(world: World) -> None:
    assert get_days(read(world)) == set(DAYS)
    assert get_days(read(world, "2026-10-25")) == {date(2026, 10, 25), date(2026, 11, 1)}
    assert get_days(read(world, end="2026-10-25")) == {date(2026, 3, 29), date(2026, 10, 24)}


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 10, 25),
        "2026-10-25",
        datetime(2026, 10, 25, tzinfo=UTC),
        pd.Timestamp("2026-10-25"),
        pd.Timestamp("2026-10-25 02:00", tz="Europe/Istanbul").normalize() + pd.Timedelta(hours=3),
    ],
    ids=["date", "text", "datetime", "Timestamp", "midnight in UTC, in another time zone"],
)
def test_days_are_accepted_in_several_types(world: World, day: Any) -> None:
    assert get_days(read(world, day, "2026-10-26")) == {date(2026, 10, 25)}


def test_columns_are_returned_in_the_requested_order(world: World) -> None:
    assert read(world, columns=["status", "data_date", "scheduler_name"]).schema.names == [
        "status",
        "data_date",
        "scheduler_name",
    ]


def test_schedulers_are_selected_by_name_or_arn(world: World) -> None:
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


def test_pandas_frames_keep_time_zones_dates_and_nulls(world: World) -> None:
    frame = lookout_ledger.read(TABLE, lake=world.uri)

    assert str(frame["data_start_time"].dtype) == "datetime64[ms, UTC]"
    assert str(frame["model_version"].dtype) == "Int64"
    assert type(frame["data_date"].iloc[0]) is date
    assert frame["model_version"].isna().sum() > 0
    assert 2**53 + 1 in set(frame["model_version"].dropna())


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (["inference_execution"], {}, ["inference_execution", "inference_executions"]),
        ([TABLE, "2026-13-01"], {}, ["Cannot read '2026-13-01' as a day", "start"]),
        ([TABLE, None, 20261001], {}, ["Cannot read 20261001 as a day", "end"]),
        ([TABLE, datetime(2026, 10, 1, 5, tzinfo=UTC)], {}, ["has a time", "2026-10-01"]),
        ([TABLE, "2026-10-02", "2026-10-01"], {}, ["before the start"]),
        (["archive_files", "2026-10-01"], {}, ["Cannot select days of archive_files"]),
        ([TABLE], {"columns": ["statsu"]}, ["statsu", '"status"']),
        ([TABLE], {"columns": "status"}, ["columns=['status']"]),
        (["archive_files"], {"schedulers": "pump-1"}, ["no scheduler column"]),
        ([TABLE], {"as_": "polars"}, ["polars", "arrow"]),
        ([TABLE], {"lake": "gs://lake"}, ["gs://lake"]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_argument_raises_an_error_with_its_fix(
    world: World, arguments: list[Any], options: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as error:
        lookout_ledger.read(*arguments, **({"lake": world.uri} | options))

    assert all(part in str(error.value) for part in expected)


def test_sql_returns_frames(world: World) -> None:
    frame = lookout_ledger.sql("SELECT sum(prediction) AS n FROM anomaly_predictions", lake=world.uri)

    assert str(frame["n"].dtype) == "Int64"
    with pytest.raises(DataError, match="syntax error"):
        lookout_ledger.sql("SELEKT", lake=world.uri, as_="arrow")


def test_tables_are_listed_with_their_meaning() -> None:
    assert list(lookout_ledger.tables()) == [table.name for table in TABLES]


def test_importing_the_package_loads_no_large_library() -> None:
    program = "import sys, lookout_ledger; print({'pandas', 'duckdb', 'boto3', 'dagster'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_rows_that_pandas_cannot_hold_are_an_error_with_the_alternative() -> None:
    rows = pa.table({"at": pa.array([10**7], pa.date32())})
    with pytest.raises(DataError, match="Cannot convert the rows to pandas") as caught:
        reading._convert(rows, "pandas")
    assert 'as_="arrow"' in caught.value.next_step
