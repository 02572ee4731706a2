"""How values are written on a page: numbers with their units, times in the reader's zone.

A share is never rounded up to all or down to nothing: 99.97 % is not 100 %, and one minute a year is not 0 %.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Literal

Kind = Literal["count", "share", "minutes", "seconds", "score", "rate", "instant", "day", "text", "version"]

NOTHING = "–"
"""What stands where nothing is known."""

_THIN = "\u202f"  # between a number and its unit; does not break
_PERCENT = 100
_HOUR, _DAY = 60, 1440
_FEW = 10
_DIRECTIONS = {"Cf", "Cc", "Cs"}  # what would turn the text around, or is no character at all
_KEPT = "\n\u200c\u200d"  # the last two join letters and emoji


def format_value(value: object, kind: Kind, zone: tzinfo = UTC) -> str:
    """Write a value of a kind; None is a dash.

    Args:
        value: what a question answered: minutes and seconds are durations, a share lies between 0 and 1.
        kind: how to write it.
        zone: of instants.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, datetime):
        return format_timestamp(value, zone)
    if isinstance(value, date):
        return format_day(value)
    if isinstance(value, int | float):
        return _number(float(value), kind)
    return format_number(str(value))


def format_timestamp(at: datetime, zone: tzinfo) -> str:
    """Write an instant to the minute, as the clock on the reader's wall shows it."""
    return f"{format_day(local := at.astimezone(zone))} {local:%H:%M}"


def format_day(on: date) -> str:
    """Write a day: Thu 1 Oct."""
    return f"{on:%a} {on.day} {on:%b}"


def format_days(first: date, last: date) -> str:
    """Write a range of days with its year: Thu 1 – Wed 7 October 2026."""
    until = f"{last:%a} {last.day} {last:%B} {last.year}"
    if first == last:
        return until
    if first.year != last.year:
        return f"{first:%a} {first.day} {first:%B} {first.year} – {until}"
    month = f" {first:%B}" if first.month != last.month else ""
    return f"{first:%a} {first.day}{month} – {until}"


def format_share(value: float) -> str:
    """Write a share in percent, to one decimal; all and nothing are said only where they are exact."""
    percent = value * _PERCENT
    if percent in {0, _PERCENT}:
        return f"{percent:.0f}{_THIN}%"
    if 0 < percent < 0.1:  # noqa: PLR2004 (the last decimal that is shown)
        return f"<{_THIN}0.1{_THIN}%"
    return f"{math.floor(percent * 10 + 1e-9) / 10:.1f}{_THIN}%"


def format_duration(minutes: float) -> str:
    """Write a duration in its two largest units: 2 d 4 h, 3 h 20 min, 45 min, 30 s."""
    if 0 < minutes < 1:
        return f"{minutes * 60:.0f}{_THIN}s"
    whole = round(minutes)
    if whole < _HOUR:
        return f"{whole}{_THIN}min"
    larger, smaller, units = (
        (*divmod(whole, _HOUR), ("h", "min"))
        if whole < _DAY
        else (*divmod(round(whole / _HOUR), 24), ("d", "h"))
    )
    rest = f" {smaller}{_THIN}{units[1]}" if smaller else ""
    return f"{larger}{_THIN}{units[0]}{rest}"


def pluralize(count: object, word: str) -> str:
    """Return the word, for one or for many."""
    return word if count == 1 else f"{word}s"


def format_number(text: str) -> str:
    """Return text without characters that are none, or that turn what surrounds them around."""
    if text.replace(_THIN, "").isprintable():
        return text
    return "".join(
        "\ufffd" if unicodedata.category(one) in _DIRECTIONS and one not in _KEPT else one for one in text
    )


def _number(value: float, kind: Kind) -> str:
    few = kind == "rate" and value < _FEW
    write = _NUMBERS.get(kind)
    return write(value) if write else f"{value:,.1f}" if few else f"{value:,.0f}"


_NUMBERS: Mapping[Kind, Callable[[float], str]] = {
    "share": format_share,
    "minutes": format_duration,
    "seconds": lambda value: format_duration(value / 60),
    "score": lambda value: f"{value:.2f}",
    "version": lambda value: f"v{value:.0f}",
}
