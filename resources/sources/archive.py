"""Saved responses as a source: whatever form they were saved in.

Forms: AWS CLI v1 and v2 output, bodies as they came over the wire, `json.dumps(response, default=str)`,
printed responses of notebooks, JSON lines of responses or of summaries, bare lists, several pages in one
file or one page a file; any of them gzipped.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from hashlib import blake2b
from typing import Any

import msgspec

from resources.sources.base import Page, SavedResponses
from resources.sources.documents import read_documents
from resources.storage.base import FileStore, StoredFile
from resources.storage.open import open_file_store

KIND = "archive"
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt")
"""What a saved response in a folder is called, `.gz` aside; a file that is named itself may have any name."""

SUMMARIES_A_PAGE = 2_000
"""Summaries are handed on in pages of this many, whatever the responses they were saved in."""

_PROBLEMS_TOLD = 10


_Member = msgspec.Raw | msgspec.UnsetType
_Summaries = list[msgspec.Raw] | msgspec.UnsetType | None


class _Item(msgspec.Struct, rename="pascal"):
    """What tells a response from a summary, and both from anything else.

    It is the times: a scheduler's description has the names, the ARNs and a status too.
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
    """As other SDKs spell it; a member that were not named again would keep its spelling."""

    inference_execution_summaries: _Summaries = msgspec.UNSET
    next_token: Any = None
    scheduled_start_time: _Member = msgspec.UNSET
    data_start_time: _Member = msgspec.UNSET
    data_end_time: _Member = msgspec.UNSET


_SPELLINGS = (msgspec.json.Decoder(_Item), msgspec.json.Decoder(_CamelCaseItem))


class ArchiveSource:
    """A file, or a folder of files, that hold saved responses of ListInferenceExecutions."""

    kind = KIND
    days = None
    service = None

    def __init__(self, uri: str, *, zone: tzinfo | None = None, store: FileStore | None = None) -> None:
        """Name the place; nothing is opened yet.

        Args:
            uri: a file or a folder.
            zone: the zone of times that were saved without one.
            store: where the uri lies, if not where its scheme says.
        """
        self.uri = uri
        self._zone = zone
        self._store = store or open_file_store(uri)

    @property
    def files(self) -> "ArchiveSource":
        """Read it file by file."""
        return self

    def list_files(self) -> list[StoredFile]:
        """List the files that look like saved responses.

        Raises:
            ConfigurationError: the place is not there, or may not be looked into.
        """
        found = [self._tagged(file) for file in self._store.list_files(self.uri)]
        if [file.uri for file in found] == [self.uri]:
            return found
        return [file for file in found if file.uri.lower().removesuffix(".gz").endswith(SUFFIXES)]

    def read(self, file: StoredFile) -> SavedResponses:
        """Read one file; what in it is no response of any form stands in the dump's `problems`.

        Raises:
            UnreadableArchiveError: it cannot be opened.
        """
        data = self._store.read(file)
        read = read_documents(data, self._zone)
        summaries: list[msgspec.Raw] = []
        problems = list(read.problems)
        complete = True
        items = [item for document in read.documents for item in _items(document)]
        for number, raw in enumerate(items, 1):
            try:
                item = _recognized(raw)
            except ValueError as problem:
                problems.append(f"document {number} {problem}" if len(items) > 1 else str(problem))
                continue
            if item.is_response:
                summaries += item.inference_execution_summaries or ()
                complete = not item.next_token
            else:
                summaries.append(raw)
        digest = blake2b(data, digest_size=16, key=str(self._zone or "").encode())
        return SavedResponses(file, digest.hexdigest(), tuple(summaries), complete, _told(problems))

    def _tagged(self, file: StoredFile) -> StoredFile:
        # the same bytes mean something else in another zone, and are then read again
        return replace(file, etag=f"{file.etag} {self._zone}") if self._zone else file

    def read_pages(self, saved: SavedResponses, read_at: datetime) -> Iterator[Page]:
        """Hand on what a file held, as lists of summaries."""
        for start in range(0, len(saved.summaries), SUMMARIES_A_PAGE):
            body = b"[" + b",".join(saved.summaries[start : start + SUMMARIES_A_PAGE]) + b"]"
            yield Page(body, KIND, saved.file.uri, read_at, self._zone)


def _items(document: msgspec.Raw) -> list[msgspec.Raw]:
    """Open a list; what stands in it is judged as if it stood alone."""
    if memoryview(document)[0] == ord("["):
        return msgspec.json.decode(document, type=list[msgspec.Raw])
    return [document]


def _recognized(raw: msgspec.Raw) -> _Item:
    for spelling in _SPELLINGS:
        try:
            item = spelling.decode(raw)
        except msgspec.ValidationError as problem:
            raise ValueError(f"is no response: {problem}") from None
        if item.is_response or item.is_summary:
            return item
    names = ", ".join(sorted(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))[:5])
    raise ValueError(f"has no InferenceExecutionSummaries (but {names or 'nothing'})")


def _told(problems: list[str]) -> tuple[str, ...]:
    left_out = len(problems) - _PROBLEMS_TOLD
    return (*problems[:_PROBLEMS_TOLD], *([f"and {left_out} more like these"] if left_out > 0 else []))
