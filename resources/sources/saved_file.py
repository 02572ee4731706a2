"""One saved file: its pages, and what else was found in it.

The file is read in parts, and a part is decoded as a whole if possible: as summaries in lines, or as a
response. Only a part with other content is split into its documents, and these into summaries. Packed files
and UTF-16 are unpacked part by part, and the pages of a recording are held compressed.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, tzinfo
from functools import partial
from hashlib import blake2b
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO

import msgspec

from resources.errors import LedgerError, UnreadableArchiveError
from resources.gzip_data import GZIP, Read
from resources.read_limits import ReadLimits
from resources.sources.base import DecodedSummaries, DecodeSummaries, Page, SchedulerResponse
from resources.sources.documents import (
    DECODE_ERRORS,
    MAX_PROBLEMS,
    OBJECTS_PER_ROW,
    count_objects,
    describe_other_format,
    split_documents,
)
from resources.sources.messages import LIST_EXECUTIONS
from resources.sources.packed_text import (
    UTF16,
    BlockReader,
    PackedText,
    TooLargeError,
    find_other_format,
    read_blocks,
)
from resources.sources.recordings import read_recording
from resources.sources.text_parts import PART_BYTES, TextPart, TextParts, has_unindented_documents
from resources.sources.warc import is_warc, read_exchanges
from resources.storage.base import FileStore, StoredFile

KIND = "archive"
RECORDED_KIND = "api"
"""The kind of the source of recorded executions: they are what the API returned."""

SUMMARIES_A_PAGE = 2_000
"""The number of summaries in a page, if they are not decoded as a whole."""

SMALL_FILE_BYTES = 1 << 15
"""The largest file that is read ahead."""

_LARGE_DOCUMENT = 1 << 15
"""Larger documents are decoded as a whole, even if the text around them cannot be."""

_EMPTY = "is empty"
_MAX_PROBLEMS = 10
_MAX_LIST_DEPTH = 3
_JSON_STARTS = (b"{", b"[")
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


_DECODERS = (msgspec.json.Decoder(_Item), msgspec.json.Decoder(_CamelCaseItem))


class SavedResponseFile:
    """A file with saved responses; see `resources.sources.base.SavedResponseFile`."""

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
        self._content: bytes | None = None
        self._error: LedgerError | None = None
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
        with closing(self._open()) as stream:
            start = self._read(stream, min(self.file.size_bytes + 1, PART_BYTES))  # all of a small file
            while len(start) < PART_BYTES and (block := self._read(stream, PART_BYTES - len(start))):
                start += block
            read, is_whole = partial(self._read, stream), len(start) < PART_BYTES and not self._is_stopped
            if start.startswith(_JSON_STARTS):
                page = decode and self._content and self._decode_part(TextPart(start, 0), read_at, decode)
                if page:  # most small files
                    yield page
                else:
                    yield from self._read_parts(TextParts(read, start, is_whole=is_whole), read_at, decode)
            elif is_warc(start):
                yield from self._read_recording(_prepend(start, read), read_at)
            elif _is_packed(start):
                yield from self._read_packed(_prepend(start, read), read_at, decode)
            else:
                bom = len(start) - len(start.removeprefix(BOM_UTF8))
                parts = TextParts(read, start[bom:], bom, is_whole=is_whole)
                yield from self._read_parts(parts, read_at, decode)
            while not is_whole and read(PART_BYTES):
                pass  # also after a limit: the hash depends on all bytes
        if not self._has_documents and not self._problems:
            self._problems.append((None, _EMPTY))

    def read_ahead(self) -> bytes | None:
        """Read a small file whole; None: it is large, or could not be read."""
        size = self.file.size_bytes
        if size > SMALL_FILE_BYTES:
            return None
        try:
            with closing(self._store.open(self.file)) as stream:
                content = stream.read(size + 1)
                while len(content) <= size and (block := stream.read(size + 1 - len(content))):
                    content += block
        except LedgerError as error:
            self._error = error
            return None
        self._content = content if len(content) <= size else None  # it has grown since it was listed
        return self._content

    def _open(self) -> BinaryIO:
        if self._error:
            raise self._error
        return self._store.open(self.file) if self._content is None else BytesIO(self._content)

    def compute_hash(self) -> None:
        """Read the file only to compute its hash.

        Raises:
            UnreadableArchiveError: the file cannot be read.
        """
        hasher = self._new_hash()
        with closing(self._open()) as stream:
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
            self._stop_at_size()
            return b""
        return block

    def _stop_at_size(self) -> None:
        if not self._is_stopped:
            more = "; the rest is not read" if self._rows else ""
            self._problems.append((None, f"is {self._limits.too_large}{more}"))
        self._is_stopped = True

    def _read_packed(self, read: Read, read_at: datetime, decode: DecodeSummaries | None) -> Iterator[Page]:
        try:
            text = PackedText(read, self._limits)
        except TooLargeError:
            self._stop_at_size()
            return
        if text.other_format:
            self._problems.append((None, describe_other_format(text.other_format)))
            return

        def read_text(size: int) -> bytes:
            try:
                return text.read(size)
            except TooLargeError:
                self._stop_at_size()
                return b""

        yield from self._read_parts(TextParts(read_text), read_at, decode)
        while read_text(PART_BYTES):
            pass  # a damage at the end is known then
        if text.damage:
            self._problems.insert(0, (None, text.damage))

    def _read_recording(self, read: Read, read_at: datetime) -> Iterator[Page]:
        problems: list[str] = []
        recording = read_recording(read_exchanges(read, problems, self._limits))
        problems += recording.problems
        if not recording.exchanges and not problems:
            problems.append(f"has no response of {LIST_EXECUTIONS}")
        self._problems += [(None, problem) for problem in problems]
        self._has_documents = True
        self.kind = RECORDED_KIND
        self.complete = all(query.is_complete for query in recording.queries)
        count = self._limit_rows(len(recording.summaries))
        if not self._problems:
            self.responses, self.days = recording.responses, recording.days
        yield from self._build_pages(islice(recording.summaries, count), read_at)

    def _read_parts(
        self, parts: TextParts, read_at: datetime, decode: DecodeSummaries | None
    ) -> Iterator[Page]:
        """Read the text part by part."""
        while (part := parts.take()).text and not self._is_stopped:
            if decode and (page := self._decode_part(part, read_at, decode)):
                yield page
                continue
            if part.is_list and not _is_list(part.text):
                parts.put_back(keep_rest=False)
                continue
            document = b'{"InferenceExecutionSummaries":%b}' % part.text if part.is_response else part.text
            find_line = partial(parts.find_line, part, self._count_line_ends)
            content = split_documents(document, self._zone, self._limits, find_line)
            if content.problems and part.is_list:
                parts.put_back(keep_rest=False)
            elif (
                content.problems
                and parts.has_more
                and (part.is_before_blanks or has_unindented_documents(part.text))
            ):
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
                yield from self._build_limited_pages(summaries, read_at)
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
        yield from self._build_limited_pages(summaries, read_at)

    def _count_objects(self, text: bytes) -> None:
        """Stop if all parts together have more objects than rows of the limit can have."""
        self._objects += count_objects(text)
        if self._objects > OBJECTS_PER_ROW * self._limits.rows:
            self._is_stopped = True
            problem = None, f"has {self._limits.too_many_rows}"
            if problem not in self._problems:
                self._problems.append(problem)

    def _count_line_ends(self, first: int, second: int) -> tuple[int, int]:
        """Count the line ends before two positions in the text; the file is read again for that."""
        with closing(self._store.open(self.file)) as stream:
            start = stream.read(PART_BYTES)
            read = _prepend(start, stream.read)
            if _is_packed(start):
                read = PackedText(read, self._limits).read
            before = _count_line_ends(read, first)
            return before, before + _count_line_ends(read, second - first)

    def _limit_rows(self, count: int) -> int:
        """Return how many of the next rows are read, and report a limit."""
        if self._rows + count <= self._limits.rows:
            return count
        self._problems.insert(0, (None, f"has {self._limits.too_many_rows}; the others are not read"))
        self._is_stopped = True
        return max(self._limits.rows - self._rows, 0)

    def _build_limited_pages(self, summaries: Sequence[msgspec.Raw], read_at: datetime) -> Iterator[Page]:
        return self._build_pages(islice(summaries, self._limit_rows(len(summaries))), read_at)

    def _build_pages(self, summaries: Iterator[msgspec.Raw], read_at: datetime) -> Iterator[Page]:
        while rows := [*islice(summaries, SUMMARIES_A_PAGE)]:
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


def _prepend(start: bytes, read: Read) -> Read:
    """Return a function that reads some bytes again, and then what follows."""
    return BlockReader(chain([start], read_blocks(read))).read


def _is_packed(start: bytes) -> bool:
    """Return whether a file is no plain text, from its first bytes."""
    return start.startswith((GZIP, *UTF16)) or find_other_format(start) is not None


def _count_line_ends(read: Read, size: int) -> int:
    """Count the line ends in the next bytes."""
    count = 0
    while size > 0 and (block := read(min(PART_BYTES, size))):
        size -= len(block)
        count += block.count(b"\n")
    return count


def _is_list(text: bytes) -> bool:
    try:
        _LIST.decode(text)
    except DECODE_ERRORS:
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
        except DECODE_ERRORS:
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
        except DECODE_ERRORS as error:
            raise ValueError(f"is not a response: {error}") from None
        if item.is_response or item.is_summary:
            return item
    names = ", ".join(sorted(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))[:5])
    raise ValueError(f"has no InferenceExecutionSummaries (its members: {names or 'none'})")
