"""`ledger dev` stops Dagster with its command."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import dev_server
from resources.errors import ConfigurationError


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


def test_a_used_port_is_an_error_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_server.signal, "signal", lambda *_: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use") as error:
            dev_server.run(port)

    assert "--port" in str(error.value.next_step)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has sockets with a name but no file")
def test_a_port_is_reserved_before_the_web_server_opens_it() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        dev_server._reserve_port(port),
        pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"),
        dev_server._reserve_port(port),
    ):
        pass

    with dev_server._reserve_port(port):
        pass


def test_a_second_daemon_of_a_project_is_an_error(tmp_path: Path) -> None:
    with (
        dev_server._reserve(tmp_path),
        pytest.raises(ConfigurationError, match="of this project runs already"),
        dev_server._reserve(tmp_path),
    ):
        pass

    with dev_server._reserve(tmp_path):
        pass


def test_the_warning_of_dagster_about_its_own_command_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    dagster = tmp_path / "dagster"
    warnings = [f"warnings.warn({text!r})" for text in ("Function `dev_command` is superseded", "other")]
    dagster.write_text(f"#!{sys.executable}\nimport warnings\n" + "\n".join(warnings))
    dagster.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    assert dev_server._run_dagster({}, 0) == 0

    err = capfd.readouterr().err
    assert "superseded" not in err and "other" in err
