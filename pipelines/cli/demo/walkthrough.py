"""`ledger demo`: the whole pipeline on generated data."""

import os
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from assets.report.assets import LATEST
from assets.report.request import get_default_range
from assets.tables import TABLES, Table
from pipelines.cli.demo.environment import CONFIG, FIRST, FOLDER, HOME, LAST, prepare, run_service
from pipelines.cli.progress import show_progress
from pipelines.cli.query_output import show
from pipelines.operations.query import connect
from pipelines.operations.stages import EXECUTIONS
from pipelines.runs.backfill import BackfillPlan, execute_backfill
from pipelines.runs.instance import HOME_VARIABLE, open_instance
from pipelines.runs.launcher import BackfillRequest, RunOutcome, RunReport
from resources.config.loader import CHECKOUT
from resources.errors import DataError
from resources.lake.lake import PART, Lake

PAGE = FOLDER / "reports" / LATEST
"""The report page that the demo writes."""

FAILED_PERIODS = """\
WITH marked AS (
  SELECT *, row_number() OVER (PARTITION BY scheduler_arn ORDER BY data_start_time)
          - row_number() OVER (PARTITION BY scheduler_arn, status ORDER BY data_start_time) AS period
  FROM inference_executions
  WHERE data_date BETWEEN DATE '2026-09-10' AND DATE '2026-10-07'
)
SELECT scheduler_name, region, min(data_start_time) AS failed_from,
       date_diff('minute', min(data_start_time), max(data_end_time)) AS minutes, count(*) AS failed,
       mode(CASE WHEN failed_reason LIKE '%data file%' THEN 'no file' ELSE 'no rows' END) AS cause
FROM marked
WHERE status = 'FAILED'
GROUP BY scheduler_arn, scheduler_name, region, period
ORDER BY minutes DESC, failed_from
LIMIT 5"""


EVENTS = """\
SELECT scheduler_name, start_time, round(duration_seconds / 60)::INT AS minutes, state,
       round(peak_score, 2) AS peak, top_sensors->'$[0]'->>'sensor' AS first_sensor
FROM anomaly_events
ORDER BY duration_seconds DESC, start_time
LIMIT 5"""


def run(console: Console) -> None:
    """Run the demo.

    Raises:
        DataError: a step failed; the message names it and its log.
    """
    _print_title(console, "Generate a fleet")
    console.print(prepare())
    all_days = BackfillPlan.from_request(BackfillRequest(FIRST, LAST), [EXECUTIONS])
    week = BackfillPlan.from_request(BackfillRequest(*get_default_range(LAST)))
    with run_service() as environment:
        _print_title(console, f"Extract {all_days.request.day_count} days into the lake with Dagster")
        console.print("Sources: the simulated service, and saved API responses.")
        first = _launch(console, all_days, environment)
        for warning in first.warnings:
            console.print(Text(f"! {_shorten_paths(warning)}", "yellow"))
        lake = Lake(str(FOLDER / "lake"))
        _print_title(console, "Query: the longest periods of failed executions")
        _print_query(lake, FAILED_PERIODS)
        _print_title(console, f"Rerun the last {week.request.day_count} days with all assets")
        console.print(
            "This reads the result objects and builds anomalies, health and a report page for each day."
        )
        again = _launch(console, week, environment)
    console.print(_compare_runs(first, again))
    _print_title(console, "Query: the longest anomaly events")
    _print_query(lake, EVENTS)
    _print_title(console, "Tables in the lake")
    _print_query(lake, _build_inventory_query(lake))
    _print_title(console, "Report page")
    console.print(_describe_page(), soft_wrap=True)
    _print_title(console, "Next steps")
    console.print(_describe_next_steps(), soft_wrap=True)


def _print_title(console: Console, title: str) -> None:
    console.rule(Text(title, "bold"), align="left")


def _print_query(lake: Lake, statement: str) -> None:
    with connect(lake) as connection:
        show(connection.sql(statement))


def _compare_runs(first: RunReport, again: RunReport) -> str:
    return f"First run: {_describe_run(first)}.\nRerun: {_describe_run(again)}.\nReruns are idempotent."


def _describe_run(report: RunReport) -> str:
    return (
        f"{_get_number(report, 'schedulers_answered')} schedulers queried,"
        f" {_get_number(report, 'files_read')} files read,"
        f" {_get_number(report, 'days_changed')} of {report.request.day_count} days and"
        f" {_get_number(report, 'rows_changed')} executions changed"
    )


def _launch(console: Console, plan: BackfillPlan, environment: Mapping[str, str]) -> RunReport:
    """Execute a backfill and return the report of its extraction."""
    os.environ[HOME_VARIABLE] = str(HOME)
    with (
        open_instance() as instance,
        show_progress(console, plan) as update,
    ):
        report = execute_backfill(plan, instance, update, environment)
    for run in report.runs.values():
        if run.outcome is not RunOutcome.succeeded:
            raise DataError(
                f"Cannot complete the demo: its run failed: {run.message}",
                where=str(run.log),
                next_step="find the first ERROR line in that log",
            )
    return report.runs[EXECUTIONS.name]


def _get_number(report: RunReport, name: str) -> str:
    return f"{report.numbers.get(name, 0):,}"


def _shorten_paths(message: str) -> str:
    return message.replace(f"{FOLDER}/", "")


def _build_inventory_query(lake: Lake) -> str:
    queries = [
        f"SELECT '{table.name}' AS \"table\", count(*) AS rows, {_count_files(lake, table)} FROM {table.name}"
        for table in TABLES
        if table.name != "event_notifications"  # the sensor writes it, in the Dagster daemon
    ]
    return " UNION ALL ".join(queries)


def _count_files(lake: Lake, table: Table) -> str:
    sizes = [file.stat().st_size for file in (lake.root / table.name).rglob(PART)]
    return f"{len(sizes)} AS files, {round(sum(sizes) / 1024)} AS kib"


def _describe_page() -> str:
    return f"""\
{PAGE}
Open it in a browser: {PAGE.as_uri()}"""


def _describe_next_steps() -> str:
    return f"""\
. .venv/bin/activate
export LEDGER_CONFIG={CONFIG.relative_to(CHECKOUT)}   # the project of the demo
ledger sql "SELECT status, count(*) FROM inference_executions GROUP BY ALL"
ledger report --format markdown --out -
ledger sql "SELECT reason, raw FROM rejected_executions"
ledger sql "SELECT scheduler_name, max(complete_through) FROM extraction_coverage GROUP BY ALL"
unset LEDGER_CONFIG; make dev                      # the Dagster UI, http://localhost:3000, and the service
"""
