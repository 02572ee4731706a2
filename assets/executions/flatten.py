"""Decoding of pages to rows of `inference_executions`: the only module where bytes become columns.

Several pages become columns at once, because calls of Arrow cost more than the rows of one page. A page is
decoded as a whole first. Only a page with unknown members or wrong types is decoded summary by summary. The
configurations of a summary repeat, so their JSON is compared, and each distinct one is decoded once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.api_models import Summary
from assets.executions.row_templates import (
    FileRows,
    TemplateRows,
    Texts,
    join_rows,
    match_files,
    match_rows,
)
from assets.executions.timestamps import parse_timestamp_texts, parse_timestamps
from assets.tables import INFERENCE_EXECUTIONS, INSTANT, REJECTED_EXECUTIONS, Column
from resources.errors import DataError, LedgerError
from resources.sources.base import Page
from resources.sources.documents import DECODE_ERRORS

READER_VERSION = 2
"""Increase it when the same bytes give different rows; all saved responses are then read again."""


def _group_members() -> dict[str, list[tuple[Column, Callable[[Any], Any] | None]]]:
    """Group the columns by member of a summary, with the getter below the member; None: the member itself."""
    groups: dict[str, list[tuple[Column, Callable[[Any], Any] | None]]] = {}
    for column in INFERENCE_EXECUTIONS.columns:
        if column.source:
            member, _, below = column.source.partition(".")
            groups.setdefault(member, []).append((column, attrgetter(below) if below else None))
    return groups


_MEMBERS = _group_members()
_ARN_PATTERN = r"^arn:[^:]*:[^:]*:(?P<region>[^:]+):(?P<account_id>[^:]+):"


_DOTNET_TYPES = "Amazon.LookoutEquipment."
T = TypeVar("T")


class _Response(msgspec.Struct, Generic[T]):
    InferenceExecutionSummaries: list[T] = []
    NextToken: Any = None


class _PageDecoder(Generic[T]):
    """Decodes the summaries of a page, which is a response or a list of summaries."""

    def __init__(self, summary_type: type[T]) -> None:
        self._list = msgspec.json.Decoder(list[summary_type])  # type: ignore[valid-type]
        self._response = msgspec.json.Decoder(_Response[summary_type])  # type: ignore[valid-type]

        self._line = msgspec.json.Decoder(summary_type)

    def decode(self, body: bytes, *, is_lines: bool = False) -> tuple[list[T], Any]:
        """Return the summaries and the NextToken."""
        if is_lines:
            return self._line.decode_lines(body), None
        if body[:_MAX_BLANKS].lstrip()[:1] == b"[":
            return self._list.decode(body), None
        response = self._response.decode(body)
        return response.InferenceExecutionSummaries, response.NextToken


_REPEATED: dict[str, type] = {
    field.name: field.type
    for field in msgspec.structs.fields(Summary)
    if field.name in {"DataInputConfiguration", "DataOutputConfiguration"}
}
"""The members whose JSON is compared before it is decoded, and their types."""

_DECODE_REPEATED: dict[str, Callable[[bytes], Any]] = {
    name: msgspec.json.Decoder(structure).decode for name, structure in _REPEATED.items()
}
_MISSING = msgspec.Raw(b"{}")
_Summary: Any = msgspec.defstruct(
    "_Summary",
    [
        (field.name, msgspec.Raw, _MISSING)
        if field.name in _REPEATED
        else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(Summary)
    ],
    frozen=True,
    gc=False,
    forbid_unknown_fields=True,
)
"""A `Summary` whose repeated members are JSON."""

_SUMMARIES_DECODER: _PageDecoder[Any] = _PageDecoder(_Summary)
_RAW_DECODER = _PageDecoder(msgspec.Raw)
_SUMMARY_DECODER = msgspec.json.Decoder(Summary)

_ROWS_AT_ONCE = 8000
_MAX_BLANKS = 1_000
_TEMPLATE_BYTES = 32_000
"""Rows of larger pages are compared before they are decoded."""


@dataclass(frozen=True)
class FlattenedPages:
    """Rows of `inference_executions` and of `rejected_executions`, with `recorded_at` null.

    Attributes:
        rows: the rows of all pages, one page after another.
        rejected: the rejected summaries; they are of one page.
        origins: the origin of each page and its number of rows.
    """

    rows: pa.Table
    rejected: pa.Table
    origins: tuple[tuple[str, int], ...]

    @property
    def summaries(self) -> int:
        """Number of valid and rejected summaries."""
        return int(self.rows.num_rows + self.rejected.num_rows)


@dataclass(frozen=True)
class _Summaries:
    """The summaries of a page, decoded one by one, or as rows of templates.

    `span` has the first of the rows and the end; None: all rows. Small files share rows.
    """

    summaries: list[Any]
    rows: TemplateRows | None = None
    next_token: Any = None
    span: tuple[int, int] | None = None

    def __len__(self) -> int:
        if self.span:
            return self.span[1] - self.span[0]
        return len(self.rows.numbers) if self.rows else len(self.summaries)


@dataclass(frozen=True)
class _DecodedPage:
    """A page, its summaries, and the position of the first one in its origin.

    The summaries are None if one of them, or the page, is invalid or has unknown members.
    """

    page: Page
    summaries: _Summaries | None
    first_position: int


def decode_summaries(body: bytes, *, is_lines: bool = False) -> _Summaries | None:
    """Decode the summaries of a page; see `resources.sources.base.DecodeSummaries`."""
    try:
        if not body.isascii():
            body.decode()  # the members that are decoded later are not validated
        if len(body) >= _TEMPLATE_BYTES:
            rows = match_rows(body, _decode_valid_summary, is_lines=is_lines)
            if rows is not None:
                others, next_token = _SUMMARIES_DECODER.decode(rows.rest, is_lines=is_lines)
                if not others:
                    return _Summaries([], rows, next_token) if _have_times(rows.summaries) else None
        summaries, next_token = _SUMMARIES_DECODER.decode(body, is_lines=is_lines)
        return _Summaries(summaries, None, next_token) if _have_times(summaries) else None
    except DECODE_ERRORS:
        return None


def decode_files(bodies: Sequence[bytes]) -> list[_Summaries | None]:
    """Decode small files together; None: decode the file alone.

    Args:
        bodies: any content; only responses and lists of summaries in ASCII are decoded.
    """
    texts = [body if body.isascii() else b"" for body in bodies]
    return [_decode_file(found) if found else None for found in match_files(texts, _decode_timed_summary)]


def _decode_file(found: FileRows) -> _Summaries | None:
    try:
        others, next_token = _SUMMARIES_DECODER.decode(found.rest)
    except DECODE_ERRORS:
        return None
    if others:
        return None
    return _Summaries([], found.rows, next_token, (found.start, found.end))


def _have_times(summaries: Iterable[Any]) -> bool:
    """Return whether each has a time; without one, it is rejected, or the description of a scheduler."""
    return all(
        summary.DataStartTime is not None
        or summary.DataEndTime is not None
        or summary.ScheduledStartTime is not None
        for summary in summaries
    )


def flatten_pages(pages: Iterable[Page]) -> Iterator[FlattenedPages]:
    """Flatten pages, several at once; positions continue from page to page of an origin.

    If `pages` raises a LedgerError, the pages before it are flattened first.

    Raises:
        DataError: a page is neither a response nor a list of summaries.
    """
    positions = Counter[str]()
    for group in _group_pages(pages, positions):
        for flattened in _flatten_group(group):
            if group[0].summaries is None:
                positions[group[0].page.origin] += flattened.summaries
            yield flattened


def _group_pages(pages: Iterable[Page], positions: Counter[str]) -> Iterator[list[_DecodedPage]]:
    """Decode pages and yield them in groups; a page that is invalid or has unknown members is alone.

    `positions` counts the summaries of each origin; the caller adds those of a page that is alone.
    """
    group: list[_DecodedPage] = []
    row_count = 0
    try:
        for page in pages:
            summaries = _decode_page(page)
            row_count += len(summaries or ())
            is_alone = summaries is None
            if group and (row_count > _ROWS_AT_ONCE or not _are_alike(group[0], page, summaries)):
                yield group
                group, row_count = [], len(summaries or ())
            group.append(_DecodedPage(page, summaries, positions[page.origin]))
            positions[page.origin] += len(summaries or ())
            if is_alone:
                yield group
                group, row_count = [], 0
    except LedgerError:
        if group:
            yield group
        raise
    if group:
        yield group


def _are_alike(decoded: _DecodedPage, page: Page, summaries: _Summaries | None) -> bool:
    if decoded.summaries is None or summaries is None:
        return False
    have_templates = [other.rows is not None for other in (decoded.summaries, summaries)]
    return all(have_templates) == any(have_templates) and (decoded.page.kind, decoded.page.zone) == (
        page.kind,
        page.zone,
    )


def _decode_page(page: Page) -> _Summaries | None:
    if isinstance(page.decoded, _Summaries):
        return page.decoded
    return decode_summaries(page.body, is_lines=page.is_lines)


def _decode_valid_summary(raw: bytes) -> Summary | None:
    try:
        return _SUMMARY_DECODER.decode(raw)
    except DECODE_ERRORS:
        return None


def _decode_timed_summary(raw: bytes) -> Summary | None:
    summary = _decode_valid_summary(raw)
    return summary if summary and _have_times([summary]) else None


def _flatten_group(group: list[_DecodedPage]) -> Iterator[FlattenedPages]:
    summaries = [decoded.summaries for decoded in group if decoded.summaries]
    if summaries:
        try:
            rows, reasons = _build_group(summaries, group[0].page)
        except DECODE_ERRORS:
            reasons = {0: "a repeated member is invalid or has unknown members"}
        if not reasons:
            origins = tuple((decoded.page.origin, len(decoded.summaries or ())) for decoded in group)
            yield FlattenedPages(rows, _NO_REJECTED, origins)
            return
    for decoded in group:
        yield _flatten_each(decoded.page, decoded.first_position)


def _build_group(group: Sequence[_Summaries], page: Page) -> tuple[pa.Table, dict[int, str]]:
    template_rows = _list_template_rows(group)
    if not template_rows:
        return _build_rows([summary for summaries in group for summary in summaries.summaries], page)
    joined = template_rows[0] if len(template_rows) == 1 else join_rows(template_rows)
    if joined is None:
        raise msgspec.DecodeError("a member has numbers and texts")
    return _build_template_rows(joined, page)


def _list_template_rows(group: Sequence[_Summaries]) -> list[TemplateRows]:
    """Return the rows of pages in their order; those of consecutive small files are together."""
    spans: list[tuple[TemplateRows, int, int]] = []
    for summaries in group:
        if summaries.rows:
            start, end = summaries.span or (0, len(summaries.rows.numbers))
            if spans and spans[-1][0] is summaries.rows and spans[-1][2] == start:
                start = spans.pop()[1]
            spans.append((summaries.rows, start, end))
    return [rows.slice(start, end) for rows, start, end in spans]


def _flatten_each(page: Page, first_position: int) -> FlattenedPages:
    """Flatten a page summary by summary, and reject the invalid ones."""
    positions: list[int] = []
    summaries: list[Any] = []
    unknown_members: list[str | None] = []
    reasons: dict[int, str] = {}
    for position, raw in enumerate(_decode_raw_summaries(page)):
        try:
            summary, unknown = _decode_summary(raw)
        except msgspec.ValidationError as error:
            reasons[position] = f"wrong type: {error}"
        except DECODE_ERRORS as error:
            reasons[position] = f"not readable: {error}"
        else:
            positions.append(position)
            summaries.append(_encode_repeated(summary))
            unknown_members.append(unknown)
    rows, more_reasons = _build_rows(summaries, page, unknown_members)
    reasons |= {positions[index]: reason for index, reason in more_reasons.items()}
    if not reasons:
        return FlattenedPages(rows, _NO_REJECTED, ((page.origin, rows.num_rows),))
    valid = [index for index in range(len(positions)) if index not in more_reasons]
    return FlattenedPages(
        rows.take(pa.array(valid, pa.int64())),
        _build_rejected(page, reasons, first_position),
        ((page.origin, len(valid)),),
    )


def _decode_raw_summaries(page: Page) -> list[msgspec.Raw]:
    try:
        return _RAW_DECODER.decode(page.body, is_lines=page.is_lines)[0]
    except DECODE_ERRORS as error:
        raise DataError(
            f"Cannot read a page of inference executions: {error}",
            where=page.origin,
            next_step="check that it is a response of ListInferenceExecutions",
        ) from None


def _decode_summary(raw: msgspec.Raw) -> tuple[Summary, str | None]:
    """Return the summary, and the JSON of its unknown members."""
    try:
        return _SUMMARY_DECODER.decode(raw), None
    except msgspec.ValidationError:
        members = msgspec.json.decode(raw, type=dict[str, Any])
    known, unknown = _split_members(members, Summary)
    summary = msgspec.convert(known, Summary)
    return summary, _encode_canonical(unknown) if unknown else None


def _encode_repeated(summary: Summary) -> Any:  # noqa: ANN401 (a dynamic class)
    repeated = {name: msgspec.Raw(msgspec.json.encode(getattr(summary, name))) for name in _REPEATED}
    return _Summary(**{**msgspec.structs.asdict(summary), **repeated})


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


def _build_rows(
    summaries: list[Any], page: Page, unknown_members: list[str | None] | None = None
) -> tuple[pa.Table, dict[int, str]]:
    """Return a row per summary, and the reasons of the rejected ones by index.

    Raises:
        DECODE_ERRORS: a repeated member is invalid or has unknown members.
    """
    count = len(summaries)
    first_index = pa.repeat(pa.scalar(0, pa.int32()), count)  # shared by all columns with one value
    reasons: dict[int, str] = {}
    columns: dict[str, pa.Array] = {}
    for member, group in _MEMBERS.items():
        values = [*map(attrgetter(member), summaries)]
        if group[0][0].type == INSTANT:
            name = group[0][0].name
            columns[name], rejected = parse_timestamps(values, page.zone)
            reasons |= {index: f"{name}: {reason}" for index, reason in rejected.items()}
            continue
        distinct, indices = _find_distinct(member, values, first_index)
        for column, get_below in group:
            below = [*map(get_below, distinct)] if get_below else distinct
            columns[column.name] = _build_column(below, indices, column)
    columns["unrecognized"] = pa.array(unknown_members or [None] * count, pa.string())
    return _complete_rows(columns, reasons, page, first_index)


def _build_template_rows(rows: TemplateRows, page: Page) -> tuple[pa.Table, dict[int, str]]:
    """Return what `_build_rows` returns, from rows of templates."""
    numbers = pa.array(np.frombuffer(rows.numbers, np.int32))
    reasons: dict[int, str] = {}
    columns: dict[str, pa.Array] = {}
    for member, group in _MEMBERS.items():
        values = [*map(attrgetter(member), rows.summaries)]
        for column, get_below in group:
            texts = rows.values.get((column.source or "").rpartition(".")[2])
            if texts is None:
                below = [*map(get_below, values)] if get_below else values
                columns[column.name] = _build_column(below, numbers, column)
            elif column.type == INSTANT:
                columns[column.name], rejected = _parse_timestamps(texts, page.zone)
                reasons |= {index: f"{column.name}: {reason}" for index, reason in rejected.items()}
            else:
                columns[column.name] = _build_column(texts.to_arrow(), None, column)
    columns["unrecognized"] = pa.nulls(len(numbers), pa.string())
    return _complete_rows(columns, reasons, page, pa.repeat(pa.scalar(0, pa.int32()), len(numbers)))


def _parse_timestamps(texts: Texts, zone: tzinfo | None) -> tuple[pa.Array, dict[int, str]]:
    if not texts.are_numbers:
        return parse_timestamp_texts(texts.to_arrow(), zone)
    numbers: list[float | None] = [*texts.numbers]
    missing = np.flatnonzero(np.frombuffer(texts.lengths, np.int32) < 0)
    for index in missing.tolist():
        numbers.insert(index, None)
    return parse_timestamps(numbers, zone)


def _complete_rows(
    columns: dict[str, pa.Array], reasons: dict[int, str], page: Page, first_index: pa.Int32Array
) -> tuple[pa.Table, dict[int, str]]:
    """Add the columns that are not in a summary, and the reasons for rows without a key."""
    reasons = _find_missing_keys(columns) | reasons
    for part, values_by_arn in extract_arn_parts(columns["scheduler_arn"].dictionary).items():
        columns[part] = _index(values_by_arn, columns["scheduler_arn"].indices)
    columns["source"] = columns["outcome_source"] = _index(pa.array([page.kind]), first_index)
    columns["recorded_at"] = pa.nulls(len(first_index), INSTANT)
    return pa.table([columns[name] for name in ROWS.names], schema=ROWS), reasons


def extract_arn_parts(arns: pa.Array) -> dict[str, pa.Array]:
    """Return account ID and region of ARNs; null where an ARN has none."""
    parts = pc.extract_regex(arns, _ARN_PATTERN)
    return {part: pc.struct_field(parts, part) for part in ("account_id", "region")}


def _find_distinct(
    member: str, values: Sequence[Any], first_index: pa.Int32Array
) -> tuple[Sequence[Any], pa.Int32Array | None]:
    """Return values of a member and the index of each row's value; without indices, one value per row."""
    is_constant = bool(values) and values.count(values[0]) == len(values)
    if member not in _REPEATED:
        return (values[:1], first_index) if is_constant else (values, None)
    decode = _DECODE_REPEATED[member]
    if is_constant:
        return [decode(values[0])], first_index
    numbers: dict[bytes, int] = {}
    indices = [numbers.setdefault(bytes(value), len(numbers)) for value in values]
    return [*map(decode, numbers)], pa.array(indices, pa.int32())


