"""Merges the candidates of an extraction into the executions of the lake, day by day.

A day in one file is merged as a whole, or by ranges of schedulers if it is large. A day in several shards is
merged shard by shard, or by groups of schedulers if rows of buckets can belong to schedulers of other shards.
"""

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.bucket_identity import (
    IDENTITY_COLUMNS,
    KnownScheduler,
    SharedResults,
    find_known_schedulers,
    has_bucket_rows,
    merge_with_bucket_rows,
)
from assets.executions.candidates import CandidateBuffer, PackedRows
from assets.executions.grouped_merge import GroupedMerge, retry_changed_rows
from assets.executions.merge import MOST_ROWS_AT_ONCE, SchedulerRanges, merge_executions, merge_ranges
from assets.executions.recorded_shards import DayUpdate, describe_updates
from assets.executions.tombstones import Tombstones, read_operations
from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import Days
from assets.tables import INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS, REJECTED_EXECUTIONS
from resources.errors import RetryLaterError
from resources.lake.lake import Lake, WriteResult
from resources.lake.shards import Shard, find_shards, list_shards
from resources.redaction import redact
from resources.unused_memory import release_unused_memory, use_system_allocator


class _HasBucketRowsError(Exception):
    """A shard has rows of a bucket, whose execution can be in another shard."""


