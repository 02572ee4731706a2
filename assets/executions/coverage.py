"""How far a day is known, and when nothing more is to come for it.

A day settles some time after its end, when late executions have come and running ones have ended. Only an
answer of the service for a scheduler that it confirmed proves anything, and proves it up to the moment of the
answer; saved responses and buckets show what they hold and never that there was no more.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import get_day_window
from assets.tables import EXTRACTION_COVERAGE

_NOTHING: dict[str, Any] = {
    "scheduler_name": None,
    "executions": 0,
    "in_progress": 0,
    "failed": 0,
    "sources": None,
}


def compute_settle_time(day: date, settle_after: timedelta) -> datetime:
    """Return the moment from which on an answer settles a day."""
    return get_day_window(day).end + settle_after


def advance_coverage(
    complete_through: datetime | None, answered_at: datetime | None, settles_at: datetime
) -> datetime | None:
    """Move `complete_through` on to an answer, at most to the settling of the day, and never back."""
    answered = None if answered_at is None else min(answered_at, settles_at)
    # days that are said to settle earlier than they once did keep what was proven
    return max((moment for moment in (complete_through, answered) if moment is not None), default=None)


def is_settled(complete_through: datetime | None, settles_at: datetime) -> bool:
    """Tell whether a scheduler's day is proven complete."""
    return complete_through is not None and complete_through >= settles_at


def merge_coverage(
    executions: pa.Table,
    existing: pa.Table,
    *,
    settles_at: datetime,
    now: datetime,
    answers: Mapping[str, datetime] | None = None,
    names: Mapping[str, str] | None = None,
) -> pa.Table:
    """Make the rows of `extraction_coverage` for one day.

    Args:
        executions: all executions of the day that the lake holds.
        existing: the day's coverage as recorded; its schedulers stay.
        settles_at: see `compute_settle_time`.
        now: becomes `recorded_at` of rows whose content changes.
        answers: when the service answered for a scheduler (by ARN) that it confirmed; a scheduler without
            any execution is among them too.
        names: names by ARN of all schedulers that the service lists; each gets a row, answered or not.
    """
    answers, names = answers or {}, names or {}
    counted = _counted(executions)
    before = {row["scheduler_arn"]: row for row in existing.to_pylist()}
    rows = [
        {
            "scheduler_arn": arn,
            **(counted.get(arn) or _kept(before.get(arn), names.get(arn))),
            "complete_through": advance_coverage(
                before.get(arn, {}).get("complete_through"), answers.get(arn), settles_at
            ),
        }
        for arn in sorted({*counted, *before, *answers, *names})
    ]
    return stamp_changes(EXTRACTION_COVERAGE, _table(rows), existing, now)


def _counted(executions: pa.Table) -> dict[str, dict[str, Any]]:
    marked = pa.table(
        {
            "scheduler_arn": executions["scheduler_arn"],
            "scheduler_name": executions["scheduler_name"],
            "in_progress": pc.equal(pc.fill_null(executions["status"], ""), "IN_PROGRESS").cast(pa.int64()),
            "failed": pc.equal(pc.fill_null(executions["status"], ""), "FAILED").cast(pa.int64()),
            "source": executions["source"],
            "outcome_source": executions["outcome_source"],
        }
    )
    grouped = marked.group_by("scheduler_arn", use_threads=False).aggregate(
        [
            ("scheduler_name", "max"),
            ([], "count_all"),
            ("in_progress", "sum"),
            ("failed", "sum"),
            ("source", "distinct"),
            ("outcome_source", "distinct"),
        ]
    )
    return {
        row["scheduler_arn"]: {
            "scheduler_name": row["scheduler_name_max"],
            "executions": row["count_all"],
            "in_progress": row["in_progress_sum"],
            "failed": row["failed_sum"],
            "sources": ",".join(sorted({*row["source_distinct"], *row["outcome_source_distinct"]})),
        }
        for row in grouped.to_pylist()
    }


def _kept(row: dict[str, Any] | None, name: str | None) -> dict[str, Any]:
    return (
        _NOTHING | {"scheduler_name": name} if row is None else {column: row[column] for column in _NOTHING}
    )


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    content = EXTRACTION_COVERAGE.content_columns
    fields = [EXTRACTION_COVERAGE.schema.field(name) for name in content]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
