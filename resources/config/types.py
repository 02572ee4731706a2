"""Values of settings: what one may be, whatever it is set for."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from resources.config.loader import SettingsOrigin
from resources.config.validation_errors import format_value, suggest

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters at least: C:/ is a drive
_S3 = re.compile(r"[sS]3://[A-Za-z0-9._-]+(/.*)?")
_OFFSET = re.compile(r"[+-](0[0-9]|1[0-4]):[0-5][0-9]")

_CRON_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/([1-9]\d?))?")
_CRON_FIELDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 7),
}
_DAYS_OF = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _day(value: object) -> date:
    """A TOML date or its text; no number and no time of day, of which pydantic would make a day too."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = str(value).strip()
    try:
        if (day := date.fromisoformat(text)).isoformat() == text:
            return day
    except ValueError:
        pass
    raise ValueError(f"must be a day written as YYYY-MM-DD, not {format_value(value)}")


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):  # which Python counts as 0 and 1
        raise ValueError(f"must be a whole number, not {format_value(value)}")  # noqa: TRY004 (pydantic wants it so)
    return value


def _zone(name: str) -> str:
    zones = available_timezones() - {"localtime"}  # a link that some systems keep among the zones
    if name not in zones:
        raise ValueError(f"{format_value(name)} is no IANA time zone{suggest(name, zones)}")
    return name


def _zone_or_offset(name: str) -> str:
    return name if _OFFSET.fullmatch(name) else _zone(name)


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        names = ", ".join(_CRON_FIELDS)
        raise ValueError(f"{format_value(text)} has {len(fields)} fields, not the five of cron: {names}")
    for field, (name, (lowest, highest)) in zip(fields, _CRON_FIELDS.items(), strict=True):
        for part in field.split(","):
            found = _CRON_PART.fullmatch(part)
            numbers = [int(number) for number in found.groups() if number] if found else []
            if not found or any(not lowest <= number <= highest for number in numbers):
                raise ValueError(
                    f"{format_value(text)} is no cron: "
                    f"{format_value(part)} is no {name} from {lowest} to {highest}"
                )
            if found["last"] and numbers[0] > numbers[1]:
                raise ValueError(f"{format_value(text)} is no cron: {format_value(part)} runs backwards")
    if not _comes(*fields[2:]):
        raise ValueError(f"{format_value(text)} would never come: no month of these has such a day")
    return " ".join(fields)


def _comes(days: str, months: str, weekdays: str) -> bool:
    """Tell whether there is such a day in any year; with both set, cron takes either day."""
    longest = max(_DAYS_OF[month - 1] for month in _numbers(months, 1, 12))
    return weekdays != "*" or min(_numbers(days, 1, 31)) <= longest


def _numbers(field: str, lowest: int, highest: int) -> set[int]:
    found = set[int]()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = lowest if span == "*" else int(first)
        end = int(last) if last else highest if span == "*" or step else begin
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def resolve_location(*loc: str, beside_the_file: bool = False) -> AfterValidator:
    """Make a local path absolute from where it was written; let s3:// pass, and no other scheme.

    Args:
        loc: the place of the setting.
        beside_the_file: a default starts beside the file with the settings, not in the checkout.
    """

    def absolute(text: str, info: ValidationInfo) -> str:
        if not text:
            raise ValueError("is empty")
        scheme = _SCHEME.match(text)
        if scheme is None:
            try:
                return str(
                    (
                        SettingsOrigin.of(info).base(loc, beside_the_file=beside_the_file)
                        / Path(text).expanduser()
                    ).resolve()
                )
            except RuntimeError as error:  # ~nobody, or links in a circle
                raise ValueError(f"{format_value(text)} is no usable path: {error}") from error
        if scheme[1].lower() != "s3":
            raise ValueError(f"{scheme[1]}:// is not supported; local paths (without file://) and s3:// are")
        if not _S3.fullmatch(text):
            raise ValueError("must name a bucket right after s3://")
        return "s3" + text[2:]

    return AfterValidator(absolute)


Day = Annotated[date, BeforeValidator(_day)]
Cron = Annotated[str, AfterValidator(_cron)]
Count = Annotated[int, BeforeValidator(_no_truth_value)]
TimeZone = Annotated[str, AfterValidator(_zone)]
TimeZoneOrOffset = Annotated[str, AfterValidator(_zone_or_offset)]
