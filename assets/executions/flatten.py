"""Pages of bytes to columns: the only place where an execution's members become values.

A page without surprises is decoded whole, by type. Only a page with a member that is unknown or of a wrong
type is gone through summary by summary.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.api_models import Summary
from assets.executions.timestamps import parse_timestamps
from assets.tables import INFERENCE_EXECUTIONS, INSTANT, REJECTED_EXECUTIONS
from resources.errors import DataError
from resources.sources.base import Page

READER_VERSION = 1
"""Rises when the same bytes would give other rows; saved responses are then read again."""

_MEMBERS: dict[str, tuple[pa.DataType, Callable[[Summary], Any]]] = {
    column.name: (column.type, attrgetter(column.source))
    for column in INFERENCE_EXECUTIONS.columns
    if column.source
}
_OF_ARN = r"^arn:[^:]*:[^:]*:(?P<region>[^:]+):(?P<account_id>[^:]+):"


T = TypeVar("T")


class _Response(msgspec.Struct, Generic[T]):
    InferenceExecutionSummaries: list[T] = []


class _Body(Generic[T]):
    """Decodes a page's summaries, whether it is a response or a list."""

    def __init__(self, of: type[T]) -> None:
        self._list = msgspec.json.Decoder(list[of])  # type: ignore[valid-type]
        self._response = msgspec.json.Decoder(_Response[of])  # type: ignore[valid-type]

    def decode(self, body: bytes) -> list[T]:
        if body.lstrip()[:1] == b"[":
            return self._list.decode(body)
        return self._response.decode(body).InferenceExecutionSummaries


_TYPED, _RAW = _Body(Summary), _Body(msgspec.Raw)
_SUMMARY = msgspec.json.Decoder(Summary)
_NOT_DECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Wrong types or no JSON, bytes that are no UTF-8 within a text, and nesting without end."""


@dataclass(frozen=True)
class FlattenedPages:
    """What some pages held: rows of `inference_executions` and of `rejected_executions`.

    `recorded_at` is null in both: it is not known before the rows are recorded.
    """

    rows: pa.Table
    rejected: pa.Table

    @property
    def summaries(self) -> int:
        """Summaries seen, usable or not."""
        return int(self.rows.num_rows + self.rejected.num_rows)


def flatten_pages(pages: Iterable[Page]) -> Iterator[FlattenedPages]:
    """Flatten the pages of one origin, page by page; positions count on from page to page.

    Raises:
        DataError: a page is no response and no list of summaries.
    """
    position = 0
    for page in pages:
        flattened = _flatten_page(page, position)
        position += flattened.summaries
        yield flattened


def _flatten_page(page: Page, first_position: int) -> FlattenedPages:
    usable, reasons = _decode(page)
    rows, more_reasons = _columns(usable, page)
    reasons |= more_reasons
    if not reasons:
        return FlattenedPages(rows, _NO_REJECTED)
    kept = [index for index, (position, *_) in enumerate(usable) if position not in reasons]
    return FlattenedPages(rows.take(pa.array(kept, pa.int64())), _rejected(page, reasons, first_position))


_Usable = tuple[int, Summary, str | None]
"""Position within the page, the known members, and the JSON of the unknown ones."""


def _decode(page: Page) -> tuple[list[_Usable], dict[int, str]]:
    try:
        whole = _TYPED.decode(page.body)
    except _NOT_DECODABLE:  # a summary is odd, or the page is no page at all
        return _decode_one_by_one(page)
    return [(position, summary, None) for position, summary in enumerate(whole)], {}


def _raw_summaries(page: Page) -> list[msgspec.Raw]:
    try:
        return _RAW.decode(page.body)
    except _NOT_DECODABLE as problem:
        raise DataError(
            f"a page that holds no inference executions: {problem}",
            where=page.origin,
            next_step="look at it; a response of ListInferenceExecutions was expected",
        ) from None


def _decode_one_by_one(page: Page) -> tuple[list[_Usable], dict[int, str]]:
    usable: list[_Usable] = []
    reasons: dict[int, str] = {}
    for position, raw in enumerate(_raw_summaries(page)):
        try:
            usable.append((position, *_decode_one(raw)))
        except msgspec.ValidationError as problem:
            reasons[position] = f"wrong type: {problem}"
        except _NOT_DECODABLE as problem:
            reasons[position] = f"not readable: {problem}"
    return usable, reasons


def _decode_one(raw: msgspec.Raw) -> tuple[Summary, str | None]:
    try:
        return _SUMMARY.decode(raw), None
    except msgspec.ValidationError:
        members = msgspec.json.decode(raw, type=dict[str, Any])
    known, unknown = _known_members(members, Summary)
    summary = msgspec.convert(known, Summary)
    return summary, _canonical(unknown) if unknown else None


def _known_members(members: dict[str, Any], shape: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the members that a shape knows from those it does not, level by level.

    Other SDKs spell members with a small first letter; a null means that the member is absent.
    """
    shapes = {field.name: field.type for field in msgspec.structs.fields(shape)}
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for spelled, value in members.items():
        name = spelled[:1].upper() + spelled[1:]
        if name not in shapes or name in known:
            unknown[spelled] = value
        elif isinstance(value, dict) and isinstance(shapes[name], type):
            known[name], beneath = _known_members(value, shapes[name])
            if beneath:
                unknown[spelled] = beneath
        elif value is not None:
            known[name] = value
    return known, unknown


