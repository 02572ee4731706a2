"""`ledger backfill`: extract a range of days now, and watch it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import From, Json, SchedulerPatterns, To
from resources.clock import utc_now

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from rich.console import Console

    from pipelines.runs.launcher import BackfillRequest, RunReport
    from resources.config.settings import Settings

EXAMPLES = (
    "Examples: **ledger backfill --from 2026-09-01 --to 2026-10-07** ·"
    " **ledger backfill --from 2026-10-01 --to today --scheduler pump-1 --yes** ·"
    " **ledger backfill --resume 5f0c2a4e-…**"
)
_DAYS_SHOWN_ALONE = 31
_INTERRUPTED = 130
_REASONS_TOLD = 10


def backfill(  # noqa: PLR0913, PLR0917 (each is an option that people type)
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    skip_settled: Annotated[
        bool, typer.Option("--skip-settled", help="Leave out what is settled, day by day.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="RUN_ID", help="Do only what that run left undone; its days are known."
        ),
    ] = None,
    max_calls: Annotated[
        int | None,
        typer.Option("--max-calls", min=1, metavar="N", help="Stop after so many calls; what came stays."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to go on.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Extract a range of days now, as a run of Dagster's that its pages show too.

    Days come into the lake one by one, so nothing is lost however it ends: Ctrl-C stops it and says how to go
    on. Exit code 0: all is recorded; 1: some of it failed, the table says what and why; 130: it was stopped.
    """
    import dagster as dg  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from pipelines.cli.output import print_json  # noqa: PLC0415
    from pipelines.cli.progress import show_progress  # noqa: PLC0415
    from pipelines.runs.launcher import RunOutcome, launch  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    settings.require_sources()
    console = Console(highlight=False, stderr=as_json)
    with dg.DagsterInstance.get() as instance:
        if resume is None:
            order = replace(
                _order(settings, first, last, tuple(schedulers or ())),
                skip_settled=skip_settled,
                max_calls=max_calls,
            )
            if not yes:
                _ask(console, settings, order)
        else:
            order = _resumed(instance, resume, first, last, max_calls)
        with show_progress(console, (order.last - order.first).days + 1) as watch:
            report = launch(order, instance, watch)
    if as_json:
        print_json(_as_json(report))
    else:
        _print(console, report)
    if report.outcome is not RunOutcome.recorded:
        raise typer.Exit(_INTERRUPTED if report.outcome is RunOutcome.stopped else 1)


def _order(
    settings: "Settings",
    first: str | None,
    last: str | None,
    schedulers: tuple[str, ...],
) -> "BackfillRequest":
    from assets.framework.time_windows import Days  # noqa: PLC0415
    from pipelines.cli.arguments import parse_range, select_schedulers  # noqa: PLC0415
    from pipelines.operations.backfill_plan import list_sources  # noqa: PLC0415
    from pipelines.runs.launcher import BackfillRequest  # noqa: PLC0415
    from resources.errors import ConfigurationError  # noqa: PLC0415
    from resources.sources.factory import open_sources  # noqa: PLC0415

    if first is None or last is None:
        raise ConfigurationError(
            "which days?",
            where="the command line",
            next_step="say --from DAY --to DAY, or --resume RUN_ID to go on with an earlier run",
        )
    history = Days(settings.history.start_date, settings.history.end_date)
    days = parse_range(first, last, history, utc_now().date())
    if schedulers:  # a slip is told before anything runs; where a source is silent nobody can tell a slip
        found = list_sources(open_sources(settings), days)
        if not found.failed:
            select_schedulers(schedulers, [scheduler for _, scheduler in found.schedulers])
    return BackfillRequest(days[0], days[-1], schedulers)


def _resumed(
    instance: "DagsterInstance", run_id: str, first: str | None, last: str | None, max_calls: int | None
) -> "BackfillRequest":
    from pipelines.runs.launcher import resume_request  # noqa: PLC0415
    from resources.errors import ConfigurationError  # noqa: PLC0415

    order = resume_request(instance, run_id, max_calls)
    meant = (first or str(order.first), last or str(order.last))
    if meant != (str(order.first), str(order.last)):
        raise ConfigurationError(
            f"run {run_id} was over {order.first} to {order.last}, not over {meant[0]} to {meant[1]}",
            where="the command line",
            next_step="leave out --from and --to: the run knows its days",
        )
    return order


