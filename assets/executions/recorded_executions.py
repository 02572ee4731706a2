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
class RecordedExecutions:
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
    def from_update(cls, written: WriteResult) -> "RecordedExecutions":
        """Describe an update."""
        rows = written.rows
        counted = rows["status"].value_counts().to_pylist()
        return cls(
            partition_result(INFERENCE_EXECUTIONS, written, {}),
            count_changed_rows(INFERENCE_EXECUTIONS, written.before, rows),
            Counter({count["values"]: count["counts"] for count in counted}),
            frozenset(rows["outcome_source"].unique().to_pylist()),
        )


def describe_updates(
    updates: Iterable[tuple[int, WriteResult]],
) -> tuple[tuple[RecordedExecutions, ...], SchedulerCounts]:
    """Describe the updates of shards in the order of their numbers; one is in memory at a time."""
    parts: dict[int, RecordedExecutions] = {}
    counts: dict[str, Mapping[str, Any]] = {}
    for number, written in updates:
        parts[number] = RecordedExecutions.from_update(written)
        counts |= count_by_scheduler(written.rows)
        del written  # before the next one is read
    return tuple(parts[number] for number in sorted(parts)), counts
