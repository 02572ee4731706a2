"""Saved times to instants in UTC, to the millisecond.

The service writes epoch seconds (as Java doubles), AWS CLI v1 epoch seconds, CLI v2 ISO 8601 in the zone of
the machine that ran it, `json.dumps(response, default=str)` the same with a blank instead of the T.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import INSTANT

RawTimestamp = float | str | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""Milliseconds of the years 1 to 9999; Arrow and doubles go further, dates (and so days) do not."""
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_HALF_A_MILLISECOND = pa.scalar(timedelta(microseconds=500), pa.duration("us"))


def parse_timestamps(
    saved: Sequence[RawTimestamp], zone: tzinfo | None = None
) -> tuple[pa.Array, dict[int, str]]:
    """Turn saved times into `timestamp[ms, UTC]`, halves rounded up.

    Args:
        saved: epoch seconds, ISO 8601 texts, or None.
        zone: the zone of texts that carry none; without it such a text is no instant.

    Returns:
        One instant for each value, null where there was none or it could not be read, and for each
        position that could not be read the reason why.
    """
    for whole in (_from_numbers, _from_texts):
        try:
            return whole(saved), {}
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            continue
    return _one_by_one(saved, zone)


def _from_numbers(saved: Sequence[RawTimestamp]) -> pa.Array:
    known = pa.array(saved, pa.float64())
    absent = known.is_null().to_numpy(zero_copy_only=False)
    seconds = np.where(absent, 0, known.to_numpy(zero_copy_only=False))
    if not ((seconds >= _FIRST / 1000) & (seconds <= _LAST / 1000)).all():  # nor is NaN
        raise pa.ArrowInvalid("a number beyond the calendar")
    return pa.array(_rounded(seconds), mask=absent).cast(pa.int64()).cast(INSTANT)


def _rounded(seconds: Any) -> Any:  # noqa: ANN401 (a number or an array of numbers)
    # by way of microseconds: a double just misses half a millisecond, which a text spells exactly
    return np.floor(np.rint(seconds * 1e6) / 1000 + 0.5)


def _from_texts(saved: Sequence[RawTimestamp]) -> pa.Array:
    # Arrow refuses a text without a zone where the type has one: exactly what is wanted here
    exact = pa.array(saved, pa.string()).cast(_MICROSECONDS)
    found = pc.floor_temporal(pc.add(exact, _HALF_A_MILLISECOND), unit="millisecond").cast(INSTANT)
    bounds = pc.min_max(found.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not _FIRST <= bounds["min"] <= bounds["max"] <= _LAST:
        raise pa.ArrowInvalid("a text beyond the calendar")
    return found


def _one_by_one(saved: Sequence[RawTimestamp], zone: tzinfo | None) -> tuple[pa.Array, dict[int, str]]:
    found: list[int | None] = []
    reasons: dict[int, str] = {}
    for position, value in enumerate(saved):
        try:
            found.append(None if value is None else _milliseconds(value, zone))
        except (ValueError, OverflowError) as problem:
            found.append(None)
            reasons[position] = str(problem)
    return pa.array(found, pa.int64()).cast(INSTANT), reasons


def _milliseconds(value: float | str, zone: tzinfo | None) -> int:
    if isinstance(value, str):
        return _of_text(value, zone)
    if not _FIRST / 1000 <= value <= _LAST / 1000:
        raise ValueError(f"{value!r} is no time in epoch seconds")
    return int(_rounded(value))


def _of_text(text: str, zone: tzinfo | None) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time in ISO 8601") from None
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text!r} has no zone; set time_zone on the source if you know it")
        moment = moment.replace(tzinfo=zone)
    milliseconds = ((moment - _EPOCH) // timedelta(microseconds=1) + 500) // 1000
    if not _FIRST <= milliseconds <= _LAST:
        raise ValueError(f"{text!r} lies beyond the calendar")
    return milliseconds
