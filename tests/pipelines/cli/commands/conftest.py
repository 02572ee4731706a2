"""Fixtures that run `ledger` commands in this process, with real settings, a lake and a Dagster instance."""

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.lake.lake import Lake
from tests.support.command_line import CommandResult, RunLedger, run_in_this_process


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunLedger:
    """Run `ledger` with arguments, in its own project and Dagster home."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("LEDGER_CONFIG", str(tmp_path / "ledger.toml"))

    def run(*arguments: str) -> CommandResult:
        return run_in_this_process(arguments, capsys)

    return run


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Write `ledger.toml` with sources as TOML and the bounds of the history."""

    def write(
        *sources: str, start: str = "2026-10-05", end: str | None = "2026-10-09", more: str = ""
    ) -> Path:
        file = tmp_path / "ledger.toml"
        bounds = f'start_date = "{start}"\n' + (f'end_date = "{end}"\n' if end else "")
        source_tables = "".join(f"[[sources]]\n{source}\n" for source in sources)
        file.write_text(f'[lake]\nuri = "lake"\n[history]\n{bounds}{more}\n{source_tables}')
        return file

    return write


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))
