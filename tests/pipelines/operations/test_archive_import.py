"""The history that an import detects."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from assets.executions.tombstones import NO_TOMBSTONES
from assets.tables import EXTRACTION_COVERAGE, FORGET_OPERATIONS
from pipelines.operations.archive_import import (
    _check_settings,
    detect_history,
    preview_files,
    read_tombstones,
)
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake

TODAY = date(2026, 11, 1)
ARCHIVE = '[[sources]]\nkind = "archive"\nuri = "dumps"\n'
API = '[[sources]]\nkind = "api"\n'


def load(folder: Path, text: str) -> Settings:
    (folder / "ledger.toml").write_text(text)
    return load_settings({}, folder, TODAY)


@pytest.mark.parametrize("text", ["", ARCHIVE, "[history]\nlookback_days = 3\n"])
@pytest.mark.parametrize(
    ("first", "last", "start", "end"),
    [
        ("2021-08-31", "2021-09-03", "2021-08-31", "2021-09-04"),
        ("2026-09-10", "2026-09-20", "2026-09-10", "2026-10-08"),
        ("2026-10-07", "2026-10-07", "2026-10-07", "2026-10-08"),
        ("2026-10-07", "2026-10-20", "2026-10-07", "2026-10-21"),
        ("2026-10-20", "9999-12-31", "2026-10-20", "2026-11-02"),
    ],
)
def test_the_history_of_a_new_project_is_the_span_of_the_files(
    tmp_path: Path, text: str, first: str, last: str, start: str, end: str
) -> None:
    values = detect_history(load(tmp_path, text), date.fromisoformat(first), date.fromisoformat(last), TODAY)

    assert values == {"start_date": date.fromisoformat(start), "end_date": date.fromisoformat(end)}


def test_impossible_days_do_not_change_the_history(tmp_path: Path) -> None:
    starts = ["0001-01-01T00:00:00Z", "2026-09-03T00:00:00Z", "2026-09-01T00:00:00Z", "9999-12-31T23:00:00Z"]
    summary = {"InferenceSchedulerArn": "arn:aws:lookoutequipment:eu-west-1:1:inference-scheduler/a/1"}
    file = tmp_path / "page.json"
    file.write_text(json.dumps([summary | {"DataStartTime": start} for start in starts]))

    preview = preview_files(file, datetime(2026, 11, 1, tzinfo=UTC))

    assert preview.span == (date(2026, 9, 1), date(2026, 9, 3))
    (problem,) = preview.problems
    assert problem.startswith(f"{file}: executions from 0001-01-01 to 9999-12-31.")


@pytest.mark.parametrize("text", [API, '[history]\nstart_date = "2025-01-01"\n'])
def test_another_history_only_grows(tmp_path: Path, text: str) -> None:
    settings = load(tmp_path, text)

    assert detect_history(settings, date(2025, 6, 1), date(2026, 10, 7), TODAY) == {}
    assert detect_history(settings, date(2024, 6, 1), date(2026, 10, 7), TODAY) == {
        "start_date": date(2024, 6, 1)
    }


def test_a_history_with_an_end_grows_at_its_end(tmp_path: Path) -> None:
    settings = load(tmp_path, '[history]\nend_date = "2021-09-04"\nstart_date = "2021-08-31"\n')

    assert detect_history(settings, date(2021, 9, 1), date(2021, 9, 3), TODAY) == {}
    assert detect_history(settings, date(2021, 9, 1), date(2021, 9, 4), TODAY) == {
        "end_date": date(2021, 9, 5)
    }


def test_a_lake_with_days_keeps_its_history(tmp_path: Path) -> None:
    settings = load(tmp_path, ARCHIVE)
    Lake(settings.lake.uri).update(EXTRACTION_COVERAGE, date(2025, 6, 1), lambda existing: existing)

    assert detect_history(settings, date(2026, 10, 1), date(2026, 10, 7), TODAY) == {}


def test_a_lake_that_cannot_be_read_keeps_its_history(tmp_path: Path) -> None:
    settings = load(tmp_path, ARCHIVE)
    (Path(settings.lake.uri) / EXTRACTION_COVERAGE.name / "data_date=x").mkdir(parents=True)
    (Path(settings.lake.uri) / EXTRACTION_COVERAGE.name / "data_date=x" / "part-0.parquet").touch()

    assert detect_history(settings, date(2026, 10, 1), date(2026, 10, 7), TODAY) == {}

    (Path(settings.lake.uri) / FORGET_OPERATIONS.name / "part-0.parquet").mkdir(parents=True)
    assert read_tombstones(settings) == NO_TOMBSTONES


def test_settings_that_an_import_would_make_invalid_stay(tmp_path: Path) -> None:
    config = tmp_path / "ledger.toml"
    with pytest.raises(ConfigurationError, match="Cannot change the settings") as caught:
        _check_settings(b"[history]\nstart_date = 3", config, [tmp_path], "by hand")
    assert str(config) in str(caught.value) and ".tmp" not in str(caught.value)
    assert not list(tmp_path.iterdir())
