"""The storage of a local instance stores what Dagster's own storage stores, in fewer transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from pipelines.runs import instance as home
from pipelines.runs.local_storage import LocalEventLogStorage

FIRST, LAST = "2026-10-01", "2026-10-10"
DAYS = dg.DailyPartitionsDefinition(FIRST, end_date="2026-10-11")
NAMES = ("first", "second")
SPAN = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}


def create_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    assets = [dg.AssetsDefinition.from_op(_build_op(name), partitions_def=DAYS) for name in NAMES]
    checks = [_build_check(name) for name in NAMES]
    job = dg.Definitions(assets=assets, asset_checks=checks).resolve_implicit_global_asset_job_def()
    return instance.create_run_for_job(job, tags=SPAN, asset_selection={dg.AssetKey(name) for name in NAMES})


def _build_op(name: str) -> dg.OpDefinition:
    @dg.op(name=name)
    def compute() -> None:
        """Do nothing."""

    return compute


def _build_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=name, name="passes")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return check


def describe(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """Return what the Dagster UI shows of a run that failed before its first step."""
    planned = [
        (event.event_type_value, str(event.asset_key), event.partition)
        for entry in instance.all_logs(run.run_id)
        if (event := entry.dagster_event)
    ]
    instance.report_run_failed(run)
    keys = DAYS.get_partition_keys()
    return {
        "events": sorted(planned, key=str),
        "days": {name: instance.get_status_by_partition(dg.AssetKey(name), keys, DAYS) for name in NAMES},
        "runs": {
            record.asset_entry.asset_key: record.asset_entry.last_run_id == run.run_id
            for record in instance.get_asset_records([dg.AssetKey(name) for name in NAMES])
        },
    }


@contextmanager
def count_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    connect, opened = SqliteEventLogStorage._connect, list[str]()

    def count(storage: Any, shard: str) -> Any:
        opened.append(shard)
        return connect(storage, shard)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteEventLogStorage, "_connect", count)
        yield opened


def test_planned_days_are_stored_together_and_shown_as_by_dagster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    for name, value in home.TUNING.items():
        monkeypatch.setenv(name, value)
    home.create_home(folder)

    with dg.DagsterInstance.get() as instance, count_connections(monkeypatch) as connections:
        assert isinstance(instance.event_log_storage, LocalEventLogStorage)
        run = create_run(instance)
        opened = len(connections)
        stored = describe(instance, run)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert stored == describe(instance, create_run(instance))

    assert len(stored["events"]) > len(NAMES) * 10
    assert set(stored["runs"].values()) == {True}
    assert opened < 20 < len(stored["events"]), "not one for each day"
    assert (folder / "history" / "runs" / "index.db").exists(), "where Dagster's own storage has it"
