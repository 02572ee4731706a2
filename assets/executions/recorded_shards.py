"""Descriptions of the executions of a day after an update, without their rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assets.executions.coverage import SchedulerCounts, count_by_scheduler
from assets.framework.materializations import PartitionResult, partition_result
from assets.framework.row_content import count_changed_rows
from assets.tables import INFERENCE_EXECUTIONS
from resources.lake.lake import WriteResult


@dataclass(frozen=True)
class RecordedShard:
    """The executions of a shard of a day after its update.

    Attributes:
        result: the content of the shard.
        changed_rows: the number of new and changed executions.
        statuses: the number of executions by status.
        outcome_sources: the kinds of sources of their outcomes.
    """

    result: PartitionResult
    changed_rows: int
    statuses: Counter[str | None]
    outcome_sources: frozenset[str]

    @classmethod
    def from_update(cls, written: WriteResult) -> "RecordedShard":
        """Describe an update."""
        rows = written.rows
        counted = rows["status"].value_counts().to_pylist()
        return cls(
            partition_result(INFERENCE_EXECUTIONS, written, {}),
            count_changed_rows(INFERENCE_EXECUTIONS, written.before, rows),
            Counter({count["values"]: count["counts"] for count in counted}),
            frozenset(rows["outcome_source"].unique().to_pylist()),
        )


DayUpdate = tuple[tuple[RecordedShard, ...], SchedulerCounts]
"""The shards of a day in the order of their numbers, and the counts of its schedulers."""


def describe_updates(
    updates: Iterable[tuple[int, WriteResult]],
) -> DayUpdate:
    """Describe the updates of shards in the order of their numbers; one is in memory at a time."""
    parts: dict[int, RecordedShard] = {}
    counts: dict[str, Mapping[str, Any]] = {}
    for number, written in updates:
        parts[number] = RecordedShard.from_update(written)
        counts |= count_by_scheduler(written.rows)
        del written  # before the next one is read
    return tuple(parts[number] for number in sorted(parts)), counts
