"""`ledger dev` stops Dagster with its command."""

import subprocess
from pathlib import Path

import pytest

from pipelines.cli import dev_server


def test_ctrl_c_ends_dagster_and_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dagster = tmp_path / "dagster"
    dagster.write_text("#!/bin/sh\nexec sleep 100\n")
    dagster.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(dev_server.signal, "signal", lambda *_: None)
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            if not started:
                started.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(dev_server.subprocess, "Popen", Interrupted)
    assert dev_server._run_dagster({"PATH": "/usr/bin:/bin"}, 0) == 0
    assert started[0].poll() is not None
