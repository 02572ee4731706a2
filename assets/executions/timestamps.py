"""Parsing of timestamps to UTC, with a resolution of milliseconds.

Saved responses contain these formats:

- The service and AWS CLI v1: epoch seconds; the service writes them as Java doubles.
- AWS CLI v2: ISO 8601 in the time zone of the machine.
- `json.dumps(response, default=str)`: the same, with a space instead of the T.
- PowerShell's `ConvertTo-Json`: `/Date(1791331260000)/`, in epoch milliseconds.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import numpy as np
import pyarrow as pa

from assets.tables import INSTANT

RawTimestamp = float | str | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""Range of Python dates (years 1 to 9999) in epoch milliseconds; Arrow timestamps and doubles exceed it."""
_POWERSHELL_DATE = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/", re.ASCII)
"""The offset names the zone of the machine; the number is in UTC."""

_MAX_QUOTED = 100
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_HALF_A_MILLISECOND = 500  # microseconds


def parse_timestamps(
    values: Sequence[RawTimestamp], zone: tzinfo | None = None
) -> tuple[pa.Array, dict[int, str]]:
    """Parse timestamps to `timestamp[ms, UTC]`, rounding half milliseconds up.

    Args:
        values: epoch seconds, ISO 8601 texts, or None.
        zone: the time zone of texts without an offset; if None, such texts are rejected.

    Returns:
        The timestamps, null for None and for rejected values, and the reasons of the rejected values by
        position.
    """
    for parse_all in (_parse_numbers, _parse_texts):
        try:
            return parse_all(values), {}
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            continue
    return _parse_each(values, zone)


def parse_timestamp_texts(
    texts: pa.StringArray, zone: tzinfo | None = None
) -> tuple[pa.Array, dict[int, str]]:
    """Parse texts as `parse_timestamps` does."""
    try:
        return _cast_texts(texts), {}
    except pa.ArrowInvalid:
        return _parse_each(texts.to_pylist(), zone)


def _parse_numbers(values: Sequence[RawTimestamp]) -> pa.Array:
    numbers = pa.array(values, pa.float64())
    is_null = numbers.is_null().to_numpy(zero_copy_only=False)
    seconds = np.where(is_null, 0, numbers.to_numpy(zero_copy_only=False))
    if not ((seconds >= _FIRST / 1000) & (seconds <= _LAST / 1000)).all():  # False for NaN, too
        raise pa.ArrowInvalid("number out of range")
    return pa.array(_round_to_milliseconds(seconds), mask=is_null).cast(pa.int64()).cast(INSTANT)


def _round_to_milliseconds(seconds: Any) -> Any:  # noqa: ANN401 (a number or an array of numbers)
    # Round to microseconds first: doubles cannot represent half a millisecond exactly, but texts can.
    return np.floor(np.rint(seconds * 1e6) / 1000 + 0.5)


def _parse_texts(values: Sequence[RawTimestamp]) -> pa.Array:
    return _cast_texts(pa.array(values, pa.string()))


def _cast_texts(texts: pa.StringArray) -> pa.Array:
    # Arrow raises an error for a text without an offset, because the type has a time zone.
    exact = texts.cast(_MICROSECONDS).cast(pa.int64())
    is_null = exact.is_null().to_numpy(zero_copy_only=False) if exact.null_count else None
    microseconds = exact.fill_null(0).to_numpy() if exact.null_count else exact.to_numpy()
    milliseconds = (microseconds + _HALF_A_MILLISECOND) // 1000
    if len(texts) and not _FIRST <= milliseconds.min() <= milliseconds.max() <= _LAST:
        raise pa.ArrowInvalid("text out of range")
    return pa.array(milliseconds, mask=is_null).cast(INSTANT)


def _parse_each(values: Sequence[RawTimestamp], zone: tzinfo | None) -> tuple[pa.Array, dict[int, str]]:
    milliseconds: list[int | None] = []
    reasons: dict[int, str] = {}
    for position, value in enumerate(values):
        try:
            milliseconds.append(None if value is None else _parse_milliseconds(value, zone))
        except (ValueError, OverflowError) as error:
            milliseconds.append(None)
            reasons[position] = str(error)
    return pa.array(milliseconds, pa.int64()).cast(INSTANT), reasons


def _parse_milliseconds(value: float | str, zone: tzinfo | None) -> int:
    if isinstance(value, str):
        return _parse_text(value, zone)
    if not _FIRST / 1000 <= value <= _LAST / 1000:
        raise ValueError(f"{value!r} is not a timestamp in epoch seconds")
    return int(_round_to_milliseconds(value))


def _parse_text(text: str, zone: tzinfo | None) -> int:
    if match := _POWERSHELL_DATE.fullmatch(text):
        return _parse_milliseconds(int(match[1]) / 1000, zone)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text[:_MAX_QUOTED]!r} is not an ISO 8601 timestamp") from None
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text!r} has no time zone; set time_zone of the source if you know it")
        moment = moment.replace(tzinfo=zone)
    milliseconds = ((moment - _EPOCH) // timedelta(microseconds=1) + 500) // 1000
    if not _FIRST <= milliseconds <= _LAST:
        raise ValueError(f"{text!r} is outside the years 1 to 9999")
    return milliseconds
