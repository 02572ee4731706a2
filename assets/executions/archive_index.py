"""Which saved responses a run has to read, and what is remembered of those it read.

A file is read when it is new or changed, or when it reaches a wanted day that it was not merged into yet.
So an unchanged file is not read again, and a day reads only the files that reach it. Files that are gone
stay in the table.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from assets.framework.row_content import conform
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES
from resources.storage.base import StoredFile


@dataclass(frozen=True)
class ArchiveRecord:
    """What is remembered of one file: a row of `archive_files`."""

    uri: str
    size_bytes: int
    etag: str | None
    reader_version: int
    recorded_at: datetime
    content_hash: str | None = None
    executions: int = 0
    rejected: int = 0
    first_data_start_time: datetime | None = None
    last_data_start_time: datetime | None = None
    complete: bool | None = None
    error: str | None = None
    merged_dates: frozenset[date] = field(default_factory=frozenset)

    def matches_file(self, file: StoredFile, reader_version: int) -> bool:
        """Tell whether the file is still as it was read, and would be read the same today."""
        return (self.size_bytes, self.etag, self.reader_version) == (
            file.size_bytes,
            file.etag,
            reader_version,
        )

    def has_same_content(self, other: "ArchiveRecord") -> bool:
        """Tell whether both have the same bytes, read in the same way."""
        mine, theirs = ((known.content_hash, known.reader_version) for known in (self, other))
        return self.content_hash is not None and mine == theirs

    def reach(self, days: Collection[date]) -> set[date]:
        """Return those of the days that lie between its first and last execution."""
        if self.first_data_start_time is None or self.last_data_start_time is None:
            return set()
        first, last = self.first_data_start_time.date(), self.last_data_start_time.date()
        return {day for day in days if first <= day <= last}


def load_records(table: pa.Table) -> dict[str, ArchiveRecord]:
    """Return the rows of `archive_files` by uri."""
    return {
        row["uri"]: ArchiveRecord(**{**row, "merged_dates": frozenset(row["merged_dates"] or ())})
        for row in table.to_pylist()
    }


def select_files_to_read(
    files: Iterable[StoredFile],
    remembered: dict[str, ArchiveRecord],
    reader_version: int,
    wanted: Collection[date],
    in_lake: Collection[date],
) -> list[StoredFile]:
    """Choose the files that a run over the wanted days must read.

    A day that is not in the lake (any more) has nothing merged, whatever is remembered.
    """
    chosen = []
    for file in files:
        before = remembered.get(file.uri)
        current = before is not None and before.matches_file(file, reader_version)
        if before is None or not current or before.reach(wanted) - (before.merged_dates & set(in_lake)):
            chosen.append(file)
    return chosen


def update_index(existing: pa.Table, news: Iterable[ArchiveRecord], merged: Collection[date]) -> pa.Table:
    """Merge what a run learned into `archive_files`.

    Args:
        existing: the table as recorded, perhaps by another run meanwhile.
        news: the files that this run read.
        merged: the days that this run merged them into.
    """
    rows = load_records(existing)
    for new in news:
        before = rows.get(new.uri)
        earlier = before.merged_dates if before is not None and before.has_same_content(new) else frozenset()
        rows[new.uri] = replace(new, merged_dates=earlier | new.reach(merged))
    return _table(rows.values())


def describe_files_outside_history(files: Sequence[ArchiveRecord], history: Days, today: date) -> list[str]:
    """Say in words which files hold executions of days that are no partitions, and what to set."""
    spans = [
        (file.first_data_start_time.date(), file.last_data_start_time.date(), file)
        for file in files
        if file.first_data_start_time is not None and file.last_data_start_time is not None
    ]
    said = []
    early = [span for span in spans if span[0] < history.first]
    if early:
        first, _, file = min(early, key=lambda span: span[0])
        said.append(
            f"Executions from before history.start_date = {history.first} in"
            f" {_counted(len(early), 'saved response')}, the earliest of {first} in {file.uri}."
            f' To take them in, set [history] start_date = "{first}" in ledger.toml.'
        )
    end = history.end or today + timedelta(days=1)
    late = [span for span in spans if span[1] >= end]
    if late:
        _, last, file = max(late, key=lambda span: span[1])
        mend = (
            f'To take them in, set [history] end_date = "{last + timedelta(days=1)}" in ledger.toml.'
            if history.end
            else "They lie in the future: compare the clocks of this machine and of the one that saved them."
        )
        said.append(
            f"Executions from {end} on, after the last partition, in {_counted(len(late), 'saved response')},"
            f" the latest of {last} in {file.uri}. {mend}"
        )
    return said


def describe_problems(files: Sequence[ArchiveRecord]) -> list[str]:
    """Say in words what is wrong with files: broken, cut off by paging, or with summaries of no use."""
    said = [
        f"{file.uri}: {file.error}. "
        + ("What else it holds was read." if file.executions else "It gave nothing; the others were read.")
        for file in files
        if file.error
    ]
    cut_off = [file.uri for file in find_files_with_missing_pages(files)]
    if cut_off:
        said.append(
            f"Pages are missing after {_counted(len(cut_off), 'saved response')}, which end with a NextToken:"
            f" {_some(cut_off)}"
        )
    unusable = [file for file in files if file.rejected]
    if unusable:
        said.append(
            f"Not usable, and put aside in rejected_executions:"
            f" {_counted(sum(file.rejected for file in unusable), 'summary', 'summaries')} of"
            f" {_some([file.uri for file in unusable])}"
        )
    return said


def find_files_with_missing_pages(files: Iterable[ArchiveRecord]) -> list[ArchiveRecord]:
    """Return the files that end with a NextToken and have no next page beside them.

    A next page is named with the next number and holds what is older: pages come newest first. Dumps of
    consecutive days are named alike, but the next one holds what is newer.
    """
    by_uri = {file.uri: file for file in files}
    return [file for file in by_uri.values() if file.complete is False and not _goes_on(file, by_uri)]


def _goes_on(file: ArchiveRecord, by_uri: Mapping[str, ArchiveRecord]) -> bool:
    page = by_uri.get(_with_next_number(file.uri))
    if page is None or page.last_data_start_time is None or file.first_data_start_time is None:
        return False
    return page.last_data_start_time <= file.first_data_start_time


def _with_next_number(uri: str) -> str:
    return re.sub(r"\d+(?=\D*$)", lambda number: str(int(number[0]) + 1).zfill(len(number[0])), uri)


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _some(uris: list[str], most: int = 5) -> str:
    return ", ".join(uris[:most]) + (f" and {len(uris) - most} more" if len(uris) > most else "")


def _table(rows: Iterable[ArchiveRecord]) -> pa.Table:
    fields: list[dict[str, Any]] = [vars(row) | {"merged_dates": sorted(row.merged_dates)} for row in rows]
    return conform(ARCHIVE_FILES, pa.Table.from_pylist(fields, schema=ARCHIVE_FILES.schema))
