"""One use of `ledger forget`: planned, recorded as an intent, executed day by day, and marked complete.

The intent is written first and is a tombstone at once, so that no run records again what is removed. All
later steps can be repeated: they give the same rows, and equal rows are not written. The claims of the
forgotten sources are removed last, because they name the days and executions to process.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions import archive_index
from assets.executions.archive_index import ArchiveRecord, load_records
from assets.executions.bucket_identity import (
    IDENTITY_COLUMNS,
    KnownScheduler,
    find_known_schedulers,
)
from assets.executions.provenance import ReturnedKeys, merge_returned_keys
from assets.executions.scheduler_history import EXECUTION_COLUMNS, merge_observed_settings
from assets.executions.tombstones import (
    NO_TOMBSTONES,
    ForgetOperation,
    Tombstones,
    read_operations,
    save_operation,
)
from assets.framework.materializations import PartitionResult, partition_result
from assets.framework.row_content import stamp_changes
from assets.removal.claims import list_claimed_days, remove_claims
from assets.removal.days import DayForgetting, ForgottenDay, PlannedDay
from assets.removal.derived import DerivedTables
from assets.removal.rejected import update_rejected
from assets.removal.rereading import SourceReader
from assets.removal.selection import find_kinds
from assets.tables import (
    ARCHIVE_FILES,
    EXECUTION_SOURCES,
    EXTRACTION_COVERAGE,
    FORGET_OPERATIONS,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.scheduler_arns import PLACEHOLDER
from resources.sources.base import Source
from resources.sources.bucket import KIND as BUCKET

_API = "api"


@dataclass
class ForgetReport:
    """What an operation did.

    Attributes:
        operation: its row in `forget_operations`.
        unreadable: the reason by source that could not be read again.
        lost_proofs: days of schedulers that are not proven complete any more.
        unread_results: executions whose results must be read again.
        changed_days: the days whose tables changed.
        materializations: the new content of each day of each table.
    """

    operation: ForgetOperation
    unreadable: dict[str, str] = field(default_factory=dict)
    lost_proofs: int = 0
    unread_results: int = 0
    changed_days: set[date] = field(default_factory=set)
    materializations: list[tuple[date, PartitionResult]] = field(default_factory=list)


@dataclass
class Forgetting:
    """Executes an operation.

    Attributes:
        lake: the lake.
        operation: what is forgotten.
        sources: the configured sources.
        derived: the rules of derived tables.
        settle_after: time after the end of a day at which it settles.
        now: the current time.
        report_progress: called with messages about long operations.
    """

    lake: Lake
    operation: ForgetOperation
    sources: Sequence[Source]
    derived: DerivedTables
    settle_after: timedelta
    now: datetime
    report_progress: Callable[[str], None]

    @cached_property
    def _records(self) -> dict[str, ArchiveRecord]:
        return load_records(self.lake.read(ARCHIVE_FILES))

    @cached_property
    def _days(self) -> DayForgetting:
        claims = merge_returned_keys(self.lake.read(EXECUTION_SOURCES), self._missing_claims[0], self.now)
        kinds = find_kinds(claims, self._records, self.sources)
        return DayForgetting(
            self.lake,
            self.operation,
            kinds,
            self._records,
            claims,
            self.settle_after,
            self.now,
            self._list_remaining_services(kinds),
            self._missing_claims[1],
        )

    @cached_property
    def _missing_claims(self) -> tuple[ReturnedKeys, set[date]]:
        """Read the files that an early version merged without claims.

        Returns:
            Their claims, and the days of the files that cannot be read.
        """
        recorded = set(self.lake.read(EXECUTION_SOURCES, columns=["source"])["source"].to_pylist())
        files = {uri: each for uri, each in self._records.items() if each.executions and uri not in recorded}
        days = {day for record in files.values() for day in record.merged_dates}
        if self.operation.sources is None or not any(map(self.operation.selects_day, days)):
            return {}, set()
        reader = SourceReader(self.sources, NO_TOMBSTONES, self.now, self.report_progress)
        keys, unread = reader.read_keys(files, days)
        return keys, {day for uri in unread for day in files[uri].merged_dates}

    def _list_remaining_services(self, kinds: Mapping[str, Collection[str]]) -> set[str]:
        """Return the ARNs of schedulers that a service listed, unless all services are forgotten."""
        remaining = [
            name for name, each in kinds.items() if _API in each and not self.operation.selects_source(name)
        ]
        if not remaining:
            return set()
        listed = self.lake.read(INFERENCE_SCHEDULERS, columns=["scheduler_arn", "source"])
        return set(listed.filter(pc.equal(listed["source"], _API))["scheduler_arn"].to_pylist())

    def list_days(self) -> list[date]:
        """Return the days that the operation concerns, sorted."""
        operation = self.operation
        days = list_claimed_days(self._days.recorded_claims, operation)
        stored = {day for day in self.lake.days(INFERENCE_EXECUTIONS) if operation.selects_day(day)}
        if operation.sources is None:
            return sorted(
                stored if operation.scheduler_arns is None else days | self._find_days_of_schedulers(stored)
            )
        for uri, record in self._records.items():
            if operation.selects_source(uri):
                days |= {day for day in record.proven_dates if operation.selects_day(day)}
        if any(kinds == {_API} for name, kinds in self._days.kinds.items() if operation.selects_source(name)):
            days |= {day for day in self.lake.days(EXTRACTION_COVERAGE) if operation.selects_day(day)}
        return sorted(days & stored)

    def _find_days_of_schedulers(self, days: Iterable[date]) -> set[date]:
        def has_rows(day: date) -> bool:
            for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
                arns = self.lake.read(table, day, ["scheduler_arn"])["scheduler_arn"].unique().to_pylist()
                if any(map(self.operation.selects_scheduler, arns)):
                    return True
            return False

        return {day for day in days if has_rows(day)}

    def plan(self) -> list[PlannedDay]:
        """Find out what the operation does; nothing is written, and no source is read."""
        return [self._days.plan(day) for day in self.list_days()]

    def execute(self, planned: Sequence[PlannedDay]) -> ForgetReport:
        """Execute the operation, or continue it.

        Args:
            planned: the plan, whose numbers are recorded in the intent.

        Raises:
            LedgerError: the lake cannot be read or written; a repetition continues the operation.
        """
        is_resumed = self.operation.operation_id in {each.operation_id for each in read_operations(self.lake)}
        report = ForgetReport(self._begin(planned))
        if missing := self._missing_claims[0]:
            self.lake.update(
                EXECUTION_SOURCES, None, lambda existing: merge_returned_keys(existing, missing, self.now)
            )
        days = [day.day for day in planned]
        self._forget_days(days, report)
        renamed = self._reidentify()
        settings_changed = self._update_schedulers()
        self.report_progress(f"computing the tables that derive from {len(days):,} days")
        report.materializations += self.derived.update(
            {*days, *renamed}, settings_changed=settings_changed or is_resumed
        )
        kept = self._days.get_kept_keys()
        self.lake.update(
            EXECUTION_SOURCES, None, lambda existing: remove_claims(existing, self.operation, kept, self.now)
        )
        self._update_files()
        report.operation = self._complete(report.operation, sum(map(len, kept.values())))
        return report

    def _begin(self, planned: Sequence[PlannedDay]) -> ForgetOperation:
        """Record the intent; a continued operation keeps the numbers of its plan."""
        if self.operation.completed_at is None and self.operation.operation_id in {
            each.operation_id for each in read_operations(self.lake)
        }:
            return self.operation
        operation = replace(
            self.operation,
            completed_at=None,
            executions_removed=self.operation.executions_removed + sum(day.removed for day in planned),
            executions_reread=self.operation.executions_reread + sum(day.reread for day in planned),
            executions_kept=0,
        )
        self._save(operation)
        return operation

    def _complete(self, operation: ForgetOperation, kept: int) -> ForgetOperation:
        complete = replace(
            operation,
            executions_reread=max(operation.executions_reread - kept, 0),
            executions_kept=kept,
            completed_at=self.now,
        )
        self._save(complete)
        return complete

    def _save(self, operation: ForgetOperation) -> None:
        self.lake.update(
            FORGET_OPERATIONS, None, lambda existing: save_operation(existing, operation, self.now)
        )

    def _forget_days(self, days: Sequence[date], report: ForgetReport) -> None:
        tombstones = Tombstones.from_operations(read_operations(self.lake))
        reader = SourceReader(self.sources, tombstones, self.now, self.report_progress)
        for batch in self._days.split(days):
            rereading = self._days.read_again(reader, batch)
            report.unreadable |= rereading.unreadable
            for day in batch:
                self._add(report, self._days.forget(day, rereading, lambda: self._known_before))
            self.report_progress(f"{batch[0]} to {batch[-1]}: executions, coverage and results are updated")

    def _add(self, report: ForgetReport, forgotten: ForgottenDay) -> None:
        report.lost_proofs += forgotten.lost_proofs
        report.unread_results += forgotten.results.unread if forgotten.results.is_changed else 0
        if forgotten.is_changed:
            report.changed_days.add(forgotten.day)
            report.materializations += [
                (forgotten.day, forgotten.executions),
                (forgotten.day, partition_result(EXTRACTION_COVERAGE, forgotten.coverage, {})),
            ]

    @cached_property
    def _known_before(self) -> dict[str, KnownScheduler]:
        return self._find_known_schedulers()

    def _find_known_schedulers(self) -> dict[str, KnownScheduler]:
        """Return the schedulers of output prefixes, from the executions that no bucket named."""
        named: dict[str, KnownScheduler] = {}
        for source in self.sources:
            if source.days:
                try:
                    schedulers = source.days.find_named_schedulers()
                except LedgerError:  # its rows keep their schedulers
                    rows = self.lake.read(INFERENCE_SCHEDULERS)
                    named |= find_known_schedulers([rows.filter(pc.equal(rows["source"], BUCKET))])
                    continue
                for placeholder, scheduler in schedulers.items():
                    arn = None if scheduler.arn == placeholder else scheduler.arn
                    named[placeholder] = KnownScheduler(arn, scheduler.name)
        return find_known_schedulers(self._read_identities(), named)

    def _read_identities(self) -> Iterable[pa.Table]:
        for day in self.lake.days(INFERENCE_EXECUTIONS):
            for rows in self.lake.read_files(INFERENCE_EXECUTIONS, day, [*IDENTITY_COLUMNS, "source"]):
                own = rows.filter(pc.not_equal(rows["source"], BUCKET))
                yield own.group_by(IDENTITY_COLUMNS).aggregate([])

    def _reidentify(self) -> set[date]:
        """Assign bucket rows on all days to the schedulers that are still known; return these days."""
        claims = self._days.recorded_claims
        is_of_bucket = pc.starts_with(claims["scheduler_arn"], PLACEHOLDER)
        every = replace(self.operation, sources=None, scheduler_arns=None, first_date=None, last_date=None)
        days = list_claimed_days(claims.filter(is_of_bucket), every) & {*self.lake.days(INFERENCE_EXECUTIONS)}
        if not days:
            return set()
        known = self._find_known_schedulers()
        for day in sorted(days):
            self._days.reidentify(day, known)
        return days

    def _update_schedulers(self) -> bool:
        """Build `inference_schedulers` again; return whether it changed."""
        claims = remove_claims(
            self.lake.read(EXECUTION_SOURCES), self.operation, self._days.get_kept_keys(), self.now
        )
        services = {name for name, kinds in self._days.kinds.items() if _API in kinds}
        forgets_service = self.operation.sources is None or any(
            self.operation.selects_source(name) for name in services
        )
        is_of_service = pc.is_in(claims["source"], pa.array(sorted(services), pa.string()))
        still_returned = set(claims.filter(is_of_service)["scheduler_arn"].to_pylist())

        def merge(existing: pa.Table) -> pa.Table:
            is_stale = [
                forgets_service and self.operation.selects_scheduler(arn) and arn not in still_returned
                for arn in existing["scheduler_arn"].to_pylist()
            ]
            recorded = (
                rows
                for day in self.lake.days(INFERENCE_EXECUTIONS)
                for rows in self.lake.read_files(INFERENCE_EXECUTIONS, day, EXECUTION_COLUMNS)
            )
            others = existing.filter(pc.invert(pa.array(is_stale, pa.bool_())))
            merged = merge_observed_settings(recorded, others, self.now)
            return stamp_changes(INFERENCE_SCHEDULERS, merged, existing, self.now)

        if not self.lake.has(INFERENCE_SCHEDULERS):
            return False
        return self.lake.update(INFERENCE_SCHEDULERS, None, merge).changed

    def _update_files(self) -> None:
        """Remove rejected summaries of forgotten files, and what was merged from them."""
        operation = self.operation
        if self.lake.has(REJECTED_EXECUTIONS):
            self.lake.update(
                REJECTED_EXECUTIONS,
                None,
                lambda existing: update_rejected(self.lake, existing, operation, self.now),
            )
        if self.lake.has(ARCHIVE_FILES):
            self.lake.update(
                ARCHIVE_FILES, None, lambda existing: archive_index.forget_files(existing, operation)
            )
