"""`ledger record`: save the answers of a service that still runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipelines.cli.arguments import parse_day
from pipelines.cli.json_output import RecordOutput, SourceFailure
from pipelines.cli.options import HistoryFrom, Json, SchedulerPatterns
from pipelines.cli.output import format_count, open_console, print_json
from pipelines.operations.recording import Recorder, RecordingProgress
from resources.clock import utc_now
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.sources.base import LiveService
from resources.sources.call_budget import CallBudget
from resources.sources.factory import open_sources
from resources.storage.open import parse_scheme
from resources.storage.recording_store import open_recording_store

EXAMPLES = (
    "ledger record --to recording/",
    "ledger record --to s3://plant-a/recording/ --from 2026-01-01 --through 2026-10-07",
    "ledger record --to recording/ --scheduler 'pump-*' --max-calls 1000",
)
_EXIT_INTERRUPTED = 130
_MAX_LINES = 10


def record(  # noqa: PLR0913, PLR0917 (each is an option)
    target: Annotated[
        str, typer.Option("--to", metavar="URI", help="Folder or s3:// prefix of the recording.")
    ],
    first: Annotated[str | None, HistoryFrom] = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--through",
            metavar="DAY",
            help="Last day (UTC), included. Default: the last day of the history, at most today.",
        ),
    ] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    max_calls: Annotated[
        int | None,
        typer.Option(
            "--max-calls",
            min=1,
            metavar="N",
            help="Stop after N API calls. Default: limits.max_calls_per_run of the settings.",
        ),
    ] = None,
    bucket_owner: Annotated[
        str | None,
        typer.Option(
            "--expected-bucket-owner",
            metavar="ACCOUNT",
            help="Account that must own the bucket of --to. Other buckets are refused.",
        ),
    ] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Save all answers of the api sources, exactly as received.

    Writes WARC files with each request, response, time and hash. Each page is stored before the next one is
    requested, and each file is read back and checked. After Ctrl-C, a kill or an error, the same command
    continues, and requests no stored page again. Days that had settled are not recorded twice; other days
    are. An archive source reads the files, and they prove days complete as live answers do. Exit code 1:
    something is not recorded, and the output says what; 130: stopped.
    """
    settings = load_settings()
    services = _open_services(settings, max_calls)
    days = _select_days(settings, first, last)
    console = open_console(stderr=as_json)
    store = open_recording_store(target, bucket_owner)
    with _show_progress(console) as update:
        recorder = Recorder(
            store,
            days,
            schedulers or (),
            timedelta(minutes=settings.history.settle_after_minutes),
            utc_now,
            update,
        )
        progress = recorder.record(services)
    calls = services[0].calls
    again = _build_command(target, days, schedulers or [], bucket_owner)
    steps = _list_next_steps(store.uri) if progress.is_complete else [again]
    if as_json:
        print_json(_build_output(progress, store.uri, days, calls, steps))
    else:
        _print(console, progress, store.uri, days, calls, steps)
    if not progress.is_complete:
        raise typer.Exit(_EXIT_INTERRUPTED if progress.is_stopped else 1)


def _open_services(settings: Settings, max_calls: int | None) -> list[LiveService]:
    """Open the live sources with one call budget for all."""
    services = [source.service for source in open_sources(settings) if source.service]
    if not services:
        raise ConfigurationError(
            "Cannot record: the settings have no source of the kind api",
            where=f"{settings.config_file}: sources",
            next_step='add one: [[sources]] with kind = "api" and region = "eu-west-1"',
        )
    calls = CallBudget(settings.limits.max_calls_per_run if max_calls is None else max_calls)
    for service in services:
        service.calls, service.fails_fast = calls, True
    return services


