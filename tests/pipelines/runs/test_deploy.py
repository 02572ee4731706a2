"""The instance of a shared deployment, loaded by Dagster and run on PostgreSQL if installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config

from pipelines.runs import instance as home
from sandbox.service import Handle
from tests.support.live_service import build_api_settings
from tests.support.paths import ROOT
from tests.support.scheduled_location import BuildScheduledLocation

DEPLOY = ROOT / "deploy"
RULES = ("run_retries", "run_monitoring")


def find_programs() -> Path:
    """Return the folder of the PostgreSQL programs."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL on this machine (initdb)")
    return folders[-1]


def run_as_server(*command: str | Path) -> None:
    """Run a PostgreSQL program, which refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    if user and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL cannot run as root, and there is no user postgres")
    subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture
def postgres() -> Iterator[int]:
    """Start PostgreSQL for a test; yields its port."""
    pytest.importorskip("dagster_postgres", reason="pip install -e '.[deploy]'")
    bin_ = find_programs()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest makes its own folders private
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    run_as_server(bin_ / "initdb", "--pgdata", data, "--username", "ledger", "--auth", "trust", "--no-sync")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run_as_server(
        bin_ / "pg_ctl", "--pgdata", data, "--wait", "--log", folder / "log", "-o", options, "start"
    )
    try:
        yield port
    finally:
        run_as_server(bin_ / "pg_ctl", "--pgdata", data, "--mode", "immediate", "stop")
        shutil.rmtree(folder)


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
def instance(postgres: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    values = {"USERNAME": "ledger", "PASSWORD": "none", "HOST": "127.0.0.1", "DB": "postgres"}
    for name, value in values.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
    folder = tmp_path / "home"
    folder.mkdir()
    file = (DEPLOY / "dagster.yaml").read_text()
    (folder / "dagster.yaml").write_text(file.replace("port: 5432", f"port: {postgres}"))
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
