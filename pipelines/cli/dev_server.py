"""`ledger dev`: the Dagster UI and daemon of this checkout."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pipelines.cli.demo import environment as demo
from resources.config.loader import CHECKOUT, CONFIG_FILE_NAME, CONFIG_VARIABLE


def run() -> int:
    """Start Dagster, wait for its end and return its exit code.

    Raises:
        LedgerError: the sandbox of the demo does not start.
    """
    signal.signal(signal.SIGTERM, _exit)
    # a shell starts background jobs with SIGINT ignored; Dagster would inherit that and ignore SIGTERM too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if CONFIG_VARIABLE in os.environ or (CHECKOUT / CONFIG_FILE_NAME).exists():
        return _run_dagster(os.environ)
    if not demo.CONFIG.exists():
        demo.prepare()
    with demo.run_service() as environment:
        return _run_dagster(environment)


def _run_dagster(environment: Mapping[str, str]) -> int:
    dagster = str(Path(sys.executable).with_name("dagster"))
    with subprocess.Popen(  # noqa: S603
        [dagster, "dev", "--workspace", "workspace.yaml"], cwd=CHECKOUT, env=dict(environment)
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal sent Ctrl-C to Dagster too
            return process.wait()
        finally:
            process.terminate()


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
