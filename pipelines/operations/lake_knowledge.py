"""Recorded days whose results are not read, or whose tables are not computed, for `ledger status`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, reduce

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.statuses import FINAL_STATUSES, IN_PROGRESS
from assets.report.model.knowledge import UNREAD_STATES, build_compute_command, build_read_command
from assets.report.query.daily import POINT_CONDITION, RunQuery
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    INFERENCE_EXECUTIONS,
    PARTITION,
    RESULT_OBJECTS,
    Table,
)
from pipelines.operations.query import open_query
from resources.lake.lake import Lake

Connect = Callable[[], RunQuery]
COVERAGE_COLUMNS = ["scheduler_arn", "executions", "in_progress", "failed"]

_A_DAY = timedelta(days=1)
_UNKNOWN_OUTCOME = (
    f"coalesce(status, '') NOT IN {(IN_PROGRESS, *FINAL_STATUSES)}"
    " AND NOT (status IS NULL AND coalesce(result_s3_key, '') <> '')"
)
"""The condition of executions that `execution_health` counts as unknown."""


@dataclass(frozen=True)
class UnknownDays:
    """Recorded days of which something is not known.

    Attributes:
        state: `not read` or `not computed`.
        text: what is not known, with its number and its reason.
        first: the first day.
        last: the last day.
        command: the command that closes the gap.
    """

    state: str
    text: str
    first: date
    last: date
    command: str


def find_unknown_days(
    lake: Lake, coverage: pa.Table, days: Sequence[date], min_event: timedelta = timedelta(0)
) -> list[UnknownDays]:
    """Compare the recorded executions of some days with the results that were read and the tables.

    Args:
        lake: the lake.
        coverage: `COVERAGE_COLUMNS` and `data_date` of `extraction_coverage`, at least for these days.
        days: the days to compare.
        min_event: shorter events are not recorded.

    Raises:
        LedgerError: the lake cannot be read.
    """
    if not days:
        return []
    is_selected = pc.and_(
        pc.greater_equal(coverage[PARTITION], days[0]), pc.less_equal(coverage[PARTITION], days[-1])
    )
    coverage = coverage.select([PARTITION, *COVERAGE_COLUMNS]).filter(is_selected)
    executions, results = _count_executions(coverage)
    if not executions:
        return []
    recorded = [day for day, count in executions.items() if count]
    with ExitStack() as connections:
        # one connection, and none for a lake without results, because it takes as long as all the rest
        connect = cache(lambda: connections.enter_context(open_query(lake)))
        read, states = _count_read(lake, min(results), max(results), connect)
        read_days = sorted(day for day, count in read.items() if count)
        missing = {
            EXECUTION_HEALTH.name: _list_days_without_health(lake, coverage, recorded, connect),
            ANOMALY_FRAGMENTS.name: _list_days_without_fragments(lake, read_days, connect),
            ANOMALY_EVENTS.name: _list_days_without_events(lake, read_days, min_event, connect),
            EQUIPMENT_HEALTH.name: _list_missing_days(lake, EQUIPMENT_HEALTH, recorded),
        }
    return [*_find_unread(results, read, states), *_find_uncomputed(missing, recorded)]


def _count_executions(coverage: pa.Table) -> tuple[dict[date, int], dict[date, int]]:
    """Return the recorded executions, and those with a result, by day."""
    unfinished = pc.add(_fill(coverage, "in_progress"), _fill(coverage, "failed"))
    counts = coverage.select([PARTITION, "executions"])
    counts = counts.append_column("results", pc.subtract(coverage["executions"], unfinished))
    sums = counts.group_by(PARTITION, use_threads=False).aggregate(
        [("executions", "sum"), ("results", "sum")]
    )
    rows = sums.sort_by(PARTITION)
    listed = rows[PARTITION].to_pylist()
    executions, results = (rows[f"{name}_sum"].to_pylist() for name in ("executions", "results"))
    return dict(zip(listed, executions, strict=True)), dict(zip(listed, results, strict=True))


def _fill(rows: pa.Table, name: str) -> pa.ChunkedArray:
    return pc.fill_null(rows[name], 0)


def _find_unread(
    results: dict[date, int], read: dict[date, int], states: Counter[str]
) -> Iterator[UnknownDays]:
    unread = {day: count - read.get(day, 0) for day, count in results.items() if count > read.get(day, 0)}
    if not unread:
        return
    first, last = min(unread), max(unread)
    reasons = [f"{label}: {hint}" for state, (label, hint) in UNREAD_STATES.items() if state in states]
    if states.total() < sum(unread.values()):  # the others have no record
        reasons.append(UNREAD_STATES["not_read"][0])
    text = f"{sum(unread.values()):,} of {sum(results.values()):,} result objects ({'; '.join(reasons)})"
    yield UnknownDays("not read", text, first, last, build_read_command(first, last))


def _count_read(
    lake: Lake, first: date, last: date, connect: Connect
) -> tuple[dict[date, int], Counter[str]]:
    """Return the result objects read by day, and the number of the others by state."""
    if not lake.days(RESULT_OBJECTS):
        return {}, Counter()
    rows = connect()(
        f"SELECT {PARTITION} AS day, state, count(*) AS objects, count(etag) AS with_content"  # noqa: S608
        f" FROM {RESULT_OBJECTS.name}"
        f" WHERE {PARTITION} BETWEEN DATE '{first}' AND DATE '{last}' GROUP BY ALL"
    )
    read: dict[date, int] = {}
    states = Counter[str]()
    for row in rows.to_pylist():
        count = row["objects"] if row["state"] == "read" else row["with_content"]
        read[row["day"]] = read.get(row["day"], 0) + count
        if row["objects"] > count:
            states[row["state"]] += row["objects"] - count
    return read, states


def _find_uncomputed(
    missing: Mapping[str, Sequence[date]], recorded: Sequence[date]
) -> Iterator[UnknownDays]:
    days = sorted({day for table_days in missing.values() for day in table_days})
    if not days:
        return
    tables = ", ".join(name for name, table_days in missing.items() if table_days)
    text = f"{len(days):,} of {len(recorded):,} recorded days ({tables})"
    yield UnknownDays("not computed", text, days[0], days[-1], build_compute_command(days[0], days[-1]))


def _list_missing_days(lake: Lake, table: Table, recorded: Sequence[date]) -> list[date]:
    computed = set(lake.days(table))
    return [day for day in recorded if day not in computed]


def _list_days_without_fragments(lake: Lake, read: Sequence[date], connect: Connect) -> list[date]:
    """Return the days of which `anomaly_fragments` lacks points, because it is missing or older."""
    missing = set(_list_missing_days(lake, ANOMALY_FRAGMENTS, read))
    computed = [day for day in read if day not in missing]
    if computed:
        missing |= set(_list_days_with_fewer_points(computed, connect()))
    return sorted(missing)


def _list_days_with_fewer_points(days: Sequence[date], run_query: RunQuery) -> list[date]:
    """Return the days whose fragments have fewer points than the results that were read.

    The number of lines is in the small table of objects. Only where it differs, for example because two
    objects have the same point, are the points counted.
    """
    computed = (
        f"SELECT {PARTITION} AS day, scheduler_arn, sum(points) AS points"  # noqa: S608
        f" FROM {ANOMALY_FRAGMENTS.name} WHERE {PARTITION} BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'"
        " GROUP BY ALL"
    )

    def find_days(counted: str) -> list[date]:
        rows = run_query(
            f"SELECT DISTINCT day FROM ({counted}) counted"  # noqa: S608
            f" LEFT JOIN ({computed}) computed USING (day, scheduler_arn)"
            " WHERE counted.points > coalesce(computed.points, 0) ORDER BY day"
        )
        return [day for day in rows["day"].to_pylist() if day in set(days)]

    suspects = find_days(
        f'SELECT {PARTITION} AS day, scheduler_arn, sum("rows") AS points FROM {RESULT_OBJECTS.name}'  # noqa: S608
        f" WHERE {PARTITION} BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}' GROUP BY ALL"
    )
    if not suspects:
        return []
    names = ", ".join(f"DATE '{day}'" for day in suspects)
    return find_days(
        f"SELECT {PARTITION} AS day, scheduler_arn, count(DISTINCT timestamp) AS points"  # noqa: S608
        f" FROM {ANOMALY_PREDICTIONS.name} WHERE {PARTITION} IN ({names}) AND {POINT_CONDITION}"
        " GROUP BY ALL"
    )


def _list_days_without_health(
    lake: Lake, coverage: pa.Table, recorded: Sequence[date], connect: Connect
) -> list[date]:
    """Return the recorded days of which `execution_health` lacks executions or outcomes.

    Coverage does not count the executions with an unknown outcome; only where the counts differ are these
    executions counted.
    """
    if not recorded:
        return []
    counts = ["expected", "succeeded", "failed_missing_input", "failed_other"]
    key = [PARTITION, "scheduler_arn"]
    health = lake.scan(EXECUTION_HEALTH, recorded[0], recorded[-1] + _A_DAY, columns=[*key, *counts])
    if not health.num_rows:
        return list(recorded)
    rows = coverage.join(health, key, use_threads=False)
    found = _find_days_lacking_health(rows, counts)
    if found:
        days = ", ".join(f"DATE '{day}'" for day in found)
        unknown = connect()(
            f"SELECT {', '.join(key)}, count(*) AS unknown FROM {INFERENCE_EXECUTIONS.name}"  # noqa: S608
            f" WHERE {PARTITION} IN ({days}) AND {_UNKNOWN_OUTCOME} GROUP BY ALL"
        )
        rows = rows.filter(pc.is_in(rows[PARTITION], pa.array([*found])))
        found = _find_days_lacking_health(rows.join(unknown, key, use_threads=False), counts)
    return [day for day in recorded if day in found]


def _find_days_lacking_health(rows: pa.Table, counts: Sequence[str]) -> set[date]:
    executions, pending, failed, expected, succeeded, *failures = (
        _fill(rows, name) for name in ("executions", "in_progress", "failed", *counts)
    )
    with_outcome = pc.subtract(executions, pending)
    if "unknown" in rows.column_names:
        with_outcome = pc.subtract(with_outcome, _fill(rows, "unknown"))
    outcomes = pc.add(succeeded, pc.add(*failures))
    lacks = [
        pc.greater(executions, expected),
        pc.greater(with_outcome, outcomes),
        pc.not_equal(pc.subtract(with_outcome, failed), succeeded),
    ]
    return set(rows[PARTITION].filter(reduce(pc.or_, lacks)).to_pylist())


def _list_days_without_events(
    lake: Lake, read: Sequence[date], min_event: timedelta, connect: Connect
) -> list[date]:
    """Return the days with an anomalous fragment that no event covers."""
    if not read or not lake.days(ANOMALY_FRAGMENTS):
        return []
    rows = connect()(
        f"SELECT DISTINCT {PARTITION} AS day FROM {ANOMALY_FRAGMENTS.name} fragment"  # noqa: S608
        f" WHERE {PARTITION} BETWEEN DATE '{read[0]}' AND DATE '{read[-1]}' AND state = 'anomalous'"
        # a fragment that reaches the next day can be joined with fragments that are not computed
        f" AND last_time < {PARTITION}::TIMESTAMPTZ + INTERVAL 1 DAY"
        f" AND epoch(last_time) - epoch(first_time) >= {min_event.total_seconds():g}"
        f" AND NOT EXISTS (SELECT 1 FROM {ANOMALY_EVENTS.name} event"
        " WHERE event.scheduler_arn = fragment.scheduler_arn"
        " AND event.start_time <= first_time AND event.end_time >= last_time) ORDER BY day"
    )
    return [day for day in rows["day"].to_pylist() if day in set(read)]
