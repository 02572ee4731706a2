"""Types of values that several settings share."""

import re
from datetime import date, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from resources.config.loader import SettingsOrigin
from resources.errors import format_value, suggest
from resources.storage.open import parse_scheme

_S3 = re.compile(r"[sS]3://[A-Za-z0-9._-]+(/.*)?")
_PRINTABLE = re.compile(r"[!-~]+")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_HOST_LENGTH = 253
_ACCOUNT = re.compile(r"[0-9]{12}")
_DAGSTER_NAME = re.compile(r"[A-Za-z0-9_]+")
_OFFSET = re.compile(r"[+-](0[0-9]|1[0-4]):[0-5][0-9]")
_CRON_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of the month": "1-31",
    "month": "1-12",
    "day of the week": "0-7",
}


def _parse_day(value: object) -> date:
    """Accept a TOML date or its text; pydantic would also accept a number or a time."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = str(value).strip()
    try:
        if (day := date.fromisoformat(text)).isoformat() == text:
            return day
    except ValueError:
        pass
    raise ValueError(f"must be a day written as YYYY-MM-DD, not {format_value(value)}")


def _reject_bool(value: object) -> object:
    if isinstance(value, bool):  # an int in Python
        raise ValueError(f"must be a whole number, not {format_value(value)}")  # noqa: TRY004 (for pydantic)
    return value


def _check_zone(name: str) -> str:
    zones = available_timezones() - {"localtime"}  # a link on some systems, not a zone
    if name not in zones:
        raise ValueError(f"{format_value(name)} is not an IANA time zone{suggest(name, zones)}")
    return name


def check_zone_or_offset(name: str) -> str:
    """Return the name of a zone, or an offset such as +02:00; raise ValueError for others."""
    return name if _OFFSET.fullmatch(name) else _check_zone(name)


def _check_dagster_name(name: str) -> str:
    if not _DAGSTER_NAME.fullmatch(name):
        raise ValueError(f"{format_value(name)} must have only letters, digits and underscores")
    return name


def _check_cron(text: str) -> str:
    """Accept the five-field expressions that Dagster's scheduler accepts, if they ever match a day."""
    from dagster._utils.schedules import (  # noqa: PLC0415 (takes a second; defaults are not validated)
        cron_string_iterator,
        has_out_of_range_cron_interval,
        is_valid_cron_string,
    )

    fields = text.split()
    shown = format_value(text)
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(f"{shown} has {len(fields)} fields, not the five of cron: {', '.join(_CRON_FIELDS)}")
    for position, (field, (name, span)) in enumerate(zip(fields, _CRON_FIELDS.items(), strict=True)):
        alone = " ".join(field if index == position else "*" for index in range(len(fields)))
        if not is_valid_cron_string(alone) or has_out_of_range_cron_interval(alone):
            problem = f"{format_value(field)} is not a valid {name} ({span})"
            raise ValueError(f"{shown} is not a cron expression: {problem}")
    expression = " ".join(fields)
    try:
        next(cron_string_iterator(0, expression, "UTC"))
    except ValueError:
        raise ValueError(f"{shown} never runs: none of its months has such a day") from None
    if not is_valid_cron_string(expression):
        raise ValueError(f"{shown} is not a cron expression that Dagster accepts")
    return expression


def _check_account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError(f"{format_value(text)} is not an AWS account: an account has 12 digits")
    return text


def check_web_address(url: str) -> str:
    """Return a URL that can be requested; raise ValueError without the URL, which can be a secret."""
    start = "must be a URL that begins with https:// or http://"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # an invalid IPv6 address or port
        raise ValueError(f"{start}; its host or port is not valid") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError(start)
    if not _PRINTABLE.fullmatch(url):
        raise ValueError(f"{start}, without spaces; encode other than ASCII characters, such as %C3%BC")
    if "@" in parts.netloc:
        raise ValueError(f"{start}, without a user name and a password")
    if port == 0 or not _is_host(parts.hostname or ""):
        raise ValueError(f"{start}; its host or port is not valid")
    return url


def _is_host(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        labels = name.removesuffix(".").split(".")
        return len(name) <= _MAX_HOST_LENGTH and all(map(_HOST_LABEL.fullmatch, labels))
    return True


def resolve_location(*loc: str) -> AfterValidator:
    """Make the local path of the setting `loc` absolute; accept s3:// URIs and reject other schemes."""

    def resolve(text: str, info: ValidationInfo) -> str:
        if not text:
            raise ValueError("is empty")
        scheme = parse_scheme(text)
        if scheme is None:
            base = SettingsOrigin.from_info(info).base_folder(loc)
            try:
                return str((base / Path(text).expanduser()).resolve())
            except RuntimeError as error:  # an unknown user after ~, or cyclic links
                raise ValueError(f"{format_value(text)} is not a usable path: {error}") from error
        if scheme.lower() != "s3":
            raise ValueError(f"{scheme}:// is not supported; use a local path (without file://) or s3://")
        if not _S3.fullmatch(text):
            raise ValueError("must name a bucket right after s3://")
        return "s3" + text[2:]

    return AfterValidator(resolve)


AccountId = Annotated[str, AfterValidator(_check_account)]
DagsterName = Annotated[str, AfterValidator(_check_dagster_name)]
Day = Annotated[date, BeforeValidator(_parse_day)]
Cron = Annotated[str, AfterValidator(_check_cron)]
Count = Annotated[int, BeforeValidator(_reject_bool)]
TimeZone = Annotated[str, AfterValidator(_check_zone)]
TimeZoneOrOffset = Annotated[str, AfterValidator(check_zone_or_offset)]
