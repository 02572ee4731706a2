"""`ledger forget`: remove what a source, a scheduler or some days brought into the lake."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from assets.executions.tombstones import ForgetOperation, read_operations
from assets.removal.days import PlannedDay
from assets.removal.operation import ForgetReport
from assets.tables import INFERENCE_EXECUTIONS
from pipelines.cli.arguments import check_order, parse_day
from pipelines.cli.json_output import ForgetOperationItem, ForgetOutput, ForgetTable, SourceFailure
from pipelines.cli.options import From, Json, To, Yes
from pipelines.cli.output import format_count, open_console, print_json
from pipelines.operations.forgetting import (
    ForgetRequest,
    find_operation,
    lift,
    log_materializations,
    open_forgetting,
)
from resources.clock import utc_now
from resources.config.settings import load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake

EXAMPLES = (
    "ledger forget --file dumps/page-1.json --dry-run",
    "ledger forget --source s3://plant-a/inference/output/ --yes",
    "ledger forget --scheduler pump-1 --from 2026-09-01 --to 2026-09-03",
    "ledger forget",
    "ledger forget --lift 20261129-104500-3f2a",
)
_MAX_ITEMS = 10


def forget(  # noqa: PLR0913 (each is an option)
    *,
    source: Annotated[
        str | None,
        typer.Option(
            help="Source as execution_sources names it, or a folder or prefix with all its files.",
            metavar="URI",
        ),
    ] = None,
    file: Annotated[str | None, typer.Option(help="One file of saved responses.", metavar="URI")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Name or ARN of a scheduler; * and ? match.", metavar="NAME")
    ] = None,
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    lift_id: Annotated[
        str | None,
        typer.Option("--lift", help="Read again what this operation skips.", metavar="ID"),
    ] = None,
    yes: Annotated[bool, Yes] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change nothing.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Remove what a source, a scheduler or some days brought into the lake.

    Combined options select what matches all of them. Without --source and --file, all sources are selected.
    Executions that another source returned too are read again from it. If it cannot be read now, they stay,
    and the output has their number. All derived tables are computed again. What was removed is not recorded
    again until --lift. If the command is stopped, repeat it: it continues. Without options, it lists all
    operations. Exit code 1: executions stay, because their other sources could not be read.
    """
    settings, now = load_settings(), utc_now()
    lake = Lake.from_settings(settings)
    request = _parse_request(source, file, scheduler, first, last, now.date())
    if lift_id or request.is_empty:
        if lift_id and not request.is_empty:
            raise _build_error("Cannot combine --lift with a selection", "use --lift alone")
        lifted = lift(lake, lift_id, now) if lift_id else None
        _show_operations(lake, lifted, as_json=as_json)
        return
    operation = find_operation(lake, settings, request, now)
    console = open_console(stderr=True)
    forgetting = open_forgetting(
        lake, settings, operation, now, lambda text: console.print(text, soft_wrap=True)
    )
    planned = forgetting.plan()
    is_recorded = operation.operation_id in {each.operation_id for each in read_operations(lake)}
    is_nothing = is_recorded and operation.is_finished and not any(day.is_changed for day in planned)
    report = None
    if not as_json:
        _print_plan(open_console(), operation, planned, is_nothing=is_nothing)
    if not dry_run and not is_nothing:
        _confirm(yes=yes, as_json=as_json)
        report = forgetting.execute(planned)
        if problem := log_materializations(settings, report):
            console.print(f"! The Dagster UI shows the old content of the days: {problem}", soft_wrap=True)
    output = _build_output(lake, operation, planned, report, dry_run=dry_run)
    if as_json:
        print_json(output)
    elif report:
        _print_result(open_console(), report, output)
    elif dry_run:
        open_console().print("Nothing was changed.")
    if output.executions_kept:
        raise typer.Exit(1)


def _parse_request(
    source: str | None,
    file: str | None,
    scheduler: str | None,
    first: str | None,
    last: str | None,
    today: date,
) -> ForgetRequest:
    if source and file:
        raise _build_error("Cannot combine --source and --file", "use one of them")
    begin = parse_day(first, "--from", today) if first else None
    end = parse_day(last, "--to", today) if last else None
    if begin and end:
        check_order(begin, end)
    return ForgetRequest(source, file, scheduler, begin, end)


