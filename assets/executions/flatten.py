"""Decoding of pages to rows of `inference_executions`: the only module where bytes become columns.

A page is decoded as a whole first. Only a page with unknown members or wrong types is decoded summary by
summary.
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

READER_VERSION = 2
"""Increase it when the same bytes give different rows; all saved responses are then read again."""

_MEMBERS: dict[str, tuple[pa.DataType, Callable[[Summary], Any]]] = {
    column.name: (column.type, attrgetter(column.source))
    for column in INFERENCE_EXECUTIONS.columns
    if column.source
}
_ARN_PATTERN = r"^arn:[^:]*:[^:]*:(?P<region>[^:]+):(?P<account_id>[^:]+):"


_DOTNET_TYPES = "Amazon.LookoutEquipment."
T = TypeVar("T")


class _Response(msgspec.Struct, Generic[T]):
    InferenceExecutionSummaries: list[T] = []


class _PageDecoder(Generic[T]):
    """Decodes the summaries of a page, which is a response or a list of summaries."""

    def __init__(self, summary_type: type[T]) -> None:
        self._list = msgspec.json.Decoder(list[summary_type])  # type: ignore[valid-type]
        self._response = msgspec.json.Decoder(_Response[summary_type])  # type: ignore[valid-type]

    def decode(self, body: bytes) -> list[T]:
        if body.lstrip()[:1] == b"[":
            return self._list.decode(body)
        return self._response.decode(body).InferenceExecutionSummaries


_SUMMARIES_DECODER, _RAW_DECODER = _PageDecoder(Summary), _PageDecoder(msgspec.Raw)
_SUMMARY_DECODER = msgspec.json.Decoder(Summary)
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Wrong type or invalid JSON, invalid UTF-8 in a text, and too deep nesting."""


@dataclass(frozen=True)
class FlattenedPages:
    """Rows of `inference_executions` and of `rejected_executions`, with `recorded_at` null."""

    rows: pa.Table
    rejected: pa.Table

    @property
    def summaries(self) -> int:
        """Number of valid and rejected summaries."""
        return int(self.rows.num_rows + self.rejected.num_rows)


def flatten_pages(pages: Iterable[Page]) -> Iterator[FlattenedPages]:
    """Flatten the pages of one origin one by one; positions continue from page to page.

    Raises:
        DataError: a page is neither a response nor a list of summaries.
    """
    position = 0
    for page in pages:
        flattened = _flatten_page(page, position)
        position += flattened.summaries
        yield flattened


def _flatten_page(page: Page, first_position: int) -> FlattenedPages:
    decoded, reasons = _decode_page(page)
    rows, more_reasons = _build_rows(decoded, page)
    reasons |= more_reasons
    if not reasons:
        return FlattenedPages(rows, _NO_REJECTED)
    valid = [index for index, (position, *_) in enumerate(decoded) if position not in reasons]
    return FlattenedPages(
        rows.take(pa.array(valid, pa.int64())), _build_rejected(page, reasons, first_position)
    )


_Decoded = tuple[int, Summary, str | None]
"""Position in the page, the summary, and the JSON of its unknown members."""


def _decode_page(page: Page) -> tuple[list[_Decoded], dict[int, str]]:
    try:
        summaries = _SUMMARIES_DECODER.decode(page.body)
    except _DECODE_ERRORS:  # a summary or the whole page is invalid
        return _decode_each(page)
    return [(position, summary, None) for position, summary in enumerate(summaries)], {}


def _decode_raw_summaries(page: Page) -> list[msgspec.Raw]:
    try:
        return _RAW_DECODER.decode(page.body)
    except _DECODE_ERRORS as error:
        raise DataError(
            f"cannot read a page of inference executions: {error}",
            where=page.origin,
            next_step="check that it is a response of ListInferenceExecutions",
        ) from None


def _decode_each(page: Page) -> tuple[list[_Decoded], dict[int, str]]:
    decoded: list[_Decoded] = []
    reasons: dict[int, str] = {}
    for position, raw in enumerate(_decode_raw_summaries(page)):
        try:
            decoded.append((position, *_decode_summary(raw)))
        except msgspec.ValidationError as error:
            reasons[position] = f"wrong type: {error}"
        except _DECODE_ERRORS as error:
            reasons[position] = f"not readable: {error}"
    return decoded, reasons


