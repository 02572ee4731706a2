"""The report and `ledger status` of a large fleet."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import operations
from benchmarks.cases import OURS, Case, Contender, Environment, limit_cpu, limit_memory, limit_result
from benchmarks.measure import measure
from benchmarks.operations import FIRST, FOLDER, LAST

Counts = Mapping[str, Any]
_SCHEDULERS, _REPORT_DAYS, _STATUS_DAYS = 200, 90, 365
_DAYS = "BENCHMARK_DAYS"
_DERIVED = ("execution_health", "anomaly_fragments", "anomaly_events", "equipment_health")


def _use_settings() -> None:
    """Write the settings of a project, and select them."""
    folder = Path(os.environ[FOLDER])
    (folder / "ledger.toml").write_text(
        f'[lake]\nuri = "{folder}/lake"\n[history]\nstart_date = "{FIRST}"\nend_date = "2026-10-08"\n'
        f'[report]\nfolder = "{folder}/reports"\n[[sources]]\nkind = "archive"\nuri = "{folder}/dumps"\n'
    )
    os.environ["LEDGER_CONFIG"] = str(folder / "ledger.toml")
    os.environ.pop("DAGSTER_HOME", None)


def prepare_status() -> Callable[[], Counts]:
    """Return `ledger status` over a year."""
    _use_settings()
    import pandas as pd  # noqa: F401 (imports are not measured)
    import typer

    from pipelines.cli.commands.status import status

    def work() -> Counts:
        first = LAST - timedelta(days=_STATUS_DAYS - 1)
        try:
            status(first=str(first), last=str(LAST))
        except typer.Exit as ended:
            return {"exit": ended.exit_code}
        return {"exit": 0}

    return work


def prepare_report() -> Callable[[], Counts]:
    """Return `ledger report` over some months."""
    _use_settings()
    import duckdb  # noqa: F401 (imports are not measured)
    import jinja2  # noqa: F401
    import pandas as pd  # noqa: F401

    from pipelines.cli.commands.report import report

    path = Path(os.environ[FOLDER], "report.html")

    def work() -> Counts:
        first = LAST - timedelta(days=_REPORT_DAYS - 1)
        report(first=str(first), last=str(LAST), out=str(path))
        return {"_megabytes": path.stat().st_size / 1e6}

    return work


@contextmanager
def serve_report(schedulers: int, days: int) -> Iterator[Environment]:
    """Write a lake with executions, predictions and the tables that derive from them."""
    with operations.serve_lake(schedulers, days, days_with_sensors=0, has_results=True) as environment:
        measure(sys.executable, f"{__name__}:derive_tables", {**environment, _DAYS: str(days)})
        yield environment


def derive_tables() -> Callable[[], Counts]:
    """Return the computation of the tables that derive from executions and predictions."""
    first = LAST - timedelta(days=int(os.environ[_DAYS]) - 1)

    def work() -> Counts:
        operations.materialize(Path(os.environ[FOLDER], "lake"), _DERIVED, first)
        return {}

    return work


CASES = [
    Case(
        "report",
        f"ledger report of {_SCHEDULERS} schedulers, {_REPORT_DAYS} days",
        [Contender(OURS, f"{__name__}:prepare_report")],
        [
            limit_cpu("CPU, s", 10).missed_because(
                "Most of it is queries over all 5 million executions, their result objects and 26 million"
                " predictions. Numbers by day, in a table of their own, would be necessary."
            ),
            limit_memory(1_000),
            limit_result("_megabytes", 2, "size, MB"),
        ],
        partial(serve_report, _SCHEDULERS, _REPORT_DAYS),
        seconds=60,
    ),
    Case(
        "status",
        f"ledger status of {_SCHEDULERS} schedulers, {_STATUS_DAYS} days",
        [Contender(OURS, f"{__name__}:prepare_status")],
        [limit_cpu("CPU, s", 2)],
        partial(operations.serve_lake, _SCHEDULERS, _STATUS_DAYS, 0),
        seconds=8,
    ),
]
