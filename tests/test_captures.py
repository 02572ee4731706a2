"""The archive source records real responses that were saved in 2021 and 2022.

The expected values come from the captured bytes by the standard library alone.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.tables import ARCHIVE_FILES, INFERENCE_EXECUTIONS
from pipelines.definitions import build_defs
from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, ReportSettings, Settings
from resources.lake.lake import Lake
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
def record(tmp_path: Path) -> Callable[[Path], tuple[Rows, Lake]]:
    """A function that runs the code location on a folder and returns the recorded rows."""

    def run(folder: Path) -> tuple[Rows, Lake]:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(start_date=FIRST, end_date=LAST),
            report=ReportSettings(folder=str(tmp_path / "reports")),
            sources=(ArchiveSettings(uri=str(folder)),),
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
    captures: Path, form: str, record: Callable[[Path], tuple[Rows, Lake]]
) -> None:
    rows, lake = record(captures / form)

    assert rows == build_expected_rows(captures / form)
    assert len(rows) > 0
    assert all(lake.read(ARCHIVE_FILES)["complete"].to_pylist())


def test_the_same_executions_in_several_forms_are_recorded_once(
    captures: Path, record: Callable[[Path], tuple[Rows, Lake]]
) -> None:
    rows, lake = record(captures)

    saved = list(read_summaries(captures))
    assert len(saved) > len(rows), "some executions were saved in more than one form"
    assert rows == build_expected_rows(captures)
    for day in lake.days(INFERENCE_EXECUTIONS):
        starts = lake.read(INFERENCE_EXECUTIONS, day)["data_start_time"].to_pylist()
        assert {start.date() for start in starts} <= {day}