def _select_days(settings: Settings, first: str | None, last: str | None) -> list[date]:
    today, history = utc_now().date(), settings.history
    begin = parse_day(first, "--from", today) if first else history.start_date
    latest = min(today, history.end_date - timedelta(days=1)) if history.end_date else today
    end = parse_day(last, "--through", today) if last else latest
    if begin > end or end > today:
        reason = f"--through {end} is after today" if end > today else f"--from {begin} is later than {end}"
        raise ConfigurationError(
            f"Cannot record these days: {reason}",
            where="the command line",
            next_step=f"use --from DAY --through DAY, at most --through {today}",
        )
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]


@contextmanager
def _show_progress(console: Console) -> Iterator["_Update"]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("queries{task.fields[numbers]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield _Update(bar)


class _Update:
    """Shows the progress; without a terminal, prints a line after each tenth of the queries."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("recording", total=None, numbers="")
        self._printed_tenths = 0

    def __call__(self, progress: RecordingProgress) -> None:
        numbers = f", {progress.pages:,} pages, {progress.executions:,} executions"
        self._bar.update(
            self._task, total=progress.queries or None, completed=progress.completed, numbers=numbers
        )
        tenths = 10 * progress.completed // max(progress.queries, 1)
        if not self._bar.console.is_terminal and tenths > self._printed_tenths:
            self._printed_tenths = tenths
            self._bar.console.print(f"{progress.completed:,} of {progress.queries:,} queries{numbers}")


def _build_command(target: str, days: Sequence[date], patterns: Sequence[str], owner: str | None) -> str:
    words = ["ledger record", f"--to {quote(target)}", f"--from {days[0]}", f"--through {days[-1]}"]
    words += [f"--expected-bucket-owner {quote(owner)}"] if owner else []
    return " ".join([*words, *(f"--scheduler {quote(pattern)}" for pattern in patterns)])


def _list_next_steps(uri: str) -> list[str]:
    if parse_scheme(uri):
        return [f'add to ledger.toml: [[sources]] kind = "archive", uri = "{uri}"']
    return [f"ledger import {quote(uri)} --register"]


def _build_output(
    progress: RecordingProgress, uri: str, days: Sequence[date], calls: CallBudget, steps: list[str]
) -> RecordOutput:
    return RecordOutput(
        uri=uri,
        first=days[0],
        last=days[-1],
        complete=progress.is_complete,
        schedulers=progress.schedulers,
        queries=progress.queries,
        completed_queries=progress.completed,
        pages=progress.pages,
        executions=progress.executions,
        files=sorted(progress.files),
        already_recorded_days=progress.settled_days,
        calls=calls.count,
        throttled=calls.throttled,
        notices=progress.notices,
        failed_sources=[SourceFailure(name, str(error)) for name, error in sorted(progress.failed.items())],
        error=str(progress.budget_error) if progress.budget_error else None,
        next_steps=steps,
    )


def _print(
    console: Console,
    progress: RecordingProgress,
    uri: str,
    days: Sequence[date],
    calls: CallBudget,
    steps: Sequence[str],
) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    done = f"{progress.completed:,} of {progress.queries:,} queries recorded and verified"
    if not progress.queries and progress.is_complete:
        done = "everything was already recorded"
    line(f"{days[0]} to {days[-1]}, {format_count(progress.schedulers, 'scheduler')}: {done} in {uri}")
    line(
        f"{format_count(progress.pages, 'new page')} with {format_count(progress.executions, 'execution')},"
        f" {format_count(calls.count, 'call')} ({calls.throttled:,} throttled)"
    )
    if progress.settled_days:
        line(f"{progress.settled_days:,} days of schedulers were already recorded.")
    errors = [f"{name}: {error}" for name, error in sorted(progress.failed.items())]
    problems = [*progress.notices, *errors, *([str(progress.budget_error)] if progress.budget_error else [])]
    for problem in problems[:_MAX_LINES]:
        line(f"! {problem}", "yellow")
    if len(problems) > _MAX_LINES:
        line(f"! {len(problems) - _MAX_LINES} more; --json lists all of them", "yellow")
    line(
        "Next:"
        if progress.is_complete
        else "Stopped. To continue:"
        if progress.is_stopped
        else "To continue:"
    )
    for step in steps:
        line(f"  {step}", "bold")
