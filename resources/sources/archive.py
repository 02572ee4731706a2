"""Saved responses as a source.

Supported formats: output of AWS CLI v1 and v2, raw HTTP bodies, `json.dumps(response, default=str)`,
responses printed in notebooks, JSON lines of responses or summaries, and lists of summaries. A file has one
page or several, and may be gzipped. Recordings (`recordings`) hold requests too, and can prove days complete.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from hashlib import blake2b
from typing import Any

import msgspec

from resources.errors import UnreadableArchiveError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.sources.base import Page, SavedResponses
from resources.sources.documents import MAX_PROBLEMS, read_documents
from resources.sources.messages import LIST_EXECUTIONS
from resources.sources.recordings import read_recording
from resources.sources.warc import is_warc, read_warc
from resources.storage.base import NAME_NOT_UTF8, FileStore, StoredFile
from resources.storage.open import open_file_store

KIND = "archive"
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt", ".warc")
"""The suffixes of saved responses in a folder, without `.gz`. A URI of one file may have any name."""

SUMMARIES_A_PAGE = 2_000
"""The number of summaries in a page, independent of the saved responses."""

RECORDED_KIND = "api"
"""The kind of the source of recorded executions: they are what the API returned."""

_MAX_PROBLEMS = 10
_MAX_LIST_DEPTH = 3


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


class ArchiveSource:
    """A file or folder with saved responses of ListInferenceExecutions."""

    kind = KIND
    days = None
    service = None

    def __init__(
        self,
        uri: str,
        *,
        zone: tzinfo | None = None,
        store: FileStore | None = None,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        """Open nothing yet.

        Args:
            uri: a file, a folder, or an s3:// prefix.
            zone: the time zone of times without an offset.
            store: reads the files; None: chosen by the scheme of the URI.
            limits: limits of each file.
        """
        self._limits = limits
        self.uri = uri
        self._zone = zone
        self._store = store or open_file_store(uri, limits)

    @property
    def files(self) -> "ArchiveSource":
        """Read it file by file."""
        return self

    def list_files(self) -> list[StoredFile]:
        """List the files that look like saved responses, and the entries that cannot be read.

        Raises:
            ConfigurationError: the URI does not exist, or cannot be read.
        """
        files = [self._with_zone(file) for file in self._store.list_files(self.uri)]
        if [file.uri for file in files] == [self.uri]:
            return files
        return [file for file in files if _is_candidate(file)]

    def read(self, file: StoredFile) -> SavedResponses:
        """Read one file; `problems` names the parts that are in no supported format.

        Raises:
            UnreadableArchiveError: the file cannot be opened.
        """
        if file.size_bytes > self._limits.size_bytes:
            raise UnreadableArchiveError(
                f"Cannot read a file: it is {self._limits.too_large}",
                where=file.uri,
                next_step="split the file, or raise the limit",
            )
        data = self._store.read(file)
        if is_warc(data):
            return self._read_recording(file, data)
        content = read_documents(data, self._zone, self._limits)
        summaries: list[msgspec.Raw] = []
        problems = list(content.problems)
        complete = True
        items = [item for document in content.documents for item in _split_list(document)]
        for number, raw in enumerate(items, 1):
            try:
                item = _decode_item(raw)
            except ValueError as error:
                problems.append(f"document {number} {error}" if len(items) > 1 else str(error))
                if len(problems) > MAX_PROBLEMS:
                    problems.append("is not read further")
                    break
                continue
            if item.is_response:
                summaries += item.inference_execution_summaries or ()
                complete = not item.next_token
            else:
                summaries.append(raw)
        if len(summaries) > self._limits.rows:
            problems.insert(0, f"has {self._limits.too_many_rows}; the others are not read")
            del summaries[self._limits.rows :]
        return SavedResponses(file, self._hash(data), tuple(summaries), complete, _limit(problems))

    def _read_recording(self, file: StoredFile, data: bytes) -> SavedResponses:
        content = read_warc(data, self._limits)
        recording = read_recording(content.exchanges)
        problems = [*content.problems, *recording.problems]
        if not content.exchanges and not problems:
            problems.append(f"has no response of {LIST_EXECUTIONS}")
        if len(recording.summaries) > self._limits.rows:
            problems.insert(0, f"has {self._limits.too_many_rows}; the others are not read")
            del recording.summaries[self._limits.rows :]
        return SavedResponses(
            file,
            self._hash(data),
            tuple(recording.summaries),
            complete=all(query.is_complete for query in recording.queries),
            problems=_limit(problems),
            responses=() if problems else recording.responses,
            days=None if problems else recording.days,
            kind=RECORDED_KIND,
        )

    def _hash(self, data: bytes) -> str:
        return blake2b(data, digest_size=16, key=str(self._zone or "").encode()).hexdigest()

    def _with_zone(self, file: StoredFile) -> StoredFile:
        # the same bytes have another meaning in another zone and must then be read again
        return replace(file, etag=f"{file.etag} {self._zone}") if self._zone else file

    def read_pages(self, saved: SavedResponses, read_at: datetime) -> Iterator[Page]:
        """Return the summaries of a file, in pages."""
        for start in range(0, len(saved.summaries), SUMMARIES_A_PAGE):
            body = b"[" + b",".join(saved.summaries[start : start + SUMMARIES_A_PAGE]) + b"]"
            yield Page(body, saved.kind, saved.file.uri, read_at, self._zone)


def _is_candidate(file: StoredFile) -> bool:
    # a link or folder that cannot be opened may hold saved responses, whatever its name is
    has_suffix = file.uri.lower().removesuffix(".gz").endswith(SUFFIXES)
    return has_suffix or file.problem not in {None, NAME_NOT_UTF8}


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


def _limit(problems: list[str]) -> tuple[str, ...]:
    omitted = len(problems) - _MAX_PROBLEMS
    return (*problems[:_MAX_PROBLEMS], *([f"and {omitted} more problems"] if omitted > 0 else []))
