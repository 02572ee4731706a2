"""The output bucket of the sandbox is the only source: in S3, and as a copy on disk."""

import json
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest

from assets.executions.extraction import Extraction
from assets.executions.scheduler_history import EXECUTION_COLUMNS, merge_observed_settings
from assets.framework.time_windows import Days
from assets.tables import (
    ANOMALY_PREDICTIONS,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    RESULT_OBJECTS,
)
from pipelines.definitions import build_defs
from resources.config.settings import (
    ApiSettings,
    ArchiveSettings,
    BucketSettings,
    HistorySettings,
    LakeSettings,
    Settings,
)
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.base import Source
from resources.sources.factory import open_source
from sandbox.dumps import Manifest
from sandbox.events import has_succeeded
from sandbox.fleet import Fleet
from sandbox.results import build_lines
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import DAYS, EXTRACTION, Location, use_s3_at

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
DAY = date(2026, 10, 7)
START, END = datetime(2026, 10, 7, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC)
BUCKET = "ireland-plant-inference"
ASSETS = [*EXTRACTION, dg.AssetKey("anomaly_predictions"), dg.AssetKey("execution_health")]


@pytest.fixture(scope="module")
def service(small_fleet: Fleet) -> Iterator[Handle]:
    with run_sandbox(small_fleet, NOW) as handle, pytest.MonkeyPatch.context() as environment:
        use_s3_at(handle.s3_url, environment)
        environment.setenv("AWS_ACCESS_KEY_ID", "111122223333")
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield handle


def build_location(
    folder: Path, instance: dg.DagsterInstance, *sources: BucketSettings | ArchiveSettings
) -> Location:
    settings = Settings(
        lake=LakeSettings(uri=str(folder / "lake")),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        sources=sources,
    )
    return Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(settings.lake.uri))


@pytest.fixture(scope="module")
def live(service: Handle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Location]:  # noqa: ARG001
    with dg.DagsterInstance.ephemeral() as instance:
        source = BucketSettings(uri=f"s3://{BUCKET}/")
        location = build_location(tmp_path_factory.mktemp("live"), instance, source)
        result = location.run(DAY, DAY, assets=ASSETS)
        assert result.success
        metadata = location.get_materializations(result)[DAY.isoformat()].metadata
        assert metadata["ledger/success"].value > 0
        assert "ledger/failed" not in metadata, "a bucket does not show failures"
        yield location


def list_succeeded(fleet: Fleet) -> dict[tuple[str, datetime], Any]:
    """Return scheduler and slot of each execution of the day that has a result, by prefix and start."""
    return {
        (scheduler.output.prefix, slot.window.start): (scheduler, slot)
        for scheduler in fleet.schedulers
        if scheduler.output.bucket == BUCKET
        for slot in scheduler.slots(START, END)
        if has_succeeded(scheduler, NOW, slot)
    }


def test_the_lake_has_the_executions_that_left_a_result(live: Location, small_fleet: Fleet) -> None:
    expected = list_succeeded(small_fleet)
    rows = live.lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist()
    assert len(rows) == len(expected) > 100
    for row in rows:
        scheduler, slot = expected[row["output_s3_prefix"], row["data_start_time"]]
        assert (
            row["scheduler_arn"]
            == f"arn:aws:lookoutequipment:::output-prefix/{BUCKET}/{scheduler.output.prefix}"
        )
        assert row["scheduler_name"] == scheduler.output.prefix.rstrip("/")
        result = scheduler.result_object(slot.window)
        assert (row["result_s3_bucket"], row["result_s3_key"]) == (result["Bucket"], result["Key"])
        assert (row["status"], row["data_end_time"]) == ("SUCCESS", slot.window.end)
        unknown = ("failed_reason", "scheduled_start_time", "model_name", "account_id", "region")
        assert {row[name] for name in unknown} == {None}


def test_results_are_read_from_the_bucket(live: Location, small_fleet: Fleet) -> None:
    lines = sum(len(build_lines(*execution)) for execution in list_succeeded(small_fleet).values())
    assert live.lake.read(ANOMALY_PREDICTIONS, DAY).num_rows == lines > 0


def test_a_slot_without_an_object_has_an_unknown_reason(live: Location, small_fleet: Fleet) -> None:
    """A bucket shows neither failures nor stops, so nothing counts as failed, missing or not running."""
    rows = live.lake.read(EXECUTION_HEALTH, DAY).to_pylist()
    succeeded = len(list_succeeded(small_fleet))
    assert sum(row["succeeded"] for row in rows) == succeeded
    assert sum(row["unknown"] for row in rows) == sum(row["expected"] for row in rows) - succeeded > 0
    proven = live.lake.read(EXTRACTION_COVERAGE, DAY)["complete_through"]
    assert proven.null_count == len(proven) > 0


