"""Reading the sources again that also returned a forgotten execution."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

from assets.executions.api_extraction import poll_service
from assets.executions.archive_index import ArchiveRecord
from assets.executions.candidates import CandidateBuffer
from assets.executions.file_extraction import read_files
from assets.executions.flatten import FlattenedPages, flatten_pages
from assets.executions.provenance import ReturnedKeys, ReturnedKeysBuffer
from assets.executions.selection import ExtractionSelection
from assets.executions.tombstones import Tombstones
from resources.errors import LedgerError
from resources.redaction import redact
from resources.sources.base import DayListing, FileListing, LiveService, SchedulerResponse, Source
from resources.storage.base import StoredFile

Wanted = Mapping[str, Collection[str]]
"""The sources to read, and the ARNs that are wanted of each."""


@dataclass
class Rereading:
    """What the sources returned again for some days.

    Attributes:
        buffer: the candidates, and the keys by source.
        responses: the complete responses in recordings.
        unreadable: the reason by source that could not be read.
    """

    buffer: CandidateBuffer
    responses: list[SchedulerResponse] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    @cached_property
    def returned(self) -> ReturnedKeys:
        """The keys that the sources returned."""
        return self.buffer.returned_keys.get_keys()


@dataclass
class SourceReader:
    """Reads configured sources again; a source that is skipped returns nothing.

    Attributes:
        sources: the configured sources.
        tombstones: what is skipped.
        now: the current time.
        report_progress: called with messages about long operations.
    """

    sources: Sequence[Source]
    tombstones: Tombstones
    now: datetime
    report_progress: Callable[[str], None]

    def read(self, wanted: Wanted, days: Collection[date]) -> Rereading:
        """Read some sources for some days; a source that cannot be read is noted with its reason."""
        rereading = Rereading(CandidateBuffer(frozenset(days)))
        remaining = set(wanted)
        for listing, files in self._files.items():
            selected = [file for uri, file in files.items() if uri in remaining]
            if selected:
                self.report_progress(f"{listing.uri}: {len(selected):,} files to read again")
                self._read_files(listing, selected, rereading)
                remaining -= {file.uri for file in selected}
        for source in self.sources:
            uri = redact(source.uri)
            if uri in remaining and source.days:
                self._read_days(source.days, uri, days, rereading)
                remaining.discard(uri)
            elif uri in remaining and source.service:
                self._query(source.service, uri, wanted[uri], days, rereading)
                remaining.discard(uri)
        for uri in remaining:
            rereading.unreadable[uri] = self._list_errors.get(uri) or "it is in no configured source"
        return rereading

    def read_keys(self, uris: Collection[str], days: Collection[date]) -> tuple[ReturnedKeys, set[str]]:
        """Read which executions some files return on some days.

        Returns:
            The keys, and the files that could not be read.
        """
        keys = ReturnedKeysBuffer(days)
        unread = set(uris)

        def add(pages: FlattenedPages) -> None:
            keys.add(pages.origins, pages.rows)
            keys.compact()

        for listing, files in self._files.items():
            selected = [file for uri, file in files.items() if uri in unread]
            records: dict[str, ArchiveRecord] = {}
            with suppress(LedgerError):  # the files without a record stay unread
                read_files(listing, selected, self.now, records, add)
            unread -= {uri for uri, record in records.items() if not record.error}
        return keys.get_keys(), unread

    @cached_property
    def _list_errors(self) -> dict[str, str]:
        return {}

    @cached_property
    def _files(self) -> dict[FileListing, dict[str, StoredFile]]:
        files: dict[FileListing, dict[str, StoredFile]] = {}
        for source in self.sources:
            if source.files:
                try:
                    files[source.files] = {file.uri: file for file in source.files.list_files()}
                except LedgerError as error:
                    self._list_errors[source.files.uri] = error.what
        return files

    def _read_files(self, listing: FileListing, files: Sequence[StoredFile], rereading: Rereading) -> None:
        records: dict[str, ArchiveRecord] = {}
        try:
            read_files(
                listing,
                files,
                self.now,
                records,
                rereading.buffer.add,
                rereading.responses.extend,
                self.tombstones,
            )
        except LedgerError as error:
            rereading.unreadable |= {file.uri: error.what for file in files if file.uri not in records}
        for uri, record in records.items():
            if record.error:
                rereading.unreadable[uri] = record.error

    def _read_days(self, listing: DayListing, uri: str, days: Collection[date], rereading: Rereading) -> None:
        try:
            for pages in flatten_pages(listing.read_pages(days, self.now)):
                rereading.buffer.add(self.tombstones.filter_pages(pages, uri), uri)
        except LedgerError as error:
            rereading.unreadable[uri] = error.what

    def _query(
        self,
        service: LiveService,
        uri: str,
        arns: Collection[str],
        days: Collection[date],
        rereading: Rereading,
    ) -> None:
        def add(pages: FlattenedPages) -> None:
            rereading.buffer.add(self.tombstones.filter_pages(pages, uri), uri)

        selection = ExtractionSelection(tuple(sorted(arns)))
        service.fails_fast = True
        poll = poll_service(service, days, {}, add, self.now, selection)
        if poll.failed:
            rereading.unreadable[uri] = next(iter(poll.failed.values())).what
        elif not poll.is_listed:
            rereading.unreadable[uri] = f"the service ended on {service.service_end}"
