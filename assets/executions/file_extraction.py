"""Extraction from saved files: their rows, the complete responses in them, and a record of each file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial

import numpy as np
import pyarrow as pa

from assets.executions.archive_index import ArchiveRecord
from assets.executions.flatten import (
    READER_VERSION,
    FlattenedPages,
    decode_files,
    decode_summaries,
    flatten_pages,
)
from assets.executions.tombstones import NO_TOMBSTONES, Tombstones
from assets.framework.time_windows import filter_days, to_instant
from resources.encoded_texts import get_chunk
from resources.errors import LedgerError, UnreadableArchiveError
from resources.sources.base import (
    DecodedSummaries,
    DecodeSummaries,
    FileListing,
    Page,
    SavedFile,
    SchedulerResponse,
)
from resources.storage.base import StoredFile

_GROUP_BYTES = 4 << 20
"""Small files are decoded together up to this size."""


def read_file(
    listing: FileListing,
    file: StoredFile,
    now: datetime,
    handle_page: Callable[[FlattenedPages], None],
    tombstones: Tombstones = NO_TOMBSTONES,
) -> ArchiveRecord:
    """Read one file as `read_files` does, and return its row of `archive_files`."""
    records: dict[str, ArchiveRecord] = {}
    read_files(listing, [file], now, records, handle_page, tombstones=tombstones)
    return records[file.uri]


def read_files(  # noqa: PLR0913, PLR0917 (the last two have defaults)
    listing: FileListing,
    files: Iterable[StoredFile],
    now: datetime,
    records: dict[str, ArchiveRecord],
    handle_page: Callable[[FlattenedPages], None],
    handle_responses: Callable[[Sequence[SchedulerResponse]], None] = lambda _: None,
    tombstones: Tombstones = NO_TOMBSTONES,
) -> None:
    """Read files, and pass their pages and the complete responses in them to the callbacks.

    The pages of several small files become rows at once.

    Args:
        listing: the files are from it.
        files: the files to read.
        now: the current time.
        records: gets the row of `archive_files` of each file that was read, by URI. An unreadable file gets
            no ETag, so that the next run reads it again.
        handle_page: called with the rows of each group of pages.
        handle_responses: called with the responses of each file.
        tombstones: what is skipped; the record of a file that is skipped as a whole has no executions.

    Raises:
        LedgerError: no further file can be read; the files before it are complete.
    """
    days: dict[str, frozenset[date]] = {}
    unfinished = [""]

    def read_pages() -> Iterator[Page]:
        for file, saved, decode in _open_files(listing, files):
            record = ArchiveRecord(file.uri, file.size_bytes, file.etag, READER_VERSION, now)
            records[file.uri] = record
            unfinished[:] = [file.uri]
            try:
                if _is_skipped(record, saved, tombstones):
                    continue
                for page in saved.read_pages(now, decode):
                    if saved.days is not None:
                        days[file.uri] = saved.days
                    yield page
            except UnreadableArchiveError as error:
                record.etag, record.content_hash, record.error = None, None, error.what
                continue
            _add_content(record, saved)
            handle_responses(tombstones.filter_responses(saved.responses, file.uri, saved.content_hash))

    try:
        for pages in flatten_pages(read_pages()):
            for page in _split_by_file(pages, days):
                _add_page(records, page)
                hashes = {origin: records[origin].content_hash for origin, _ in page.origins}
                handle_page(tombstones.filter_pages(page, hashes=hashes))
    except LedgerError:
        records.pop(unfinished[0], None)  # the next run reads this file again
        raise


def _is_skipped(record: ArchiveRecord, saved: SavedFile, tombstones: Tombstones) -> bool:
    """Return whether tombstones skip a file as a whole, by its name or by its hash under any name."""
    if tombstones.operations:
        saved.compute_hash()  # before its pages
        record.content_hash = saved.content_hash
    return tombstones.find_whole_source(record.uri, record.content_hash) is not None


def _add_content(record: ArchiveRecord, saved: SavedFile) -> None:
    record.content_hash = saved.content_hash
    record.complete = saved.complete
    record.error = "; ".join(saved.problems) or None
    record.proven_dates = frozenset(day for response in saved.responses for day in response.days)


def _split_by_file(pages: FlattenedPages, days: Mapping[str, frozenset[date]]) -> Iterator[FlattenedPages]:
    """Cut the rows of recordings to their days; pages of files without such days stay together."""
    if not any(origin in days for origin, _ in pages.origins):
        yield pages
        return
    start = 0
    for origin, count in pages.origins:
        rows = pages.rows.slice(start, count)
        start += count
        rows = filter_days(rows, days[origin]) if origin in days else rows
        yield FlattenedPages(rows, pages.rejected, ((origin, rows.num_rows),))


def _add_page(records: dict[str, ArchiveRecord], pages: FlattenedPages) -> None:
    """Add the rows of each file to its record."""
    starts = get_chunk(pages.rows["data_start_time"]).cast(pa.int64()).to_numpy()
    counts = np.array([count for _, count in pages.origins])
    borders = (np.cumsum(counts) - counts)[counts > 0]
    lowest, highest = (extreme.reduceat(starts, borders).tolist() for extreme in (np.minimum, np.maximum))
    extremes = zip(lowest, highest, strict=True)
    for origin, count in pages.origins:
        record = records[origin]
        record.executions += count
        record.rejected += pages.rejected.num_rows
        if count:
            first, last = map(to_instant, next(extremes))
            record.first_data_start_time = min(first, record.first_data_start_time or first)
            record.last_data_start_time = max(last, record.last_data_start_time or last)


def _open_files(
    listing: FileListing, files: Iterable[StoredFile]
) -> Iterator[tuple[StoredFile, SavedFile, DecodeSummaries]]:
    """Open files in their order, each with the function that decodes its pages.

    The texts of small files are compared with each other, and decoded together.
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
