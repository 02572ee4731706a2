"""Changes of the number of files of days, which `ledger migrate --shards` runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from assets.tables import Table
from resources.errors import ConfigurationError, DataError
from resources.lake.lake import Lake


@dataclass(frozen=True)
class ShardedDay:
    """A day of a table, and its number of files before the change."""

    table: Table
    day: date
    shards: int


@dataclass
class ShardChanges:
    """The days that had another number of files or an incomplete change, and errors of single days."""

    changed: list[ShardedDay] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def select_sharded_tables(tables: Sequence[Table], *, are_named: bool) -> list[Table]:
    """Return the tables whose days can have several files.

    Args:
        tables: the selected tables.
        are_named: whether the user named them, so that all must be such tables.

    Raises:
        ConfigurationError: a named table has one file per day.
    """
    if are_named and (others := [table.name for table in tables if not table.has_shards]):
        raise ConfigurationError(
            f"Cannot change the number of files of {', '.join(others)}: only tables with a row per execution"
            " or more have several files",
            where="the arguments of ledger migrate --shards",
            next_step="remove these tables",
        )
    return [table for table in tables if table.has_shards]


def list_sharded_days(
    lake: Lake, tables: Sequence[Table], first: date | None, last: date | None
) -> list[ShardedDay]:
    """Return the stored days of some tables with their numbers of files.

    Raises:
        LedgerError: the lake or a file cannot be read.
    """
    return [
        ShardedDay(table, day, lake.shards(table, day))
        for table in tables
        for day in lake.days(table)
        if (first is None or first <= day) and (last is None or day <= last)
    ]


def change_shards(lake: Lake, days: Iterable[ShardedDay], shards: int) -> ShardChanges:
    """Change days one after the other.

    Raises:
        LedgerError: the lake cannot be read or written.
    """
    changes = ShardChanges()
    for day in days:
        try:
            if lake.reshard(day.table, day.day, shards):
                changes.changed.append(day)
        except DataError as error:  # other days can still be changed
            changes.errors.append(str(error))
    return changes
