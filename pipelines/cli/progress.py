"""The progress bar of a backfill."""

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
    """Show a progress bar; yields the function that updates it from a report."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("days{task.fields[numbers]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=days, numbers="")

        def update(report: RunReport) -> None:
            state = "recording" if report.days else "starting"
            if report.outcome is not None:
                state = str(report.outcome)
            progress.update(
                task, completed=len(report.days), description=state, numbers=_format_numbers(report)
            )

        yield update


def _format_numbers(report: RunReport) -> str:
    if not report.days:
        return ""
    text = f", {sum(day.executions for day in report.days.values()):,} rows"
    for name in ("calls", "throttled"):
        if report.numbers.get(name):
            text += f", {report.numbers[name]:,} {name}"
    return text
