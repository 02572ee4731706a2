"""Reads the evidence of a certificate from the lake, one day at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.certificate.statements import DayEvidence
from assets.certificate.traces import DeclaredFrequency, LakeExpectations, read_traces
from assets.executions.provenance import expand_run
from assets.framework.time_windows import DAY_MS, get_day_window
from assets.health.execution_health import (
    COVERAGE_COLUMNS,
    EXECUTION_COLUMNS,
    RESULT_COLUMNS,
    SCHEDULER_COLUMNS,
    DayTables,
    HealthPolicy,
    SchedulerDay,
    SchedulerHistory,
    build_scheduler_days,
)
from assets.tables import (
    ANOMALY_PREDICTIONS,
    ARCHIVE_FILES,
    EXECUTION_SOURCES,
    EXTRACTION_COVERAGE,
    FORGET_OPERATIONS,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.lake.lake import Lake
from resources.name_patterns import matches_any

DAILY_TABLES = (
    INFERENCE_EXECUTIONS,
    EXTRACTION_COVERAGE,
    RESULT_OBJECTS,
    ANOMALY_PREDICTIONS,
    SENSOR_CONTRIBUTIONS,
    REJECTED_RESULTS,
)
"""The sealed tables with one file per day: those that cannot be computed from other tables."""

OTHER_TABLES = (
    INFERENCE_SCHEDULERS,
    ARCHIVE_FILES,
    EXECUTION_SOURCES,
    FORGET_OPERATIONS,
    REJECTED_EXECUTIONS,
)
"""The sealed tables with one file."""

_RESULT_KEY = "result_s3_key"
_WITHOUT_KEY = [name for name in EXECUTION_COLUMNS if name != _RESULT_KEY]
_RETURNED_COLUMNS = ["source", "first_data_start_time", "last_data_start_time", "executions"]
_SOURCE_COLUMNS = ["uri", "content_hash", "executions", "merged_dates"]
_NO_RESULT_TIMES = pa.schema([RESULT_OBJECTS.schema.field(name) for name in RESULT_COLUMNS]).empty_table()


@dataclass(frozen=True)
class Selection:
    """The days and schedulers of a certificate; `patterns` are names or ARNs with * and ?, empty: all."""

    first: date
    last: date
    patterns: Sequence[str] = ()

    def includes(self, arn: str, name: str | None) -> bool:
        """Whether a scheduler is selected."""
        return not self.patterns or matches_any(self.patterns, name, arn)


def read_days(
    lake: Lake, selection: Selection, policy: HealthPolicy, declared: Sequence[DeclaredFrequency] = ()
) -> Iterator[DayEvidence]:
    """Yield the evidence of each day of a selection, recorded or not; memory is that of one day.

    Args:
        lake: the lake.
        selection: the days and schedulers.
        policy: what the rules depend on besides the lake.
        declared: frequencies in the settings.

    Raises:
        LedgerError: the lake cannot be read.
    """
    schedulers = SchedulerHistory(lake.read(INFERENCE_SCHEDULERS, columns=SCHEDULER_COLUMNS))
    sources = _read_sources(lake)
    stored = {table.name: set(lake.days(table)) for table in DAILY_TABLES}
    days = [
        selection.first + timedelta(number) for number in range((selection.last - selection.first).days + 1)
    ]
    recorded = [day for day in days if day in stored[INFERENCE_EXECUTIONS.name]]
    service_end = get_day_window(policy.last_day).end if policy.last_day else policy.now
    expectations = LakeExpectations(
        lake, recorded, read_traces(lake, selection.first, declared), min(policy.now, service_end)
    )

    def read_files(day: date) -> _DayFiles:
        return _read_files(
            _DayReader(lake, day, [table for table in DAILY_TABLES if day in stored[table.name]])
        )

    for day, files in zip(days, _read_ahead(read_files, days), strict=True):
        tables = DayTables(files.executions, files.coverage, schedulers, _NO_RESULT_TIMES)
        selected = [
            scheduler
            for scheduler in build_scheduler_days(day, tables, policy, expectations.expect)
            if selection.includes(scheduler.arn, scheduler.name)
            and (len(scheduler.slots.start) or scheduler.slots.unknown)
        ]
        expectations.finish_day(tables)
        results = _count_results(files.results, selected, selection)
        yield DayEvidence(day, files.digests, selected, sources.get(day, []), results)


@dataclass(frozen=True)
class IncompleteFile:
    """A saved response, and why it was not read completely."""

    uri: str
    error: str


def read_incomplete_files(lake: Lake) -> list[IncompleteFile]:
    """Return the saved responses of any day that were not read completely, by URI."""
    files = lake.read(ARCHIVE_FILES, columns=["uri", "error"]).sort_by("uri")
    return [IncompleteFile(**row) for row in files.filter(pc.is_valid(files["error"])).to_pylist()]


def read_other_digests(lake: Lake) -> dict[str, str]:
    """Return the SHA-256 of each sealed file that is not of a day, by its path in the lake."""
    return {name: digest for table in OTHER_TABLES for name, digest in lake.digests(table).items()}


class _DayReader:
    """Reads the sealed tables of a day, and keeps the digest of each file."""

    def __init__(self, lake: Lake, day: date, tables: Sequence[Table]) -> None:
        self.lake, self.day, self.tables = lake, day, tables
        self.files: dict[str, str] = {}
        self._read_tables: set[str] = set()

    def read(self, table: Table, columns: list[str]) -> pa.Table:
        """Read a small table, with texts as dictionaries; its digests are those of the same bytes."""
        if table not in self.tables:
            return pa.schema([table.encoded_schema.field(name) for name in columns]).empty_table()
        rows, digests = self.lake.read_with_digests(table, self.day, columns)
        self.files |= digests
        self._read_tables.add(table.name)
        return rows

    def read_digests(self) -> dict[str, str]:
        """Return the digests of all files, also of those that were not read."""
        for table in self.tables:
            if table.name not in self._read_tables:
                self.files |= self.lake.digests(table, self.day)
        return self.files


@dataclass(frozen=True)
class _DayFiles:
    """The rows of a day that a certificate needs, and the digest of each file by its path."""

    executions: pa.Table
    coverage: pa.Table
    results: pa.Table
    digests: dict[str, str]


def _read_ahead(read: Callable[[date], _DayFiles], days: Sequence[date]) -> Iterator[_DayFiles]:
    """Yield what `read` returns for each day, and read the next day meanwhile."""
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(read, days[0]) if days else None
        for day in [*days[1:], None]:
            assert following  # noqa: S101 (there is a day)
            current, following = following, executor.submit(read, day) if day else None
            yield current.result()


def _read_files(reader: _DayReader) -> _DayFiles:
    return _DayFiles(
        _read_executions(reader),
        reader.read(EXTRACTION_COVERAGE, [*COVERAGE_COLUMNS, "recorded_at"]),
        reader.read(RESULT_OBJECTS, ["scheduler_arn", "state"]),
        reader.read_digests(),
    )


def _read_executions(reader: _DayReader) -> pa.Table:
    """Read the executions; the keys of results are long, and decide only where the status is null."""
    rows = reader.read(INFERENCE_EXECUTIONS, _WITHOUT_KEY)
    if rows["status"].null_count:
        return reader.read(INFERENCE_EXECUTIONS, EXECUTION_COLUMNS)
    return rows.append_column(_RESULT_KEY, pa.nulls(len(rows), pa.string()))


def _count_results(
    results: pa.Table, schedulers: Sequence[SchedulerDay], selection: Selection
) -> dict[str, int]:
    if selection.patterns:
        arns = pa.array([scheduler.arn for scheduler in schedulers], pa.string())
        results = results.filter(pc.is_in(results["scheduler_arn"], arns))
    return {row["values"]: row["counts"] for row in results["state"].value_counts().to_pylist()}


def _read_sources(lake: Lake) -> dict[date, list[dict[str, Any]]]:
    """Return the saved responses of each day by URI, then the buckets and services by URI.

    A bucket or service has no hash. It has the number of executions that it returned of the day.
    """
    sources: dict[date, list[dict[str, Any]]] = {}
    files = lake.read(ARCHIVE_FILES, columns=_SOURCE_COLUMNS).sort_by("uri")
    for row in files.to_pylist():
        source = {
            "uri": row["uri"],
            "content_hash": row["content_hash"],
            "executions": row["executions"],
        }
        for day in row["merged_dates"] or ():
            sources.setdefault(day, []).append(source)
    returned = lake.read(EXECUTION_SOURCES, columns=_RETURNED_COLUMNS)
    others = returned.filter(pc.invert(pc.is_in(returned["source"], files["uri"].combine_chunks())))
    for (uri, day), count in sorted(_count_by_day(others).items()):
        sources.setdefault(day, []).append({"uri": uri, "executions_of_day": count})
    return sources


def _count_by_day(returned: pa.Table) -> Counter[tuple[str, date]]:
    """Count the executions in rows of `execution_sources` by source and day."""
    counts = Counter[tuple[str, date]]()
    for row in returned.to_pylist():
        numbers, executions = np.unique(expand_run(row) // DAY_MS, return_counts=True)
        for number, count in zip(numbers.tolist(), executions.tolist(), strict=True):
            counts[row["source"], date(1970, 1, 1) + timedelta(number)] += count
    return counts
