"""Runs of the code location, as Dagster executes them."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import boto3
import dagster as dg
import pytest

from assets.executions import assets as execution_assets
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from pipelines.definitions import build_defs
from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.dumps import Manifest
from sandbox.fleet import Fleet
from tests.support.code_location import DAYS, NOW, Location, build_archive_location
from tests.support.run_results import get_failure_message, read_output_metadata, read_rows

Locate = Callable[..., Location]
Dumps = tuple[Path, Manifest]
EMPTY = ("2026-10-05", "2026-10-08")


@dataclass(frozen=True)
class Extracted:
    """A location after a run with all checks, and the time of the last change of each file then."""

    location: Location
    result: dg.ExecuteInProcessResult
    files: dict[Path, int]


@pytest.fixture(scope="module")
def extracted(dumps: Dumps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extracted]:
    """One run; the tests only read, and a second run changes nothing."""
    with dg.DagsterInstance.ephemeral() as instance:
        location = build_archive_location(tmp_path_factory.mktemp("run") / "lake", instance, dumps[0])
        result = location.run(checks=True)
        yield Extracted(location, result, read_times(location.lake))


def read_times(lake: Lake) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")}


def test_a_ranged_run_records_exactly_the_executions_of_the_fleet(
    extracted: Extracted, dumps: Dumps, small_fleet: Fleet
) -> None:
    assert extracted.result.success

    recorded = read_rows(extracted.location.lake)
    assert set(recorded) == dumps[1].executions
    last = {
        (summary["InferenceSchedulerArn"], summary["DataStartTime"]): summary
        for summary in small_fleet.executions(small_fleet.history.end)
    }
    assert {key: row["status"] for key, row in recorded.items()} == {
        key: summary["Status"] for key, summary in last.items()
    }
    assert {row["recorded_at"] for row in recorded.values()} == {NOW}, "the clock of the run"


def test_each_day_gets_one_materialization_of_its_own(extracted: Extracted) -> None:
    for asset in ("inference_executions", "extraction_coverage"):
        events = [
            event
            for event in extracted.result.all_events
            if event.is_step_materialization and event.asset_key == dg.AssetKey(asset)
        ]
        assert [event.partition for event in events] == [day.isoformat() for day in DAYS]
        versions = [event.materialization.tags["dagster/data_version"] for event in events]
        assert len(set(versions)) == 3, "the two empty days are the same, the two full ones differ"
        assert set(extracted.location.get_partition_statuses(asset).values()) == {"MATERIALIZED"}


def test_day_metadata_has_rows_statuses_and_changes(extracted: Extracted) -> None:
    location = extracted.location
    metadata = location.get_materializations(extracted.result)["2026-10-06"].metadata

    day = location.lake.read(INFERENCE_EXECUTIONS, date(2026, 10, 6))
    statuses = day["status"].to_pylist()
    assert metadata["dagster/partition_row_count"].value == day.num_rows > 500
    for status in ("SUCCESS", "FAILED", "IN_PROGRESS"):
        assert metadata[f"ledger/{status.lower()}"].value == statuses.count(status)
    assert metadata["ledger/changed"].value is True
    assert metadata["ledger/rows_changed"].value == day.num_rows
    assert metadata["ledger/seconds"].value >= 0
    assert Path(metadata["ledger/path"].value) == location.lake.path(INFERENCE_EXECUTIONS, date(2026, 10, 6))
    assert "dagster/column_schema" not in metadata, "the definition has it; it would triple the event"
    columns = (
        location.definitions.resolve_assets_def("inference_executions")
        .metadata_by_key[dg.AssetKey("inference_executions")]["dagster/column_schema"]
        .columns
    )
    assert [column.name for column in columns] == day.schema.names
    assert all(column.description for column in columns)


def test_a_day_without_executions_has_an_empty_file(extracted: Extracted) -> None:
    for day in EMPTY:
        for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
            assert extracted.location.lake.has(table, date.fromisoformat(day))
            assert extracted.location.lake.read(table, date.fromisoformat(day)).num_rows == 0


def test_a_rerun_reads_nothing_and_changes_nothing(extracted: Extracted, dumps: Dumps) -> None:
    location = extracted.location

    second = location.run()

    assert second.success
    assert read_output_metadata(extracted.result)["files_read"] == len(dumps[1].files)
    assert read_output_metadata(second) == {
        "calls": 0,
        "throttled": 0,
        "files_read": 0,
        "schedulers_answered": 0,
        "days_recorded": len(DAYS),
        "days_changed": 0,
        "rows_changed": 0,
    }
    assert read_times(location.lake) == extracted.files
    before = location.get_materializations(extracted.result)
    after = location.get_materializations(second)
    for day in before:
        assert after[day].tags["dagster/data_version"] == before[day].tags["dagster/data_version"]
        assert after[day].metadata["ledger/changed"].value is False


def test_dependent_assets_and_checks_run_in_the_same_run(extracted: Extracted, dumps: Dumps) -> None:
    lake = extracted.location.lake
    schedulers = lake.read(INFERENCE_SCHEDULERS)
    assert set(schedulers["scheduler_arn"].to_pylist()) == {arn for arn, _ in read_rows(lake)}
    evaluated = {
        evaluation.check_name: evaluation
        for evaluation in (
            event.asset_check_evaluation_data
            for event in extracted.result.all_events
            if event.event_type_value == "ASSET_CHECK_EVALUATION"
        )
    }
    assert not evaluated["archive_files_complete"].passed
    assert evaluated["archive_files_complete"].metadata["ledger/unreadable"].value == len(dumps[1].unreadable)
    assert evaluated["archive_files_complete"].metadata["ledger/incomplete"].value == len(dumps[1].incomplete)
    assert not evaluated["no_rejected_summaries"].passed
    blocking = {name for name, actual in evaluated.items() if actual.severity == dg.AssetCheckSeverity.ERROR}
    assert blocking == {"keys_unique", "schema_matches_declaration"}
    assert all(evaluated[name].passed for name in (*blocking, "no_missing_days", "partitions_succeeded"))


def test_only_the_bad_day_fails_and_is_retried(locate: Locate, dumps: Dumps) -> None:
    location = locate(dumps[0])
    blocked = location.lake.path(INFERENCE_EXECUTIONS, date(2026, 10, 6)).parent
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the day's folder should be")

    first = location.run()

    assert not first.success
    assert "1 partitions failed" in get_failure_message(first) and "2026-10-06" in get_failure_message(first)
    assert location.get_partition_statuses() == {
        "2026-10-05": "MATERIALIZED",
        "2026-10-06": "FAILED",
        "2026-10-07": "MATERIALIZED",
        "2026-10-08": "MATERIALIZED",
    }

    blocked.unlink()
    resume = {
        "dagster/is_resume_retry": "true",
        "dagster/parent_run_id": first.run_id,
        "dagster/root_run_id": first.run_id,
    }
    second = location.run(tags=resume)

    assert second.success
    assert list(location.get_materializations(second)) == ["2026-10-06"]
    assert set(read_rows(location.lake)) == dumps[1].executions


def test_a_broken_lake_file_is_reported_and_unchanged(locate: Locate, dumps: Dumps) -> None:
    location = locate(dumps[0])
    location.run()
    broken = location.lake.path(INFERENCE_EXECUTIONS, date(2026, 10, 7))
    broken.write_bytes(broken.read_bytes()[:1000])
    shutil.rmtree(location.lake.root / ARCHIVE_FILES.name)

    result = location.run()

    assert not result.success
    assert list(location.get_materializations(result)) == ["2026-10-05", "2026-10-06", "2026-10-08"]
    assert len(broken.read_bytes()) == 1000
    assert str(broken) in str(
        next(
            event for event in result.all_events if event.is_step_failure
        ).step_failure_data.user_failure_data.metadata
    )


def test_rows_stay_when_the_source_shrinks_or_disappears(
    locate: Locate, dumps: Dumps, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(dumps[0], folder)
    location = locate(folder)
    location.run()
    before = read_rows(location.lake)

    for file in sorted(folder.rglob("*.*"))[::2]:
        file.unlink()
    assert location.run().success
    assert read_rows(location.lake) == before

    shutil.rmtree(folder)
    folder.mkdir()
    assert location.run().success
    assert read_rows(location.lake) == before

    folder.rmdir()
    gone = location.run()
    assert not gone.success
    assert str(folder) in get_failure_message(gone) and "next:" in get_failure_message(gone)
    assert read_rows(location.lake) == before


def test_without_sources_the_definitions_load_and_a_run_fails_with_the_fix(locate: Locate) -> None:
    location = locate()

    result = location.run()

    assert not result.success
    assert "ledger.toml" in get_failure_message(result) and "[[sources]]" in get_failure_message(result)
    assert location.get_materializations(result) == {}


def test_a_permanent_failure_is_not_retried(locate: Locate, tmp_path: Path) -> None:
    location = locate(tmp_path / "nowhere")

    result = location.run()

    event = next(event for event in result.all_events if event.is_step_failure)
    assert event.step_failure_data.user_failure_data is not None
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_data_outside_the_history_is_reported_with_the_dates_to_set(
    locate: Locate, dumps: Dumps, capfd: pytest.CaptureFixture[str]
) -> None:
    location = locate(dumps[0], start_date=date(2026, 10, 7), end_date=date(2026, 10, 8))

    assert location.run(date(2026, 10, 7), date(2026, 10, 7)).success

    log = capfd.readouterr().err
    assert 'set [history] start_date = "2026-10-06" in ledger.toml' in log
    assert location.lake.days(INFERENCE_EXECUTIONS) == [date(2026, 10, 7)]


def test_the_batch_size_does_not_change_the_result(
    locate: Locate,
    dumps: Dumps,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(execution_assets, "FILE_DAYS_PER_BATCH", 1)
    location = locate(dumps[0])

    result = location.run()

    assert list(location.get_materializations(result)) == [day.isoformat() for day in DAYS]
    assert set(read_rows(location.lake)) == dumps[1].executions
    log = capfd.readouterr().err
    assert log.count("Rejected, see rejected_executions") == 1, "whatever the number of batches"


@pytest.mark.parametrize("asset", ["inference_executions", "extraction_coverage"])
def test_a_single_partition_can_be_materialized(locate: Locate, dumps: Dumps, asset: str) -> None:
    location = locate(dumps[0])
    job = location.definitions.resolve_implicit_global_asset_job_def()

    result = job.execute_in_process(
        instance=location.instance,
        partition_key="2026-10-07",
        asset_selection=[dg.AssetKey(asset)],
    )

    assert result.success
    for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
        assert location.lake.days(table) == [date(2026, 10, 7)]
        assert list(location.get_materializations(result, table.name)) == ["2026-10-07"]
    assert {start.date() for _, start in read_rows(location.lake)} == {date(2026, 10, 7)}


def test_an_unwritable_lake_is_one_failure_with_its_fix(locate: Locate, dumps: Dumps) -> None:
    location = locate(dumps[0])
    location.lake.root.write_text("a file where the lake should be")

    result = location.run()

    assert not result.success
    assert get_failure_message(result).count("Cannot read the lake") == 1
    assert "lake.uri" in get_failure_message(result)
    assert "set lake.uri to" in get_failure_message(result)
    assert location.get_materializations(result) == {}


def test_setting_a_time_zone_recovers_rejected_summaries(locate: Locate, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    summary = {
        "InferenceSchedulerArn": "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/a/b",
        "DataStartTime": "2026-10-06T08:00:00",
    }
    (folder / "a.jsonl").write_text(json.dumps(summary))
    assert locate(folder).run().success

    location = locate(folder, zone="Europe/Berlin")
    assert location.run().success

    assert [start for _, start in read_rows(location.lake)] == [datetime(2026, 10, 6, 6, tzinfo=UTC)]
    assert location.lake.read(REJECTED_EXECUTIONS).num_rows == 0


def test_a_lake_in_s3_is_encrypted_with_the_kms_key_of_the_settings(
    s3_lake_uri: str, dumps: Dumps, instance: dg.DagsterInstance
) -> None:
    key = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-000000000000"
    settings = Settings(
        lake=LakeSettings(uri=s3_lake_uri, kms_key_id=key),
        history=HistorySettings(start_date=DAYS[1]),
        sources=(ArchiveSettings(uri=str(dumps[0])),),
    )
    location = Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(s3_lake_uri))

    assert location.run(DAYS[1], DAYS[2]).success

    assert set(read_rows(location.lake)) == dumps[1].executions
    stored = (
        boto3.Session()
        .client("s3")
        .head_object(Bucket="plant", Key="lake/inference_executions/data_date=2026-10-06/part-0.parquet")
    )
    assert (stored["ServerSideEncryption"], stored["SSEKMSKeyId"]) == ("aws:kms", key)
