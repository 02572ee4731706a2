"""Decoding of pages to rows of `inference_executions`: the only module where bytes become columns.

A page is decoded as a whole first. Only a page with unknown members or wrong types is decoded summary by
summary.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.api_models import Summary
from assets.executions.timestamps import parse_timestamps
from assets.tables import INFERENCE_EXECUTIONS, INSTANT, REJECTED_EXECUTIONS, Column
from resources.errors import DataError
from resources.sources.base import Page

READER_VERSION = 2
"""Increase it when the same bytes give different rows; all saved responses are then read again."""

_PLAIN_TEXTS = {"result_s3_key", "failed_reason", "unrecognized"}
"""Text columns that hardly repeat; all others are dictionaries until a day is merged."""

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


def _group_members() -> dict[str, list[tuple[Column, Callable[[Any], Any] | None]]]:
    """Group the columns by member of a summary, with the getter below the member; None: the member itself."""
    groups: dict[str, list[tuple[Column, Callable[[Any], Any] | None]]] = {}
    for column in INFERENCE_EXECUTIONS.columns:
        if column.source:
            member, _, below = column.source.partition(".")
            groups.setdefault(member, []).append((column, attrgetter(below) if below else None))
    return groups


_MEMBERS = _group_members()
_GET_MEMBERS = attrgetter(*_MEMBERS)
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
    members = zip(*map(_GET_MEMBERS, summaries), strict=True) if summaries else ((),) * len(_MEMBERS)
    for values, group in zip(members, _MEMBERS.values(), strict=True):
        is_constant = bool(values) and values.count(values[0]) == len(values)
        for column, get_below in group:
            if column.type == INSTANT:
                columns[column.name], rejected = parse_timestamps(values, page.zone)
                reasons |= {
                    decoded[index][0]: f"{column.name}: {reason}" for index, reason in rejected.items()
                }
            elif is_constant and column.name not in _PLAIN_TEXTS and column.type == pa.string():
                value = get_below(values[0]) if get_below else values[0]
                columns[column.name] = _repeat(value, len(values))
            else:
                columns[column.name] = _build_column(
                    [*map(get_below, values)] if get_below else values, column
                )
    reasons = _reject_without_key(columns, decoded) | reasons
    arn_parts = pc.extract_regex(columns["scheduler_arn"].dictionary, _ARN_PATTERN)
    for part in ("account_id", "region"):
        values_by_arn = pc.struct_field(arn_parts, part)
        columns[part] = values_by_arn.take(columns["scheduler_arn"].indices).dictionary_encode()
    columns["unrecognized"] = pa.array([unknown for *_, unknown in decoded], pa.string())
    columns["source"] = columns["outcome_source"] = _repeat(page.kind, len(decoded))
    columns["recorded_at"] = pa.nulls(len(decoded), INSTANT)
    return pa.table([columns[name] for name in ROWS.names], schema=ROWS), reasons


def _build_column(values: Sequence[Any], column: Column) -> pa.Array:
    array = pa.array(values, column.type)
    return array if _stays_plain(column.name, column.type) else array.dictionary_encode()


def _stays_plain(name: str, arrow_type: pa.DataType) -> bool:
    return name in _PLAIN_TEXTS or arrow_type != pa.string()


def _repeat(value: str | None, count: int) -> pa.DictionaryArray:
    """Return a column with one value, which takes four bytes a row."""
    if value is None:
        return pa.DictionaryArray.from_arrays(pa.nulls(count, pa.int32()), pa.array([], pa.string()))
    indices = pa.repeat(pa.scalar(0, pa.int32()), count)
    return pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.string()))


def _reject_without_key(columns: dict[str, pa.Array], decoded: list[_Decoded]) -> dict[int, str]:
    missing = {
        "no DataStartTime": pc.is_null(columns["data_start_time"]),
        "no InferenceSchedulerArn": pc.equal(
            pc.fill_null(columns["scheduler_arn"].dictionary_decode(), ""), ""
        ),
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


def _encode_texts(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        field if _stays_plain(field.name, field.type) else field.with_type(_DICTIONARY) for field in schema
    )


ROWS = _encode_texts(_allow_null_recorded_at(INFERENCE_EXECUTIONS.schema))
"""The columns of `inference_executions`; texts that repeat are dictionaries, and `recorded_at` is null."""

REJECTED = _allow_null_recorded_at(REJECTED_EXECUTIONS.schema)
_NO_REJECTED = REJECTED.empty_table()
