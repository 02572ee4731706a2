"""Forgetting day by day: executions, coverage and results, each with one atomic update."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial, reduce
from itertools import chain, starmap
from operator import add

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.archive_index import ArchiveRecord
from assets.executions.bucket_identity import KnownSchedulers, merge_with_bucket_rows
from assets.executions.candidates import CandidateBuffer
from assets.executions.coverage import compute_settle_time, merge_coverage
from assets.executions.grouped_merge import GroupedMerge, retry_changed_rows
from assets.executions.provenance import ReturnedKeys, Starts
from assets.executions.recorded_shards import DayUpdate, describe_updates
from assets.executions.tombstones import ForgetOperation
from assets.framework.materializations import PartitionResult, combine_results
from assets.removal.claims import Claims, DayClaims, Fate, Kinds, RereadSources, rebuild_executions
from assets.removal.coverage import ProofOfDay, rebuild_coverage
from assets.removal.rereading import Rereading, SourceReader
from assets.removal.results import ChangedResults, count_results, update_results
from assets.tables import (
    EXECUTION_SOURCES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
)
from resources.lake.lake import Lake, WriteResult
from resources.lake.shards import Shard, list_shards
from resources.sources.base import SchedulerResponse

DAYS_PER_BATCH, ROWS_PER_BATCH = 31, 500_000

_COLUMNS = [
    "scheduler_arn",
    "data_start_time",
    "output_s3_bucket",
    "output_s3_prefix",
    "result_s3_bucket",
    "result_s3_key",
    "source",
    "outcome_source",
]


@dataclass(frozen=True)
class PlannedDay:
    """What forgetting does to a day: executions by fate, and rows of results that are removed by table."""

    day: date
    removed: int
    reread: int
    unaffected: int
    results: Mapping[str, int]
    other_sources: Mapping[str, int]

    @property
    def is_changed(self) -> bool:
        """Whether any execution is removed or read again."""
        return bool(self.removed or self.reread)

    def __add__(self, other: "PlannedDay") -> "PlannedDay":
        """Join the plans of two shards of the same day."""
        return PlannedDay(
            self.day,
            self.removed + other.removed,
            self.reread + other.reread,
            self.unaffected + other.unaffected,
            _add_counts(self.results, other.results),
            _add_counts(self.other_sources, other.other_sources),
        )


def _add_counts(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


@dataclass(frozen=True)
class ForgottenDay:
    """The tables of a day after forgetting."""

    day: date
    executions: PartitionResult
    coverage: WriteResult
    results: ChangedResults
    lost_proofs: int

    @property
    def is_changed(self) -> bool:
        """Whether any table changed."""
        is_executions = bool(self.executions.metadata["changed"])
        return is_executions or self.coverage.changed or self.results.is_changed


@dataclass
class DayForgetting:
    """Forgets an operation day by day.

    Attributes:
        lake: the lake.
        operation: what is forgotten.
        kinds: the kinds of rows of each source.
        records: the rows of `archive_files` by URI.
        recorded_claims: the rows of `execution_sources` when the operation was planned.
        settle_after: time after the end of a day at which it settles.
        now: the current time.
        listed: the ARNs that a remaining service listed.
        days_without_claims: the days of files whose executions are not known.
        kept_keys: forgotten claims about executions that stay, so far.
    """

    lake: Lake
    operation: ForgetOperation
    kinds: Kinds
    records: Mapping[str, ArchiveRecord]
    recorded_claims: pa.Table
    settle_after: timedelta
    now: datetime
    listed: Collection[str] = frozenset()
    days_without_claims: Collection[date] = frozenset()
    kept_keys: dict[tuple[str, str], list[Starts]] = field(default_factory=dict)

    def plan(self, day: date) -> PlannedDay:
        """Find out what forgetting does to a day, shard by shard; other sources are not read."""
        return reduce(add, starmap(partial(self._plan_shard, day), self._match_shards(day)))

    def _plan_shard(self, day: date, shard: Shard, rows: pa.Table, claims: DayClaims) -> PlannedDay:
        is_removed = claims.fates == Fate.removed
        removed = rows.filter(pa.array(is_removed)).select(["scheduler_arn", "data_start_time"])
        keys = set(zip(*(column.to_pylist() for column in removed.columns), strict=True))
        others = claims.mark_claims_about(claims.fates == Fate.reread) & ~claims.is_selected_claim
        counts: dict[str, int] = {}
        for (source, _), starts in claims.get_keys(others).items():
            counts[source] = counts.get(source, 0) + len(starts)
        return PlannedDay(
            day,
            int(is_removed.sum()),
            int((claims.fates == Fate.reread).sum()),
            int((claims.fates == Fate.unaffected).sum()),
            count_results(self.lake, day, shard, keys),
            counts,
        )

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """Split days into batches, which bounds the memory."""
        batch: list[date] = []
        rows = 0
        for day in days:
            count = sum(footer.rows for footer in self.lake.footers(INFERENCE_EXECUTIONS, day))
            if batch and (rows + count > ROWS_PER_BATCH or len(batch) >= DAYS_PER_BATCH):
                yield batch
                batch, rows = [], 0
            batch.append(day)
            rows += count
        if batch:
            yield batch

    def read_again(self, reader: SourceReader, days: Sequence[date]) -> Rereading:
        """Read the other sources of the executions of a batch, and the recordings that prove its days."""
        wanted: dict[str, set[str]] = {}
        for day in days:
            for _, _, claims in self._match_shards(day):
                others = claims.mark_claims_about(claims.fates == Fate.reread) & ~claims.is_selected_claim
                for source, arn in claims.get_keys(others):
                    wanted.setdefault(source, set()).add(arn)
        for uri, record in self.records.items():
            if not self.operation.selects_source(uri) and record.proven_dates & {
                *filter(self._revokes, days)
            }:
                wanted.setdefault(uri, set())
        return reader.read(wanted, days)

    def forget(
        self, day: date, rereading: Rereading, find_schedulers: Callable[[], KnownSchedulers]
    ) -> ForgottenDay:
        """Update the tables of a day: executions, coverage, then results."""
        kept: list[ReturnedKeys] = []

        def rebuild(existing: pa.Table, candidates: pa.Table) -> pa.Table:
            # read after the rows: a writer records its claims before its executions
            claims = self._match(existing, self.lake.read(EXECUTION_SOURCES), day)
            reread = RereadSources(candidates, rereading.returned)
            rebuilt = rebuild_executions(existing, claims, reread, find_schedulers, self.now)
            kept.append(rebuilt.kept_keys)
            return rebuilt.rows

        parts, counts = self._update_executions(day, rereading.buffer, find_schedulers, rebuild, kept.clear)
        rereading.buffer.discard(day)
        for key, starts in chain.from_iterable(keys.items() for keys in kept):
            self.kept_keys.setdefault(key, []).append(starts)
        proof = self._find_proof(day, rereading.responses)
        coverage = self.lake.update(
            EXTRACTION_COVERAGE,
            day,
            lambda existing: rebuild_coverage(
                counts,
                existing,
                self.operation,
                proof,
                settles_at=compute_settle_time(day, self.settle_after),
                now=self.now,
            ),
        )
        lost = _count_proofs(coverage.before) - _count_proofs(coverage.rows)
        executions = combine_results([part.result for part in parts], {})
        results = update_results(self.lake, day, self.now)
        return ForgottenDay(day, executions, coverage, results, max(lost, 0))

    def _update_executions(
        self,
        day: date,
        candidates: CandidateBuffer,
        find_schedulers: Callable[[], KnownSchedulers],
        merge: Callable[[pa.Table, pa.Table], pa.Table],
        begin: Callable[[], None] = lambda: None,
    ) -> DayUpdate:
        """Merge candidates into a day; `begin` is called before each attempt."""
        count = self.lake.shards(INFERENCE_EXECUTIONS, day)

        def merge_whole_day(existing: pa.Table) -> pa.Table:
            begin()
            return merge(existing, candidates.read(day))

        def attempt() -> DayUpdate:
            begin()
            grouped = GroupedMerge(self.lake, day, count, candidates, find_schedulers, merge)
            return describe_updates(grouped.update())

        if count > 1:
            return retry_changed_rows(attempt, str(self.lake.path(INFERENCE_EXECUTIONS, day)))
        written = self.lake.update(INFERENCE_EXECUTIONS, day, merge_whole_day, encoded=True)
        return describe_updates([(0, written)])

    def reidentify(self, day: date, known: KnownSchedulers) -> None:
        """Assign the bucket rows of a day to the schedulers that are known now, with all that follows."""

        def merge(existing: pa.Table, candidates: pa.Table) -> pa.Table:
            return merge_with_bucket_rows(existing, candidates, lambda: known, self.now)

        _, counts = self._update_executions(day, CandidateBuffer(frozenset()), lambda: known, merge)
        self.lake.update(
            EXTRACTION_COVERAGE,
            day,
            lambda existing: merge_coverage(
                counts,
                existing,
                settles_at=compute_settle_time(day, self.settle_after),
                now=self.now,
            ),
        )
        update_results(self.lake, day, self.now)

    def get_kept_keys(self) -> ReturnedKeys:
        """Return the forgotten claims about executions that stay."""
        return {key: np.unique(np.concatenate(parts)) for key, parts in self.kept_keys.items()}

    def _match_shards(self, day: date) -> Iterator[tuple[Shard, pa.Table, DayClaims]]:
        """Yield each shard of a day with its executions (`_COLUMNS`) and the claims about them."""
        for shard in list_shards(self.lake.shards(INFERENCE_EXECUTIONS, day)):
            rows = self.lake.read(INFERENCE_EXECUTIONS, day, _COLUMNS, shard)
            yield shard, rows, self._match(rows, self.recorded_claims, day)

    def _match(self, rows: pa.Table, recorded: pa.Table, day: date) -> DayClaims:
        claims = Claims.from_rows(recorded, day)
        is_incomplete = day in self.days_without_claims
        return DayClaims(rows, claims, self.operation, self.kinds, day, is_incomplete=is_incomplete)

    def _revokes(self, day: date) -> bool:
        """Whether a forgotten source could prove the day complete."""
        if not self.operation.selects_day(day):
            return False
        if self.operation.sources is None:
            return True
        return any(
            day in self.records[source].proven_dates if source in self.records else kinds == {"api"}
            for source, kinds in self.kinds.items()
            if self.operation.selects_source(source)
        )

    def _find_proof(self, day: date, responses: Sequence[SchedulerResponse]) -> ProofOfDay:
        proving = [response for response in responses if day in response.days]
        times: dict[str, datetime] = {}
        for response in proving:
            arn = response.scheduler.arn
            times[arn] = max(times.get(arn, response.queried_at), response.queried_at)
        names = {response.scheduler.arn: response.scheduler.name for response in proving}
        return ProofOfDay(self._revokes(day), self.listed, times, names)


def _count_proofs(coverage: pa.Table) -> int:
    return int(pc.sum(pc.is_valid(coverage["complete_through"])).as_py() or 0)
