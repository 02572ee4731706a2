"""`ledger backfill`: build all tables and the report for a range of days, and follow the runs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from shlex import quote
from typing import Annotated

import dagster as dg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.alerts.deduplication import normalize_message
from assets.report.formatting import pluralize
from pipelines.cli.arguments import parse_range_of_history, select_schedulers
from pipelines.cli.json_output import BackfillDay, BackfillOutput, BackfillStage, SourceFailure
from pipelines.cli.options import HistoryFrom, HistoryTo, Json, SchedulerPatterns, SkipSettled, Yes
from pipelines.cli.output import open_console, print_json
from pipelines.cli.progress import show_progress
from pipelines.operations.backfill_plan import has_unread_files, list_known_schedulers, list_sources
from pipelines.operations.stages import ANOMALIES, EXECUTIONS, REPORT, RESULTS, STAGES, select_stages
from pipelines.runs.backfill import BackfillPlan, BackfillReport, Workers, execute_backfill, plan_resume
from pipelines.runs.instance import open_instance, prepare_home
from pipelines.runs.launcher import BackfillRequest, RunOutcome, RunReport
from pipelines.runs.parallel import ParallelBackfill, choose_days_per_run
from pipelines.runs.pools import create_pools
from pipelines.runs.queue import find_workspace_file, open_queue, require_daemon, require_own_runs
from resources.clock import utc_now
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.sources.factory import open_sources

EXAMPLES = (
    "ledger backfill",
    "ledger backfill --from 2026-09-01 --to 2026-10-07",
    "ledger backfill --from 2026-10-01 --to today --scheduler pump-1 --yes",
    "ledger backfill --from 2026-10-01 --to today --only executions,results",
    "ledger backfill --from 2025-01-01 --to 2025-12-31 --workers 8",
    "ledger backfill --resume 06608ff5-84d3-4643-abcb-c9f52e037a0c",
)
_MAX_DAILY_ROWS = 31
"""The table of a longer range has a row for each month."""

_MAX_REASONS = 10
_EXIT_INTERRUPTED = 130


def backfill(  # noqa: PLR0913, PLR0917 (each is an option)
    first: Annotated[str | None, HistoryFrom] = None,
    last: Annotated[str | None, HistoryTo] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="STAGE",
            help="Run only this stage: executions, results, anomalies, health or report. Repeatable, or with"
            " commas. Default: all stages.",
        ),
    ] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    skip_settled: Annotated[bool, SkipSettled] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="ID", help="Process only what this earlier backfill or run did not record."
        ),
    ] = None,
    max_calls: Annotated[
        int | None,
        typer.Option("--max-calls", min=1, metavar="N", help="Stop after N API calls; recorded days stay."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Split the range into runs that the daemon starts, at most N at a time. Default: one run for"
            " each stage, which this command starts.",
        ),
    ] = None,
    days_per_run: Annotated[
        int | None,
        typer.Option(
            "--days-per-run",
            min=1,
            metavar="D",
            help="With --workers: days of a run. Default: those of about ten minutes, at most 31.",
        ),
    ] = None,
    runs_per_day: Annotated[
        int | None,
        typer.Option(
            "--runs-per-day",
            min=1,
            metavar="R",
            help="With --workers: the number of runs that share the results of each day, by its shards."
            " Default: 1.",
        ),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            metavar="FILE",
            help="With --workers: the workspace file of the daemon. Default: workspace.yaml next to the"
            " settings, or in the checkout.",
        ),
    ] = None,
    yes: Annotated[bool, Yes] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Build all tables and the report for a range of days; default: the whole history.

    The stages executions, results, anomalies, health and report are Dagster runs, which the Dagster UI shows
    too. If a stage fails for some days, the next stages process the other days. Ctrl-C stops the backfill,
    and recorded days stay. The last line is then the command that resumes it. Exit code 1: something failed,
    and the output says what and why; 130: stopped.
    """
    settings = load_settings()
    _check_worker_options(workers, resume, {"--days-per-run": days_per_run, "--runs-per-day": runs_per_day})
    stages = select_stages(only or ())
    if EXECUTIONS in stages:
        settings.require_sources()
    console = open_console(stderr=as_json)
    prepare_home()
    with open_instance() as instance:
        if resume is None:
            request = replace(
                _build_request(settings, first, last, tuple(schedulers or ())),
                skip_settled=skip_settled,
                max_calls=max_calls,
            )
            plan = BackfillPlan.from_request(request, stages)
            if workers is not None:
                split = _choose_workers(settings, plan, workers, days_per_run)
                plan = replace(plan, workers=replace(split, runs_per_day=runs_per_day or 1))
            if not yes:
                _confirm(console, settings, plan)
        else:
            plan = _plan_resume(settings, instance, resume, (first, last), max_calls)
            if plan.workers is not None and workers is not None:
                plan = replace(plan, workers=replace(plan.workers, count=workers))
            if only:
                plan = replace(plan, stages=tuple(run for run in plan.stages if run.stage in stages))
        if plan.workers is not None:  # the runs outlive this command, for example after a lost connection
            command = f"ledger backfill --resume {plan.backfill_id}"
            console.print(f"If this command ends early, continue with: {command}", soft_wrap=True)
        with show_progress(console, plan) as update:
            report = _execute(plan, instance, update, workspace or find_workspace_file())
    if as_json:
        print_json(_build_json(report))
    else:
        _print(console, report, settings.report.folder)
    if report.outcome is not RunOutcome.succeeded:
        raise typer.Exit(_EXIT_INTERRUPTED if report.outcome is RunOutcome.stopped else 1)


