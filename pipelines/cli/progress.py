"""The line that shows how an extraction goes: days, rows, calls, and how long it may still take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.runs.launcher import RunReport


@contextmanager
def show_progress(console: Console, days: int) -> Iterator[Callable[[RunReport], None]]:
    """Show a line as long as this lasts; what it gives is to be handed a report whenever there is news."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("days{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=days, told="")

        def watch(report: RunReport) -> None:
            words = "recording" if report.days else "starting"
            if report.outcome is not None:
                words = str(report.outcome)
            progress.update(task, completed=len(report.days), description=words, told=_told(report))

        yield watch


def _told(report: RunReport) -> str:
    if not report.days:
        return ""
    told = f", {sum(day.executions for day in report.days.values()):,} rows"
    if report.numbers.get("calls"):
        told += f", {report.numbers['calls']:,} calls"
    if report.numbers.get("throttled"):
        told += f", {report.numbers['throttled']:,} throttled"
    return told
