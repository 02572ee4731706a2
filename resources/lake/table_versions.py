"""A survey of the table versions of all files, to find those of an older version.

An older file stays readable: its newer columns are null.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from resources.errors import DataError
from resources.lake.lake import Lake
from resources.lake.table_contract import StoredTable

_CONCURRENCY = 16


@dataclass(frozen=True)
class StoredVersion:
    """The version of one file: a day of a table, or an unpartitioned table if `day` is None."""

    table: StoredTable
    day: date | None
    version: int

    @property
    def is_old(self) -> bool:
        """Whether an older version than the current one wrote the file."""
        return self.version < self.table.version

    def __str__(self) -> str:
        """Name the file, for messages."""
        return self.table.name if self.day is None else f"{self.table.name} {self.day}"


@dataclass(frozen=True)
class VersionSurvey:
    """The versions of all files, and the errors of unreadable files."""

    files: list[StoredVersion] = field(default_factory=list)
    unreadable: list[DataError] = field(default_factory=list)

    @property
    def old(self) -> list[StoredVersion]:
        """The files of an older version."""
        return [file for file in self.files if file.is_old]


def survey_versions(
    lake: Lake, tables: Sequence[StoredTable], first: date | None = None, last: date | None = None
) -> VersionSurvey:
    """Read the footers of all files of some tables.

    Args:
        lake: the lake.
        tables: the tables; unpartitioned tables are included for any range of days.
        first: the first day; None: no bound.
        last: the last day; None: no bound.

    Raises:
        LedgerError: the lake cannot be read.
    """
    files = [(table, day) for table in tables for day in _list_days(lake, table, first, last)]
    survey = VersionSurvey()
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        for result in pool.map(lambda file: _read_version(lake, *file), files):
            if isinstance(result, StoredVersion):
                survey.files.append(result)
            elif result is not None:
                survey.unreadable.append(result)
    return survey


def _list_days(
    lake: Lake, table: StoredTable, first: date | None, last: date | None
) -> Iterator[date | None]:
    if not table.partitioned:
        yield None
        return
    for day in lake.days(table):
        if (first is None or first <= day) and (last is None or day <= last):
            yield day


def _read_version(lake: Lake, table: StoredTable, day: date | None) -> StoredVersion | DataError | None:
    try:
        version = lake.read_version(table, day)
    except DataError as problem:
        return problem
    return None if version is None else StoredVersion(table, day, version)
