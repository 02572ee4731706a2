"""Runs the Dagster daemon and web server with the settings and the instance of one test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.runs import instance as home
from tests.support.paths import ROOT

PATIENCE_SECONDS = 900
"""The time to wait for another process on a busy machine."""

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Site:
    """A folder with `ledger.toml`, the lake and DAGSTER_HOME, and the Dagster processes that use it.

    `target` has the options of the code location: the workspace of this checkout, or a file of the test.
    """

    folder: Path
    target: tuple[str, ...] = ("-w", str(ROOT / "workspace.yaml"))

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        config = self.folder / "ledger.toml"
        own = home.TUNING | {"DAGSTER_HOME": str(self.home), "LEDGER_CONFIG": str(config)}
        # a deployment has bytecode; without it, each process would compile thousands of modules
        return {name: value for name, value in os.environ.items() if name != _NO_BYTECODE} | own

    def set_up(self, settings: str) -> dg.DagsterInstance:
        """Write the settings, and open the instance that `ledger` would create."""
        (self.folder / "ledger.toml").write_text(settings)
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(home.INSTANCE)
        return dg.DagsterInstance.from_config(str(self.home))

    @contextmanager
    def daemon(self) -> Iterator[Process]:
        """Run the daemon. At the end, kill it and its child processes."""
        with self._run_process("dagster-daemon", "run", *self.target) as process:
            yield process

    @contextmanager
    def webserver(self) -> Iterator["DagsterUi"]:
        """Run the web server, and wait until it responds."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = ("-h", "127.0.0.1", "-p", port, *self.target)
        with self._run_process("dagster-webserver", *words) as process:
            pages = DagsterUi(f"http://127.0.0.1:{port}")
            wait_until(pages.are_up, process)
            yield pages

    @contextmanager
    def _run_process(self, program: str, *words: str) -> Iterator[Process]:
        command = [str(Path(sys.executable).with_name(program)), *words]
        with (self.folder / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class DagsterUi:
    """The GraphQL API of the Dagster UI, as a browser uses it."""

    url: str

    def are_up(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/server_info", timeout=5):  # noqa: S310
            return True
        return False

    def query(self, statement: str, **variables: Any) -> Any:
        """Send GraphQL, and return its data."""
        body = json.dumps({"query": statement, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            response = json.load(answer)
        assert "errors" not in response, response["errors"]
        return response["data"]


def wait_until(condition: Callable[[], Any], process: Process | None = None) -> Any:
    """Wait until the condition returns a true value, and return it. Fail if the process ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        is_last = time.monotonic() > deadline  # a condition that reads much takes minutes on a busy machine
        if result := condition():
            return result
        assert process is None or process.poll() is None, (
            f"the process ended with {process and process.returncode}"
        )
        assert not is_last, f"the condition is not true after {PATIENCE_SECONDS} s"
        time.sleep(0.25)
