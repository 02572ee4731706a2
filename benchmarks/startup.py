"""Start-up time: the definitions next to Dagster itself, and the command line. Each start is a process."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import OURS, Case, Contender, limit_cpu, limit_ratio

STARTS = 3
Counts = Mapping[str, Any]


def _start(*command: str) -> Counts:
    for _ in range(STARTS):
        subprocess.run([*command], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return {"starts": STARTS}


def _prepare(*command: str) -> Callable[[], Counts]:
    _start(*command)  # writes the bytecode
    return partial(_start, *command)


def prepare_definitions() -> Callable[[], Counts]:
    """Return imports of the code location."""
    return _prepare(sys.executable, "-c", "import pipelines.definitions")


def prepare_dagster() -> Callable[[], Counts]:
    """Return imports of Dagster."""
    return _prepare(sys.executable, "-c", "import dagster")


def prepare_help() -> Callable[[], Counts]:
    """Return `ledger --help`."""
    return _prepare(str(Path(sys.executable).with_name("ledger")), "--help")


DAGSTER, HELP = "import dagster", "ledger --help"
CASES = [
    Case(
        "startup",
        "import pipelines.definitions, and ledger --help",
        [
            Contender(OURS, f"{__name__}:prepare_definitions"),
            Contender(DAGSTER, f"{__name__}:prepare_dagster"),
            Contender(HELP, f"{__name__}:prepare_help", does_our_work=False),
        ],
        [
            limit_ratio(DAGSTER, 1.5),
            limit_cpu(f"CPU of {HELP}, s", 0.4, STARTS, HELP),
        ],
        seconds=12,
    )
]
