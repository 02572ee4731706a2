"""Real responses, as people saved them in 2021 and 2022, through the archive source into a lake.

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


def instant(saved: str | float | None) -> datetime | None:
    if saved is None:
        return None
    if isinstance(saved, str):
        return datetime.fromisoformat(saved).astimezone(UTC)
    return datetime.fromtimestamp(saved, UTC)


def summaries(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.rglob("*.json*")):
        text = file.read_text()
        if file.suffix == ".jsonl":
            yield from map(json.loads, text.splitlines())
        else:
            yield from json.loads(text)["InferenceExecutionSummaries"]


def expected(summary: dict[str, Any]) -> dict[str, Any]:
    row = build_row(summary, "archive") | {"recorded_at": NOW, "unrecognized": None}
    return row | {
        name: instant(value)
        for name, value in row.items()
        if name.endswith("_start_time") or name == "data_end_time"
    }


def truth(folder: Path) -> Rows:
    rows = [expected(summary) for summary in summaries(folder)]
    return {(row["scheduler_arn"], row["data_start_time"]): row for row in rows}


@pytest.fixture
def taken_in(tmp_path: Path) -> Callable[[Path], tuple[Rows, Lake]]:
    """Run the code location over a folder and read back what it recorded."""

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
            for day in sorted({start.date().isoformat() for _, start in truth(folder)}):
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
    """The zone of the machine, which must not matter."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("form", FORMS)
def test_every_value_of_each_form_is_the_captured_one(
    captures: Path, form: str, taken_in: Callable[[Path], tuple[Rows, Lake]]
) -> None:
    rows, lake = taken_in(captures / form)

    assert rows == truth(captures / form)
    assert len(rows) > 0
    assert all(lake.read(ARCHIVE_FILES)["complete"].to_pylist())


def test_the_same_executions_in_several_forms_are_recorded_once(
    captures: Path, taken_in: Callable[[Path], tuple[Rows, Lake]]
) -> None:
    rows, lake = taken_in(captures)

    saved = list(summaries(captures))
    assert len(saved) > len(rows), "some were saved in more than one form"
    assert rows == truth(captures)
    for day in lake.days(INFERENCE_EXECUTIONS):
        starts = lake.read(INFERENCE_EXECUTIONS, day)["data_start_time"].to_pylist()
        assert {start.date() for start in starts} <= {day}
