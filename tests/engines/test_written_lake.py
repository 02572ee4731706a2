"""All engines give the same answers on a lake that the pipeline wrote from the sandbox.

The expected answers come from the rows of the files, each of which is read separately.
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
from tests.support.engine_questions import Engine, Plain, QuestionScope, collect_answers
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
SCOPE = QuestionScope(
    ranges={"the day": (DAY, DAY), "the day before": (date(2026, 10, 6), date(2026, 10, 6))},
    windows={"a night": (datetime(2026, 10, 7, 20, tzinfo=UTC), datetime(2026, 10, 8, 5, tzinfo=UTC))},
    day=DAY,
)


@pytest.fixture(scope="module")
def world(small_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("written")
    (folder / "saved").mkdir()
    unusable = {"InferenceExecutionSummaries": [{"Status": "SUCCESS"}]}
    (folder / "saved" / "dump.json").write_text(json.dumps(unusable))
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
            _add_invalid_line(lake)
            assert location.run(DAY, DAY, asset_selection=RESULTS).success
    return World(lake, {table.name: list(_read_rows(lake, table)) for table in TABLES})


def _add_invalid_line(lake: Lake) -> None:
    succeeded = [row for row in lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist() if row["result_s3_key"]]
    client = boto3.Session().client("s3", region_name="eu-west-1")
    location = {"Bucket": succeeded[0]["result_s3_bucket"], "Key": succeeded[0]["result_s3_key"]}
    body = client.get_object(**location)["Body"].read()
    client.put_object(**location, Body=b"not JSON\n" + body)
    client.close()


def _read_rows(lake: Lake, table: Table) -> Iterator[dict[str, Any]]:
    """Read each file separately. The day comes from the folder name."""
    for file in sorted((lake.root / table.name).rglob("part-0.parquet")):
        day = file.parent.name.removeprefix(f"{PARTITION}=")
        days = {PARTITION: date.fromisoformat(day)} if table.partitioned else {}
        with pq.ParquetFile(file) as parquet:
            yield from (row | days for row in parquet.read().to_pylist())


@pytest.fixture(scope="module")
def truth(world: World) -> dict[str, Any]:
    return collect_answers(Plain(world), TABLES, SCOPE)


def test_the_lake_has_rows_in_every_table_that_a_run_writes(world: World, truth: dict[str, Any]) -> None:
    empty = [name for name, rows in world.truth.items() if not rows]
    assert empty == ["forget_operations", "event_notifications"]
    assert truth["anomaly_predictions: the day"] and truth["anomaly_predictions.timestamp: a night"]
    assert truth["a join of three tables"]


def test_engines_in_this_process_give_the_rows_of_the_files(world: World, truth: dict[str, Any]) -> None:
    for name, engine in ENGINES.items():
        _compare(engine(world.lake, list(TABLES)), truth, name)


@pytest.mark.spark
def test_spark_gives_the_rows_of_the_files(world: World, truth: dict[str, Any], spark: Any) -> None:
    _compare(Spark(world.lake, list(TABLES), spark, "written"), truth, "Spark")


def _compare(engine: Engine, truth: dict[str, Any], name: str) -> None:
    answers = collect_answers(engine, TABLES, SCOPE)

    join_question = "a join of three tables"  # sums of floats depend on the order of the terms
    assert {
        question for question in truth if question != join_question and answers[question] != truth[question]
    } == set(), name
    assert [row[:2] for row in answers[join_question]] == [row[:2] for row in truth[join_question]]
    assert [row[2] for row in answers[join_question]] == pytest.approx(
        [row[2] for row in truth[join_question]]
    )
