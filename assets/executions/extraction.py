"""One extraction: read the sources for some days, merge each day into the lake, say what was odd.

Order within a day: executions, then coverage. That a file is merged into a day is remembered only after the
day is in the lake, so a run that is killed at any point has recorded nothing that is not there; the next one
reads again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions import archive_index
from assets.executions.api_extraction import ApiPoll, RefusedSources, poll_source
from assets.executions.archive_index import ArchiveRecord
from assets.executions.candidates import CandidateBuffer
from assets.executions.coverage import compute_settle_time, merge_coverage
from assets.executions.flatten import READER_VERSION, REJECTED, FlattenedPages, flatten_pages
from assets.executions.merge import merge_executions
from assets.executions.scheduler_history import build_listed_settings, merge_listed_settings
from assets.executions.selection import SELECT_ALL, ExtractionSelection, build_unknown_scheduler_error
from assets.framework.row_content import count_changed_rows, stamp_changes
from assets.framework.time_windows import Days
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from resources.errors import BudgetSpentError, LedgerError, UnreadableArchiveError
from resources.lake.lake import Lake, WriteResult
from resources.sources.base import FileListing, LiveService, SchedulerResponse, Source
from resources.storage.base import StoredFile


@dataclass(frozen=True)
class RecordedDay:
    """One day after its update; `count_changed_rows` counts the executions that are new or differ now."""

    executions: WriteResult
    coverage: WriteResult
    changed_rows: int


@dataclass
class Extraction:
    """What the sources give for some days, on its way into the lake.

    `history` are the days that are partitions at all, `now` is the time of this run, `progress` is told of
    long work in words. `refusals` are shared by all extractions of a run. `notices` are the things that a
    person should know of; they stop nothing. `failed` are the schedulers, or whole sources, that could not be
    asked; they stop nothing either, until the end. `spent` is set where the calls of the run came to their
    end: nothing more is to be gathered.
    """

    lake: Lake
    history: Days
    settle_after: timedelta
    now: datetime
    progress: Callable[[str], None]
    refusals: RefusedSources = field(default_factory=RefusedSources)
    read: list[ArchiveRecord] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    spent: BudgetSpentError | None = None
    _rounds: list[ApiPoll] = field(default_factory=list)
    _recorded_responses: list[SchedulerResponse] = field(default_factory=list)
    _candidates: dict[date, pa.Table] = field(default_factory=dict)
    _merged: set[date] = field(default_factory=set)
    _days_changed: int = 0
    _rows_changed: int = 0

    def gather(
        self,
        sources: Sequence[Source],
        days: Collection[date],
        scope: ExtractionSelection = SELECT_ALL,
    ) -> list[date]:
        """Read what the sources hold of some days, and is not in the lake yet or may have changed.

        Returns:
            The days to record: those that an earlier attempt left to do, and those that something came for.
            Where settled days are skipped, of the former only those that the lake has not got yet.

        Raises:
            LedgerError: not one of the sources gave anything.
        """
        pending = CandidateBuffer(frozenset(days))
        in_lake = set(days) & set(self.lake.days(INFERENCE_EXECUTIONS))
        left = [day for day in days if day not in scope.earlier.done]
        if left:
            archives = [source.files for source in sources if source.files]
            self._read_archives(archives, left, in_lake, pending)
            self._read_days(sources, left, pending)
        known = scope.known(self.lake, days, self.settle_after)
        for source in sources:
            if source.service and not self.spent:
                self._ask(source.service, days, known, pending, scope)
        self._find_fault_with_names(scope)
        self._candidates = pending.in_days()
        touched = {day for response in self._responses() for day in response.days} & set(days)
        obtained = touched | (self._candidates.keys() & set(left))
        lives_alone = all(source.service for source in sources)
        nobody_there = not known or not any(told.is_listed for told in self._rounds)
        if self.failed and lives_alone and not obtained and nobody_there:
            raise next(iter(self.failed.values()))
        self._quarantine(pending.rejected)
        self.remember()  # before any day: a lake that cannot be written to is one failure, not one a day
        return sorted(obtained | self._nothing_new(set(left), in_lake, scope, lives_alone=lives_alone))

    def _nothing_new(
        self, left: set[date], in_lake: set[date], scope: ExtractionSelection, *, lives_alone: bool
    ) -> set[date]:
        """Return those of the days that are to be recorded even if nothing came for them."""
        if self.spent:
            return set()  # nobody looked
        if self.failed and lives_alone:
            left = left & in_lake
        return left - in_lake if scope.skip_settled else left

    def _read_archives(
        self,
        sources: Sequence[FileListing],
        days: Collection[date],
        in_lake: set[date],
        pending: CandidateBuffer,
    ) -> None:
        remembered = archive_index.load_records(self.lake.read(ARCHIVE_FILES))
        listed: list[StoredFile] = []
        for source in sources:
            files = source.list_files()
            if not files:
                self.notices.append(
                    f"{source.uri} holds no saved response: nothing there is named *.json[l]."
                )
            chosen = archive_index.select_files_to_read(files, remembered, READER_VERSION, days, in_lake)
            self.progress(f"{source.uri}: {len(files)} saved responses, {len(chosen)} of them to read")
            self.read += [
                read_file(source, file, self.now, pending.add, self._recorded_responses.extend)
                for file in chosen
            ]
            listed += files
        remembered |= {file.uri: file for file in self.read}
        here = [remembered[file.uri] for file in listed]
        self.notices += [
            *archive_index.describe_problems(here),
            *archive_index.describe_files_outside_history(here, self.history, self.now.date()),
        ]

    def _read_days(self, sources: Sequence[Source], days: Collection[date], pending: CandidateBuffer) -> None:
        for source in sources:
            if source.days:
                listed = source.days.list_days(days)
                self.progress(f"{source.uri}: has executions on {len(listed)} of {len(days)} days")
                for page in flatten_pages(source.days.read_pages(listed, self.now)):
                    pending.add(page)

    def _ask(
        self,
        api: LiveService,
        days: Collection[date],
        known: Mapping[str, Collection[date]],
        pending: CandidateBuffer,
        scope: ExtractionSelection,
    ) -> None:
        told = poll_source(api, days, known, pending.add, self.now, scope, self.refusals)
        self.progress(
            f"{api.uri}: {len(told.schedulers)} schedulers, {len(told.answers)} answered in full,"
            f" {len(told.failed)} failed"
        )
        self._rounds.append(told)
        self.failed |= told.failed
        self.spent = told.spent
        self.notices += told.notices
        if told.schedulers:
            seen = build_listed_settings(told.schedulers, told.listed_at)
            self.lake.update(
                INFERENCE_SCHEDULERS, None, lambda existing: merge_listed_settings(existing, seen, self.now)
            )

    def _find_fault_with_names(self, scope: ExtractionSelection) -> None:
        """A name that no scheduler has is a slip, once all sources have told which schedulers they have."""
        asked = [told for told in self._rounds if told.days]
        if asked and all(told.is_listed for told in asked):
            everywhere = [scheduler for told in asked for scheduler in told.schedulers]
            self.failed |= {
                name: build_unknown_scheduler_error(name, everywhere) for name in scope.unknown(everywhere)
            }

    def record(self, day: date) -> RecordedDay:
        """Merge one day into the lake: executions, then coverage."""
        candidates = self._candidates.get(day, INFERENCE_EXECUTIONS.schema.empty_table())
        settles_at = compute_settle_time(day, self.settle_after)
        executions = self.lake.update(
            INFERENCE_EXECUTIONS, day, lambda existing: merge_executions(existing, candidates, self.now)
        )
        coverage = self.lake.update(
            EXTRACTION_COVERAGE,
            day,
            lambda existing: merge_coverage(
                executions.rows,
                existing,
                settles_at=settles_at,
                now=self.now,
                answers=self._answers(day),
                names=self._names(day),
            ),
        )
        self._merged.add(day)
        changed = count_changed_rows(INFERENCE_EXECUTIONS, executions.before, executions.rows)
        self._days_changed += executions.changed
        self._rows_changed += changed
        return RecordedDay(executions, coverage, changed)

    def _responses(self) -> list[SchedulerResponse]:
        """Return the complete answers of the service, live and recorded."""
        return [*self._recorded_responses, *(answer for poll in self._rounds for answer in poll.answers)]

    def _answers(self, day: date) -> dict[str, datetime]:
        """Return by ARN when the service last answered in full for a day."""
        latest: dict[str, datetime] = {}
        for response in self._responses():
            if day in response.days:
                arn = response.scheduler.arn
                latest[arn] = max(latest.get(arn, response.queried_at), response.queried_at)
        return latest

    def _names(self, day: date) -> dict[str, str]:
        """Return the names of the schedulers that the service listed or answered for, by ARN."""
        schedulers = [response.scheduler for response in self._recorded_responses if day in response.days]
        for poll in self._rounds:
            if day in poll.days:
                schedulers += poll.schedulers
        return {scheduler.arn: scheduler.name for scheduler in schedulers}

    def numbers(self) -> dict[str, int]:
        """What was done so far, in numbers that can be added up."""
        return {
            "files_read": len(self.read),
            "schedulers_answered": sum(len(told.answers) for told in self._rounds),
            "days_recorded": len(self._merged),
            "days_changed": self._days_changed,
            "rows_changed": self._rows_changed,
        }

    def remember(self) -> None:
        """Write down which files were read, and which of the days they are merged into so far."""
        if self.read:
            self.lake.update(
                ARCHIVE_FILES,
                None,
                lambda existing: archive_index.update_index(existing, self.read, self._merged),
            )

    def _quarantine(self, rejected: Sequence[pa.Table]) -> None:
        """Replace what was rejected in the files that were read; what other files gave stays."""
        found = pa.concat_tables([REJECTED.empty_table(), *rejected])
        if not found.num_rows and not self.lake.has(REJECTED_EXECUTIONS):
            return
        again = pa.array([file.uri for file in self.read], pa.string())

        def merge_rejected(existing: pa.Table) -> pa.Table:
            others = existing.filter(pc.invert(pc.is_in(existing["source"], again)))
            both = pa.concat_tables([others, found], promote_options="permissive")
            return stamp_changes(REJECTED_EXECUTIONS, both, existing, self.now)

        self.lake.update(REJECTED_EXECUTIONS, None, merge_rejected)


def read_file(
    source: FileListing,
    file: StoredFile,
    now: datetime,
    take: Callable[[FlattenedPages], None],
    take_responses: Callable[[Sequence[SchedulerResponse]], None] | None = None,
) -> ArchiveRecord:
    """Read one file, pass its pages and what it proves complete to `take` and `take_responses`.

    Returns:
        The row of `archive_files`.
    """
    row = ArchiveRecord(file.uri, file.size_bytes, file.etag, READER_VERSION, now)
    try:
        dump = source.read(file)
    except UnreadableArchiveError as problem:
        return replace(row, etag=None, error=problem.what)  # without a tag it is tried again next time
    for page in flatten_pages(source.read_pages(dump, now)):
        take(page)
        row = _with(row, page)
    if take_responses is not None:
        take_responses(dump.responses)
    error = "; ".join(dump.problems) or None
    return replace(row, content_hash=dump.content_hash, complete=dump.complete, error=error)


def _with(row: ArchiveRecord, page: FlattenedPages) -> ArchiveRecord:
    bounds = pc.min_max(page.rows["data_start_time"]).as_py().values()
    moments = [
        moment
        for moment in (row.first_data_start_time, row.last_data_start_time, *bounds)
        if moment is not None
    ]
    return replace(
        row,
        executions=row.executions + page.rows.num_rows,
        rejected=row.rejected + page.rejected.num_rows,
        first_data_start_time=min(moments, default=None),
        last_data_start_time=max(moments, default=None),
    )
