"""Merge of a day with shards whose bucket rows can get schedulers of other shards.

Only executions that share a scheduler or an output prefix change each other. The schedulers that are
connected in this way are in one group, and the rows of a group are merged at once. A day has as many groups
as shards, so memory is that of one shard, apart from compressed rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.bucket_identity import KnownSchedulers, find_placeholders, has_bucket_rows
from assets.executions.candidates import CandidateBuffer, PackedRows, PartNumbers, distribute_rows
from assets.framework.row_content import compute_content_version, conform
from assets.tables import INFERENCE_EXECUTIONS
from resources.encoded_texts import decode_texts, encode_texts, get_chunk
from resources.errors import RetryLaterError
from resources.lake.lake import Lake, WriteResult
from resources.lake.row_moves import find_missing, order_writes
from resources.lake.shards import Shard, find_shards, hash_scheduler, list_shards
from resources.scheduler_arns import build_placeholder_arn

_SCHEMA = INFERENCE_EXECUTIONS.encoded_schema
_IDENTITY = ["scheduler_arn", "output_s3_bucket", "output_s3_prefix"]

Link = tuple[str, str | None]
"""The ARN of a scheduler, and the placeholder ARN of an output prefix of it."""


T = TypeVar("T")

_MAX_CONFLICTS = 5


class RowsChangedError(Exception):
    """Another writer changed a shard after it was read."""


def retry_changed_rows(attempt: Callable[[], T], location: str) -> T:
    """Repeat an attempt while other writers change the same day.

    Raises:
        RetryLaterError: they changed it at each attempt.
    """
    for _ in range(_MAX_CONFLICTS):
        with suppress(RowsChangedError):
            return attempt()
    raise RetryLaterError(
        f"Cannot update a day of the lake: other writers changed it at each of {_MAX_CONFLICTS} attempts",
        where=location,
        next_step="wait for the other runs to end, and run again; no rows were lost",
    )


@dataclass(frozen=True)
class _StoredShard:
    """The recorded rows of a shard, and the version of their content."""

    rows: PackedRows
    version: str


@dataclass(frozen=True)
class _ShardChange:
    """The change of a shard: its rows before and after, those that leave it, and whether it gets any."""

    stored: _StoredShard
    merged: PackedRows
    leaving: PackedRows
    is_gaining: bool

    @classmethod
    def compare(cls, stored: _StoredShard, merged: PackedRows) -> "_ShardChange":
        before, after, key = stored.rows.read(), merged.read(), INFERENCE_EXECUTIONS.key
        leaving = PackedRows(_SCHEMA)
        leaving.add(find_missing(key, before, after))
        return cls(stored, merged, leaving, find_missing(key, after, before).num_rows > 0)


@dataclass(frozen=True)
class GroupedMerge:
    """Merges the candidates of a day into its shards.

    Attributes:
        lake: the lake.
        day: the day.
        shards: the number of shards of the day.
        candidates: has the candidates.
        find_schedulers: returns the schedulers of output prefixes; called only if there are bucket rows.
        merge: returns the new rows of a group from its recorded rows and its candidates.
        check: called before each shard is written; it may raise.
    """

    lake: Lake
    day: date
    shards: int
    candidates: CandidateBuffer
    find_schedulers: Callable[[], KnownSchedulers]
    merge: Callable[[pa.Table, pa.Table], pa.Table]
    check: Callable[[], None] = lambda: None

    def update(self) -> Iterator[tuple[int, WriteResult]]:
        """Update the shards, and yield each with its number.

        A bucket row that changes its shard is in both for a moment; after a stop, until the next update.

        Raises:
            RowsChangedError: another writer changed a shard meanwhile; call it again.
            LedgerError: the errors of `Lake.update`.
        """
        stored = [self._read_shard(shard) for shard in list_shards(self.shards)]
        merged = self._merge_groups(stored, group_schedulers(self._list_links(stored), self.shards))
        changes = [_ShardChange.compare(*pair) for pair in zip(stored, merged, strict=True)]
        kept, final = order_writes(
            [change.leaving.num_rows > 0 for change in changes], [change.is_gaining for change in changes]
        )
        versions = [change.stored.version for change in changes]
        for number in kept:
            written = self._write(number, versions[number], changes[number].merged, changes[number].leaving)
            versions[number] = compute_content_version(INFERENCE_EXECUTIONS, written.rows)
        for number in final:
            written = self._write(number, versions[number], changes[number].merged)
            if number in kept:
                before = conform(INFERENCE_EXECUTIONS, changes[number].stored.rows.read())
                written = replace(written, before=before, changed=True)
            yield number, written

    def _read_shard(self, shard: Shard) -> _StoredShard:
        stored = encode_texts(self.lake.read(INFERENCE_EXECUTIONS, self.day, shard=shard), _SCHEMA)
        rows = PackedRows(_SCHEMA)
        rows.add(stored)
        return _StoredShard(rows, compute_content_version(INFERENCE_EXECUTIONS, stored))

    def _list_links(self, stored: Iterable[_StoredShard]) -> Iterator[Link]:
        has_buckets = False
        for rows in chain((shard.rows.read() for shard in stored), self.candidates.read_pieces(self.day)):
            has_buckets = has_buckets or has_bucket_rows(rows)
            yield from list_links(rows)
        if has_buckets:
            known = self.find_schedulers()
            yield from ((scheduler.arn, name) for name, scheduler in known.items() if scheduler.arn)

    def _merge_groups(self, stored: Iterable[_StoredShard], groups: Mapping[str, int]) -> list[PackedRows]:
        """Merge group by group; return the new rows by shard."""
        find_groups = partial(_find_groups, groups=groups)
        existing = [PackedRows(_SCHEMA) for _ in range(self.shards)]
        for shard in stored:
            rows = shard.rows.read()
            distribute_rows(rows, find_groups(rows), existing)
        candidates = self.candidates.split(self.day, find_groups, self.shards)
        merged = [PackedRows(_SCHEMA) for _ in range(self.shards)]
        for recorded, new in zip(existing, candidates, strict=True):
            own = conform(INFERENCE_EXECUTIONS, recorded.read())
            rows = self.merge(own, new.read())
            distribute_rows(rows, find_shards(rows, self.shards), merged)
        return merged

    def _write(self, number: int, version: str, *parts: PackedRows) -> WriteResult:
        def replace_rows(existing: pa.Table) -> pa.Table:
            self.check()
            if compute_content_version(INFERENCE_EXECUTIONS, existing) != version:
                raise RowsChangedError
            return conform(INFERENCE_EXECUTIONS, pa.concat_tables([part.read() for part in parts]))

        shard = Shard(number, self.shards)
        return self.lake.update(INFERENCE_EXECUTIONS, self.day, replace_rows, encoded=True, shard=shard)


def list_links(rows: pa.Table) -> Iterator[Link]:
    """Yield the scheduler of each execution with the prefix of its result, and with its output prefix."""
    arns = decode_texts(rows.select(["scheduler_arn"]))["scheduler_arn"]
    links = pa.table({"arn": arns, "placeholder": find_placeholders(rows)})
    distinct = links.group_by(links.column_names).aggregate([])
    yield from zip(*(column.to_pylist() for column in distinct.columns), strict=True)
    outputs = decode_texts(rows.select(_IDENTITY)).group_by(_IDENTITY).aggregate([])
    for arn, bucket, prefix in zip(*(column.to_pylist() for column in outputs.columns), strict=True):
        if bucket is not None and prefix is not None:
            yield arn, build_placeholder_arn(bucket, prefix)


def group_schedulers(links: Iterable[Link], count: int) -> dict[str, int]:
    """Return the number of the group of each ARN; schedulers that links connect are in one group.

    Args:
        links: the links; every ARN of a row is in one.
        count: the number of groups.
    """
    parents: dict[str, str] = {}

    def find_first(name: str) -> str:
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = parents[parent]
            name = parent
        return name

    for arn, placeholder in links:
        first, second = sorted((find_first(arn), find_first(arn if placeholder is None else placeholder)))
        parents[second] = first
    return {name: hash_scheduler(find_first(name)) % count for name in [*parents]}


def _find_groups(rows: pa.Table, groups: Mapping[str, int]) -> PartNumbers:
    """Return the group of each row, whose ARNs are a dictionary."""
    arns = get_chunk(rows["scheduler_arn"])
    names = arns.dictionary.to_pylist()
    numbers = np.zeros(len(names), np.int64)
    for code in pc.unique(arns.indices).to_pylist():  # a dictionary can have other texts too
        numbers[code] = groups[names[code]]
    found: PartNumbers = numbers[arns.indices.to_numpy()]
    return found
