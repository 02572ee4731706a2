"""Saved responses as a source: whatever form they were saved in.

Belongs here: finding the files, telling responses, lists and single summaries apart, leftover NextTokens.
Does not belong here: columns, and which files a day needs (see `assets.executions.archives`).

Forms: AWS CLI v1 and v2 output, bodies as they came over the wire, `json.dumps(response, default=str)`,
printed responses of notebooks, JSON lines of responses or of summaries, bare lists, several pages in one
file or one page a file; any of them gzipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from hashlib import blake2b
from itertools import groupby
from typing import Any

import msgspec

from resources.files import FileStore, StoredFile, open_store
from resources.sources import Page
from resources.sources.documents import documents

KIND = "archive"
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt")
"""What a saved response in a folder is called, `.gz` aside; a file that is named itself may have any name."""

SUMMARIES_A_PAGE = 2_000
"""Single summaries (JSON lines) are handed on in pages of this many."""

_OF_A_SUMMARY = frozenset(
    spelled
    for name in ("InferenceSchedulerArn", "InferenceSchedulerName", "DataStartTime", "ModelArn", "ModelName")
    for spelled in (name, name[0].lower() + name[1:])
)


class _Response(msgspec.Struct, rename="pascal"):
    inference_execution_summaries: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    next_token: str | None = None


class _CamelCaseResponse(msgspec.Struct, rename="camel"):  # as other SDKs spell it
    inference_execution_summaries: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    next_token: str | None = None


_SPELLINGS = (msgspec.json.Decoder(_Response), msgspec.json.Decoder(_CamelCaseResponse))


@dataclass(frozen=True)
class Dump:
    """One saved file, read.

    `bodies` are lists of summaries as JSON. `complete` is False where the last response ends with a
    NextToken: there were more pages. `problems` says what in the file could not be read; the rest was.
    """

    file: StoredFile
    content_hash: str
    bodies: tuple[bytes, ...]
    complete: bool
    problems: tuple[str, ...]


class Archive:
    """A file, or a folder of files, that hold saved responses of ListInferenceExecutions."""

    kind = KIND

    def __init__(self, uri: str, *, zone: tzinfo | None = None, store: FileStore | None = None) -> None:
        """Name the place; nothing is opened yet.

        Args:
            uri: a file or a folder.
            zone: the zone of times that were saved without one.
            store: where the uri lies, if not where its scheme says.
        """
        self.uri = uri
        self._zone = zone
        self._store = store or open_store(uri)

    def files(self) -> list[StoredFile]:
        """List the files that look like saved responses.

        Raises:
            ConfigurationError: the place is not there, or may not be looked into.
        """
        found = self._store.find(self.uri)
        if [file.uri for file in found] == [self.uri]:
            return found
        return [file for file in found if file.uri.lower().removesuffix(".gz").endswith(SUFFIXES)]

    def read(self, file: StoredFile) -> Dump:
        """Read one file; what in it is no response of any form stands in the dump's `problems`.

        Raises:
            UnreadableArchiveError: it cannot be opened.
        """
        data = self._store.read(file)
        read = documents(data)
        bodies: list[bytes] = []
        problems = list(read.problems)
        complete = True
        for is_summary, group in groupby(read.found, key=_is_summary):
            if is_summary:
                bodies += _pages_of(list(group))
                continue
            for document in group:
                try:
                    inside, complete = _responses(document)
                    bodies += inside
                except (msgspec.DecodeError, ValueError) as problem:
                    problems.append(str(problem))
        return Dump(file, blake2b(data, digest_size=16).hexdigest(), tuple(bodies), complete, tuple(problems))

    def pages(self, dump: Dump, read_at: datetime) -> Iterator[Page]:
        """Hand on what a file held."""
        return (Page(body, KIND, dump.file.uri, read_at, self._zone) for body in dump.bodies)


def _pages_of(summaries: list[bytes]) -> list[bytes]:
    starts = range(0, len(summaries), SUMMARIES_A_PAGE)
    return [b"[" + b",".join(summaries[start : start + SUMMARIES_A_PAGE]) + b"]" for start in starts]


def _is_summary(document: bytes) -> bool:
    try:
        members = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return False
    return not _OF_A_SUMMARY.isdisjoint(members)


def _responses(document: bytes) -> tuple[list[bytes], bool]:
    """Return the lists of summaries in a document, and whether nothing followed the last of them."""
    if not document.startswith(b"["):
        return _response(document)
    items = msgspec.json.decode(document, type=list[msgspec.Raw])
    if not items or _is_summary(items[0]):
        return [document], True
    pages = [_response(item) for item in items]
    return [body for bodies, _ in pages for body in bodies], pages[-1][1]


def _response(document: bytes | msgspec.Raw) -> tuple[list[bytes], bool]:
    for spelling in _SPELLINGS:
        response: Any = spelling.decode(document)
        summaries = response.inference_execution_summaries
        if summaries is not msgspec.UNSET:
            body = b"[" + b",".join(map(bytes, summaries or [])) + b"]"
            return [body], response.next_token is None
    names = ", ".join(sorted(msgspec.json.decode(document, type=dict[str, msgspec.Raw]))[:5])
    raise ValueError(f"has no InferenceExecutionSummaries (but {names or 'nothing'})")
