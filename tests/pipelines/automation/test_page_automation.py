"""The report of a day is built only when the health of that day is new or has changed."""

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
from resources.lake.lake import Lake

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
PAGE = dg.AssetKey(NAME)
EQUIPMENT, EXECUTIONS = EQUIPMENT_HEALTH.name, EXECUTION_HEALTH.name


class World:
    """The code location on an instance. Each evaluation is one minute after the previous one."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.folder, self.now = instance, folder, NOW
        settings = Settings(
            lake=LakeSettings(uri=str(folder / "lake")),
            history=HistorySettings(start_date=date(2026, 10, 1), end_date=date(2026, 10, 9)),
            report=ReportSettings(folder=str(folder / "reports")),
        )
        self.definitions = build_defs({"clock": lambda: NOW}, settings=settings)
        self.cursor: Any = None

    def evaluate(self) -> list[str | None]:
        """Return the days whose report is requested."""
        self.now += timedelta(minutes=1)
        result = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=dg.AssetSelection.assets(PAGE),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return sorted(result.get_requested_partitions(PAGE), key=str)

    def materialize_upstream(self, asset: str, version: str, *days: str) -> None:
        """Materialize days of an upstream asset with this data version."""
        tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
        for day in days:
            event = dg.AssetMaterialization(dg.AssetKey(asset), partition=day, tags=tags)
            self.instance.report_runless_asset_event(event)

    def build_report(self, day: str) -> set[str]:
        """Build the report of a day and return the names of all report files."""
        lake = Lake(str(self.folder / "lake"))
        for recorded in (date.fromisoformat(day), NOW.date()):
            lake.update(EXECUTION_HEALTH, recorded, lambda existing: existing)
        result = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, partition_key=day, asset_selection=[PAGE]
        )
        assert result.success
        return {file.name for file in (self.folder / "reports").iterdir()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        new_world = World(instance, tmp_path)
        assert new_world.evaluate() == []
        yield new_world


def test_report_is_requested_once_for_each_change_of_the_health_of_its_day(world: World) -> None:
    world.materialize_upstream(EQUIPMENT, "1", "2026-10-07")
    assert world.evaluate() == [], "execution_health of that day is missing"
    world.materialize_upstream(EXECUTIONS, "1", "2026-10-07")
    assert world.evaluate() == ["2026-10-07"]
    assert world.build_report("2026-10-07") == {"report-2026-10-01--2026-10-07.html"}
    assert world.evaluate() == []

    world.materialize_upstream(EQUIPMENT, "1", "2026-10-07")
    world.materialize_upstream(EXECUTIONS, "1", "2026-10-07")
    world.materialize_upstream(INFERENCE_EXECUTIONS.name, "2", "2026-10-07")
    assert world.evaluate() == [], "unchanged health and changed executions request nothing"

    world.materialize_upstream(EXECUTIONS, "2", "2026-10-07")
    assert world.evaluate() == ["2026-10-07"]
    assert world.evaluate() == []


def test_report_of_the_newest_day_is_the_latest_and_is_reproducible(world: World) -> None:
    for asset in (EQUIPMENT, EXECUTIONS):
        world.materialize_upstream(asset, "1", "2026-10-08")

    assert world.evaluate() == ["2026-10-08"]
    assert world.build_report("2026-10-08") == {"report-2026-10-02--2026-10-08.html", LATEST}
    (first,) = world.instance.fetch_materializations(PAGE, limit=1).records
    world.build_report("2026-10-08")
    (again,) = world.instance.fetch_materializations(PAGE, limit=1).records

    assert first.run_id != again.run_id
    versions = {
        record.asset_materialization.tags["dagster/data_version"]
        for record in (first, again)
        if record.asset_materialization and record.asset_materialization.tags
    }
    assert len(versions) == 1

    (world.folder / "reports" / LATEST).unlink()
    world.build_report("2026-10-05")
    assert (world.folder / "reports" / LATEST).exists(), "late data updates the later pages that show its day"
