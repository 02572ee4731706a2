"""The instance of a shared deployment, loaded by Dagster and run on PostgreSQL if installed."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config

from assets.framework.event_log import keep_connections_open
from pipelines.runs import instance as home
from sandbox.service import Handle
from tests.support.live_service import build_api_settings
from tests.support.paths import ROOT
from tests.support.postgres import Postgres, run_postgres
from tests.support.scheduled_location import BuildScheduledLocation

DEPLOY = ROOT / "deploy"
RULES = ("run_retries", "run_monitoring")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


def test_the_deployed_instance_is_valid_and_has_the_rules_of_the_local_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("USERNAME", "PASSWORD", "HOST", "DB"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", "x")
    deployed, _ = dagster_instance_config(str(DEPLOY))
    (tmp_path / "dagster.yaml").write_text(home.INSTANCE)
    local, _ = dagster_instance_config(str(tmp_path))

    assert {rule: deployed[rule] for rule in RULES} == {rule: local[rule] for rule in RULES}
    assert deployed["concurrency"]["pools"] == local["concurrency"]["pools"]
    assert "postgres" in deployed["storage"]


@pytest.fixture
def instance(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    for name, value in postgres.environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "home"
    folder.mkdir()
    file = (DEPLOY / "dagster.yaml").read_text()
    (folder / "dagster.yaml").write_text(file.replace("port: 5432", f"port: {postgres.port}"))
    with dg.DagsterInstance.from_config(str(folder)) as deployed:
        yield deployed


@pytest.mark.slow
def test_the_schedule_and_its_runs_work_on_postgres(
    schedule_location: BuildScheduledLocation, service: Handle
) -> None:
    location = schedule_location(build_api_settings(service.url))

    result = location.execute(location.tick())

    assert result.success
    assert "PostgresEventLogStorage" in type(location.instance.event_log_storage).__name__
    assert set(location.get_partition_statuses().values()) == {"MATERIALIZED"}
    assert location.instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.SUCCESS


@pytest.mark.slow
def test_a_run_shares_a_connection_to_postgres_and_survives_a_restart(
    instance: dg.DagsterInstance, postgres: Postgres
) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    asset = dg.AssetKey("days")

    def record(day: str) -> int:
        with patch.object(psycopg2, "connect", wraps=psycopg2.connect) as connect:
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day))
            instance.get_runs(limit=1)
        return int(connect.call_count)

    with keep_connections_open(instance), keep_connections_open(instance):
        record("1")
        counts = [record("2"), record("3")]
        postgres.restart()
        counts.append(record("4"))

    assert counts == [0, 0, 1]
    assert record("5") > 1, "the storages are as before"
    assert instance.get_materialized_partitions(asset) == set("12345")
