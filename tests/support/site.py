"""Dagster's own processes at work: a daemon and a web server, on settings and an instance of a test's own."""

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
"""For what another process is to do, on a machine that has much else to do."""

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Site:
    """A folder with `ledger.toml`, the lake and Dagster's home, and the processes that work on it.

    `target` is what they load: the workspace of this checkout, or a file of the test's.
    """

    folder: Path
    target: tuple[str, ...] = ("-w", str(ROOT / "workspace.yaml"))

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        own = {"DAGSTER_HOME": str(self.home), "LEDGER_CONFIG": str(self.folder / "ledger.toml")}
        return dict(os.environ) | own

    def set_up(self, settings: str) -> dg.DagsterInstance:
        """Write the settings, and open the instance that `ledger` would make."""
        (self.folder / "ledger.toml").write_text(settings)
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(home.INSTANCE)
        return dg.DagsterInstance.from_config(str(self.home))

    @contextmanager
    def daemon(self) -> Iterator[Process]:
        """Run the daemon; it ends with all that it started."""
        with self._process("dagster-daemon", "run", *self.target) as process:
            yield process

    @contextmanager
    def webserver(self) -> Iterator["Pages"]:
        """Run the web server until it answers, and later on."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = ("-h", "127.0.0.1", "-p", port, *self.target)
        with self._process("dagster-webserver", *words) as process:
            pages = Pages(f"http://127.0.0.1:{port}")
            until(pages.are_up, process)
            yield pages

    @contextmanager
    def _process(self, program: str, *words: str) -> Iterator[Process]:
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
class Pages:
    """Dagster's pages, as a browser asks them."""

    url: str

    def are_up(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/server_info", timeout=5):  # noqa: S310
            return True
        return False

    def ask(self, query: str, **variables: Any) -> Any:
        """Send GraphQL, and return its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            told = json.load(answer)
        assert "errors" not in told, told["errors"]
        return told["data"]


def until(is_so: Callable[[], Any], process: Process | None = None) -> Any:
    """Wait for something to be so, as long as a process lives, and return what was told of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (told := is_so()):
        assert process is None or process.poll() is None, f"it ended with {process and process.returncode}"
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s"
        time.sleep(0.25)
    return told