def _build_column(
    values: Sequence[Any] | pa.Array, indices: pa.Int32Array | None, column: Column
) -> pa.Array:
    array = pa.array(values, column.type)
    if not pa.types.is_dictionary(ROWS.field(column.name).type):
        return array if indices is None else array.take(indices)
    return array.dictionary_encode() if indices is None else _index(array, indices)


def _index(values: pa.StringArray, indices: pa.Int32Array) -> pa.DictionaryArray:
    """Return the values at some indices, without a copy of the indices if all values differ."""
    encoded = values.dictionary_encode()
    if len(encoded.dictionary) == len(values):
        return pa.DictionaryArray.from_arrays(indices, encoded.dictionary)
    return encoded.take(indices)


def _find_missing_keys(columns: dict[str, pa.Array]) -> dict[int, str]:
    arns = columns["scheduler_arn"]
    is_empty = pc.equal(arns.dictionary, "").take(arns.indices)
    missing = {
        "no DataStartTime": pc.is_null(columns["data_start_time"]),
        "no InferenceSchedulerArn": pc.fill_null(is_empty, True),
    }
    return {
        index: reason for reason, mask in missing.items() for index in pc.indices_nonzero(mask).to_pylist()
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


ROWS = _allow_null_recorded_at(INFERENCE_EXECUTIONS.encoded_schema)
"""The `encoded_schema` of `inference_executions`, except that `recorded_at` is null."""

REJECTED = _allow_null_recorded_at(REJECTED_EXECUTIONS.schema)
"""The schema of rejected summaries, whose `recorded_at` is null."""

_NO_REJECTED = pa.Table.from_batches([], REJECTED)  # without an array, for which pyarrow imports pandas