def _execute(
    plan: BackfillPlan,
    instance: dg.DagsterInstance,
    update: Callable[[BackfillReport], None],
    workspace: Path,
) -> BackfillReport:
    if plan.workers is None:
        require_own_runs(instance)
        return execute_backfill(plan, instance, update)
    require_daemon(instance)
    create_pools(instance)
    with open_queue(instance, workspace) as queue:
        return ParallelBackfill(plan, instance, queue).execute(update)


def _check_worker_options(workers: int | None, resume: str | None, options: Mapping[str, int | None]) -> None:
    """Check that no option is ignored: a backfill is split only with workers, and only once."""
    given = [name for name, value in options.items() if value is not None]
    if not given or (workers is not None and resume is None):
        return
    if resume is not None:
        raise ConfigurationError(
            f"Cannot split a resumed backfill with {given[0]}: it keeps its runs",
            where="the command line",
            next_step=f"remove {given[0]}, or start another backfill",
        )
    raise ConfigurationError(
        f"Cannot use {given[0]} without --workers",
        where="the command line",
        next_step=f"add --workers N, or remove {given[0]}",
    )


def _choose_workers(settings: Settings, plan: BackfillPlan, count: int, days_per_run: int | None) -> Workers:
    if days_per_run is None:
        request = plan.request
        days = [request.first + n * timedelta(days=1) for n in range(request.day_count)]
        lake = Lake.from_settings(settings)
        schedulers = list_known_schedulers(lake, list_sources(open_sources(settings), days))
        days_per_run = choose_days_per_run(len(schedulers), request.day_count, count)
    return Workers(count, days_per_run)


def _build_request(
    settings: Settings, first: str | None, last: str | None, schedulers: tuple[str, ...]
) -> BackfillRequest:
    days = parse_range_of_history(first, last, settings.history, utc_now().date())
    if schedulers:
        lake = Lake.from_settings(settings)
        listing = list_sources(open_sources(settings), days)
        if not listing.failed and not has_unread_files(lake, listing):  # which may have the name
            select_schedulers(schedulers, list_known_schedulers(lake, listing))
    return BackfillRequest(days[0], days[-1], schedulers, key_prefix=settings.dagster.key_prefix)


