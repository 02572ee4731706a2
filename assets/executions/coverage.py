"""How complete a day is, and when it settles.

A day settles some time after its end, when late executions have arrived and running ones have ended. Only a
response of the service for a scheduler that it lists proves a day complete, through the time of the response.
Plain saved responses and buckets never prove that there were no further executions.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from assets.executions.statuses import IN_PROGRESS
from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import get_day_window
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.encoded_texts import encode_texts, get_chunk

_EMPTY_COUNTS: dict[str, Any] = {
    "scheduler_name": None,
    "executions": 0,
    "in_progress": 0,
    "failed": 0,
    "sources": None,
}


def compute_settle_time(day: date, settle_after: timedelta) -> datetime:
    """Return the time from which on a response of the service settles a day."""
    return get_day_window(day).end + settle_after


def advance_coverage(
    complete_through: datetime | None, queried_at: datetime | None, settles_at: datetime
) -> datetime | None:
    """Move `complete_through` forward to the time of a query, at most to `settles_at`; never move it back."""
    proven = None if queried_at is None else min(queried_at, settles_at)
    # the maximum also keeps what was proven before a shorter settle_after was configured
    return max((moment for moment in (complete_through, proven) if moment is not None), default=None)


def is_settled(complete_through: datetime | None, settles_at: datetime) -> bool:
    """Return whether a scheduler's day is proven complete."""
    return complete_through is not None and complete_through >= settles_at


SchedulerCounts = Mapping[str, Mapping[str, Any]]
"""What the coverage of a day says of the recorded executions of each scheduler, by ARN."""


def merge_coverage(
    counts: SchedulerCounts,
    existing: pa.Table,
    *,
    settles_at: datetime,
    now: datetime,
    query_times: Mapping[str, datetime] | None = None,
    names: Mapping[str, str] | None = None,
) -> pa.Table:
    """Build the rows of `extraction_coverage` for one day.

    Args:
        counts: of all executions of the day in the lake; see `count_by_scheduler`.
        existing: the recorded coverage of the day; its schedulers stay.
        settles_at: see `compute_settle_time`.
        now: becomes `recorded_at` of rows whose content changes.
        query_times: by ARN, the time of the last query that the service answered completely, for schedulers
            with or without executions.
        names: names of the listed schedulers by ARN. Each gets a row, with or without a response.
    """
    query_times, names = query_times or {}, names or {}
    if not (counts or existing.num_rows or query_times or names):
        return existing
    recorded = {
        row["scheduler_arn"]: row
        for row in existing.to_pylist()
        if row["scheduler_arn"] in counts or not _is_of_bucket(row)
    }
    rows = [
        {
            "scheduler_arn": arn,
            **(counts.get(arn) or _get_recorded_counts(recorded.get(arn), names.get(arn))),
            "complete_through": advance_coverage(
                recorded.get(arn, {}).get("complete_through"), query_times.get(arn), settles_at
            ),
        }
        for arn in sorted({*counts, *recorded, *query_times, *names})
    ]
    covered = pa.Table.from_pylist(rows, schema=EXTRACTION_COVERAGE.content_schema)
    return stamp_changes(EXTRACTION_COVERAGE, covered, existing, now)


def count_by_scheduler(executions: pa.Table) -> dict[str, dict[str, Any]]:
    """Count the executions of a day or shard for `merge_coverage`; a scheduler is in one shard."""
    if not executions.num_rows:
        return {}
    counts: dict[str, dict[str, Any]] = {}
    sources: dict[str, set[str]] = {}
    for row in _count_distinct(executions).to_pylist():
        arn, number, status = row["scheduler_arn"], row["executions"], row["status"]
        count = counts.setdefault(arn, dict(_EMPTY_COUNTS))
        names = {count["scheduler_name"], row["scheduler_name"]} - {None}
        count["scheduler_name"] = max(names, default=None)
        count["executions"] += number
        count["in_progress"] += number if status == IN_PROGRESS else 0
        count["failed"] += number if status == "FAILED" else 0
        sources.setdefault(arn, set()).update((row["source"], row["outcome_source"]))
    return {arn: {**count, "sources": ",".join(sorted(sources[arn]))} for arn, count in counts.items()}


def _count_distinct(executions: pa.Table) -> pa.Table:
    """Count the executions by the columns that coverage depends on; texts are decoded after that."""
    columns = ["scheduler_arn", "scheduler_name", "status", "source", "outcome_source"]
    schema = INFERENCE_EXECUTIONS.encoded_schema
    rows = encode_texts(executions.select(columns), pa.schema([schema.field(name) for name in columns]))
    texts = {name: get_chunk(rows[name]) for name in columns}
    numbers = pa.table({name: text.indices for name, text in texts.items()})
    counts = numbers.group_by(columns, use_threads=False).aggregate([([], "count_all")])
    decoded = {name: texts[name].dictionary.take(counts[name]) for name in columns}
    return pa.table({**decoded, "executions": counts["count_all"]})


def _is_of_bucket(row: Mapping[str, Any]) -> bool:
    """Whether only a bucket showed the scheduler; its executions can turn out to be of another one."""
    return row["sources"] == "bucket" and row["complete_through"] is None


def _get_recorded_counts(row: dict[str, Any] | None, name: str | None) -> dict[str, Any]:
    if row is None:
        return _EMPTY_COUNTS | {"scheduler_name": name}
    return {column: row[column] for column in _EMPTY_COUNTS}
