"""Archives and buckets record real responses of 2021 and 2022, and the keys of their results.

The expected values come from the captured bytes by the standard library alone.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.tables import ARCHIVE_FILES, INFERENCE_EXECUTIONS
from pipelines.definitions import build_defs
from resources.config.settings import (
    ArchiveSettings,
    BucketSettings,
    HistorySettings,
    LakeSettings,
    ReportSettings,
    Settings,
    SourceSettings,
)
from resources.lake.lake import Lake
from resources.sources.bucket_keys import parse_folder_time
from tests.support.truth import build_row

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FIRST, LAST = date(2021, 4, 1), date(2022, 5, 31)
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
FORMS = ("boto3-default-str", "cli-v1", "cli-v2", "json-lines", "wire")

Rows = dict[tuple[str, datetime], dict[str, Any]]


def parse_instant(saved: str | float | None) -> datetime | None:
    if saved is None:
        return None
    if isinstance(saved, str):
        return datetime.fromisoformat(saved).astimezone(UTC)
    return datetime.fromtimestamp(saved, UTC)


def read_summaries(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.rglob("*.json*")):
        text = file.read_text()
        if file.suffix == ".jsonl":
            yield from map(json.loads, text.splitlines())
        else:
            yield from json.loads(text)["InferenceExecutionSummaries"]


def build_expected_row(summary: dict[str, Any]) -> dict[str, Any]:
    row = build_row(summary, "archive") | {"recorded_at": NOW, "unrecognized": None}
    return row | {
        name: parse_instant(value)
        for name, value in row.items()
        if name.endswith("_start_time") or name == "data_end_time"
    }


def build_expected_rows(folder: Path) -> Rows:
    rows = [build_expected_row(summary) for summary in read_summaries(folder)]
    return {(row["scheduler_arn"], row["data_start_time"]): row for row in rows}


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., tuple[Rows, Lake]]:
    """A function that runs the code location on the days of a folder, and returns the rows."""

    def run(folder: Path, sources: Sequence[SourceSettings] = ()) -> tuple[Rows, Lake]:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(start_date=FIRST, end_date=LAST),
            report=ReportSettings(folder=str(tmp_path / "reports")),
            sources=tuple(sources) or (ArchiveSettings(uri=str(folder)),),
        )
        job = build_defs({"clock": lambda: NOW}, settings=settings).resolve_implicit_global_asset_job_def()
        only = [dg.AssetKey(INFERENCE_EXECUTIONS.name)]
        with dg.DagsterInstance.ephemeral() as instance:
            for day in sorted({start.date().isoformat() for _, start in build_expected_rows(folder)}):
                assert job.execute_in_process(
                    instance=instance, partition_key=day, asset_selection=only
                ).success
        lake = Lake(settings.lake.uri)
        rows = [
            row
            for day in lake.days(INFERENCE_EXECUTIONS)
            for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist()
        ]
        return {(row["scheduler_arn"], row["data_start_time"]): row for row in rows}, lake

    return run


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The time zone of the machine, which must not change the result."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("form", FORMS)
def test_recorded_values_match_the_captured_ones_in_each_form(
    captures: Path, form: str, record: Callable[..., tuple[Rows, Lake]]
) -> None:
    rows, lake = record(captures / form)

    assert rows == build_expected_rows(captures / form)
    assert len(rows) > 0
    assert all(lake.read(ARCHIVE_FILES)["complete"].to_pylist())


def test_the_same_executions_in_several_forms_are_recorded_once(
    captures: Path, record: Callable[..., tuple[Rows, Lake]]
) -> None:
    rows, lake = record(captures)

    saved = list(read_summaries(captures))
    assert len(saved) > len(rows), "some executions were saved in more than one form"
    assert rows == build_expected_rows(captures)
    for day in lake.days(INFERENCE_EXECUTIONS):
        starts = lake.read(INFERENCE_EXECUTIONS, day)["data_start_time"].to_pylist()
        assert {start.date() for start in starts} <= {day}


@pytest.fixture
def copies(captures: Path, tmp_path: Path) -> tuple[BucketSettings, ...]:
    """A copy of each bucket of the captured executions, with the keys of their results."""
    results = {
        (summary["CustomerResultObject"]["Bucket"], summary["CustomerResultObject"]["Key"])
        for summary in read_summaries(captures)
        if summary.get("CustomerResultObject")
    }
    for bucket, key in results:
        file = tmp_path / "copies" / bucket / key
        file.parent.mkdir(parents=True)
        file.touch()
    return tuple(
        BucketSettings(uri=str(tmp_path / "copies" / bucket), copy_of=f"s3://{bucket}")
        for bucket in sorted({bucket for bucket, _ in results})
    )


def test_the_time_in_the_key_of_each_captured_result_is_the_start_of_its_window(captures: Path) -> None:
    keys = {
        (summary["CustomerResultObject"]["Key"], parse_instant(summary["DataStartTime"]))
        for summary in read_summaries(captures)
        if summary.get("CustomerResultObject")
    }
    assert len(keys) >= 5
    for key, start in keys:
        folder, name = key.split("/")[-2:]
        assert (parse_folder_time(folder, None), name) == (start, "results.jsonl")


def test_the_keys_of_the_captured_results_give_the_executions_that_succeeded(
    captures: Path, copies: tuple[BucketSettings, ...], record: Callable[..., tuple[Rows, Lake]]
) -> None:
    rows, _ = record(captures, copies)
    expected = {
        (row["result_s3_bucket"], row["result_s3_key"]): row["data_start_time"]
        for row in build_expected_rows(captures).values()
        if row["result_s3_key"]
    }
    assert {
        (row["result_s3_bucket"], row["result_s3_key"]): row["data_start_time"] for row in rows.values()
    } == expected
    assert {row["status"] for row in rows.values()} == {"SUCCESS"}


def test_captured_responses_and_the_keys_of_their_results_are_recorded_once(
    captures: Path, copies: tuple[BucketSettings, ...], record: Callable[..., tuple[Rows, Lake]]
) -> None:
    rows, _ = record(captures, (*copies, ArchiveSettings(uri=str(captures))))

    assert rows == build_expected_rows(captures)
