"""The commands of Dagster and `ledger` as processes."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli import output
from sandbox.dumps import Manifest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def config(tmp_path: Path, dumps: tuple[Path, Manifest]) -> Path:
    file = tmp_path / "ledger.toml"
    file.write_text(
        f'[lake]\nuri = "lake"\n[history]\nstart_date = "2026-10-06"\nend_date = "2026-10-08"\n'
        f'[[sources]]\nkind = "archive"\nuri = "{dumps[0]}"\n'
    )
    return file


@pytest.fixture
def run(tmp_path: Path, config: Path) -> Run:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    def command(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"DAGSTER_HOME": str(home), "LEDGER_CONFIG": str(config)} | environment
        program = str(BIN / words[0])
        return subprocess.run(
            [program, *words[1:]], cwd=cwd, env=env, capture_output=True, text=True, check=False
        )

    return command


@pytest.mark.slow
def test_the_workspace_is_valid_from_any_folder(run: Run, tmp_path: Path) -> None:
    done = run("dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml"), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location lookout_ledger" in done.stderr + done.stdout


@pytest.mark.slow
def test_dg_checks_the_definitions(run: Run) -> None:
    done = run("dg", "check", "defs")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_range_can_be_launched_with_dg_and_then_queried(run: Run) -> None:
    launched = run(
        "dg", "launch", "--assets", "inference_executions", "--partition-range", "2026-10-06...2026-10-07"
    )
    assert launched.returncode == 0, launched.stderr[-2000:]

    queried = run(
        "ledger",
        "sql",
        "--format",
        "jsonl",
        "SELECT data_date, count(*) AS n FROM inference_executions GROUP BY 1",
    )
    assert queried.returncode == 0, queried.stderr
    counts = {row["data_date"]: row["n"] for row in map(json.loads, queried.stdout.splitlines())}
    assert counts.keys() == {"2026-10-06", "2026-10-07"}
    assert all(count > 500 for count in counts.values())


@pytest.mark.slow
def test_dagster_reports_invalid_settings_first(run: Run, config: Path) -> None:
    config.write_text('[lake]\nurl = "lake"\n')

    done = run("dagster", "definitions", "validate", "-w", "workspace.yaml")

    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "lake.url" in output and str(config) in output and 'did you mean "uri"' in output


def test_the_installed_command_prints_help_with_examples(run: Run) -> None:
    done = run("ledger", "sql", "--help")

    assert done.returncode == 0, done.stderr
    assert "FROM inference_executions" in done.stdout


def test_output_is_discarded_also_if_a_stream_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stderr", None)
    output.discard_output()
