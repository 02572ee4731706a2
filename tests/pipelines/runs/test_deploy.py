"""The instance of a shared deployment, loaded by Dagster and run on PostgreSQL if installed."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config

from pipelines.runs import instance as home
from sandbox.service import Handle
from tests.support.live_service import build_api_settings
from tests.support.paths import ROOT
from tests.support.postgres import Postgres, run_postgres
from tests.support.scheduled_location import BuildScheduledLocation

DEPLOY = ROOT / "deploy"
RULES = ("run_retries", "run_monitoring")


@pytest.fixture
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
