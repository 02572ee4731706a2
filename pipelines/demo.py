"""`ledger demo`: the whole of it on made-up data.

Belongs here: the story that the demo tells.
Does not belong here: any other way to do the work than the one a user has: the sandbox and Dagster are
started as processes, just as on a user's command line.
"""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from assets.tables import INFERENCE_EXECUTIONS, TABLES, Table
from pipelines.home import CHECKOUT
from pipelines.playground import CONFIG, FIRST, FOLDER, LAST, prepare, service
from pipelines.query import answer
from pipelines.screen import grid
from resources.errors import DataError
from resources.lake import PART, Lake

LOG = FOLDER / "launch.log"

ROWS = """\
SELECT scheduler_name, region, data_start_time, status, model_version AS model
FROM inference_executions
WHERE data_date = DATE '2026-10-07'
ORDER BY data_start_time DESC, scheduler_name
LIMIT 5"""

BLIND = """\
WITH marked AS (
  SELECT *, row_number() OVER (PARTITION BY scheduler_arn ORDER BY data_start_time)
          - row_number() OVER (PARTITION BY scheduler_arn, status ORDER BY data_start_time) AS stretch
  FROM inference_executions
  WHERE data_date BETWEEN DATE '2026-09-10' AND DATE '2026-10-07'
)
SELECT scheduler_name, region, min(data_start_time) AS blind_from,
       date_diff('minute', min(data_start_time), max(data_end_time)) AS minutes, count(*) AS failed,
       mode(CASE WHEN failed_reason LIKE '%data file%' THEN 'no file' ELSE 'no rows' END) AS why
FROM marked
WHERE status = 'FAILED'
GROUP BY scheduler_arn, scheduler_name, region, stretch
ORDER BY minutes DESC, blind_from
LIMIT 5"""


@dataclass(frozen=True)
class Outcome:
    """What one launch did: numbers of the run, and what it warned of."""

    numbers: Mapping[str, int]
    warnings: list[str]


def run(console: Console) -> None:
    """Tell the story.

    Raises:
        DataError: a step failed; the message says which, and where its log is.
    """
    days = (LAST - FIRST).days + 1
    console.rule("[bold]A fleet", align="left")
    console.print(prepare(), highlight=False)
    with service() as environment:
        console.rule(f"[bold]Its {days} days, taken into the lake by Dagster", align="left")
        console.print(
            "from the service, of which the sandbox plays the part, and from responses saved before"
        )
        first = _launch(console, days, environment)
        for warning in first.warnings:
            console.print(f"[yellow]![/] {_short(warning)}", highlight=False)
        _show(console, Lake(str(FOLDER / "lake")))
        console.rule("[bold]The same once more", align="left")
        again = _launch(console, days, environment)
    console.print(_compared(first, again, days))
    console.rule("[bold]Go on", align="left")
    console.print(_next_steps(), highlight=False, soft_wrap=True)


def _show(console: Console, lake: Lake) -> None:
    console.rule("[bold]What is there now", align="left")
    console.print(grid(answer(lake, _inventory(lake))))
    console.print()
    console.print(grid(answer(lake, ROWS)))
    console.rule("[bold]When did nobody watch a machine, and why?", align="left")
    console.print(grid(answer(lake, BLIND)))


def _compared(first: Outcome, again: Outcome, days: int) -> str:
    return (
        f"{_count(again, 'schedulers_answered')} schedulers asked, {_count(again, 'files_read')} files read:"
        f" {_count(again, 'days_changed')} of {days} days and {_count(again, 'rows_changed')} rows changed"
        f" (the first time: {_count(first, 'schedulers_answered')}, {_count(first, 'files_read')},"
        f" {_count(first, 'days_changed')}, {_count(first, 'rows_changed')}). What is recorded stays."
    )


def _launch(console: Console, days: int, environment: Mapping[str, str]) -> Outcome:
    """Materialize all days in one run, as `dg launch` does it, and watch its events."""
    started = time.time()
    with LOG.open("w") as log, dg.DagsterInstance.get() as instance:
        process = subprocess.Popen(  # noqa: S603
            _dg_launch(),
            cwd=CHECKOUT,
            env=dict(environment),
            stdout=log,
            stderr=log,
        )
        with _progress(console) as progress:
            task = progress.add_task("starting Dagster", total=days)
            while process.poll() is None:
                done = len(_materializations(instance, INFERENCE_EXECUTIONS, started))
                progress.update(
                    task, completed=done, description="recording days" if done else "starting Dagster"
                )
                time.sleep(0.2)
            done = len(_materializations(instance, INFERENCE_EXECUTIONS, started))
            progress.update(task, completed=done, description="recorded")
        if process.returncode:
            raise DataError(
                "the run failed",
                where=f"{LOG}, which ends:\n" + "".join(LOG.read_text().splitlines(keepends=True)[-5:]),
                next_step="read the first ERROR line of that log",
            )
        run_id = _materializations(instance, INFERENCE_EXECUTIONS, started)[0].run_id
        return Outcome(_numbers(instance, run_id), _warnings(instance, run_id))


def _dg_launch() -> list[str]:
    launch = [str(Path(sys.executable).with_name("dg")), "launch"]
    return [
        *launch,
        "--assets",
        "inference_executions,inference_schedulers",
        "--partition-range",
        f"{FIRST}...{LAST}",
    ]


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)


def _materializations(instance: dg.DagsterInstance, table: Table, since: float) -> list[dg.EventLogRecord]:
    of_table = dg.AssetRecordsFilter(asset_key=dg.AssetKey(table.name), after_timestamp=since)
    return list(instance.fetch_materializations(of_table, limit=1000).records)


def _numbers(instance: dg.DagsterInstance, run_id: str) -> dict[str, int]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        event = entry.dagster_event
        if event and event.step_key == INFERENCE_EXECUTIONS.name:
            metadata = event.step_output_data.metadata
            return {
                name: value.value or 0
                for name, value in metadata.items()
                if isinstance(value, dg.IntMetadataValue)
            }
    return {}


def _warnings(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    logged = instance.all_logs(run_id)
    return [entry.user_message for entry in logged if entry.level == 30 and not entry.dagster_event]  # noqa: PLR2004


def _count(outcome: Outcome, name: str) -> str:
    return f"{outcome.numbers.get(name, 0):,}"


def _short(message: str) -> str:
    return message.replace(f"{FOLDER}/", "")


def _inventory(lake: Lake) -> str:
    counted = [
        f"SELECT '{table.name}' AS \"table\", count(*) AS rows, {_files(lake, table)} FROM {table.name}"
        for table in TABLES
    ]
    return " UNION ALL ".join(counted)


def _files(lake: Lake, table: Table) -> str:
    sizes = [file.stat().st_size for file in (lake.root / table.name).rglob(PART)]
    return f"{len(sizes)} AS files, {round(sum(sizes) / 1024)} AS kib"


def _next_steps() -> str:
    return f"""\
. .venv/bin/activate
export LEDGER_CONFIG={CONFIG.relative_to(CHECKOUT)}   # the demo's lake; without it: your own ledger.toml
ledger sql "SELECT status, count(*) FROM inference_executions GROUP BY ALL"
ledger sql "SELECT reason, raw FROM rejected_executions"
ledger sql "SELECT scheduler_name, max(complete_through) FROM extraction_coverage GROUP BY ALL"
unset LEDGER_CONFIG; make dev                      # Dagster's pages, http://localhost:3000, and the service
"""
