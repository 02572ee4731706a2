"""The coverage of a day after forgetting: counts of the remaining executions, and the remaining proofs."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from assets.executions.coverage import SchedulerCounts, merge_coverage
from assets.executions.tombstones import ForgetOperation
from assets.framework.row_content import stamp_changes
from assets.tables import EXTRACTION_COVERAGE


@dataclass(frozen=True)
class ProofOfDay:
    """What is known about the proofs of a day.

    Attributes:
        is_revoked: whether a forgotten source could prove the day; such proofs have no recorded source.
        listed: the ARNs that a remaining service listed, which therefore have a row without executions.
        query_times: by ARN, the times of the complete responses in the remaining recordings.
        names: the names of the schedulers of these responses.
    """

    is_revoked: bool = False
    listed: Collection[str] = frozenset()
    query_times: Mapping[str, datetime] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def rebuild_coverage(
    counts: SchedulerCounts,
    existing: pa.Table,
    operation: ForgetOperation,
    proof: ProofOfDay,
    *,
    settles_at: datetime,
    now: datetime,
) -> pa.Table:
    """Build the rows of `extraction_coverage` for a day that the operation selects.

    Args:
        counts: of the executions of the day after forgetting; see `count_by_scheduler`.
        existing: the recorded coverage.
        operation: what is forgotten.
        proof: what is known about the proofs of the day.
        settles_at: when the day settles.
        now: becomes `recorded_at` of rows whose content changes.
    """
    remaining = list(_reset_rows(existing, counts.keys(), operation, proof))
    merged = merge_coverage(
        counts,
        pa.Table.from_pylist(remaining, schema=EXTRACTION_COVERAGE.schema),
        settles_at=settles_at,
        now=now,
        query_times=proof.query_times,
        names=proof.names,
    )
    return stamp_changes(EXTRACTION_COVERAGE, merged, existing, now)


def _reset_rows(
    existing: pa.Table, with_executions: Collection[str], operation: ForgetOperation, proof: ProofOfDay
) -> Iterator[dict[str, Any]]:
    """Yield the rows that stay, without revoked proofs and without counts of executions that are gone."""
    for row in existing.to_pylist():
        arn = row["scheduler_arn"]
        if proof.is_revoked and operation.selects_scheduler(arn):
            row["complete_through"] = None
        if arn not in with_executions:
            is_known = row["complete_through"] or arn in proof.listed or not row["executions"]
            if (operation.sources is None and operation.selects_scheduler(arn)) or not is_known:
                continue
            row |= {"executions": 0, "in_progress": 0, "failed": 0, "sources": None}
        yield row
