"""The same questions over a lake that the pipeline wrote, from the sandbox's service and S3.

The answers are held against the rows that stand in the files, each file read by itself.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import boto3
import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.tables import INFERENCE_EXECUTIONS, PARTITION, TABLES, Table
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.fleet import Fleet
from sandbox.service import run_sandbox
from tests.support.code_location import Location
from tests.support.engine_questions import Asked, Engine, Plain, asked
from tests.support.engine_world import World
from tests.support.engines import ENGINES, Spark

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
DAY = date(2026, 10, 7)
RESULTS = [
    dg.AssetKey(name)
    for name in (
        "anomaly_predictions",
        "anomaly_fragments",
        "anomaly_events",
        "execution_health",
        "equipment_health",
    )
]
ABOUT = Asked(
    ranges={"the day": (DAY, DAY), "the day before": (date(2026, 10, 6), date(2026, 10, 6))},
    windows={"a night": (datetime(2026, 10, 7, 20, tzinfo=UTC), datetime(2026, 10, 8, 5, tzinfo=UTC))},
    day=DAY,
)


@pytest.fixture(scope="module")
def world(small_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("written")
    (folder / "saved").mkdir()
    useless = {"InferenceExecutionSummaries": [{"Status": "SUCCESS"}]}
    (folder / "saved" / "dump.json").write_text(json.dumps(useless))
    with run_sandbox(small_fleet, NOW) as service, pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL"):
            environment.delenv(name, raising=False)
        for name, value in {
            "AWS_ENDPOINT_URL_S3": service.s3_url,
            "AWS_ACCESS_KEY_ID": "111122223333",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            environment.setenv(name, value)
        settings = Settings(
            lake=LakeSettings(uri=str(folder / "lake")),
            history=HistorySettings(start_date=DAY, end_date=date(2026, 10, 8)),
            sources=(
                ArchiveSettings(uri=str(folder / "saved")),
                ApiSettings(region="eu-west-1", endpoint_url=service.url, schedulers=("compressor-2",)),
            ),
        )
        lake = Lake(settings.lake.uri)
        with dg.DagsterInstance.ephemeral() as instance:
            location = Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, lake)
            assert location.run(DAY, DAY).success
            _spoil_a_line(lake)
            assert location.run(DAY, DAY, asset_selection=RESULTS).success
    return World(lake, {table.name: list(_rows(lake, table)) for table in TABLES})


def _spoil_a_line(lake: Lake) -> None:
    done = [row for row in lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist() if row["result_s3_key"]]
    client = boto3.Session().client("s3", region_name="eu-west-1")
    place = {"Bucket": done[0]["result_s3_bucket"], "Key": done[0]["result_s3_key"]}
    body = client.get_object(**place)["Body"].read()
    client.put_object(**place, Body=b"no JSON\n" + body)
    client.close()


def _rows(lake: Lake, table: Table) -> Iterator[dict[str, Any]]:
    """Rows of every file, read by itself; the day is that of its folder."""
    for file in sorted((lake.root / table.name).rglob("part-0.parquet")):
        day = file.parent.name.removeprefix(f"{PARTITION}=")
        days = {PARTITION: date.fromisoformat(day)} if table.partitioned else {}
        with pq.ParquetFile(file) as stored:
            yield from (row | days for row in stored.read().to_pylist())


@pytest.fixture(scope="module")
def truth(world: World) -> dict[str, Any]:
    return asked(Plain(world), TABLES, ABOUT)


def test_the_lake_has_rows_of_every_table_that_a_run_makes(world: World, truth: dict[str, Any]) -> None:
    assert [name for name, rows in world.truth.items() if not rows] == ["event_notifications"]
    assert truth["anomaly_predictions: the day"] and truth["anomaly_predictions.timestamp: a night"]
    assert truth["a join of three tables"]


def test_the_engines_of_this_process_answer_alike(world: World, truth: dict[str, Any]) -> None:
    for name, engine in ENGINES.items():
        _compare(engine(world.lake, list(TABLES)), truth, name)


@pytest.mark.spark
def test_spark_answers_alike(world: World, truth: dict[str, Any], spark: Any) -> None:
    _compare(Spark(world.lake, list(TABLES), spark, "written"), truth, "Spark")


def _compare(engine: Engine, truth: dict[str, Any], name: str) -> None:
    found = asked(engine, TABLES, ABOUT)

    joined = "a join of three tables"  # sums of floats depend on the order of the terms
    assert {one for one in truth if one != joined and found[one] != truth[one]} == set(), name
    assert [row[:2] for row in found[joined]] == [row[:2] for row in truth[joined]]
    assert [row[2] for row in found[joined]] == pytest.approx([row[2] for row in truth[joined]])
