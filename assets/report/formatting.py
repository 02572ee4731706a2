"""Formats of values on the page: numbers with units, times in the reader's time zone.

Rounding never changes a share to 0 % or 100 %: 99.97 % is printed as 99.9 %, not as 100 %.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Literal

from assets.framework import durations
from resources.markdown import escape_markdown

Kind = Literal["count", "share", "minutes", "seconds", "score", "instant", "day", "version"]

DASH = "–"
"""Printed for a value that is not known."""

_THIN_SPACE = "\u202f"  # between a number and its unit; does not break
_PERCENT = 100
_UNSAFE_CATEGORIES = {"Cf", "Cc", "Cs"}  # control characters, and those that reverse the text direction
_EXTENSIONS = re.compile(r"(~|(?:(?<=http)|(?<=https)|(?<=ftp)):(?=//))", re.IGNORECASE)
"""What GitHub's Markdown adds: strikethrough, and links without brackets."""

_SAFE_CHARACTERS = "\n\u200c\u200d"  # the last two join letters and emoji


def format_value(value: object, kind: Kind, zone: tzinfo = UTC) -> str:
    """Format a value; None and NaN are a dash.

    Args:
        value: a cell of a query result; minutes and seconds are durations, a share lies between 0 and 1.
        kind: how to format a number.
        zone: the time zone of a timestamp.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, datetime):
        return format_timestamp(value, zone)
    if isinstance(value, date):
        return format_day(value)
    if isinstance(value, int | float):
        return _format_number(float(value), kind)
    return clean_text(str(value))


def format_timestamp(at: datetime, zone: tzinfo) -> str:
    """Return day and minute in a time zone: Thu 1 Oct 06:00."""
    return f"{format_day(local := at.astimezone(zone))} {local:%H:%M}"


def format_day(day: date) -> str:
    """Return a day without its year: Thu 1 Oct."""
    return f"{day:%a} {day.day} {day:%b}"


def format_days(first: date, last: date) -> str:
    """Return a range of days with its year: Thu 1 – Wed 7 October 2026."""
    end = f"{last:%a} {last.day} {last:%B} {last.year}"
    if first == last:
        return end
    if first.year != last.year:
        return f"{first:%a} {first.day} {first:%B} {first.year} – {end}"
    month = f" {first:%B}" if first.month != last.month else ""
    return f"{first:%a} {first.day}{month} – {end}"


def format_share(value: float) -> str:
    """Return a percentage with one decimal, rounded down; 0 % and 100 % only if exact."""
    percent = value * _PERCENT
    if percent in {0, _PERCENT}:
        return f"{percent:.0f}{_THIN_SPACE}%"
    if 0 < percent < 0.1:  # noqa: PLR2004 (the smallest share with one decimal)
        return f"<{_THIN_SPACE}0.1{_THIN_SPACE}%"
    return f"{math.floor(percent * 10 + 1e-9) / 10:.1f}{_THIN_SPACE}%"


def format_duration(minutes: float) -> str:
    """Return a duration in its two largest units: 2 d 4 h, 3 h 20 min, 45 min, 30 s."""
    return durations.format_duration(minutes, _THIN_SPACE)


def pluralize(count: object, word: str) -> str:
    """Return the word, with an s unless the count is 1."""
    return word if count == 1 else f"{word}s"


def clean_text(text: str) -> str:
    """Replace control characters, and characters that reverse the text direction, with U+FFFD."""
    if text.replace(_THIN_SPACE, "").isprintable():
        return text
    return "".join(
        "\ufffd"
        if unicodedata.category(character) in _UNSAFE_CATEGORIES and character not in _SAFE_CHARACTERS
        else character
        for character in text
    )


def escape_line(text: str) -> str:
    """Return text on one line that Markdown shows unchanged, without HTML, links and strikethrough."""
    line = escape_markdown(re.sub(r"\s+", " ", clean_text(text))).replace("&", "&amp;")
    return _EXTENSIONS.sub(r"\\\1", line)


def _format_number(value: float, kind: Kind) -> str:
    return _FORMATS[kind](value) if kind in _FORMATS else f"{value:,.0f}"


_FORMATS: Mapping[Kind, Callable[[float], str]] = {
    "share": format_share,
    "minutes": format_duration,
    "seconds": lambda value: format_duration(value / 60),
    "score": lambda value: f"{value:.2f}",
    "version": lambda value: f"v{value:.0f}",
}
