"""Which files of the lake an older version of their table wrote, and writing them again.

An older file is no mistake: it reads like any other, with null in the columns that came later.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from resources.errors import DataError
from resources.lake.lake import Lake
from resources.lake.table_contract import StoredTable

_AT_ONCE = 16


@dataclass(frozen=True)
class StoredVersion:
    """One file: a day of a table, or (`day` is None) an unpartitioned table, and what version wrote it."""

    table: StoredTable
    day: date | None
    version: int

    @property
    def is_old(self) -> bool:
        """Whether an older version than the present one wrote it."""
        return self.version < self.table.version

    def __str__(self) -> str:
        """Name it, for messages."""
        return self.table.name if self.day is None else f"{self.table.name} {self.day}"


@dataclass(frozen=True)
class VersionSurvey:
    """All files of some tables; those that cannot be read come with the reason."""

    files: list[StoredVersion] = field(default_factory=list)
    unreadable: list[DataError] = field(default_factory=list)

    @property
    def old(self) -> list[StoredVersion]:
        """Those of an older version."""
        return [file for file in self.files if file.is_old]


def survey_versions(
    lake: Lake, tables: Sequence[StoredTable], first: date | None = None, last: date | None = None
) -> VersionSurvey:
    """Look at the footers of all files of some tables.

    Args:
        lake: where they are.
        tables: which tables; unpartitioned ones have one file, whatever the days.
        first: leave out the days before.
        last: leave out the days after.

    Raises:
        LedgerError: the lake cannot be looked into.
    """
    places = [(table, day) for table in tables for day in _days(lake, table, first, last)]
    found = VersionSurvey()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for looked in pool.map(lambda place: _look(lake, *place), places):
            if isinstance(looked, StoredVersion):
                found.files.append(looked)
            elif looked is not None:
                found.unreadable.append(looked)
    return found


def _days(lake: Lake, table: StoredTable, first: date | None, last: date | None) -> Iterator[date | None]:
    if not table.partitioned:
        yield None
        return
    for day in lake.days(table):
        if (first is None or first <= day) and (last is None or day <= last):
            yield day


def _look(lake: Lake, table: StoredTable, day: date | None) -> StoredVersion | DataError | None:
    try:
        version = lake.read_version(table, day)
    except DataError as problem:
        return problem
    return None if version is None else StoredVersion(table, day, version)
