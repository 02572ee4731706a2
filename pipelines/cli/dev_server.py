"""`ledger dev`: the Dagster UI and daemon of a project."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import filelock

from pipelines.cli.demo import environment as demo
from pipelines.runs import instance
from resources.clock import monotonic, sleep
from resources.config.loader import CHECKOUT
from resources.config.settings import load_settings
from resources.errors import ConfigurationError

_SHUTDOWN_SECONDS = 60
"""Dagster gets this long to end by itself, its remaining subprocesses a sixth of it."""

_HIDDEN_WARNING = "ignore:Function `dev_command` is superseded"
"""Dagster recommends `dg dev`, which starts the same but does not know projects."""


def run(port: int) -> int:
    """Start Dagster, wait for its end and return its exit code; SIGTERM and Ctrl-C stop all its processes.

    Raises:
        LedgerError: the settings or DAGSTER_HOME are invalid, another program uses the port, the daemon of
            the project runs already, or the sandbox of the demo does not start.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    # a shell starts background jobs with SIGINT ignored; Dagster would inherit that and ignore SIGTERM too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _reserve_port(port):
        return _run(port)


def _run(port: int) -> int:
    settings = load_settings()
    if settings.config_file or settings.sources:
        with _reserve(instance.prepare_home()):
            return _run_dagster(instance.build_environment(), port)
    if not demo.CONFIG.exists():
        demo.prepare()
    with demo.run_service() as environment, _reserve(demo.HOME):
        return _run_dagster(environment, port)


@contextmanager
def _reserve(home: Path) -> Iterator[None]:
    """Hold a lock on a Dagster home, because two daemons would evaluate its schedules and sensors twice."""
    try:
        with filelock.FileLock(home / ".ledger-dev.lock", timeout=0, fallback_to_soft=False):
            yield
    except filelock.Timeout:
        raise ConfigurationError(
            "Cannot start a second daemon: ledger dev of this project runs already",
            where=str(home),
            next_step="use its Dagster UI, or stop it first",
        ) from None


@contextmanager
def _reserve_port(port: int) -> Iterator[None]:
    """Fail before Dagster starts its daemon, which would run for seconds next to the other one.

    The web server opens the port only after up to a minute. Until then, a socket with a name (Linux) keeps a
    second `ledger dev` away, whose user would see this project in the browser.
    """
    with socket.socket() as probe, socket.socket(socket.AF_UNIX) as reservation:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the web server does
        try:
            if sys.platform == "linux":
                reservation.bind(f"\0lookout-ledger-dev-{port}")
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"Cannot start the Dagster UI on port {port}: {error.strerror}",
                where="the command line",
                next_step="stop the other program, or select another port with --port",
            ) from None
        probe.close()
        yield


def _run_dagster(environment: Mapping[str, str], port: int) -> int:
    dagster = str(Path(sys.executable).with_name("dagster"))
    warnings = [*filter(None, [environment.get("PYTHONWARNINGS")]), _HIDDEN_WARNING]
    process = subprocess.Popen(  # noqa: S603
        [dagster, "dev", "--workspace", "workspace.yaml", "--port", str(port)],
        cwd=CHECKOUT,
        env={**instance.TUNING, **environment, "PYTHONWARNINGS": ",".join(warnings)},
        start_new_session=True,  # one process group, which can be stopped as a whole
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End Dagster, then its code server, which otherwise runs until its heartbeat times out."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_SHUTDOWN_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the group has ended
            os.killpg(process.pid, number)
            deadline = monotonic() + _SHUTDOWN_SECONDS / 6
            while monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                sleep(0.1)


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