@dataclass
class ExecutionWriter:
    """The executions of some days, and the candidates for them.

    Attributes:
        lake: The lake to update.
        history: The partitions.
        now: The current time.
        candidates: What the sources returned.
        tombstones: What was skipped while the sources were read.
        named_schedulers: By placeholder ARN, the schedulers that buckets name.
        notices: Messages for people are added to it.
    """

    lake: Lake
    history: Days
    now: datetime
    candidates: CandidateBuffer
    tombstones: Tombstones
    named_schedulers: dict[str, KnownScheduler]
    notices: list[str]
    _known_schedulers: dict[str, KnownScheduler] | None = None
    _marked_results: frozenset[str] | None = None

    def record(self, day: date) -> DayUpdate:
        """Merge the candidates of a day into its executions; memory is that of one shard."""
        count = self.lake.shards(INFERENCE_EXECUTIONS, day)
        if count == 1:
            return self._record_whole_day(day)
        if not self.candidates.has_bucket_rows(day):
            with suppress(_HasBucketRowsError):
                return self._record_shards(day, count)
        return self._record_groups(day, count)

    def _record_shards(self, day: date, count: int) -> DayUpdate:
        candidates = self.candidates.split(day, partial(find_shards, count=count), count)
        return describe_updates(
            (shard.number, self._record_shard(day, shard, candidates[shard.number].read()))
            for shard in list_shards(count)
        )

    def _record_shard(self, day: date, shard: Shard, candidates: pa.Table) -> WriteResult:
        def merge(existing: pa.Table) -> pa.Table:
            if has_bucket_rows(existing):
                raise _HasBucketRowsError
            self._check_tombstones()
            return merge_executions(existing, candidates, self.now)

        return self.lake.update(INFERENCE_EXECUTIONS, day, merge, encoded=True, shard=shard)

    def _record_groups(self, day: date, count: int) -> DayUpdate:
        """Merge the executions of a day whose rows can get schedulers of other shards."""

        def attempt() -> DayUpdate:
            shared: list[SharedResults] = []

            def merge(existing: pa.Table, candidates: pa.Table) -> pa.Table:
                return merge_with_bucket_rows(
                    existing, candidates, self._find_schedulers, self.now, shared.append
                )

            grouped = GroupedMerge(
                self.lake, day, count, self.candidates, self._find_schedulers, merge, self._check_tombstones
            )
            described = describe_updates(grouped.update())
            if shared:
                self._save_shared_results(day, SharedResults.join(shared))
            return described

        return retry_changed_rows(attempt, str(self.lake.path(INFERENCE_EXECUTIONS, day)))

    def _record_whole_day(self, day: date) -> DayUpdate:
        shared: list[SharedResults] = []

        def merge(existing: pa.Table) -> pa.Table:
            self._check_tombstones()
            if existing.num_rows + self.candidates.count_rows(day) > MOST_ROWS_AT_ONCE and not (
                has_bucket_rows(existing) or self.candidates.has_bucket_rows(day)
            ):
                return self._merge_in_ranges(day, existing)
            candidates = self.candidates.read(day)  # after the merge, their memory is free for the write
            return merge_with_bucket_rows(
                existing, candidates, self._find_schedulers, self.now, shared.append
            )

        is_large = self.candidates.count_rows(day) > MOST_ROWS_AT_ONCE
        with use_system_allocator() if is_large else nullcontext():
            written = self.lake.update(INFERENCE_EXECUTIONS, day, merge, encoded=True)
        if shared:
            self._save_shared_results(day, shared[-1])
        return describe_updates([(0, written)])

    def _merge_in_ranges(self, day: date, existing: pa.Table) -> pa.Table:
        """Merge some schedulers at a time, so that the candidates of the others stay packed."""
        release_unused_memory()
        self.candidates.pack()
        ranges = SchedulerRanges.plan(chain([existing], self.candidates.read_pieces(day)))
        candidates = self.candidates.split(day, ranges.find, ranges.count)
        merged = merge_ranges(existing, ranges, map(_unpack_range, candidates), self.now)
        release_unused_memory()
        return merged

    def _check_tombstones(self) -> None:
        """Refuse to record what `ledger forget` removed after the sources were read.

        This runs while the day is locked, or before a conditional write that then conflicts.
        """
        if Tombstones.from_operations(read_operations(self.lake)).ids != self.tombstones.ids:
            raise RetryLaterError(
                "Cannot record a day: ledger forget changed which sources are skipped while they were read",
                where=f"lake.uri = {redact(self.lake.uri)}",
                next_step="run again; the sources are then read according to ledger forget",
            )

    def _find_schedulers(self) -> dict[str, KnownScheduler]:
        """Return the schedulers of output prefixes, from all settings in the lake and from the candidates.

        They are found once, for the first day, while the candidates of all days are in the buffer.
        """
        if self._known_schedulers is None:
            recorded = self.lake.read(INFERENCE_SCHEDULERS, columns=IDENTITY_COLUMNS)
            candidates = self.candidates.read_identities(IDENTITY_COLUMNS)
            self._known_schedulers = find_known_schedulers(
                chain([recorded], candidates), self.named_schedulers
            )
            self._report_replaced_placeholders(recorded)
        return self._known_schedulers

    def _report_replaced_placeholders(self, recorded: pa.Table) -> None:
        placeholders = set(recorded["scheduler_arn"].to_pylist())
        for placeholder, scheduler in (self._known_schedulers or {}).items():
            if placeholder in placeholders and scheduler.arn:
                first, today = self.history.first, self.now.date()
                self.notices.append(
                    f"{placeholder} is {scheduler.arn}. Days outside of this run keep the placeholder until"
                    f" they are extracted again: ledger backfill --from {first} --to {today}"
                )

    def _save_shared_results(self, day: date, shared: SharedResults) -> None:
        """Mark the results of a day that several executions claim; remove the marks of the others."""
        if self._marked_results is None:
            marked = self.lake.read(REJECTED_EXECUTIONS, columns=["source"])["source"]
            self._marked_results = frozenset(marked.to_pylist())
        if count := shared.rejected.num_rows:
            self.notices.append(
                f"{day}: {count:,} results are claimed by several executions each, and finalize none of them."
                " Their schedulers share an output prefix. See rejected_executions."
            )
        elif not shared.examined & self._marked_results:
            return
        uris = pa.array(shared.examined, pa.string())
        self.lake.update(
            REJECTED_EXECUTIONS,
            None,
            lambda existing: replace_rejected(existing, uris, shared.rejected, self.now),
        )


def replace_rejected(existing: pa.Table, sources: pa.Array, new: pa.Table, now: datetime) -> pa.Table:
    """Replace the rejected summaries of some sources; `now` becomes `recorded_at` of changed rows."""
    others = existing.filter(pc.invert(pc.is_in(existing["source"], sources)))
    rows = pa.concat_tables([others, new], promote_options="permissive")
    return stamp_changes(REJECTED_EXECUTIONS, rows, existing, now)


def _unpack_range(candidates: PackedRows) -> pa.Table:
    release_unused_memory()  # of the range before
    return candidates.read()