def _build_error(what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(what, where="the command line", next_step=next_step)


def _confirm(*, yes: bool, as_json: bool) -> None:
    if yes:
        return
    if as_json or sys.stdin is None or not sys.stdin.isatty():
        raise _build_error("Cannot remove rows without a confirmation", "use --yes, or --dry-run")
    typer.confirm("Remove these rows?", default=False, abort=True)


def _list_tables(planned: Sequence[PlannedDay]) -> Iterator[ForgetTable]:
    """Yield the rows that are removed, by table."""
    counts: dict[str, dict[date, int]] = {}
    for day in planned:
        for name, rows in {INFERENCE_EXECUTIONS.name: day.removed, **day.results}.items():
            if rows:
                counts.setdefault(name, {})[day.day] = rows
    for name, by_day in counts.items():
        yield ForgetTable(name, sum(by_day.values()), len(by_day), min(by_day), max(by_day))


def _count_other_sources(planned: Sequence[PlannedDay]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for day in planned:
        for name, executions in day.other_sources.items():
            counts[name] = counts.get(name, 0) + executions
    return counts


def _print_plan(
    console: Console, operation: ForgetOperation, planned: Sequence[PlannedDay], *, is_nothing: bool
) -> None:
    console.print(Text(f"Forget {operation.describe()}", "bold"), soft_wrap=True)
    if is_nothing:
        console.print("Nothing is left to forget. To read again:")
        console.print(Text(f"  ledger forget --lift {operation.operation_id}", "bold"), soft_wrap=True)
        return
    if operation.source and operation.sources is not None and len(operation.sources) > 1:
        console.print(f"{len(operation.sources):,} sources are selected.")
    tables = list(_list_tables(planned))
    for table in tables:
        rows, days = format_count(table.rows, "row"), format_count(table.days, "day")
        console.print(f"  {table.table}: {rows} of {days}, {table.first} to {table.last}", soft_wrap=True)
    if not tables:
        console.print("  No row is removed.")
    if unaffected := sum(day.unaffected for day in planned):
        console.print(f"{unaffected:,} executions stay: their values come from other sources.")
    if reread := sum(day.reread for day in planned):
        console.print(f"{reread:,} executions are read again from other sources that returned them:")
        _print_counts(console, _count_other_sources(planned))
    console.print("Events, health and coverage are computed again.")


def _print_counts(console: Console, counts: Mapping[str, int]) -> None:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for name, executions in largest[:_MAX_ITEMS]:
        console.print(f"  {name}: {executions:,}", soft_wrap=True)
    if len(largest) > _MAX_ITEMS:
        console.print(f"  {len(largest) - _MAX_ITEMS} more; --json lists all of them.")


def _print_result(console: Console, report: ForgetReport, output: ForgetOutput) -> None:
    operation = report.operation
    console.print(
        f"Done: {operation.executions_removed:,} executions removed, {operation.executions_reread:,} read"
        f" again. Operation {operation.operation_id}.",
        soft_wrap=True,
    )
    if operation.executions_kept:
        console.print(
            Text(
                f"! {operation.executions_kept:,} executions stay as they were, because their other sources"
                " could not be read. Repeat the command when these can be read:",
                "yellow",
            ),
            soft_wrap=True,
        )
        for failure in output.unreadable_sources[:_MAX_ITEMS]:
            console.print(f"  {failure.name}: {failure.reason}", soft_wrap=True)
    if report.lost_proofs:
        console.print(f"{report.lost_proofs:,} days of schedulers are not proven complete any more.")
    _print_steps(console, output.next_steps)


def _print_steps(console: Console, steps: Sequence[str]) -> None:
    if steps:
        console.print("Next:")
    for step in steps:
        console.print(Text(f"  {step}", "bold"), soft_wrap=True)


def _show_operations(lake: Lake, lifted: ForgetOperation | None, *, as_json: bool) -> None:
    steps = []
    if lifted:
        first = f" --from {lifted.first_date}" if lifted.first_date else ""
        last = f" --to {lifted.last_date}" if lifted.last_date else ""
        steps = [f"ledger backfill{first}{last}"]
    if as_json:
        print_json(_build_output(lake, lifted, (), None, dry_run=False, steps=steps))
        return
    console = open_console()
    items = [*map(ForgetOperationItem.from_operation, read_operations(lake))]
    for item in items:
        counts = f"{item.executions_removed:,} removed, {item.executions_reread:,} read again"
        kept = f", {item.executions_kept:,} kept" if item.executions_kept else ""
        console.print(f"{item.operation_id}  {item.state}: {item.selection} ({counts}{kept})", soft_wrap=True)
    if not items:
        console.print("Nothing was forgotten.")
    _print_steps(console, steps)


def _build_output(
    lake: Lake,
    operation: ForgetOperation | None,
    planned: Sequence[PlannedDay],
    report: ForgetReport | None,
    *,
    dry_run: bool,
    steps: Sequence[str] = (),
) -> ForgetOutput:
    days = sorted(report.changed_days) if report else []
    if days:
        stages = "results,anomalies,health,report" if report and report.unread_results else "report"
        steps = [*steps, f"ledger backfill --from {days[0]} --to {days[-1]} --only {stages}"]
    sources = operation.sources if operation else None
    unreadable = report.unreadable if report else {}
    return ForgetOutput(
        dry_run=dry_run,
        operation_id=operation.operation_id if operation else None,
        sources=None if sources is None else sorted(sources),
        days=len(planned),
        tables=list(_list_tables(planned)),
        executions_reread=sum(day.reread for day in planned),
        executions_unaffected=sum(day.unaffected for day in planned),
        executions_kept=report.operation.executions_kept if report else 0,
        other_sources=_count_other_sources(planned),
        unreadable_sources=[SourceFailure(*item) for item in sorted(unreadable.items())],
        lost_proofs=report.lost_proofs if report else 0,
        operations=[*map(ForgetOperationItem.from_operation, read_operations(lake))],
        next_steps=list(steps),
    )
