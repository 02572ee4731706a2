"""One saved file: its pages, and what else was found in it.

The file is read in parts, and a part is decoded as a whole if possible: as summaries in lines, or as a
response. Only a part with other content is split into its documents, and these into summaries. Packed files,
UTF-16 and recordings are held as a whole.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, tzinfo
from functools import partial
from hashlib import blake2b
from io import BytesIO
from typing import Any, BinaryIO

import msgspec

from resources.errors import UnreadableArchiveError
from resources.gzip_data import GZIP
from resources.read_limits import ReadLimits
from resources.sources.base import DecodedSummaries, DecodeSummaries, Page, SchedulerResponse
from resources.sources.documents import (
    EMPTY,
    MAX_PROBLEMS,
    OBJECTS_PER_ROW,
    UTF16,
    count_objects,
    decode_text,
    find_other_format,
    split_documents,
)
from resources.sources.messages import LIST_EXECUTIONS
from resources.sources.recordings import read_recording
from resources.sources.text_parts import PART_BYTES, TextPart, TextParts, has_unindented_documents
from resources.sources.warc import is_warc, read_warc
from resources.storage.base import FileStore, StoredFile

KIND = "archive"
RECORDED_KIND = "api"
"""The kind of the source of recorded executions: they are what the API returned."""

SUMMARIES_A_PAGE = 2_000
"""The number of summaries in a page, if they are not decoded as a whole."""

_LARGE_DOCUMENT = 1 << 15
"""Larger documents are decoded as a whole, even if the text around them cannot be."""

_MAX_PROBLEMS = 10
_MAX_LIST_DEPTH = 3
_RESPONSE_OR_LIST = re.compile(
    rb'\s*(?:\[|\{\s*"(?:InferenceExecutionSummaries|NextToken|ResponseMetadata)")'
)

_Member = msgspec.Raw | msgspec.UnsetType
_Summaries = list[msgspec.Raw] | msgspec.UnsetType | None


class _Item(msgspec.Struct, rename="pascal"):
    """The members that identify a response or a summary.

    A summary is identified by its times: the description of a scheduler has names, ARNs and a status too.
    """

    inference_execution_summaries: _Summaries = msgspec.UNSET
    next_token: Any = None
    scheduled_start_time: _Member = msgspec.UNSET
    data_start_time: _Member = msgspec.UNSET
    data_end_time: _Member = msgspec.UNSET

    @property
    def is_response(self) -> bool:
        return self.inference_execution_summaries is not msgspec.UNSET

    @property
    def is_summary(self) -> bool:
        return (
            self.data_start_time is not msgspec.UNSET
            or self.data_end_time is not msgspec.UNSET
            or self.scheduled_start_time is not msgspec.UNSET
        )


class _CamelCaseItem(_Item, rename="camel"):
    """The spelling of other SDKs. All members are declared again: inherited ones keep their spelling."""

    inference_execution_summaries: _Summaries = msgspec.UNSET
    next_token: Any = None
    scheduled_start_time: _Member = msgspec.UNSET
    data_start_time: _Member = msgspec.UNSET
    data_end_time: _Member = msgspec.UNSET


_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODERS = (msgspec.json.Decoder(_Item), msgspec.json.Decoder(_CamelCaseItem))


class SavedFile:
    """A file with saved responses; see `resources.sources.base.SavedFile`."""

    def __init__(self, file: StoredFile, store: FileStore, zone: tzinfo | None, limits: ReadLimits) -> None:
        """Open nothing yet.

        Args:
            file: the file.
            store: reads it.
            zone: the time zone of times without an offset.
            limits: its limits.
        """
        self.file = file
        self.kind = KIND
        self.days: frozenset[date] | None = None
        self.responses: tuple[SchedulerResponse, ...] = ()
        self.complete = True
        self._store = store
        self._zone = zone
        self._limits = limits
        self._hash = self._new_hash()
        self._known_hash: str | None = None
        self._bytes = self._rows = self._items = self._objects = 0
        self._has_documents = False
        self._problems: list[tuple[int | None, str]] = []
        self._is_stopped = False

    @property
    def content_hash(self) -> str:
        """A hash of the bytes and of the time zone."""
        return self._known_hash or self._hash.hexdigest()

    @property
    def problems(self) -> tuple[str, ...]:
        """The parts that are in no supported format, and the exceeded limits."""
        problems = [
            f"document {item} {reason}" if item and self._items > 1 else reason
            for item, reason in self._problems
        ]
        omitted = len(problems) - _MAX_PROBLEMS
        more = [f"and {omitted} more problems"] if omitted > 0 else []
        return (*problems[:_MAX_PROBLEMS], *more)

    def read_pages(self, read_at: datetime, decode: DecodeSummaries | None = None) -> Iterator[Page]:
        """Yield the summaries in pages.

        Raises:
            UnreadableArchiveError: the file cannot be opened, or is larger than the limit.
        """
        if self.file.size_bytes > self._limits.size_bytes:
            raise UnreadableArchiveError(
                f"Cannot read a file: it is {self._limits.too_large}",
                where=self.file.uri,
                next_step="split the file, or raise the limit",
            )
        with closing(self._store.open(self.file)) as stream:
            start = self._read(stream, min(self.file.size_bytes + 1, PART_BYTES))  # all of a small file
            while len(start) < PART_BYTES and (block := self._read(stream, PART_BYTES - len(start))):
                start += block
            if start.startswith((GZIP, *UTF16)) or is_warc(start) or find_other_format(start):
                yield from self._read_whole(start + self._read_rest(stream), read_at, decode)
            else:
                bom = len(start) - len(start.removeprefix(BOM_UTF8))
                is_whole = len(start) < PART_BYTES and not self._is_stopped
                parts = TextParts(lambda size: self._read(stream, size), start[bom:], bom, is_whole=is_whole)
                yield from self._read_parts(parts, read_at, decode)
                if not is_whole:
                    self._read_rest(stream)
        if not self._has_documents and not self._problems:
            self._problems.append((None, EMPTY))

    def compute_hash(self) -> None:
        """Read the file only to compute its hash.

        Raises:
            UnreadableArchiveError: the file cannot be read.
        """
        hasher = self._new_hash()
        with closing(self._store.open(self.file)) as stream:
            while block := stream.read(PART_BYTES):
                hasher.update(block)
        self._known_hash = hasher.hexdigest()

    def _new_hash(self) -> blake2b:
        return blake2b(digest_size=16, key=str(self._zone or "").encode())

    def _read(self, stream: BinaryIO, size: int) -> bytes:
        block = stream.read(size)
        self._hash.update(block)
        self._bytes += len(block)
        if self._bytes > self._limits.size_bytes:  # it has grown since it was listed
            if not self._is_stopped:
                self._problems.append((None, f"is {self._limits.too_large}"))
            self._is_stopped = True
            return b""
        return block

    def _read_rest(self, stream: BinaryIO) -> bytes:
        """Read to the end, also after a limit: the hash depends on all bytes."""
        return b"".join(iter(lambda: self._read(stream, PART_BYTES), b""))

    def _read_whole(self, data: bytes, read_at: datetime, decode: DecodeSummaries | None) -> Iterator[Page]:
        if is_warc(data):
            yield from self._read_recording(data, read_at)
            return
        text, damage = decode_text(data, self._limits)
        if damage:
            self._problems.append((None, damage))
        yield from self._read_parts(TextParts(BytesIO(text).read), read_at, decode, text)

    def _read_recording(self, data: bytes, read_at: datetime) -> Iterator[Page]:
        content = read_warc(data, self._limits)
        recording = read_recording(content.exchanges)
        problems = [*content.problems, *recording.problems]
        if not content.exchanges and not problems:
            problems.append(f"has no response of {LIST_EXECUTIONS}")
        self._problems += [(None, problem) for problem in problems]
        self._has_documents = True
        self.kind = RECORDED_KIND
        self.complete = all(query.is_complete for query in recording.queries)
        pages = [*self._build_pages(recording.summaries, read_at)]  # a problem of a limit is known then
        if not self._problems:
            self.responses, self.days = recording.responses, recording.days
        yield from pages

    def _read_parts(
        self, parts: TextParts, read_at: datetime, decode: DecodeSummaries | None, text: bytes | None = None
    ) -> Iterator[Page]:
        """Read the text part by part; `text` is all of it, or None if it is that of the file."""
        while (part := parts.take()).text and not self._is_stopped:
            if decode and (page := self._decode_part(part, read_at, decode)):
                yield page
                continue
            if part.is_list and not _is_list(part.text):
                parts.put_back(keep_rest=False)
                continue
            document = b'{"InferenceExecutionSummaries":%b}' % part.text if part.is_response else part.text
            find_line = partial(self._find_line, part, text)
            content = split_documents(document, self._zone, self._limits, find_line)
            if content.problems and part.is_list:
                parts.put_back(keep_rest=False)
            elif content.problems and parts.has_more and has_unindented_documents(part.text):
                parts.put_back(keep_rest=True)
            else:
                self._problems += [(None, problem) for problem in content.problems]
                self._count_objects(document)
                yield from self._read_documents(content.documents, read_at, decode, part)

    def _decode_part(self, part: TextPart, read_at: datetime, decode: DecodeSummaries) -> Page | None:
        """Decode a part as a whole; None: it has other content, or more rows than the limit."""
        is_lines = not _RESPONSE_OR_LIST.match(part.text)
        decoded = decode(part.text, is_lines=is_lines)
        if not decoded or self._rows + len(decoded) > self._limits.rows:
            return None
        is_response = not is_lines and not part.text.lstrip().startswith(b"[")
        if is_response:
            self.complete = not decoded.next_token
        if not part.is_response:
            self._items += 1 if is_response else len(decoded)
        return self._build_page(part.text, read_at, decoded, is_lines=is_lines)

    def _read_documents(
        self,
        documents: Sequence[msgspec.Raw],
        read_at: datetime,
        decode: DecodeSummaries | None,
        part: TextPart,
    ) -> Iterator[Page]:
        self._has_documents |= bool(documents)
        summaries: list[msgspec.Raw] = []
        for document in documents:
            if self._is_stopped:
                break
            is_large = len(memoryview(document)) >= _LARGE_DOCUMENT and len(documents) > 1
            if is_large and decode and (page := self._decode_part(_as_part(document), read_at, decode)):
                yield from self._build_pages(summaries, read_at)
                summaries = []
                yield page
                continue
            for raw in _split_list(document):
                self._items += not part.is_response
                try:
                    item = _decode_item(raw)
                except ValueError as error:
                    self._problems.append((self._items, str(error)))
                    if len(self._problems) > MAX_PROBLEMS:
                        self._problems.append((None, "is not read further"))
                        self._is_stopped = True
                        break
                    continue
                if item.is_response:
                    summaries += item.inference_execution_summaries or ()
                    self.complete = not item.next_token
                else:
                    summaries.append(raw)
        yield from self._build_pages(summaries, read_at)

    def _count_objects(self, text: bytes) -> None:
        """Stop if all parts together have more objects than rows of the limit can have."""
        self._objects += count_objects(text)
        if self._objects > OBJECTS_PER_ROW * self._limits.rows:
            self._is_stopped = True
            problem = None, f"has {self._limits.too_many_rows}"
            if problem not in self._problems:
                self._problems.append(problem)

    def _find_line(self, part: TextPart, text: bytes | None) -> int:
        """Return the line of the start of a part; the file is read again for that."""
        added = part.added.count(b"\n")
        if text is not None:
            return 1 + text.count(b"\n", 0, part.offset) - added
        with closing(self._store.open(self.file)) as stream:
            position, lines = 0, 1 - added
            while position < part.offset and (block := stream.read(min(PART_BYTES, part.offset - position))):
                position += len(block)
                lines += block.count(b"\n")
        return lines

    def _build_pages(self, summaries: list[msgspec.Raw], read_at: datetime) -> Iterator[Page]:
        if self._rows + len(summaries) > self._limits.rows:
            self._problems.insert(0, (None, f"has {self._limits.too_many_rows}; the others are not read"))
            self._is_stopped = True
            del summaries[self._limits.rows - self._rows :]
        for start in range(0, len(summaries), SUMMARIES_A_PAGE):
            rows = summaries[start : start + SUMMARIES_A_PAGE]
            self._rows += len(rows)
            yield self._build_page(b"[" + b",".join(rows) + b"]", read_at)

    def _build_page(
        self,
        body: bytes,
        read_at: datetime,
        decoded: DecodedSummaries | None = None,
        *,
        is_lines: bool = False,
    ) -> Page:
        if decoded is not None:
            self._has_documents = True
            self._rows += len(decoded)
        return Page(body, self.kind, self.file.uri, read_at, self._zone, is_lines, decoded)


def _is_list(text: bytes) -> bool:
    try:
        _LIST.decode(text)
    except _DECODE_ERRORS:
        return False
    return True


def _as_part(document: msgspec.Raw) -> TextPart:
    return TextPart(bytes(document), 0)


def _split_list(document: msgspec.Raw, depth: int = 0) -> Iterator[msgspec.Raw]:
    """Yield the objects of a document: of a list, of a list of lists, or of an object that wraps a list."""
    is_list = memoryview(document)[0] == ord("[")
    elements = _LIST.decode(document) if is_list else _find_wrapped_list(document)
    if elements is None or depth > _MAX_LIST_DEPTH:
        yield document
    else:
        for element in elements:
            yield from _split_list(element, depth + 1)


def _find_wrapped_list(document: msgspec.Raw) -> list[msgspec.Raw] | None:
    """Return the list in `{"value": [...], "Count": 2}`, which PowerShell writes for a list; else None."""
    if len(memoryview(document)) > 0 and _WRAPPED_LIST.match(memoryview(document)[:100]):
        try:
            return msgspec.json.decode(document, type=_WrappedList).value
        except _DECODE_ERRORS:
            return None
    return None


_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_WRAPPED_LIST = re.compile(rb"\s*\{\s*\"value\"\s*:\s*\[")


class _WrappedList(msgspec.Struct, forbid_unknown_fields=True):
    value: list[msgspec.Raw]
    count: int = msgspec.field(default=0, name="Count")


def _decode_item(raw: msgspec.Raw) -> _Item:
    for decoder in _DECODERS:
        try:
            item = decoder.decode(raw)
        except _DECODE_ERRORS as error:
            raise ValueError(f"is not a response: {error}") from None
        if item.is_response or item.is_summary:
            return item
    names = ", ".join(sorted(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))[:5])
    raise ValueError(f"has no InferenceExecutionSummaries (but {names or 'nothing'})")
