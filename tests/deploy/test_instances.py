"""The Dagster instances of all kinds of deployment have the same limits, retries and monitoring."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from dagster._core.instance.config import dagster_instance_config
from dagster._daemon.cli import create_dagster_daemon_cli

from pipelines.runs import instance as local
from tests.support.helm_chart import read_values
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
SHARED = ("concurrency", "run_retries", "run_monitoring")


def read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


@pytest.mark.parametrize("section", SHARED)
def test_ecs_and_helm_repeat_the_sections_of_the_shared_instance(section: str) -> None:
    shared = read("dagster.yaml")[section]

    assert read("ecs/dagster.yaml")[section] == shared
    assert read_values()["additionalInstanceConfig"][section] == shared


@pytest.mark.parametrize("section", ["run_retries", "run_monitoring"])
def test_the_local_instance_has_the_same_retries_and_monitoring(section: str) -> None:
    assert yaml.safe_load(local.INSTANCE)[section] == read("dagster.yaml")[section]


@pytest.mark.parametrize("folder", [".", "ecs"])
def test_dagster_accepts_the_instance(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "HOST", "DB"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", "x")

    config, _ = dagster_instance_config(str(DEPLOY / folder))

    assert config["run_monitoring"]["max_resume_run_attempts"] == 0
    assert config["run_monitoring"]["poll_interval_seconds"] < 60


def test_every_workspace_names_the_code_location_alike() -> None:
    for folder in ("compose", "ecs", "systemd"):
        (server,) = [entry["grpc_server"] for entry in read(f"{folder}/workspace.yaml")["load_from"]]
        assert (server["location_name"], server["port"]) == ("lookout_ledger", 4000)


def list_commands(value: Any) -> list[list[str]]:
    """Return all lists in a file that are the command line of a Dagster program."""
    if isinstance(value, dict):
        return [command for inner in value.values() for command in list_commands(inner)]
    if not isinstance(value, list):
        return []
    words = [str(word) for word in value if word != "CMD"]
    if words and words[0].startswith("dagster"):
        return [words]
    return [command for inner in value for command in list_commands(inner)]


@pytest.mark.parametrize("path", ["compose/compose.yaml", "helm/values.yaml"])
def test_the_programs_of_all_commands_exist(path: str) -> None:
    commands = list_commands(read(path))

    assert ["dagster-daemon", "liveness-check"] in commands
    assert all(Path(sys.executable).with_name(command[0]).exists() for command in commands)


def test_the_liveness_check_fails_without_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text(local.INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert CliRunner().invoke(create_dagster_daemon_cli(), ["liveness-check"]).exit_code == 1
