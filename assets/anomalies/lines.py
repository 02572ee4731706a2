"""Decode one line of a result object, in any format that the service has used.

Lines are decoded strictly. Unrecognized members are kept, and the line is used. A line that is not JSON or
has a member of the wrong type is rejected with a reason.
"""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

_CSV_COLUMNS = 2
_CSV_PREDICTIONS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


class _Contribution(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    value: float


class ResultLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line as the service wrote it; members that a format lacks are None.

    A `timestamp` without a zone is in UTC, also for schedulers with a time zone offset. `diagnostics` are the
    contributions of all sensors; None and an empty list both mean that there are none.
    """

    timestamp: datetime
    prediction: Literal[0, 1] | None = None
    prediction_reason: str | None = None
    anomaly_score: float | None = None
    diagnostics: list[_Contribution] | None = None


class _LenientContribution(_Contribution, forbid_unknown_fields=False, gc=False):
    pass


class _LenientResultLine(ResultLine, forbid_unknown_fields=False, gc=False):
    diagnostics: list[_LenientContribution] | None = None  # type: ignore[assignment]


_strict_decoder = msgspec.json.Decoder(ResultLine)
_lenient_decoder = msgspec.json.Decoder(_LenientResultLine)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RECOGNIZED = frozenset(ResultLine.__struct_fields__)
_RECOGNIZED_IN_CONTRIBUTION = frozenset(_Contribution.__struct_fields__)


class InvalidLineError(Exception):
    """A line that cannot be used; the message is the reason."""


def parse_json_line(text: bytes) -> tuple[ResultLine, str | None]:
    """Parse a line of JSON.

    Returns:
        The line, and its unrecognized members as JSON (None: there are none).

    Raises:
        InvalidLineError: the line is not JSON, or not a result line.
    """
    try:
        try:
            return _strict_decoder.decode(text), None
        except msgspec.ValidationError:  # before the end of the line, which can be truncated
            return _parse_leniently(text)
    except UnicodeDecodeError as error:
        raise InvalidLineError(f"not UTF-8: {error.reason}") from None
    except msgspec.ValidationError as error:
        raise InvalidLineError(f"not a result line: {error}") from None
    except RecursionError:
        raise InvalidLineError("nested too deeply") from None
    except ValueError as error:  # msgspec.DecodeError, and integers that are too long
        raise InvalidLineError(f"not JSON: {error}") from None


def _parse_leniently(text: bytes) -> tuple[ResultLine, str | None]:
    line = _lenient_decoder.decode(text)
    members = _members_decoder.decode(text)
    unrecognized: dict[str, Any] = {name: members[name] for name in sorted(members.keys() - _RECOGNIZED)}
    if contributions := _find_unrecognized_contributions(members):
        unrecognized["diagnostics"] = contributions
    return line, msgspec.json.encode(unrecognized).decode() if unrecognized else None  # may not be UTF-8


def _find_unrecognized_contributions(members: Mapping[str, msgspec.Raw]) -> list[dict[str, Any]]:
    contributions = msgspec.json.decode(members.get("diagnostics", b"null"), type=list[dict[str, Any]] | None)
    return [
        {name: value for name, value in contribution.items() if name != "value"}
        for contribution in contributions or []
        if contribution.keys() - _RECOGNIZED_IN_CONTRIBUTION
    ]


def parse_csv_line(text: bytes) -> ResultLine:
    """Parse a line of the preview's CSV format, `Timestamp,Predictions`.

    Raises:
        InvalidLineError: the line is not such a line.
    """
    try:
        fields = next(csv.reader([text.decode()], strict=True), [])
    except UnicodeDecodeError as error:
        raise InvalidLineError(f"not UTF-8: {error.reason}") from None
    except csv.Error as error:
        raise InvalidLineError(f"not CSV: {error}") from None
    if len(fields) != _CSV_COLUMNS:
        raise InvalidLineError(f"not a CSV line with two columns: it has {len(fields)}")
    timestamp, prediction = (field.strip() for field in fields)
    if prediction not in _CSV_PREDICTIONS:
        raise InvalidLineError(f"the prediction is neither 0 nor 1: {prediction!r}")
    try:
        time = datetime.fromisoformat(timestamp)
    except ValueError:
        raise InvalidLineError(f"the timestamp is not in ISO 8601: {timestamp!r}") from None
    return ResultLine(time, _CSV_PREDICTIONS[prediction])  # type: ignore[arg-type]


def round_to_milliseconds(time: datetime) -> datetime:
    """Convert a line's time to UTC without a zone, rounded to the millisecond, halves up.

    Raises:
        InvalidLineError: the time is outside the range of `datetime`.
    """
    try:
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
        excess = time.microsecond % 1000
        if excess:
            time += timedelta(microseconds=1000 - excess if excess >= 500 else -excess)  # noqa: PLR2004
    except OverflowError:
        raise InvalidLineError(f"the timestamp is out of range: {time}") from None
    return time
