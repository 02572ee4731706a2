"""The calendar of `ledger status`: a row for each scheduler, a letter for each day, months side by side.

Capital letters need action, so the calendar is readable without color.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby

from rich.text import Text

from assets.executions.day_status import DayState, SchedulerStatus
from resources.control_characters import escape_control_characters

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
_ARN_COLONS = 5
"""Colons in an ARN; region and account are its fourth and fifth part."""


def label(state: DayState) -> str:
    """Return the name of a state for display."""
    return state.replace("_", " ")


def draw_calendar(schedulers: Sequence[SchedulerStatus], days: Sequence[date], width: int) -> Iterator[Text]:
    """Draw the calendar line by line.

    Args:
        schedulers: a row for each.
        days: the days, in order.
        width: width of the terminal in characters.
    """
    names = _shorten_names(schedulers)
    margin = max(map(len, names), default=0)
    months = list(_group_months(days))
    months_per_block = max(1, (width - margin) // (_MONTH + 1))
    for start in range(0, len(months), months_per_block):
        block = months[start : start + months_per_block]
        if start:
            yield Text()
        yield Text(" " * margin + _draw_headings(block), "bold")
        yield Text(" " * margin + "".join(f" {_draw_ruler(month)}" for month in block), "dim")
        for name, scheduler in zip(names, schedulers, strict=True):
            yield _draw_row(name.ljust(margin), scheduler, block)


def _draw_row(name: str, scheduler: SchedulerStatus, months: Sequence[Sequence[date]]) -> Text:
    row = Text(name)
    for month in months:
        row.append(" ")
        for state, days in groupby(scheduler.states[day] for day in month):  # one style per period is cheap
            row.append(LETTERS[state] * len(list(days)), STYLES[state])
    row.rstrip()
    return row


def _group_months(days: Sequence[date]) -> Iterator[list[date]]:
    month: list[date] = []
    for day in days:
        if month and (day.year, day.month) != (month[0].year, month[0].month):
            yield month
            month = []
        month.append(day)
    if month:
        yield month


def _draw_headings(months: Sequence[Sequence[date]]) -> str:
    """Write the month, or the first day of a part of it, above its column; the last one has more space."""
    line = ""
    for number, month in enumerate(months):
        width = len(month) if number < len(months) - 1 else _MONTH
        first = month[0]
        texts = [f"{first:%Y-%m}"] if first.day == 1 else [f"{first}", f"{first:%m-%d}"]
        text = next((text for text in [*texts, f"{first:%m}"] if len(text) <= width), "")
        line += f" {text:<{len(month)}}"
    return line


def _draw_ruler(month: Sequence[date]) -> str:
    marks = [" "] * len(month)
    for position, day in enumerate(month):
        text = str(day.day)
        if day.day % 7 == 1 and position + len(text) <= len(month):
            marks[position : position + len(text)] = text
    return "".join(marks)


def _shorten_names(schedulers: Sequence[SchedulerStatus]) -> list[str]:
    """Return the shortest unique names: parts of the ARN are added only to equal names."""
    names = [escape_control_characters(scheduler.scheduler_name) for scheduler in schedulers]
    for get_part in (_get_region, _get_account, _get_id):
        longer = [
            f"{name} {get_part(scheduler.scheduler_arn)}"
            for name, scheduler in zip(names, schedulers, strict=True)
        ]
        variants = {
            name: len({long for n, long in zip(names, longer, strict=True) if n == name}) for name in names
        }
        names = [long if variants[name] > 1 else name for name, long in zip(names, longer, strict=True)]
    return [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]


def _get_region(arn: str) -> str:
    return arn.split(":")[3] if arn.count(":") >= _ARN_COLONS else ""


def _get_account(arn: str) -> str:
    return f"…{arn.split(':')[4][-4:]}" if arn.count(":") >= _ARN_COLONS else ""


def _get_id(arn: str) -> str:
    return arn.rpartition("/")[2][:4]
