"""One extraction: read the sources for some days and merge each day into the lake.

Which source returned which executions is written before the days. Each day is written in a fixed order:
executions first, then coverage. The index of files is updated after the days. A run that is killed at any
point has therefore recorded nothing that is not in the lake. The next run reads the files again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa

from assets.executions import archive_index
from assets.executions.api_extraction import ApiPoll, RefusedSources, poll_service
from assets.executions.archive_index import ArchiveRecord
from assets.executions.bucket_identity import (
    IDENTITY_COLUMNS,
    KnownScheduler,
    select_prefixes,
)
from assets.executions.candidates import CandidateBuffer
from assets.executions.coverage import compute_settle_time, merge_coverage
from assets.executions.execution_writer import ExecutionWriter, replace_rejected
from assets.executions.file_extraction import read_files
from assets.executions.flatten import (
    READER_VERSION,
    REJECTED,
    FlattenedPages,
    flatten_pages,
)
from assets.executions.provenance import merge_returned_keys
from assets.executions.recorded_shards import RecordedShard
from assets.executions.scheduler_history import build_listed_settings, merge_listed_settings
from assets.executions.selection import SELECT_ALL, ExtractionSelection
from assets.executions.tombstones import (
    NO_TOMBSTONES,
    Tombstones,
    describe_skipped,
    describe_skipped_files,
    read_operations,
)
from assets.framework.row_content import deduplicate
from assets.framework.time_windows import Days
from assets.tables import (
    ARCHIVE_FILES,
    EXECUTION_SOURCES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from resources.errors import BudgetSpentError, LedgerError
from resources.lake.lake import Lake, WriteResult
from resources.name_patterns import no_scheduler_error
from resources.redaction import redact
from resources.sources.base import (
    DayListing,
    FileListing,
    ListedScheduler,
    LiveService,
    SchedulerResponse,
    Source,
)
from resources.storage.base import StoredFile
from resources.unused_memory import release_unused_memory

LISTED_PER_REPORT = 20_000
"""The number of results of a bucket between two messages about the progress of its listing."""


@dataclass(frozen=True)
class RecordedDay:
    """One day after its update: the shards of its executions, and its coverage."""

    shards: tuple[RecordedShard, ...]
    coverage: WriteResult

    @property
    def changed_rows(self) -> int:
        """The number of new and changed executions."""
        return sum(shard.changed_rows for shard in self.shards)


@dataclass
class Extraction:
    """The extraction of some days from all sources.

    Attributes:
        lake: The lake to update.
        history: The partitions.
        settle_after: Time after the end of a day at which it settles.
        now: The current time.
        report_progress: Called with messages about long operations.
        refusals: Permanent errors, shared by all extractions of a run.
        files_read: Records of the saved responses that were read.
        notices: Messages for people about problems that do not fail the run.
        failed: Errors by scheduler name or source URI. They fail the run after all days are recorded.
        budget_error: Set if the call budget is spent; nothing more can be read.
    """

    lake: Lake
    history: Days
    settle_after: timedelta
    now: datetime
    report_progress: Callable[[str], None]
    refusals: RefusedSources = field(default_factory=RefusedSources)
    files_read: list[ArchiveRecord] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    budget_error: BudgetSpentError | None = None
    _polls: list[ApiPoll] = field(default_factory=list)
    _recorded_responses: list[SchedulerResponse] = field(default_factory=list)
    _candidates: CandidateBuffer = field(default_factory=lambda: CandidateBuffer(frozenset()))
    _merged_days: set[date] = field(default_factory=set)
    _tombstones: Tombstones = NO_TOMBSTONES
    _named_schedulers: dict[str, KnownScheduler] = field(default_factory=dict)
    _listed_in_buckets: list[ListedScheduler] = field(default_factory=list)
    _writer: ExecutionWriter = field(init=False)
    _days_changed: int = 0
    _rows_changed: int = 0

    def gather(
        self,
        sources: Sequence[Source],
        days: Collection[date],
        selection: ExtractionSelection = SELECT_ALL,
    ) -> list[date]:
        """Read what is missing in the lake or may have changed, for some days, from all sources.

        Returns:
            The days to record: those that the previous attempt did not record, and those with new data. If
            settled days are skipped, of the former only those that are not in the lake.

        Raises:
            LedgerError: no source returned anything.
        """
        release_unused_memory()
        self._candidates = buffer = CandidateBuffer(frozenset(days))
        self._tombstones = Tombstones.from_operations(read_operations(self.lake))
        self._writer = ExecutionWriter(
            self.lake,
            self.history,
            self.now,
            buffer,
            self._tombstones,
            self._named_schedulers,
            self.notices,
        )
        in_lake = set(days) & set(self.lake.days(INFERENCE_EXECUTIONS))
        remaining_days = [day for day in days if day not in selection.previous.recorded_days]
        if remaining_days:
            listings = [source.files for source in sources if source.files]
            self._read_files(listings, remaining_days, in_lake, buffer)
            self._read_days(sources, remaining_days, buffer, selection)
        has_unread_files = bool(self.failed)
        days_to_skip = selection.find_days_to_skip(self.lake, days, self.settle_after)
        for source in sources:
            if source.service and not self.budget_error:
                self._poll(source.service, days, days_to_skip, buffer, selection)
        self._add_errors_for_unmatched_names(sources, selection)
        answered_days = {day for response in self._list_responses() for day in response.days} & set(days)
        obtained = answered_days | (buffer.days & set(remaining_days))
        is_nothing_proven = not days_to_skip or not any(poll.is_listed for poll in self._polls)
        needs_answers = has_unread_files or all(source.service for source in sources)
        has_other_files = any(not source.service and source.uri not in self.failed for source in sources)
        if self.failed and needs_answers and not has_other_files and not obtained and is_nothing_proven:
            raise next(iter(self.failed.values()))
        release_unused_memory()
        self._save_rejected(buffer.rejected)
        self._save_returned_keys(buffer)
        self.save_file_index()  # before any day, so that a read-only lake is one error and not one per day
        unchanged = self._find_days_without_news(
            set(remaining_days), in_lake, selection, needs_answers=needs_answers
        )
        return sorted(obtained | unchanged)

    def _find_days_without_news(
        self,
        remaining_days: set[date],
        in_lake: set[date],
        selection: ExtractionSelection,
        *,
        needs_answers: bool,
    ) -> set[date]:
        """Return the days to record although no source returned anything for them."""
        if self.budget_error:
            return set()  # they may not have been queried
        if self.failed and needs_answers:
            remaining_days = remaining_days & in_lake
        return remaining_days - in_lake if selection.skip_settled else remaining_days

    def _read_files(
        self,
        listings: Sequence[FileListing],
        days: Collection[date],
        in_lake: set[date],
        buffer: CandidateBuffer,
    ) -> None:
        records = archive_index.load_records(self.lake.read(ARCHIVE_FILES))
        listed: list[StoredFile] = []
        for listing in listings:
            try:
                files = listing.list_files()
            except LedgerError as error:
                self.failed[listing.uri] = error
                continue
            if not files:
                self.notices.append(f"{listing.uri} has no saved responses: no file matches *.json[l].")
            selected = archive_index.select_files_to_read(files, records, READER_VERSION, days, in_lake)
            self.report_progress(
                f"{listing.uri}: {len(files)} saved responses, {len(selected)} of them to read"
            )
            self._read_listed_files(listing, selected, buffer)
            listed += files
        self._save_listed_settings(
            build_listed_settings([response.scheduler], response.queried_at)
            for response in self._recorded_responses
        )
        records |= {file.uri: file for file in self.files_read}
        listed_records = [records[file.uri] for file in listed if file.uri in records]
        hashes = {record.uri: record.content_hash for record in listed_records}
        self.notices += [
            *describe_skipped_files(hashes, self._tombstones),
            *archive_index.describe_problems(listed_records),
            *archive_index.describe_files_outside_history(listed_records, self.history, self.now.date()),
        ]

    def _read_listed_files(
        self, listing: FileListing, files: Sequence[StoredFile], buffer: CandidateBuffer
    ) -> None:
        """Read files until an error concerns all of them, such as a store that cannot be reached."""
        records: dict[str, ArchiveRecord] = {}
        try:
            read_files(
                listing,
                files,
                self.now,
                records,
                buffer.add,
                self._recorded_responses.extend,
                self._tombstones,
            )
        except LedgerError as error:
            self.failed[listing.uri] = error
        self.files_read += records.values()

    def _read_days(
        self,
        sources: Sequence[Source],
        days: Collection[date],
        buffer: CandidateBuffer,
        selection: ExtractionSelection,
    ) -> None:
        for source in sources:
            if not source.days or self._skips(source.uri):
                continue
            uri = redact(source.uri)
            try:
                placeholders = self._select_prefixes(source.days, selection)
                pages = flatten_pages(source.days.read_pages(days, self.now, placeholders))
                for page in self._report_listing(source.days, pages):
                    buffer.add(self._tombstones.filter_pages(page, uri), uri)
                for placeholder, named in source.days.find_named_schedulers().items():
                    arn = None if named.arn == placeholder else named.arn
                    self._named_schedulers[placeholder] = KnownScheduler(arn, named.name)
            except LedgerError as error:
                self.failed[source.uri] = error
            else:
                self.report_progress(f"{source.uri}: {source.days.requests:,} list requests so far")
                self.notices += map(str, source.days.problems)

    def _report_listing(
        self, listing: DayListing, pages: Iterable[FlattenedPages]
    ) -> Iterator[FlattenedPages]:
        """Yield the pages, and report the progress of a long listing."""
        results, next_report = 0, LISTED_PER_REPORT
        for page in pages:
            yield page
            results += page.rows.num_rows
            if results >= next_report:
                self.report_progress(
                    f"{listing.uri}: {results:,} results listed, {listing.requests:,} requests so far"
                )
                next_report = results + LISTED_PER_REPORT

    def _select_prefixes(self, listing: DayListing, selection: ExtractionSelection) -> set[str] | None:
        """Return the placeholder ARNs of the output prefixes to list; None: all."""
        if not selection.schedulers:
            return None
        listed = listing.list_by_placeholder()
        self._listed_in_buckets += listed.values()
        tables = [self.lake.read(INFERENCE_SCHEDULERS, columns=IDENTITY_COLUMNS)]
        tables += self._candidates.read_identities(IDENTITY_COLUMNS)
        return select_prefixes(
            listed, tables, lambda scheduler: bool(selection.select_schedulers([scheduler]))
        )

    def _poll(
        self,
        service: LiveService,
        days: Collection[date],
        days_to_skip: Mapping[str, Collection[date]],
        buffer: CandidateBuffer,
        selection: ExtractionSelection,
    ) -> None:
        uri = redact(service.uri)
        if self._skips(service.uri):
            return

        def add_page(page: FlattenedPages) -> None:
            buffer.add(self._tombstones.filter_pages(page, uri), uri)

        poll = poll_service(service, days, days_to_skip, add_page, self.now, selection, self.refusals)
        self.report_progress(
            f"{service.uri}: {len(poll.schedulers)} schedulers, {len(poll.responses)} queried completely,"
            f" {len(poll.failed)} failed"
        )
        poll.responses = self._tombstones.filter_responses(poll.responses, uri)
        self._polls.append(poll)
        self.failed |= poll.failed
        self.budget_error = poll.budget_error
        self.notices += poll.notices
        if poll.schedulers:
            self._save_listed_settings([build_listed_settings(poll.schedulers, poll.listed_at)])

    def _skips(self, uri: str) -> bool:
        """Return whether a bucket or a service was forgotten as a whole, and note it."""
        operation = self._tombstones.find_whole_source(redact(uri))
        if operation:
            self.notices.append(describe_skipped(operation, uri))
        return operation is not None

    def _save_listed_settings(self, listed: Iterable[pa.Table]) -> None:
        """Add the settings that services listed, now or in recordings."""
        tables = list(listed)
        if tables:
            settings = pa.concat_tables(tables)
            self.lake.update(
                INFERENCE_SCHEDULERS,
                None,
                lambda existing: merge_listed_settings(existing, settings, self.now),
            )

    def _add_errors_for_unmatched_names(
        self, sources: Sequence[Source], selection: ExtractionSelection
    ) -> None:
        """Add an error for each selected name that no service, bucket, saved response and row has.

        A service or bucket that did not list its schedulers may have the name.
        """
        polls = [poll for poll in self._polls if poll.days]
        if not selection.schedulers or not (polls or self._listed_in_buckets):
            return
        is_unlisted = any(source.days and source.uri in self.failed for source in sources)
        if is_unlisted or not all(poll.is_listed for poll in polls):
            return
        recorded = self.lake.read(INFERENCE_SCHEDULERS, columns=["scheduler_arn", "scheduler_name"])
        names = {row["scheduler_arn"]: row["scheduler_name"] for row in recorded.to_pylist()}
        names |= self._candidates.get_names()
        known = [ListedScheduler(arn, name) for arn, name in names.items()]
        known += [scheduler for poll in polls for scheduler in poll.schedulers]
        known += self._listed_in_buckets
        self.failed |= {
            name: no_scheduler_error(
                name, (scheduler.name for scheduler in known), "the schedulers of this run"
            )
            for name in selection.find_unmatched_names(known)
        }

    def record(self, day: date) -> RecordedDay:
        """Merge one gathered day into the lake: executions first, shard by shard, then coverage."""
        shards, counts = self._writer.record(day)
        self._candidates.discard(day)
        coverage = self.lake.update(
            EXTRACTION_COVERAGE,
            day,
            lambda existing: merge_coverage(
                counts,
                existing,
                settles_at=compute_settle_time(day, self.settle_after),
                now=self.now,
                query_times=self._get_query_times(day),
                names=self._get_names(day),
            ),
        )
        recorded = RecordedDay(shards, coverage)
        self._merged_days.add(day)
        self._days_changed += any(shard.result.metadata["changed"] for shard in shards)
        self._rows_changed += recorded.changed_rows
        return recorded

    def _list_responses(self) -> list[SchedulerResponse]:
        """Return the complete responses of services and of recordings."""
        return [*self._recorded_responses, *(response for poll in self._polls for response in poll.responses)]

    def _get_query_times(self, day: date) -> dict[str, datetime]:
        """Return by ARN the time of the last complete query of a day."""
        times: dict[str, datetime] = {}
        for response in self._list_responses():
            if day in response.days:
                arn = response.scheduler.arn
                times[arn] = max(times.get(arn, response.queried_at), response.queried_at)
        return times

    def _get_names(self, day: date) -> dict[str, str]:
        """Return by ARN the names of the schedulers that a service listed or a recording covers."""
        schedulers = [response.scheduler for response in self._recorded_responses if day in response.days]
        for poll in self._polls:
            if day in poll.days:
                schedulers += poll.schedulers
        return {scheduler.arn: scheduler.name for scheduler in schedulers}

    def count_results(self) -> dict[str, int]:
        """Return counts of the work so far; the counts of several extractions can be added."""
        return {
            "files_read": len(self.files_read),
            "schedulers_answered": sum(len(poll.responses) for poll in self._polls),
            "days_recorded": len(self._merged_days),
            "days_changed": self._days_changed,
            "rows_changed": self._rows_changed,
        }

    def save_file_index(self) -> None:
        """Upsert the files that were read, with the days that they are merged into so far."""
        if self.files_read:
            self.lake.update(
                ARCHIVE_FILES,
                None,
                lambda existing: archive_index.update_index(existing, self.files_read, self._merged_days),
            )

    def _save_returned_keys(self, buffer: CandidateBuffer) -> None:
        """Record which source returned which executions, before any of them is recorded."""
        if returned := buffer.returned_keys.get_keys():
            self.lake.update(
                EXECUTION_SOURCES, None, lambda existing: merge_returned_keys(existing, returned, self.now)
            )

    def _save_rejected(self, rejected: Sequence[pa.Table]) -> None:
        """Replace the rejected summaries of the files that were read; those of other files stay."""
        # two sources can contain the same file
        new = deduplicate(REJECTED_EXECUTIONS, pa.concat_tables([REJECTED.empty_table(), *rejected]))
        if not new.num_rows and not self.lake.has(REJECTED_EXECUTIONS):
            return
        uris = pa.array([file.uri for file in self.files_read], pa.string())
        self.lake.update(
            REJECTED_EXECUTIONS, None, lambda existing: replace_rejected(existing, uris, new, self.now)
        )
