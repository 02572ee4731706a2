"""compose.yaml, the systemd units and the CloudFormation stack, as their own programs read them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.tools import run_tool

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("lookout-ledger-*"))
pytestmark = pytest.mark.deploy


def read_compose(file: Path) -> "subprocess.CompletedProcess[str]":
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is missing: apt-get install docker-compose")
    return subprocess.run(
        ["docker-compose", "--file", file, "config"],
        env={"PATH": os.environ["PATH"], "DAGSTER_PG_PASSWORD": "x"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_starts_one_daemon_after_a_healthy_code_server_and_database() -> None:
    result = read_compose(DEPLOY / "compose" / "compose.yaml")

    assert result.returncode == 0, result.stderr
    services: dict[str, Any] = yaml.safe_load(result.stdout)["services"]
    assert {"postgres", "code", "webserver", "daemon", "s3"} == services.keys()
    assert services["daemon"]["depends_on"] == {"code": {"condition": "service_healthy"}}
    assert services["code"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "deploy" not in services["daemon"]  # no replicas


@pytest.mark.parametrize("line", ["    restrt: always\n", "    depends_on: [nothing]\n"])
def test_compose_refuses_a_wrong_line(line: str, tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("    profiles: [s3]\n", line))

    assert read_compose(tmp_path / "compose.yaml").returncode != 0


def verify_units(folder: Path, change: Callable[[str], str] = str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/lookout-ledger/bin", str(Path(sys.executable).parent))
        (folder / unit.name).write_text(change(text))
    files = [folder / unit.name for unit in UNITS]
    result = subprocess.run(
        ["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False
    )
    return "\n".join(
        line for line in result.stderr.splitlines() if "lookout-ledger" in line or str(folder) in line
    )


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert verify_units(tmp_path) == ""


@pytest.mark.parametrize(
    ("right", "wrong"), [("Restart=always", "Restrt=always"), ("dagster-daemon run", "dagster-demon run")]
)
def test_systemd_finds_a_wrong_line(right: str, wrong: str, tmp_path: Path) -> None:
    assert verify_units(tmp_path, lambda text: text.replace(right, wrong)) != ""


def test_every_server_is_restarted_and_the_daemon_has_no_second_unit() -> None:
    services = {unit.name: unit.read_text() for unit in UNITS if "Type=oneshot" not in unit.read_text()}

    assert all("Restart=always" in text for text in services.values() if "[Timer]" not in text)
    assert sum("dagster-daemon run" in text for text in services.values()) == 1


def test_cloudformation_accepts_the_stack() -> None:
    result = run_tool("cfn-lint", DEPLOY / "ecs" / "stack.yaml")

    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("DesiredCount: 1", "DesiredCout: 1"), ("!GetAtt Cluster.Arn", "!GetAtt Claster.Arn")],
)
def test_cloudformation_finds_a_wrong_line(right: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text((DEPLOY / "ecs" / "stack.yaml").read_text().replace(right, wrong))

    assert run_tool("cfn-lint", tmp_path / "stack.yaml").returncode != 0


def test_the_stack_replaces_the_daemon_without_running_two() -> None:
    text = (DEPLOY / "ecs" / "stack.yaml").read_text()
    daemon = text[text.index("DaemonService:") :]

    assert re.search(r"DesiredCount: 1\b", daemon)
    assert re.search(r"MinimumHealthyPercent: 0\n\s+MaximumPercent: 100\n", daemon)
