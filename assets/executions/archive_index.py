"""Index of saved responses: selection of the files to read, and the table `archive_files`.

A run reads a file if it is new or changed, or if it covers a requested day that it is not merged into yet. An
unchanged file is therefore not read again, and a day reads only the files that cover it. Deleted files stay
in the table.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.tombstones import ForgetOperation
from assets.framework.row_content import conform
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES
from resources.storage.base import StoredFile

_DATE_LISTS = ("merged_dates", "proven_dates")


@dataclass
class ArchiveRecord:
    """A row of `archive_files`; it changes while its file is read."""

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
    proven_dates: frozenset[date] = field(default_factory=frozenset)

    def matches_file(self, file: StoredFile, reader_version: int) -> bool:
        """Return whether the file and the reader are unchanged since it was read."""
        return (self.size_bytes, self.etag, self.reader_version) == (
            file.size_bytes,
            file.etag,
            reader_version,
        )

    def has_content(self, content_hash: str | None, reader_version: int) -> bool:
        """Return whether the file had these bytes when it was read, by the same version of the reader."""
        known = (self.content_hash, self.reader_version)
        return content_hash is not None and (content_hash, reader_version) == known

    def select_covered_days(self, days: Collection[date]) -> set[date]:
        """Return the days from the day of the first execution to the day of the last one, and proven days."""
        if self.first_data_start_time is None or self.last_data_start_time is None:
            return {day for day in days if day in self.proven_dates}
        first, last = self.first_data_start_time.date(), self.last_data_start_time.date()
        if first == last and not self.proven_dates:  # most files have executions of one day
            return {first} if first in days else set()
        return {day for day in days if first <= day <= last or day in self.proven_dates}

    @property
    def span(self) -> tuple[date, date] | None:
        """The first and last day with executions or a proof; None if there is none."""
        moments = (self.first_data_start_time, self.last_data_start_time)
        days = [*(moment.date() for moment in moments if moment), *self.proven_dates]
        return (min(days), max(days)) if days else None


def load_records(table: pa.Table) -> dict[str, ArchiveRecord]:
    """Return the rows of `archive_files` by URI."""
    names = table.schema.names
    columns = [
        [frozenset(days or ()) for days in column] if name in _DATE_LISTS else column
        for name, column in ((name, table[name].to_pylist()) for name in names)
    ]
    rows = (ArchiveRecord(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
    return {record.uri: record for record in rows}


def select_files_to_read(
    files: Iterable[StoredFile],
    records: dict[str, ArchiveRecord],
    reader_version: int,
    requested: Collection[date],
    in_lake: Collection[date],
) -> list[StoredFile]:
    """Return the files that a run over the requested days must read.

    `in_lake` has the days with a file of executions. For any other day, `merged_dates` is ignored.
    """
    selected, lake_days = [], frozenset(in_lake)
    for file in files:
        record = records.get(file.uri)
        is_current = record is not None and record.matches_file(file, reader_version)
        merged = record.merged_dates & lake_days if record else frozenset()
        if record is None or not is_current or record.select_covered_days(requested) - merged:
            selected.append(file)
    return selected


def update_index(existing: pa.Table, read: Iterable[ArchiveRecord], merged: Collection[date]) -> pa.Table:
    """Upsert the files that a run read into `archive_files`.

    Args:
        existing: the table, which another run may have changed in the meantime.
        read: the files that this run read.
        merged: the days that this run merged them into.
    """
    files = {file.uri: file for file in read}
    is_read = pc.is_in(existing["uri"], pa.array(list(files), pa.string()))
    merged_before = _load_merged_dates(existing.filter(is_read), files)
    dates = [
        merged_before.get(uri, frozenset()) | file.select_covered_days(merged) for uri, file in files.items()
    ]
    others = existing.filter(pc.invert(is_read))
    new = _build_rows(files, merged_dates=dates)
    rows = pa.concat_tables([others, new], promote_options="permissive")
    return conform(ARCHIVE_FILES, rows)


def _load_merged_dates(existing: pa.Table, files: Mapping[str, ArchiveRecord]) -> dict[str, frozenset[date]]:
    """Return the days that the same content of files was merged into before, by URI."""
    columns = ["uri", "content_hash", "reader_version", "merged_dates"]
    rows = zip(*(existing[name].to_pylist() for name in columns), strict=True)
    return {
        uri: frozenset(days or ())
        for uri, content_hash, version, days in rows
        if files[uri].has_content(content_hash, version)
    }


def forget_files(existing: pa.Table, operation: ForgetOperation) -> pa.Table:
    """Note in `archive_files` that forgotten days are not merged any more.

    A file that is forgotten as a whole keeps its row, so that it is not read again while it is unchanged.
    """
    records = load_records(existing)
    for uri, record in records.items():
        if operation.selects_source(uri):
            records[uri] = (
                ArchiveRecord(
                    uri,
                    record.size_bytes,
                    record.etag,
                    record.reader_version,
                    record.recorded_at,
                    record.content_hash,
                )
                if operation.selects_whole_sources
                else _without_days(record, operation)
            )
    return _build_rows(records)


def lift_files(existing: pa.Table, operation: ForgetOperation) -> pa.Table:
    """Note in `archive_files` that the forgotten files must be read again."""
    kept = {}
    for uri, record in load_records(existing).items():
        if not operation.skips(uri, record.content_hash) and not operation.selects_source(uri):
            kept[uri] = record
        elif not operation.selects_whole_sources:
            kept[uri] = _without_days(record, operation)
    return _build_rows(kept)


def _without_days(record: ArchiveRecord, operation: ForgetOperation) -> ArchiveRecord:
    merged = frozenset(day for day in record.merged_dates if not operation.selects_day(day))
    return replace(record, merged_dates=merged)


def _build_rows(records: Mapping[str, ArchiveRecord], **changed: Sequence[Any]) -> pa.Table:
    """Build the rows of files; `changed` has other values of some columns."""
    columns: dict[str, Sequence[Any]] = {
        name: changed.get(name) or [*map(attrgetter(name), records.values())]
        for name in ARCHIVE_FILES.schema.names
    }
    columns["merged_dates"] = [sorted(days) for days in columns["merged_dates"]]
    columns["proven_dates"] = [sorted(days) or None for days in columns["proven_dates"]]
    return conform(ARCHIVE_FILES, pa.table(columns, schema=ARCHIVE_FILES.schema))


def describe_files_outside_history(files: Sequence[ArchiveRecord], history: Days, today: date) -> list[str]:
    """Return messages about files with executions outside the history, and the setting to change."""
    spans = [
        (file.first_data_start_time.date(), file.last_data_start_time.date(), file)
        for file in files
        if file.first_data_start_time is not None and file.last_data_start_time is not None
    ]
    messages = []
    early = [span for span in spans if span[0] < history.first]
    if early:
        first, _, file = min(early, key=lambda span: span[0])
        messages.append(
            f"Executions before history.start_date = {history.first} in"
            f" {_format_count(len(early), 'saved response')}, the earliest on {first} in {file.uri}."
            f' To include them, set [history] start_date = "{first}" in ledger.toml.'
        )
    end = history.end or today + timedelta(days=1)
    late = [span for span in spans if span[1] >= end]
    if late:
        past = [span for span in late if span[1] <= today]
        _, last, file = max(past or late, key=lambda span: span[1])
        next_step = (
            f'To include them, set [history] end_date = "{last + timedelta(days=1)}" in ledger.toml.'
            if history.end and past
            else "They are in the future: compare the clocks of this machine and the one that saved them."
        )
        messages.append(
            f"Executions after the last partition, from {end} on, in"
            f" {_format_count(len(late), 'saved response')}, the latest on {last} in {file.uri}. {next_step}"
        )
    return messages


def describe_problems(files: Sequence[ArchiveRecord]) -> list[str]:
    """Return messages about files that are unreadable, lack later pages, or have rejected summaries."""
    messages = [
        f"{file.uri}: {file.error}. "
        + ("The rest of the file was read." if file.executions else "The other files were read.")
        for file in files
        if file.error
    ]
    cut_off = [file.uri for file in find_files_with_missing_pages(files)]
    if cut_off:
        messages.append(
            f"Pages are missing after {_format_count(len(cut_off), 'saved response')} with a NextToken:"
            f" {_format_list(cut_off)}"
        )
    with_rejects = [file for file in files if file.rejected]
    if with_rejects:
        rejected = sum(file.rejected for file in with_rejects)
        messages.append(
            f"Rejected, see rejected_executions: {_format_count(rejected, 'summary', 'summaries')} of"
            f" {_format_list([file.uri for file in with_rejects])}"
        )
    return messages


def find_files_with_missing_pages(files: Iterable[ArchiveRecord]) -> list[ArchiveRecord]:
    """Return the files that end with a NextToken and have no file with the next page.

    The next page has the next number in its name and older executions, because pages come newest first. Files
    of consecutive days have the same names, but the next number has newer executions.
    """
    by_uri = {file.uri: file for file in files}
    return [file for file in by_uri.values() if file.complete is False and not _has_next_page(file, by_uri)]


def _has_next_page(file: ArchiveRecord, by_uri: Mapping[str, ArchiveRecord]) -> bool:
    page = by_uri.get(_increment_number(file.uri))
    if page is None or page.last_data_start_time is None or file.first_data_start_time is None:
        return False
    return page.last_data_start_time <= file.first_data_start_time


def _increment_number(uri: str) -> str:
    return re.sub(r"\d+(?=\D*$)", lambda number: str(int(number[0]) + 1).zfill(len(number[0])), uri)


def _format_count(count: int, singular: str, plural: str | None = None) -> str:
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def _format_list(uris: list[str], limit: int = 5) -> str:
    return ", ".join(uris[:limit]) + (f" and {len(uris) - limit} more" if len(uris) > limit else "")
