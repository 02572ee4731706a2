"""One line of a result object, of any age: what it says, or what is wrong with it.

A line is decoded strictly. One with members that nobody knows is used all the same, and they are kept; one
that is no JSON, or has something of a wrong type, is not used, and says why.
"""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

_CSV_COLUMNS = 2
_ZEROS_AND_ONES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


class _Contribution(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    value: float


class ResultLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line as the service wrote it; the younger members may lack, or be null.

    A `timestamp` without a zone is in UTC: a scheduler with an offset wrote UTC too. `diagnostics` are the
    contributions of all sensors; no list and an empty one both mean that there are none.
    """

    timestamp: datetime
    prediction: Literal[0, 1] | None = None
    prediction_reason: str | None = None
    anomaly_score: float | None = None
    diagnostics: list[_Contribution] | None = None


class _ContributionAndMore(_Contribution, forbid_unknown_fields=False, gc=False):
    pass


class _LineAndMore(ResultLine, forbid_unknown_fields=False, gc=False):
    diagnostics: list[_ContributionAndMore] | None = None  # type: ignore[assignment]


_strictly = msgspec.json.Decoder(ResultLine)
_leniently = msgspec.json.Decoder(_LineAndMore)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset(ResultLine.__struct_fields__)
_KNOWN_OF_CONTRIBUTION = frozenset(_Contribution.__struct_fields__)


class InvalidLineError(Exception):
    """A line cannot be used; the message says why."""


def parse_json_line(text: bytes) -> tuple[ResultLine, str | None]:
    """Read a line of JSON.

    Returns:
        What it says, and the JSON of its members that nobody knows.

    Raises:
        UnusableLineError: it is no such line.
    """
    try:
        return _strictly.decode(text), None
    except UnicodeDecodeError as problem:
        raise InvalidLineError(f"not UTF-8: {problem.reason}") from None
    except msgspec.ValidationError:
        return _with_more(text)
    except msgspec.DecodeError as problem:
        raise InvalidLineError(f"not JSON: {problem}") from None


def _with_more(text: bytes) -> tuple[ResultLine, str | None]:
    try:
        line = _leniently.decode(text)
    except msgspec.ValidationError as problem:
        raise InvalidLineError(f"not a result line: {problem}") from None
    members = _members.decode(text)
    more: dict[str, Any] = {name: members[name] for name in sorted(members.keys() - _KNOWN)}
    if contributions := _more_of_contributions(members):
        more["diagnostics"] = contributions
    return line, msgspec.json.encode(more).decode() if more else None


def _more_of_contributions(members: Mapping[str, msgspec.Raw]) -> list[dict[str, Any]]:
    each = msgspec.json.decode(members.get("diagnostics", b"null"), type=list[dict[str, Any]] | None) or []
    return [
        {name: value for name, value in one.items() if name != "value"}
        for one in each
        if one.keys() - _KNOWN_OF_CONTRIBUTION
    ]


def parse_csv_line(text: bytes) -> ResultLine:
    """Read a line of the preview's CSV, `Timestamp,Predictions`.

    Raises:
        UnusableLineError: it is no such line.
    """
    try:
        fields = next(csv.reader([text.decode()], strict=True), [])
    except UnicodeDecodeError as problem:
        raise InvalidLineError(f"not UTF-8: {problem.reason}") from None
    except csv.Error as problem:
        raise InvalidLineError(f"not CSV: {problem}") from None
    if len(fields) != _CSV_COLUMNS:
        raise InvalidLineError(f"not CSV of two columns, but of {len(fields)}")
    timestamp, prediction = (field.strip() for field in fields)
    if prediction not in _ZEROS_AND_ONES:
        raise InvalidLineError(f"the prediction is neither 0 nor 1: {prediction!r}")
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        raise InvalidLineError(f"the timestamp is no time in ISO 8601: {timestamp!r}") from None
    return ResultLine(moment, _ZEROS_AND_ONES[prediction])  # type: ignore[arg-type]


def round_to_milliseconds(moment: datetime) -> datetime:
    """Return a line's time in UTC, without its zone, to the millisecond, halves rounded up.

    Raises:
        UnusableLineError: it lies beyond the calendar.
    """
    try:
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        beyond = moment.microsecond % 1000
        if beyond:
            moment += timedelta(microseconds=1000 - beyond if beyond >= 500 else -beyond)  # noqa: PLR2004
    except OverflowError:
        raise InvalidLineError(f"the timestamp lies beyond the calendar: {moment}") from None
    return moment
