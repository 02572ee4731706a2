"""The progress of a backfill: one bar for each stage."""

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

from pipelines.runs.backfill import BackfillPlan, BackfillReport
from pipelines.runs.launcher import RunReport


@contextmanager
def show_progress(console: Console, plan: BackfillPlan) -> Iterator[Callable[[BackfillReport], None]]:
    """Show a bar for each stage; yields the function that updates them from a report."""
    columns = (
        TextColumn("{task.fields[stage]}"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("days{task.fields[numbers]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        days = plan.request.day_count
        tasks = {
            planned.stage.name: progress.add_task(
                "complete" if planned.is_complete else "waiting",
                total=days,
                completed=days if planned.is_complete else 0,
                start=False,
                stage=planned.stage.name,
                numbers="",
            )
            for planned in plan.stages
        }
        assets = {planned.stage.name: len(planned.stage.daily_assets) for planned in plan.stages}

        def update(report: BackfillReport) -> None:
            for name, run in report.runs.items():
                task = tasks[name]
                if run.outcome is None:
                    progress.start_task(task)
                progress.update(
                    task,
                    completed=run.partitions // assets[name],
                    description=str(run.outcome or ("recording" if run.partitions else "starting")),
                    numbers=_format_numbers(run),
                )
                if run.outcome is not None:
                    progress.stop_task(task)

        yield update


def _format_numbers(run: RunReport) -> str:
    if not run.days:
        return ""
    rows = sum(day.executions for day in run.days.values())
    text = f", {rows:,} rows" if rows else ""
    for name in ("calls", "throttled"):
        if run.numbers.get(name):
            text += f", {run.numbers[name]:,} {name}"
    return text
