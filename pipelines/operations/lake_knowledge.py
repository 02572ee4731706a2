"""Recorded days whose results are not read, or whose tables are not computed, for `ledger status`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow.compute as pc

from assets.report.model.knowledge import UNREAD_STATES, build_compute_command, build_read_command
from assets.tables import (
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    PARTITION,
    RESULT_OBJECTS,
    Table,
)
from pipelines.operations.query import open_query
from resources.lake.lake import Lake


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


def find_unknown_days(lake: Lake, days: Sequence[date]) -> list[UnknownDays]:
    """Compare the recorded executions of some days with the results that were read and the tables.

    Raises:
        LedgerError: the lake cannot be read.
    """
    if not days or not lake.days(EXTRACTION_COVERAGE):
        return []
    executions, results = _count_executions(lake, days)
    recorded = [day for day, count in executions.items() if count]
    return [*_find_unread(lake, results), *_find_uncomputed(lake, recorded)]


def _count_executions(lake: Lake, days: Sequence[date]) -> tuple[dict[date, int], dict[date, int]]:
    """Return the recorded executions, and those with a result, by day."""
    condition = f"{PARTITION} BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'"
    with open_query(lake) as run_query:
        rows = run_query(
            f"SELECT {PARTITION} AS day, sum(executions)::BIGINT AS executions,"  # noqa: S608
            " sum(executions - coalesce(failed, 0) - coalesce(in_progress, 0))::BIGINT AS results"
            f" FROM {EXTRACTION_COVERAGE.name} WHERE {condition} GROUP BY ALL ORDER BY day"
        ).to_pylist()
    return {row["day"]: row["executions"] for row in rows}, {row["day"]: row["results"] for row in rows}


def _find_unread(lake: Lake, results: dict[date, int]) -> Iterator[UnknownDays]:
    read, states = _count_read(lake, min(results), max(results)) if results else ({}, set())
    unread = {day: count - read.get(day, 0) for day, count in results.items() if count > read.get(day, 0)}
    if not unread:
        return
    first, last = min(unread), max(unread)
    labels = [label for state, (label, _) in UNREAD_STATES.items() if state in states]
    reason = ", ".join(labels) or UNREAD_STATES["not_read"][0]
    text = f"{sum(unread.values()):,} of {sum(results.values()):,} result objects ({reason})"
    yield UnknownDays("not read", text, first, last, build_read_command(first, last))


def _count_read(lake: Lake, first: date, last: date) -> tuple[dict[date, int], set[str]]:
    """Return the result objects read by day, and the states of the others."""
    if not lake.days(RESULT_OBJECTS):
        return {}, set()
    with open_query(lake) as run_query:
        rows = run_query(
            f"SELECT {PARTITION} AS day, state, count(*) AS objects, count(etag) AS with_content"  # noqa: S608
            f" FROM {RESULT_OBJECTS.name}"
            f" WHERE {PARTITION} BETWEEN DATE '{first}' AND DATE '{last}' GROUP BY ALL"
        )
    unavailable = rows.filter(pc.not_equal(rows["state"], "read"))
    read: dict[date, int] = {}
    for row in rows.to_pylist():
        count = row["objects"] if row["state"] == "read" else row["with_content"]
        read[row["day"]] = read.get(row["day"], 0) + count
    return read, set(unavailable["state"].to_pylist())


def _find_uncomputed(lake: Lake, recorded: Sequence[date]) -> Iterator[UnknownDays]:
    missing = {table.name: _list_missing_days(lake, table, recorded) for table in _COMPUTED_TABLES}
    days = sorted({day for table_days in missing.values() for day in table_days})
    if not days:
        return
    tables = ", ".join(name for name, table_days in missing.items() if table_days)
    text = f"{len(days):,} of {len(recorded):,} recorded days ({tables})"
    yield UnknownDays("not computed", text, days[0], days[-1], build_compute_command(days[0], days[-1]))


def _list_missing_days(lake: Lake, table: Table, recorded: Sequence[date]) -> list[date]:
    computed = set(lake.days(table))
    return [day for day in recorded if day not in computed]


_COMPUTED_TABLES = (EXECUTION_HEALTH, EQUIPMENT_HEALTH)