def _canonical(members: dict[str, Any]) -> str:
    return msgspec.json.encode(members, order="deterministic").decode()


def _columns(usable: list[_Usable], page: Page) -> tuple[pa.Table, dict[int, str]]:
    summaries = [summary for _, summary, _ in usable]
    reasons: dict[int, str] = {}
    columns: dict[str, pa.Array] = {}
    for name, (kind, member) in _MEMBERS.items():
        values = [*map(member, summaries)]
        if kind == INSTANT:
            columns[name], wrong = parse_timestamps(values, page.zone)
            reasons |= {usable[index][0]: f"{name}: {reason}" for index, reason in wrong.items()}
        else:
            columns[name] = pa.array(values, kind)
    reasons = _without_key(columns, usable) | reasons
    owner = pc.extract_regex(columns["scheduler_arn"], _OF_ARN)
    columns["account_id"], columns["region"] = (
        pc.struct_field(owner, part) for part in ("account_id", "region")
    )
    columns["unrecognized"] = pa.array([unknown for *_, unknown in usable], pa.string())
    columns["source"] = columns["outcome_source"] = pa.repeat(pa.scalar(page.kind, pa.string()), len(usable))
    columns["recorded_at"] = pa.nulls(len(usable), INSTANT)
    return pa.table([columns[name] for name in ROWS.names], schema=ROWS), reasons


def _without_key(columns: dict[str, pa.Array], usable: list[_Usable]) -> dict[int, str]:
    nameless = pc.equal(pc.fill_null(columns["scheduler_arn"], ""), "")
    timeless = pc.is_null(columns["data_start_time"])
    missing = {"no DataStartTime": timeless, "no InferenceSchedulerArn": nameless}
    return {
        usable[index][0]: reason
        for reason, mask in missing.items()
        for index in pc.indices_nonzero(mask).to_pylist()
    }


def _rejected(page: Page, reasons: dict[int, str], first_position: int) -> pa.Table:
    raws = _raw_summaries(page)
    rows = [
        {
            "source": page.origin,
            "position": first_position + position,
            "reason": reason,
            "raw": bytes(raws[position]).decode(errors="backslashreplace"),
        }
        for position, reason in sorted(reasons.items())
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED)


def _unrecorded(schema: pa.Schema) -> pa.Schema:
    at = schema.get_field_index("recorded_at")
    return schema.set(at, schema.field(at).with_nullable(True))


ROWS = _unrecorded(INFERENCE_EXECUTIONS.schema)
REJECTED = _unrecorded(REJECTED_EXECUTIONS.schema)
_NO_REJECTED = REJECTED.empty_table()
