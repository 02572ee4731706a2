"""The page of a day is made when the health of that day is new or comes out differently, and only then."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.report.assets import LATEST, NAME
from assets.tables import EQUIPMENT_HEALTH, EXECUTION_HEALTH, INFERENCE_EXECUTIONS
from pipelines.definitions import build_defs
from resources.config.settings import HistorySettings, LakeSettings, ReportSettings, Settings

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
PAGE = dg.AssetKey(NAME)
EQUIPMENT, EXECUTIONS = EQUIPMENT_HEALTH.name, EXECUTION_HEALTH.name


class World:
    """The code location on an instance, and the sensor's cursor, a minute later at each look."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.folder, self.now = instance, folder, NOW
        settings = Settings(
            lake=LakeSettings(uri=str(folder / "lake")),
            history=HistorySettings(start_date=date(2026, 10, 1), end_date=date(2026, 10, 9)),
            report=ReportSettings(folder=str(folder / "reports")),
        )
        self.definitions = build_defs({"clock": lambda: NOW}, settings=settings)
        self.cursor: Any = None

    def look(self) -> list[str | None]:
        """The days whose page is requested now."""
        self.now += timedelta(minutes=1)
        told = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=dg.AssetSelection.assets(PAGE),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = told.cursor
        return sorted(told.get_requested_partitions(PAGE), key=str)

    def change(self, asset: str, version: str, *days: str) -> None:
        """Record days of what is upstream with some content."""
        tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
        for day in days:
            told = dg.AssetMaterialization(dg.AssetKey(asset), partition=day, tags=tags)
            self.instance.report_runless_asset_event(told)

    def make(self, day: str) -> set[str]:
        """Make the page of a day; return the files that are there."""
        done = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, partition_key=day, asset_selection=[PAGE]
        )
        assert done.success
        return {file.name for file in (self.folder / "reports").iterdir()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = World(instance, tmp_path)
        assert made.look() == []
        yield made


def test_a_page_is_made_once_for_each_change_of_the_health_of_its_day(world: World) -> None:
    world.change(EQUIPMENT, "1", "2026-10-07")
    assert world.look() == [], "one half of that day is not there yet"
    world.change(EXECUTIONS, "1", "2026-10-07")
    assert world.look() == ["2026-10-07"]
    assert world.make("2026-10-07") == {"report-2026-10-01--2026-10-07.html"}
    assert world.look() == []

    world.change(EQUIPMENT, "1", "2026-10-07")
    world.change(EXECUTIONS, "1", "2026-10-07")
    world.change(INFERENCE_EXECUTIONS.name, "2", "2026-10-07")
    assert world.look() == [], "the same health again; executions alone are no reason"

    world.change(EXECUTIONS, "2", "2026-10-07")
    assert world.look() == ["2026-10-07"]
    assert world.look() == []


def test_the_page_of_the_newest_day_is_the_latest_and_says_the_same_again(world: World) -> None:
    for asset in (EQUIPMENT, EXECUTIONS):
        world.change(asset, "1", "2026-10-08")

    assert world.look() == ["2026-10-08"]
    assert world.make("2026-10-08") == {"report-2026-10-02--2026-10-08.html", LATEST}
    (first,) = world.instance.fetch_materializations(PAGE, limit=1).records
    world.make("2026-10-08")
    (again,) = world.instance.fetch_materializations(PAGE, limit=1).records

    assert first.run_id != again.run_id
    versions = {
        one.asset_materialization.tags["dagster/data_version"]
        for one in (first, again)
        if one.asset_materialization and one.asset_materialization.tags
    }
    assert len(versions) == 1
