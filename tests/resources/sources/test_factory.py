"""Opening the sources of the settings."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.sources.archive import ArchiveSource
from resources.sources.factory import open_sources


def settings(tmp_path: Path, *sources: dict[str, str]) -> Settings:
    environ = {"LEDGER_SOURCES": json.dumps([{"kind": "archive", **source} for source in sources])}
    return load_settings(environ, tmp_path, date(2026, 1, 1))


def test_sources_are_opened_in_order(tmp_path: Path) -> None:
    opened = open_sources(settings(tmp_path, {"uri": "b"}, {"uri": "a"}))
    assert all(isinstance(source, ArchiveSource) for source in opened)
    assert [source.uri for source in opened] == [str(tmp_path / "b"), str(tmp_path / "a")]


@pytest.mark.parametrize(
    ("source", "zone"),
    [
        pytest.param({}, None, id="unset"),
        pytest.param({"time_zone": "Europe/Berlin"}, ZoneInfo("Europe/Berlin"), id="name"),
        pytest.param({"time_zone": "+05:30"}, timezone(timedelta(hours=5, minutes=30)), id="offset"),
        pytest.param({"time_zone": "-03:00"}, timezone(timedelta(hours=-3)), id="offset to the west"),
        pytest.param({"time_zone": "+00:00"}, UTC, id="offset of nothing"),
    ],
)
def test_pages_have_the_configured_zone(
    tmp_path: Path, source: dict[str, str], zone: ZoneInfo | timezone | None
) -> None:
    (tmp_path / "x.json").write_text('[{"DataStartTime": "2026-01-01 00:00:00"}]')
    (archive,) = open_sources(settings(tmp_path, {"uri": "x.json", **source}))
    (file,) = archive.list_files()
    (page,) = archive.open(file).read_pages(datetime(2026, 1, 2, tzinfo=UTC))
    assert page.zone == zone


def test_settings_without_sources_raise_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no sources are set"):
        open_sources(settings(tmp_path))


def test_a_source_in_s3_is_opened_without_a_request(tmp_path: Path) -> None:
    (source,) = open_sources(settings(tmp_path, {"uri": "s3://bucket/dumps/"}))
    assert source.uri == "s3://bucket/dumps/"


def test_sources_have_the_limits_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"DataStartTime": 1}, {"DataStartTime": 2}]')
    environ = {
        "LEDGER_SOURCES": '[{"kind": "archive", "uri": "x.json"}]',
        "LEDGER_LIMITS__MAX_ROWS_PER_FILE": "1",
    }
    (archive,) = open_sources(load_settings(environ, tmp_path, date(2026, 1, 1)))
    assert archive.files
    saved = archive.files.open(archive.files.list_files()[0])
    (page,) = saved.read_pages(datetime(2026, 1, 2, tzinfo=UTC))
    assert json.loads(page.body) == [{"DataStartTime": 1}]
    assert "limits.max_rows_per_file" in saved.problems[0]
