"""`ledger demo`: the whole of it on made-up data."""

from collections.abc import Mapping

import dagster as dg
from rich.console import Console

from assets.report.assets import LATEST
from assets.report.request import default_days
from assets.tables import ANOMALY_PREDICTIONS, TABLES, Table
from pipelines.cli.demo.environment import CONFIG, FIRST, FOLDER, LAST, prepare, service
from pipelines.cli.output import grid
from pipelines.cli.progress import show_progress
from pipelines.operations.query import query_once
from pipelines.runs.instance import CHECKOUT
from pipelines.runs.launcher import BackfillRequest, RunOutcome, RunReport, launch
from resources.errors import DataError
from resources.lake.lake import PART, Lake

PAGE = FOLDER / "reports" / LATEST
"""What the demo ends with."""

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


EVENTS = """\
SELECT scheduler_name, start_time, round(duration_seconds / 60)::INT AS minutes, state,
       round(peak_score, 2) AS peak, top_sensors->'$[0]'->>'sensor' AS first_sensor
FROM anomaly_events
ORDER BY duration_seconds DESC, start_time
LIMIT 5"""


def run(console: Console) -> None:
    """Tell the story.

    Raises:
        DataError: a step failed; the message says which, and where its log is.
    """
    console.rule("[bold]A fleet", align="left")
    console.print(prepare(), highlight=False)
    everything = BackfillRequest(FIRST, LAST)
    week = BackfillRequest(*default_days(LAST), assets=(), watched=ANOMALY_PREDICTIONS.name)
    with service() as environment:
        console.rule(f"[bold]Its {_days(everything)} days, taken into the lake by Dagster", align="left")
        console.print(
            "from the service, of which the sandbox plays the part, and from responses saved before"
        )
        first = _launch(console, everything, environment)
        for warning in first.warnings:
            console.print(f"[yellow]![/] {_short(warning)}", highlight=False)
        lake = Lake(str(FOLDER / "lake"))
        console.rule("[bold]When did nobody watch a machine, and why?", align="left")
        console.print(grid(query_once(lake, BLIND)))
        console.rule(
            f"[bold]The last {_days(week)} days once more, and all that is made of them", align="left"
        )
        console.print(
            "their result objects, which the sandbox keeps in its S3; anomalies; health; a page for each day"
        )
        again = _launch(console, week, environment)
    console.print(_compared(first, again))
    console.rule("[bold]What the machines did", align="left")
    console.print(grid(query_once(lake, EVENTS)))
    console.rule("[bold]What is there now", align="left")
    console.print(grid(query_once(lake, _inventory(lake))))
    console.rule("[bold]The page", align="left")
    console.print(_page(), highlight=False, soft_wrap=True)
    console.rule("[bold]Go on", align="left")
    console.print(_next_steps(), highlight=False, soft_wrap=True)


def _compared(first: RunReport, again: RunReport) -> str:
    return (
        f"{_count(again, 'schedulers_answered')} schedulers asked, {_count(again, 'files_read')} files read:"
        f" {_count(again, 'days_changed')} of {_days(again.order)} days and {_count(again, 'rows_changed')}"
        f" executions changed (the first time: {_count(first, 'schedulers_answered')},"
        f" {_count(first, 'files_read')}, {_count(first, 'days_changed')} of {_days(first.order)},"
        f" {_count(first, 'rows_changed')}). What is recorded stays."
    )


def _days(order: BackfillRequest) -> int:
    return (order.last - order.first).days + 1


def _launch(console: Console, order: BackfillRequest, environment: Mapping[str, str]) -> RunReport:
    """Materialize an order in one run, as `ledger backfill` does."""
    with dg.DagsterInstance.get() as instance, show_progress(console, _days(order)) as watch:
        report = launch(order, instance, watch, environment)
    if report.outcome is not RunOutcome.recorded:
        raise DataError(
            f"the run failed: {report.message}",
            where=str(report.log),
            next_step="read the first ERROR line of that log",
        )
    return report


def _count(report: RunReport, name: str) -> str:
    return f"{report.numbers.get(name, 0):,}"


def _short(message: str) -> str:
    return message.replace(f"{FOLDER}/", "")


def _inventory(lake: Lake) -> str:
    counted = [
        f"SELECT '{table.name}' AS \"table\", count(*) AS rows, {_files(lake, table)} FROM {table.name}"
        for table in TABLES
        if table.name != "event_notifications"  # which the sensor writes, where Dagster's daemon runs
    ]
    return " UNION ALL ".join(counted)


def _files(lake: Lake, table: Table) -> str:
    sizes = [file.stat().st_size for file in (lake.root / table.name).rglob(PART)]
    return f"{len(sizes)} AS files, {round(sum(sizes) / 1024)} AS kib"


def _page() -> str:
    return f"""\
{PAGE}
Open it in any browser: {PAGE.as_uri()}"""


def _next_steps() -> str:
    return f"""\
. .venv/bin/activate
export LEDGER_CONFIG={CONFIG.relative_to(CHECKOUT)}   # the demo's lake; without it: your own ledger.toml
ledger sql "SELECT status, count(*) FROM inference_executions GROUP BY ALL"
ledger report --format markdown --out -
ledger sql "SELECT reason, raw FROM rejected_executions"
ledger sql "SELECT scheduler_name, max(complete_through) FROM extraction_coverage GROUP BY ALL"
unset LEDGER_CONFIG; make dev                      # Dagster's pages, http://localhost:3000, and the service
"""
