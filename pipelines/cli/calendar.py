"""The calendar of `ledger status`: one letter a day, a row for each scheduler, months side by side.

Capital letters need a person. So the calendar can be read in a log file and on paper.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from rich.text import Text

from assets.executions.day_status import DayState, SchedulerStatus

LETTERS: Mapping[DayState, str] = {
    DayState.settled: "=",
    DayState.recorded: "-",
    DayState.open: "o",
    DayState.overdue: "D",
    DayState.stuck: "S",
    DayState.failed: "F",
    DayState.missing: "M",
    DayState.never_extracted: "N",
    DayState.unseen: " ",
}
STYLES: Mapping[DayState, str] = {
    DayState.settled: "green",
    DayState.recorded: "green",
    DayState.open: "cyan",
    DayState.overdue: "black on yellow",
    DayState.stuck: "black on yellow",
    DayState.failed: "white on red",
    DayState.missing: "white on red",
    DayState.never_extracted: "dim",
    DayState.unseen: "",
}
_MONTH = 31
_LONGEST_NAME = 40
_PARTS = 4
"""Colons before the account has ended in an ARN."""


def calendar(schedulers: Sequence[SchedulerStatus], days: Sequence[date], width: int) -> Iterator[Text]:
    """Draw some days of some schedulers, line by line.

    Args:
        schedulers: one row each.
        days: the days, one after the other.
        width: columns of the terminal.
    """
    names = _names(schedulers)
    margin = max(map(len, names), default=0)
    months = [list(month) for month in _months(days)]
    at_once = max(1, (width - margin) // (_MONTH + 1))
    for start in range(0, len(months), at_once):
        shown = months[start : start + at_once]
        if start:
            yield Text()
        yield Text(" " * margin + "".join(f" {_heading(month):<{len(month)}}" for month in shown), "bold")
        yield Text(" " * margin + "".join(f" {_ruler(month)}" for month in shown), "dim")
        for name, one in zip(names, schedulers, strict=True):
            yield _row(name.ljust(margin), one, shown)


def _row(name: str, one: SchedulerStatus, months: Sequence[Sequence[date]]) -> Text:
    row = Text(name)
    for month in months:
        row.append(" ")
        for day in month:
            state = one.states[day]
            row.append(LETTERS[state], STYLES[state])
    row.rstrip()
    return row


def _months(days: Sequence[date]) -> Iterator[list[date]]:
    month: list[date] = []
    for day in days:
        if month and (day.year, day.month) != (month[0].year, month[0].month):
            yield month
            month = []
        month.append(day)
    if month:
        yield month


def _heading(month: Sequence[date]) -> str:
    return f"{month[0]:%Y-%m}"[: max(len(month), 2)]


def _ruler(month: Sequence[date]) -> str:
    marks = [" "] * len(month)
    for position, day in enumerate(month):
        text = str(day.day)
        if day.day % 7 == 1 and position + len(text) <= len(month):
            marks[position : position + len(text)] = text
    return "".join(marks)


def _names(schedulers: Sequence[SchedulerStatus]) -> list[str]:
    """Return names that tell the schedulers apart, with no more than it takes."""
    names = [one.scheduler_name for one in schedulers]
    for more in (_region, _account, _generation):
        longer = [f"{name} {more(one.scheduler_arn)}" for name, one in zip(names, schedulers, strict=True)]
        differ = {
            name: len({long for n, long in zip(names, longer, strict=True) if n == name}) for name in names
        }
        names = [long if differ[name] > 1 else name for name, long in zip(names, longer, strict=True)]
    return [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]


def _region(arn: str) -> str:
    return arn.split(":")[3] if arn.count(":") > _PARTS else ""


def _account(arn: str) -> str:
    return f"…{arn.split(':')[4][-4:]}" if arn.count(":") > _PARTS else ""


def _generation(arn: str) -> str:
    return arn.rpartition("/")[2][:4]