def test_a_copy_on_disk_gives_the_same_lake(live: Location, tmp_path: Path) -> None:
    client = boto3.Session().client("s3")
    for row in live.lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist():
        file = tmp_path / "copy" / row["result_s3_key"]
        file.parent.mkdir(parents=True)
        file.write_bytes(client.get_object(Bucket=BUCKET, Key=row["result_s3_key"])["Body"].read())
    client.close()
    source = BucketSettings(uri=str(tmp_path / "copy"), copy_of=f"s3://{BUCKET}")
    with dg.DagsterInstance.ephemeral() as instance:
        copy = build_location(tmp_path, instance, source)
        assert copy.run(DAY, DAY, assets=ASSETS).success
    for table in (INFERENCE_EXECUTIONS, ANOMALY_PREDICTIONS):
        assert copy.lake.read(table, DAY).equals(live.lake.read(table, DAY))
    assert set(copy.lake.read(RESULT_OBJECTS, DAY)["state"].to_pylist()) == {"read"}


def test_saved_responses_replace_the_placeholders_everywhere(
    live: Location, dumps: tuple[Path, Manifest], tmp_path: Path
) -> None:
    """A lake that began with the bucket equals one that had both sources from the start."""
    sources = ArchiveSettings(uri=str(dumps[0])), BucketSettings(uri=f"s3://{BUCKET}/")
    shutil.copytree(live.lake.root, tmp_path / "later" / "lake")
    lakes = []
    for name in ("later", "fresh"):
        with dg.DagsterInstance.ephemeral() as instance:
            location = build_location(tmp_path / name, instance, *sources)
            assert location.run(DAY, DAY, assets=ASSETS).success
            lakes.append(location.lake)
    tables = (
        INFERENCE_EXECUTIONS,
        EXTRACTION_COVERAGE,
        ANOMALY_PREDICTIONS,
        RESULT_OBJECTS,
        EXECUTION_HEALTH,
    )
    for table in tables:
        later, fresh = (lake.read(table, DAY) for lake in lakes)
        assert later.select(table.content_columns).equals(fresh.select(table.content_columns)), table.name
        assert not any(":::" in arn for arn in later["scheduler_arn"].to_pylist()), table.name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_patchwork_of_service_dump_and_bucket_in_any_order_has_each_execution_once(
    service: Handle, small_fleet: Fleet, tmp_path: Path, seed: int
) -> None:
    """The service returns one day, a dump has a part of the other, and the bucket has results of both."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    days = [date(2026, 10, 6), DAY]
    truth = [
        summary
        for summary in small_fleet.executions(NOW)
        if summary["DataOutputConfiguration"]["S3OutputConfiguration"]["Bucket"] == BUCKET
        and summary["DataStartTime"].date() in days
    ]
    saved = [row for row in truth if row["DataStartTime"].date() == DAY and chance.random() < 0.5]
    (tmp_path / "saved.json").write_text(json.dumps(saved, default=datetime.isoformat))
    api = open_source(ApiSettings(region="eu-west-1", endpoint_url=service.url), DEFAULT_LIMITS)
    dump = open_source(ArchiveSettings(uri=str(tmp_path / "saved.json")), DEFAULT_LIMITS)
    bucket = open_source(BucketSettings(uri=f"s3://{BUCKET}/"), DEFAULT_LIMITS)
    steps = [(api, days[0]), (dump, DAY), (bucket, days[0]), (bucket, DAY)]
    lakes = []
    for name in ("in order", "shuffled"):
        lake = Lake(str(tmp_path / name))
        for source, day in [*steps, *steps]:  # the second pass knows the schedulers of the prefixes
            extract(lake, source, day)
        lakes.append([lake.read(INFERENCE_EXECUTIONS, day) for day in days])
        chance.shuffle(steps)
    for first, second in zip(*lakes, strict=True):
        assert first.to_pylist() == second.to_pylist()

    rows = {
        (row["output_s3_prefix"], row["data_start_time"]): row
        for day in lakes[0]
        for row in day.to_pylist()
        if row["output_s3_bucket"] == BUCKET
    }
    assert len(rows) == sum(row["output_s3_bucket"] == BUCKET for day in lakes[0] for row in day.to_pylist())
    deleted = {scheduler.arn for scheduler in small_fleet.schedulers if scheduler.deleted_at}
    recoverable = {
        (row["DataOutputConfiguration"]["S3OutputConfiguration"]["Prefix"], row["DataStartTime"]): row
        for row in truth
        if (row["DataStartTime"].date() == days[0] and row["InferenceSchedulerArn"] not in deleted)
        or row in saved
        or "CustomerResultObject" in row
    }
    assert rows.keys() == recoverable.keys()
    for key, row in rows.items():
        assert row["status"] == recoverable[key]["Status"]
        arn = recoverable[key]["InferenceSchedulerArn"]
        assert row["scheduler_arn"] == arn or (arn in deleted and row["source"] == "bucket")
        assert row["failed_reason"] == recoverable[key].get("FailedReason")


def extract(lake: Lake, source: Source, day: date) -> None:
    """Extract a day from one source, and update the schedulers, as a run does."""
    extraction = Extraction(lake, Days(DAYS[0]), timedelta(hours=3), NOW, lambda _: None)
    for extracted in extraction.gather([source], [day]):
        extraction.record(extracted)
    assert not extraction.failed
    rows = [lake.read(INFERENCE_EXECUTIONS, recorded, EXECUTION_COLUMNS) for recorded in DAYS]
    lake.update(INFERENCE_SCHEDULERS, None, lambda existing: merge_observed_settings(rows, existing, NOW))