def _plan_resume(
    settings: Settings,
    instance: dg.DagsterInstance,
    identifier: str,
    days: tuple[str | None, str | None],
    max_calls: int | None,
) -> BackfillPlan:
    plan = plan_resume(instance, identifier, max_calls, settings.dagster.key_prefix)
    request = plan.request
    days = (days[0] or str(request.first), days[1] or str(request.last))
    if days != (str(request.first), str(request.last)):
        raise ConfigurationError(
            f"Cannot resume {identifier} over {days[0]} to {days[1]}:"
            f" its range is {request.first} to {request.last}",
            where="the command line",
            next_step="remove --from and --to; the run stores its days",
        )
    return plan


def _confirm(console: Console, settings: Settings, backfill_plan: BackfillPlan) -> None:
    request = backfill_plan.request
    plan = f"ledger plan --from {request.first} --to {request.last}"
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "Cannot ask for confirmation: standard input is not a terminal",
            where="the command line",
            next_step=f"add --yes; `{plan}` estimates the cost",
        )
    names = ", ".join(run.stage.name for run in backfill_plan.stages)
    console.print(
        f"Build {names} of {request.day_count} {pluralize(request.day_count, 'day')},"
        f" {request.first} to {request.last}, in {settings.lake.uri}"
        f" (`{plan}` estimates the cost).",
    )
    typer.confirm("Continue?", default=True, abort=True)


def _print(console: Console, report: BackfillReport, report_folder: str) -> None:
    executions = report.runs.get(EXECUTIONS.name)
    if executions and (executions.days or executions.failed):
        console.print()
        console.print(_build_table(executions))
    console.print()
    for planned in report.plan.stages:
        summary = _summarize_stage(
            planned.stage.name, report.runs.get(planned.stage.name), planned.is_complete
        )
        console.print(f"{planned.stage.name:<11} {summary}", soft_wrap=True)
    pages = report.runs.get(REPORT.name)
    if pages and pages.days:
        console.print(Text(f"Pages: {report_folder}"), soft_wrap=True)
    for name, run in report.runs.items():
        _print_problems(console, name, run)
    if report.outcome is RunOutcome.succeeded:
        console.print(f"Backfill {report.plan.backfill_id} succeeded.")
        return
    has_days = any(run.days for run in report.runs.values())
    recorded = "the days above are recorded" if has_days else "nothing new is recorded"
    console.print(f"Backfill {report.plan.backfill_id} {report.outcome}; {recorded}.", soft_wrap=True)
    console.print("Resume it with:" if report.resume_command else "Run it again:")
    command = report.resume_command or _build_command(report.plan)
    console.print(Text(f"  {command}", "bold"), soft_wrap=True)
    for log in sorted({run.log for run in report.runs.values() if run.log}):
        console.print(f"Log: {log}", soft_wrap=True)


def _build_command(plan: BackfillPlan) -> str:
    """Return the command that starts the same backfill."""
    request = plan.request
    words = ["ledger backfill", f"--from {request.first} --to {request.last}"]
    words += [f"--scheduler {quote(pattern)}" for pattern in request.schedulers]
    words += ["--skip-settled"] if request.skip_settled else []
    words += [f"--max-calls {request.max_calls}"] if request.max_calls is not None else []
    names = ",".join(planned.stage.name for planned in plan.stages)
    return " ".join([*words, *([f"--only {names}"] if len(plan.stages) < len(STAGES) else [])])


def _list_warnings(run: RunReport) -> list[str]:
    """Return the warnings without those that only repeat the error of a source."""
    errors = {f"{name}: {reason}" for name, reason in run.refused.items()}
    return [warning for warning in run.warnings if warning not in errors]