def _decode_summary(raw: msgspec.Raw) -> tuple[Summary, str | None]:
    try:
        return _SUMMARY_DECODER.decode(raw), None
    except msgspec.ValidationError:
        members = msgspec.json.decode(raw, type=dict[str, Any])
    known, unknown = _split_members(members, Summary)
    summary = msgspec.convert(known, Summary)
    return summary, _encode_canonical(unknown) if unknown else None


def _split_members(members: dict[str, Any], structure: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split members into those that a structure declares and all others, recursively.

    Other SDKs write member names with a lower-case first letter. Null means that the member is missing.
    PowerShell writes a status as `{"Value": "SUCCESS"}`, and beyond a depth the type instead of the content.
    """
    types = {field.name: field.type for field in msgspec.structs.fields(structure)}
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in members.items():
        name = key[:1].upper() + key[1:]
        if name not in types or name in known:
            unknown[key] = value
        elif isinstance(value, dict) and value.keys() == {"Value"} and not _is_structure(types[name]):
            known[name] = value["Value"]
        elif isinstance(value, str) and _is_structure(types[name]) and value.startswith(_DOTNET_TYPES):
            unknown[key] = value
        elif isinstance(value, dict) and _is_structure(types[name]):
            known[name], nested = _split_members(value, types[name])
            if nested:
                unknown[key] = nested
        elif value is not None:
            known[name] = value
    return known, unknown


def _is_structure(member_type: Any) -> bool:  # noqa: ANN401 (a type or a union)
    return isinstance(member_type, type) and issubclass(member_type, msgspec.Struct)


def _encode_canonical(members: dict[str, Any]) -> str:
    return msgspec.json.encode(members, order="deterministic").decode()


def _build_rows(decoded: list[_Decoded], page: Page) -> tuple[pa.Table, dict[int, str]]:
    """Return a row per decoded summary, and the reasons of the rejected ones by position."""
    summaries = [summary for _, summary, _ in decoded]
    reasons: dict[int, str] = {}
    columns: dict[str, pa.Array] = {}
    for name, (arrow_type, get_member) in _MEMBERS.items():
        values = [*map(get_member, summaries)]
        if arrow_type == INSTANT:
            columns[name], rejected = parse_timestamps(values, page.zone)
            reasons |= {decoded[index][0]: f"{name}: {reason}" for index, reason in rejected.items()}
        else:
            columns[name] = pa.array(values, arrow_type)
    reasons = _reject_without_key(columns, decoded) | reasons
    arn_parts = pc.extract_regex(columns["scheduler_arn"], _ARN_PATTERN)
    columns["account_id"], columns["region"] = (
        pc.struct_field(arn_parts, part) for part in ("account_id", "region")
    )
    columns["unrecognized"] = pa.array([unknown for *_, unknown in decoded], pa.string())
    columns["source"] = columns["outcome_source"] = pa.repeat(pa.scalar(page.kind, pa.string()), len(decoded))
    columns["recorded_at"] = pa.nulls(len(decoded), INSTANT)
    return pa.table([columns[name] for name in ROWS.names], schema=ROWS), reasons


def _reject_without_key(columns: dict[str, pa.Array], decoded: list[_Decoded]) -> dict[int, str]:
    missing = {
        "no DataStartTime": pc.is_null(columns["data_start_time"]),
        "no InferenceSchedulerArn": pc.equal(pc.fill_null(columns["scheduler_arn"], ""), ""),
    }
    return {
        decoded[index][0]: reason
        for reason, mask in missing.items()
        for index in pc.indices_nonzero(mask).to_pylist()
    }


def _build_rejected(page: Page, reasons: dict[int, str], first_position: int) -> pa.Table:
    raw_summaries = _decode_raw_summaries(page)
    rows = [
        {
            "source": page.origin,
            "position": first_position + position,
            "reason": reason,
            "raw": bytes(raw_summaries[position]).decode(errors="backslashreplace"),
        }
        for position, reason in sorted(reasons.items())
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED)


def _allow_null_recorded_at(schema: pa.Schema) -> pa.Schema:
    index = schema.get_field_index("recorded_at")
    return schema.set(index, schema.field(index).with_nullable(True))


ROWS = _allow_null_recorded_at(INFERENCE_EXECUTIONS.schema)
REJECTED = _allow_null_recorded_at(REJECTED_EXECUTIONS.schema)
_NO_REJECTED = REJECTED.empty_table()
