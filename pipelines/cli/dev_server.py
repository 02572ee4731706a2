"""`ledger dev`: Dagster's pages over this checkout."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pipelines.cli.demo import environment as playground
from pipelines.runs.instance import CHECKOUT
from resources.config.loader import CONFIG_FILE_NAME, CONFIG_VARIABLE


def run() -> int:
    """Start the pages and wait for their end; return their exit code.

    Raises:
        LedgerError: the sandbox does not start.
    """
    signal.signal(signal.SIGTERM, _end)
    # a shell starts background jobs with Ctrl-C ignored; Dagster would inherit that and ignore SIGTERM too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if CONFIG_VARIABLE in os.environ or (CHECKOUT / CONFIG_FILE_NAME).exists():
        return _pages(os.environ)
    if not playground.CONFIG.exists():
        playground.prepare()
    with playground.service() as environment:
        return _pages(environment)


def _pages(environment: Mapping[str, str]) -> int:
    dagster = str(Path(sys.executable).with_name("dagster"))
    with subprocess.Popen(  # noqa: S603
        [dagster, "dev", "--workspace", "workspace.yaml"], cwd=CHECKOUT, env=dict(environment)
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Ctrl-C reached Dagster too, which ends by itself
            return process.wait()
        finally:
            process.terminate()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
