"""Reading of small files in groups: their texts are compared with each other, and decoded together."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from assets.executions.flatten import decode_files, decode_summaries
from resources.sources.base import DecodedSummaries, DecodeSummaries, FileListing, SavedFile
from resources.storage.base import StoredFile

_GROUP_BYTES = 4 << 20


def open_files(
    listing: FileListing, files: Iterable[StoredFile]
) -> Iterator[tuple[StoredFile, SavedFile, DecodeSummaries]]:
    """Open files in their order, each with the function that decodes its pages.

    Args:
        listing: the files are from it.
        files: the files to open.
    """
    group: list[tuple[StoredFile, SavedFile]] = []
    contents: list[bytes] = []
    size = 0
    for file in files:
        saved = listing.open(file)
        content = saved.read_ahead()
        group.append((file, saved))
        contents.append(content or b"")
        size += len(contents[-1])
        if content is None or size > _GROUP_BYTES:  # after an error, no further file is read
            yield from _decode_together(group, contents)
            group, contents, size = [], [], 0
    yield from _decode_together(group, contents)


def _decode_together(
    group: Sequence[tuple[StoredFile, SavedFile]], contents: Sequence[bytes]
) -> Iterator[tuple[StoredFile, SavedFile, DecodeSummaries]]:
    decoded = decode_files(contents) if len(group) > 1 else [None] * len(group)
    for (file, saved), content, summaries in zip(group, contents, decoded, strict=True):
        yield file, saved, partial(_decode, content, summaries) if summaries else decode_summaries


def _decode(
    content: bytes, summaries: DecodedSummaries, body: bytes, *, is_lines: bool
) -> DecodedSummaries | None:
    """Return the summaries of a whole file; decode other pages."""
    return summaries if body == content else decode_summaries(body, is_lines=is_lines)
