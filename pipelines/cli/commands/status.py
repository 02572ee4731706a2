"""`ledger status`: the state of each day of each scheduler."""

from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.cli.arguments import last_day, parse_range
from pipelines.cli.calendar import LETTERS, STYLES, draw_calendar, label
from pipelines.cli.json_output import (
    ForgetOperationItem,
    StatusActionItem,
    StatusDamagedFile,
    StatusOutput,
    StatusScheduler,
    StatusSourceFailure,
    StatusUnknown,
)
from pipelines.cli.options import From, Json, SchedulerPatterns, To
from pipelines.cli.output import open_console, print_json
from pipelines.operations.lake_status import DataExtent, LakeStatus, inspect_lake
from resources.clock import utc_now
from resources.config.settings import load_settings
from resources.diagnostics import LIST_DAMAGED_FILES
from resources.lake.lake import Lake

EXAMPLES = (
    "ledger status",
    "ledger status --from 2026-09-01 --to 2026-10-07",
    "ledger status --scheduler 'pump-*' --json",
)
_CALENDAR_RANGE = timedelta(days=61)
_MAX_ITEMS = 10
_MAX_NAMES = 3


def status(
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Show the state of each day of each scheduler.

    Prints a calendar with one letter for each day; capital letters need action. Below it, the command lists
    each action with the command to run, and the sources and saved responses that a run could not read. It
    reads the lake and the Dagster runs, and calls no service. Default range: the whole history, or, if no
    service can add days, those that are extracted or in saved responses. The calendar shows the last two
    months of it. Exit code 1: something needs action.
    """
    settings, now = load_settings(), utc_now()
    lake = Lake.from_settings(settings)
    extent = DataExtent.load(lake, settings, now.date())
    history = extent.history
    span = None if first or last else extent.find_range()
    begin, end = span or (history.first, max(last_day(history, now.date()), history.first))
    days = parse_range(first or str(begin), last or str(end), history, now.date())
    lake_status = inspect_lake(lake, settings, extent, days, now, schedulers or ())
    if as_json:
        print_json(_build_json(lake_status, lake.uri, now))
    else:
        console = open_console()
        origin = f" ({settings.config_file})" if settings.config_file else ""
        line = f"{lake.uri}, as of {now:%Y-%m-%d %H:%M} UTC{origin}"
        console.print(line, soft_wrap=True)
        if span:
            console.print(f"Days that are extracted or in saved responses: {begin} to {end}")
        _print_calendar(console, lake_status, is_default_range=first is None)
        _print_failed_sources(console, lake_status)
        _print_unknown(console, lake_status)
        _print_outside_history(console, lake_status)
        _print_damaged_files(console, lake_status)
        _print_forgotten(console, lake_status)
        print_action_items(console, lake_status)
    if lake_status.needs_action:
        raise typer.Exit(1)


def _print_calendar(console: Console, lake_status: LakeStatus, *, is_default_range: bool) -> None:
    days = lake_status.days
    shown = [day for day in days if not is_default_range or day > days[-1] - _CALENDAR_RANGE]
    if is_default_range and not lake_status.schedulers:
        console.print("Nothing is recorded yet.")
    elif lake_status.schedulers:
        console.print()
        lines = draw_calendar(lake_status.schedulers, shown, console.width)
        console.print(*lines, sep="\n", soft_wrap=True)  # at once, because a call costs more than a line
        console.print()
        console.print(_build_legend(lake_status))
    if len(shown) < len(days):
        console.print(
            f"The counts start on {days[0]}; --from {days[0]} also shows the days before {shown[0]}.",
            style="dim",
        )
    console.print()


def _build_legend(lake_status: LakeStatus) -> Table:
    """Return a row for each state that has a letter; long meanings wrap in their column."""
    legend = Table.grid(padding=(0, 2, 0, 0))
    for width in (None, 14):
        legend.add_column(width=width, no_wrap=True)
    legend.add_column(width=7, no_wrap=True, justify="right")
    legend.add_column()
    for state, count in lake_status.totals.items():
        if LETTERS[state].strip():
            legend.add_row(Text(LETTERS[state], STYLES[state]), label(state), f"{count:,}", state.meaning)
    return legend


def _print_failed_sources(console: Console, lake_status: LakeStatus) -> None:
    if lake_status.runs_error:
        console.print(
            Text(f"! Failed runs are not known. {lake_status.runs_error}", "yellow"), soft_wrap=True
        )
    if not lake_status.refused:
        return
    console.print("Not read by the last run:", style="bold")
    for source in lake_status.refused[:_MAX_ITEMS]:
        when = f"in {source.runs_in_a_row} runs since" if source.runs_in_a_row > 1 else "at"
        console.print(Text(f"{source.name}, {when} {source.since:%Y-%m-%d %H:%M} UTC"), soft_wrap=True)
        console.print(Text(f"  {' '.join(source.reason.split())}"), soft_wrap=True)
    if len(lake_status.refused) > _MAX_ITEMS:
        console.print(f"{len(lake_status.refused) - _MAX_ITEMS} more; --json lists all of them.")
    console.print(Text("  ledger doctor", "bold"))


def _print_unknown(console: Console, lake_status: LakeStatus) -> None:
    for unknown in lake_status.unknown:
        when = f"{unknown.first}" if unknown.first == unknown.last else f"{unknown.first} to {unknown.last}"
        line = Text(f"{unknown.state.capitalize()}: ", "bold").append(f"{unknown.text}, {when}", "not bold")
        console.print(line, soft_wrap=True)
        console.print(Text(f"  {unknown.command}", "bold"), soft_wrap=True)


def _print_outside_history(console: Console, lake_status: LakeStatus) -> None:
    for message in lake_status.outside_history:
        console.print(Text("Not recorded: ", "bold").append(message, "not bold"), soft_wrap=True)


def _print_damaged_files(console: Console, lake_status: LakeStatus) -> None:
    count = len(lake_status.damaged_files)
    if not count:
        return
    first = lake_status.damaged_files[0]
    files = "1 saved response," if count == 1 else f"{count:,} saved responses, the first is"
    message = f"{files} {first.uri}: {first.reason}. Save it again, or remove it."
    console.print(Text("Not read completely: ", "bold").append(message, "not bold"), soft_wrap=True)
    if count > 1:
        console.print(Text(f"  {LIST_DAMAGED_FILES}", "bold"), soft_wrap=True)


def _print_forgotten(console: Console, lake_status: LakeStatus) -> None:
    """Show what is skipped, and operations that a stop left unfinished."""
    active = [operation for operation in lake_status.forgotten if operation.is_active]
    for operation in active[-_MAX_ITEMS:]:
        text = f"{operation.describe()}, {operation.started_at:%Y-%m-%d %H:%M} UTC, {operation.operation_id}"
        console.print(Text("Forgotten: ", "bold").append(text, "not bold"), soft_wrap=True)
        if not operation.is_finished:
            console.print("  It is unfinished. Repeat the command to complete it:", soft_wrap=True)
            console.print(Text(f"  {operation.command}", "bold"), soft_wrap=True)
        elif operation.executions_kept:
            kept = f"  {operation.executions_kept:,} executions stay until their other sources can be read."
            console.print(kept, soft_wrap=True)
    if len(active) > _MAX_ITEMS:
        console.print(f"{len(active) - _MAX_ITEMS} more; ledger forget lists all of them.")


def print_action_items(console: Console, lake_status: LakeStatus) -> None:
    """Print what needs action with the commands to run, or that nothing does."""
    items = lake_status.action_items
    if not lake_status.needs_action:
        scope = " for the days of the history" if lake_status.outside_history else ""
        scope = " for the extraction" if lake_status.unknown else scope
        scope = " for the days in the lake" if lake_status.runs_error else scope
        # one failure of a source can be temporary
        is_complete = not lake_status.refused and not lake_status.damaged_files
        action = "No action" if is_complete else "No other action"
        console.print(f"{action} needed{scope}.")
    if not items:
        return
    console.print("1 action needed:" if len(items) == 1 else f"{len(items)} actions needed:", style="bold")
    for item in items[:_MAX_ITEMS]:
        names = ", ".join(item.schedulers[:_MAX_NAMES]) or "all schedulers"
        if len(item.schedulers) > _MAX_NAMES:
            names += f" and {len(item.schedulers) - _MAX_NAMES} more"
        when = f"{item.first}" if item.first == item.last else f"{item.first} to {item.last}"
        console.print(Text(f"{label(item.state)}: {when}, {names}"), soft_wrap=True)
        console.print(Text(f"  {item.command}", "bold"), soft_wrap=True)
    if len(items) > _MAX_ITEMS:
        console.print(f"{len(items) - _MAX_ITEMS} more; --json lists all of them.")


def _build_json(lake_status: LakeStatus, uri: str, now: datetime) -> StatusOutput:
    return StatusOutput(
        lake_uri=uri,
        as_of=now.replace(microsecond=0),
        first=lake_status.days[0],
        last=lake_status.days[-1],
        needs_action=lake_status.needs_action,
        state_counts={str(state): count for state, count in lake_status.totals.items()},
        never_extracted_days=list(lake_status.never_extracted),
        action_items=[
            StatusActionItem(str(item.state), item.first, item.last, list(item.schedulers), item.command)
            for item in lake_status.action_items
        ],
        failed_sources=[
            StatusSourceFailure(
                source.name, source.since.replace(microsecond=0), source.runs_in_a_row, source.reason
            )
            for source in lake_status.refused
        ],
        runs_error=lake_status.runs_error,
        unknown=[
            StatusUnknown(item.state, item.first, item.last, item.text, item.command)
            for item in lake_status.unknown
        ],
        forgotten=[*map(ForgetOperationItem.from_operation, lake_status.forgotten)],
        outside_history=list(lake_status.outside_history),
        damaged_files=[StatusDamagedFile(file.uri, file.reason) for file in lake_status.damaged_files],
        schedulers=[
            StatusScheduler(
                scheduler.scheduler_arn,
                scheduler.scheduler_name,
                {day: str(state) for day, state in scheduler.states.items()},
            )
            for scheduler in lake_status.schedulers
        ],
    )
