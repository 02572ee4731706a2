"""`ledger backfill`: extract a range of days in a Dagster run, and follow it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated

import dagster as dg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.framework.time_windows import Days
from pipelines.cli.arguments import parse_range, select_schedulers
from pipelines.cli.json_output import BackfillDay, BackfillOutput, SourceFailure
from pipelines.cli.options import From, Json, SchedulerPatterns, SkipSettled, To
from pipelines.cli.output import open_console, print_json
from pipelines.cli.progress import show_progress
from pipelines.operations.backfill_plan import list_sources
from pipelines.runs.instance import prepare_home
from pipelines.runs.launcher import BackfillRequest, RunOutcome, RunReport, launch, resume_request
from resources.clock import utc_now
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.sources.factory import open_sources

EXAMPLES = (
    "ledger backfill --from 2026-09-01 --to 2026-10-07",
    "ledger backfill --from 2026-10-01 --to today --scheduler pump-1 --yes",
    "ledger backfill --resume 06608ff5-84d3-4643-abcb-c9f52e037a0c",
)
_MAX_DAILY_ROWS = 31
"""The table of a longer range has a row for each month."""

_MAX_REASONS = 10
_EXIT_INTERRUPTED = 130


def backfill(  # noqa: PLR0913, PLR0917 (each is an option)
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    skip_settled: Annotated[bool, SkipSettled] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN_ID", help="Extract only what this earlier run did not record."),
    ] = None,
    max_calls: Annotated[
        int | None,
        typer.Option("--max-calls", min=1, metavar="N", help="Stop after N API calls; recorded days stay."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Extract a range of days now.

    The backfill is a Dagster run, which the Dagster UI shows too. It records day by day and is idempotent:
    Ctrl-C stops it, and the last line is the command that resumes it. Exit code 0: all days are recorded; 1:
    some failed, the output says which and why; 130: stopped.
    """
    settings = load_settings()
    settings.require_sources()
    console = open_console(stderr=as_json)
    prepare_home()
    with dg.DagsterInstance.get() as instance:
        if resume is None:
            request = replace(
                _build_request(settings, first, last, tuple(schedulers or ())),
                skip_settled=skip_settled,
                max_calls=max_calls,
            )
            if not yes:
                _confirm(console, settings, request)
        else:
            request = _build_resume_request(instance, resume, first, last, max_calls)
        with show_progress(console, (request.last - request.first).days + 1) as update:
            report = launch(request, instance, update)
    if as_json:
        print_json(_build_json(report))
    else:
        _print(console, report)
    if report.outcome is not RunOutcome.succeeded:
        raise typer.Exit(_EXIT_INTERRUPTED if report.outcome is RunOutcome.stopped else 1)


def _build_request(
    settings: Settings, first: str | None, last: str | None, schedulers: tuple[str, ...]
) -> BackfillRequest:
    if first is None or last is None:
        raise ConfigurationError(
            "Cannot start a backfill without a range of days",
            where="the command line",
            next_step="add --from DAY --to DAY, or --resume RUN_ID to continue an earlier run",
        )
    history = Days(settings.history.start_date, settings.history.end_date)
    days = parse_range(first, last, history, utc_now().date())
    if schedulers:
        listing = list_sources(open_sources(settings), days)
        if not listing.failed:  # otherwise the name may belong to a source that did not answer
            select_schedulers(schedulers, [scheduler for _, scheduler in listing.schedulers])
    return BackfillRequest(days[0], days[-1], schedulers)


def _build_resume_request(
    instance: dg.DagsterInstance, run_id: str, first: str | None, last: str | None, max_calls: int | None
) -> BackfillRequest:
    request = resume_request(instance, run_id, max_calls)
    days = (first or str(request.first), last or str(request.last))
    if days != (str(request.first), str(request.last)):
        raise ConfigurationError(
            f"Cannot resume run {run_id} over {days[0]} to {days[1]}:"
            f" its range is {request.first} to {request.last}",
            where="the command line",
            next_step="remove --from and --to; the run stores its days",
        )
    return request


def _confirm(console: Console, settings: Settings, request: BackfillRequest) -> None:
    plan = f"ledger plan --from {request.first} --to {request.last}"
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "Cannot ask for confirmation: standard input is not a terminal",
            where="the command line",
            next_step=f"add --yes; `{plan}` estimates the cost",
        )
    days = (request.last - request.first).days + 1
    console.print(f"Extract {days} days into {settings.lake.uri} (`{plan}` estimates the cost).")
    typer.confirm("Continue?", default=True, abort=True)


def _print(console: Console, report: RunReport) -> None:
    if report.days or report.failed:
        console.print()
        console.print(_build_table(report))
    changed = sum(day.rows_changed for day in report.days.values())
    console.print()
    console.print(
        f"{len(report.days):,} days recorded, {changed:,} rows new or changed,"
        f" {report.numbers.get('calls', 0):,} calls ({report.numbers.get('throttled', 0):,} throttled)."
    )
    for warning in report.warnings:
        console.print(Text(f"! {warning}", "yellow"), soft_wrap=True)
    failures = [*report.failed.items(), *report.refused.items()]
    for name, reason in failures[:_MAX_REASONS]:
        console.print(Text(f"{name}: {reason}", "red"), soft_wrap=True)
    if len(failures) > _MAX_REASONS:
        console.print(f"{len(failures) - _MAX_REASONS} more failures; --json lists all of them.")
    if report.outcome is RunOutcome.succeeded:
        console.print(f"Run {report.run_id} succeeded.")
        return
    if not failures and report.outcome is RunOutcome.failed:
        console.print(Text(report.message), soft_wrap=True)
    console.print(f"Run {report.run_id} {report.outcome}; the days above are recorded. Resume it with:")
    console.print(Text(f"  {report.resume_command}", "bold"), soft_wrap=True)
    console.print(f"Log: {report.log}", soft_wrap=True)


def _build_table(report: RunReport) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    by_month = (report.request.last - report.request.first).days + 1 > _MAX_DAILY_ROWS
    table.add_column("month" if by_month else "day")
    for name in ("days", "executions", "changed", "failed"):
        table.add_column(name, justify="right")
    for label, days in _group_days(sorted({*report.days, *report.failed}), by_month=by_month).items():
        recorded = [report.days[day] for day in days if day in report.days]
        table.add_row(
            label,
            f"{len(recorded):,}",
            f"{sum(day.executions for day in recorded):,}",
            f"{sum(day.rows_changed for day in recorded):,}",
            str(sum(day in report.failed for day in days) or ""),
        )
    return table


def _group_days(days: Sequence[date], *, by_month: bool) -> dict[str, list[date]]:
    groups: dict[str, list[date]] = {}
    for day in days:
        groups.setdefault(f"{day:%Y-%m}" if by_month else day.isoformat(), []).append(day)
    return groups


def _build_json(report: RunReport) -> BackfillOutput:
    request = report.request
    span = (request.last - request.first).days + 1
    requested = [request.first + n * timedelta(days=1) for n in range(span)]
    return BackfillOutput(
        run_id=report.run_id,
        outcome=str(report.outcome),
        first=request.first,
        last=request.last,
        days={
            day: BackfillDay(counts.executions, counts.rows_changed)
            for day, counts in sorted(report.days.items())
        },
        unrecorded_days=[day for day in requested if day not in report.days],
        failed_days=dict(sorted(report.failed.items())),
        failed_sources=[SourceFailure(name, reason) for name, reason in report.refused.items()],
        metrics=report.numbers,
        warnings=report.warnings,
        error=report.message or None,
        resume_command=report.resume_command,
        log_file=str(report.log),
    )