def _summarize_stage(name: str, run: RunReport | None, is_complete: bool) -> str:
    if run is None:
        return "already complete" if is_complete else "not started"
    parts = [f"{len(run.days):,} {pluralize(len(run.days), 'day')} recorded"]
    numbers = run.numbers
    if name == EXECUTIONS.name:
        changed = sum(day.rows_changed for day in run.days.values())
        parts.append(f"{changed:,} rows new or changed")
        if calls := numbers.get("calls"):  # saved responses need none
            parts.append(f"{calls:,} {pluralize(calls, 'call')} ({numbers.get('throttled', 0):,} throttled)")
        if requests := numbers.get("list_requests"):
            parts.append(f"{requests:,} list requests")
    elif name == RESULTS.name and run.days and "objects" in numbers:
        read = numbers.get("objects_read", 0) + numbers.get("objects_unchanged", 0)
        parts.append(f"{read:,} of {numbers['objects']:,} result objects read")
        if read or not numbers["objects"]:
            parts.append(f"{numbers.get('lines', 0):,} predictions")
    elif name == ANOMALIES.name and (fragments := sum(day.executions for day in run.days.values())):
        parts.append(f"{fragments:,} fragments")  # none can mean that no result was read
    if run.failed:
        parts.append(f"{len(run.failed):,} failed")
    return ", ".join(parts) + ("" if run.outcome is RunOutcome.succeeded else f": {run.outcome}")


def _print_problems(console: Console, stage: str, run: RunReport) -> None:
    for warning in _list_warnings(run):
        console.print(Text(f"! {stage}: {warning}", "yellow"), soft_wrap=True)
    failures = [*_group_failures(run.failed), *run.refused.items()]
    for name, reason in failures[:_MAX_REASONS]:
        console.print(Text(f"{name}: {reason}", "red"), soft_wrap=True)
    if len(failures) > _MAX_REASONS:
        console.print(f"{len(failures) - _MAX_REASONS} more failures; --json lists all of them.")
    if not failures and run.outcome is RunOutcome.failed:
        console.print(Text(f"{stage}: {run.message}", "red"), soft_wrap=True)


def _group_failures(failed: Mapping[date, str]) -> list[tuple[str, str]]:
    """Return the days of each reason; reasons that differ only in times and numbers are one."""
    groups: dict[str, list[date]] = {}
    for day, reason in sorted(failed.items()):
        groups.setdefault(normalize_message(reason), []).append(day)
    return [
        (str(days[0]) if len(days) == 1 else f"{len(days)} days, {days[0]} to {days[-1]}", failed[days[0]])
        for days in groups.values()
    ]


def _build_table(report: RunReport) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    by_month = report.request.day_count > _MAX_DAILY_ROWS
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


def _build_json(report: BackfillReport) -> BackfillOutput:
    request = report.plan.request
    requested = [request.first + n * timedelta(days=1) for n in range(request.day_count)]
    runs = list(report.runs.values())
    executions = report.runs.get(EXECUTIONS.name)
    days = executions.days if executions else {}
    return BackfillOutput(
        backfill_id=report.plan.backfill_id,
        run_id=runs[0].run_id if runs else None,
        outcome=str(report.outcome),
        first=request.first,
        last=request.last,
        days={
            day: BackfillDay(counts.executions, counts.rows_changed) for day, counts in sorted(days.items())
        },
        unrecorded_days=[day for day in requested if day not in days] if executions else [],
        failed_days=dict(sorted(executions.failed.items())) if executions else {},
        failed_sources=[SourceFailure(name, reason) for run in runs for name, reason in run.refused.items()],
        metrics=executions.numbers if executions else {},
        warnings=[warning for run in runs for warning in _list_warnings(run)],
        error=next((run.message for run in runs if run.message), None),
        stages=[
            _build_stage_json(planned.stage.name, report.runs.get(planned.stage.name), planned.is_complete)
            for planned in report.plan.stages
        ],
        resume_command=report.resume_command,
        log_file=str(runs[0].log) if runs and runs[0].log else None,
    )


def _build_stage_json(name: str, run: RunReport | None, is_complete: bool) -> BackfillStage:
    if run is None:
        return BackfillStage(name, None, "complete" if is_complete else "not started", [], {}, {}, [], None)
    return BackfillStage(
        name,
        run.run_id,
        str(run.outcome),
        sorted(run.days),
        dict(sorted(run.failed.items())),
        run.numbers,
        _list_warnings(run),
        run.message or None,
    )