def _ask(console: "Console", settings: "Settings", order: "BackfillRequest") -> None:
    """Ask whether to go on; where nobody can answer, --yes must say so."""
    from resources.errors import ConfigurationError  # noqa: PLC0415

    plan = f"ledger plan --from {order.first} --to {order.last}"
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "nobody is here to be asked whether to go on",
            where="standard input is no terminal",
            next_step=f"add --yes; `{plan}` says before what it will cost",
        )
    days = (order.last - order.first).days + 1
    console.print(f"{days} days into {settings.lake.uri} (`{plan}` says what it will cost).", markup=False)
    typer.confirm("Go on?", default=True, abort=True)


def _print(console: "Console", report: "RunReport") -> None:
    from rich.text import Text  # noqa: PLC0415

    from pipelines.runs.launcher import RunOutcome  # noqa: PLC0415

    if report.days or report.failed:
        console.print()
        console.print(_table(report))
    changed = sum(day.rows_changed for day in report.days.values())
    console.print()
    console.print(
        f"{len(report.days):,} days recorded, {changed:,} rows new or changed,"
        f" {report.numbers.get('calls', 0):,} calls ({report.numbers.get('throttled', 0):,} throttled)."
    )
    for warning in report.warnings:
        console.print(Text(f"! {warning}", "yellow"), soft_wrap=True)
    for name, why in [*report.failed.items(), *report.refused.items()][:_REASONS_TOLD]:
        console.print(Text(f"{name}: {why}", "red"), soft_wrap=True)
    if report.outcome is RunOutcome.recorded:
        console.print(f"Run {report.run_id} recorded all of it.")
        return
    if not report.failed and not report.refused and report.outcome is RunOutcome.failed:
        console.print(Text(report.message), soft_wrap=True)
    what = (
        "was stopped; what is above is recorded" if report.outcome is RunOutcome.stopped else "failed in part"
    )
    console.print(f"Run {report.run_id} {what}. The rest, and nothing else, with:")
    console.print(Text(f"  {report.resume_command}", "bold"), soft_wrap=True)
    console.print(f"Its log: {report.log}", soft_wrap=True)


def _table(report: "RunReport") -> Any:  # noqa: ANN401 (rich is loaded late)
    from rich.table import Table  # noqa: PLC0415

    drawn = Table(header_style="bold", box=None, pad_edge=False)
    by_month = (report.order.last - report.order.first).days + 1 > _DAYS_SHOWN_ALONE
    drawn.add_column("month" if by_month else "day")
    for name in ("days", "executions", "changed", "failed"):
        drawn.add_column(name, justify="right")
    for label, days in _groups(sorted({*report.days, *report.failed}), by_month=by_month):
        there = [report.days[day] for day in days if day in report.days]
        drawn.add_row(
            label,
            f"{len(there):,}",
            f"{sum(day.executions for day in there):,}",
            f"{sum(day.rows_changed for day in there):,}",
            str(sum(day in report.failed for day in days) or ""),
        )
    return drawn


def _groups(days: Sequence[date], *, by_month: bool) -> list[tuple[str, list[date]]]:
    groups: dict[str, list[date]] = {}
    for day in days:
        groups.setdefault(f"{day:%Y-%m}" if by_month else day.isoformat(), []).append(day)
    return list(groups.items())


def _as_json(report: "RunReport") -> dict[str, Any]:
    span = (report.order.last - report.order.first).days + 1
    wanted = [report.order.first + n * timedelta(days=1) for n in range(span)]
    return {
        "run_id": report.run_id,
        "outcome": str(report.outcome),
        "from": report.order.first.isoformat(),
        "to": report.order.last.isoformat(),
        "days": {
            day.isoformat(): {"executions": one.executions, "rows_changed": one.rows_changed}
            for day, one in sorted(report.days.items())
        },
        "days_not_recorded": [day.isoformat() for day in wanted if day not in report.days],
        "failed": {day.isoformat(): why for day, why in sorted(report.failed.items())},
        "could_not_be_asked": report.refused,
        "numbers": report.numbers,
        "warnings": report.warnings,
        "message": report.message,
        "resume_command": report.resume_command,
        "log": str(report.log),
    }
