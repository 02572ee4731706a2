"""Secrets of the settings appear in nothing that Dagster stores: events, failures, metadata, run records."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.executions.extraction import Extraction
from pipelines.definitions import build_defs
from pipelines.runs import instance as home
from resources.config.settings import AlertSettings, ApiSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from tests.support.code_location import DAYS, Location

LOGINS = ["me:Hunter2xPass", "Tok3nHunterQ"]
PLANTED = "Hunter"


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"{PLANTED}123456789")
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(home.INSTANCE)
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        alerts=AlertSettings(webhook_url=f"http://127.0.0.1:9/in/{PLANTED}Path1"),
        sources=tuple(
            ApiSettings(region="eu-west-1", endpoint_url=f"http://{login}@127.0.0.1:9") for login in LOGINS
        ),
    )
    instance = dg.DagsterInstance.from_config(str(folder))
    return Location(build_defs(settings=settings), instance, Lake(settings.lake.uri))


def find_secrets(folder: Path) -> list[str]:
    """Search all rows of all databases, and the bytes of all other files."""
    found = []
    for file in folder.rglob("*"):
        if file.suffix == ".db":
            with closing(sqlite3.connect(file)) as database:
                found += [f"{file.name}: {line}" for line in database.iterdump() if PLANTED in line]
        elif file.is_file() and PLANTED.encode() in file.read_bytes():
            found.append(str(file))
    return found


@pytest.mark.parametrize("defect", [False, True], ids=["unreachable sources", "an unexpected error"])
def test_a_failed_run_stores_no_secret(
    location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, defect: bool
) -> None:
    if defect:

        def fail(*_: object, **__: object) -> None:
            raise ValueError(f"http://{LOGINS[0]}@127.0.0.1:9 is not valid")

        monkeypatch.setattr(Extraction, "gather", fail)

    with location.instance:
        result = location.run()

    assert not result.success
    dumped = find_secrets(tmp_path)
    assert not dumped, dumped[0][:2_000]
