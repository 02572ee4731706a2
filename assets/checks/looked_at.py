"""What checks look at: which days, and which columns of them.

Belongs here: the choice of days, and reading a few columns of them.
Does not belong here: what is asked of them (see the modules beside this one).

Dagster knows no partition in the check of a run over a range, so checks have no partitions. They look at the
last days of the lake, a few more than scheduled runs read again, and at those that their run was about (a
backfill of an old year is looked at too, up to a year of it).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from assets.executions.windows import Days
from assets.tables import PARTITION, Table
from resources.lake import Lake
from resources.sources.api import Api
from resources.sources.archive import Archive

MARGIN_DAYS = 3
"""Days beyond `history.lookback_days` that are looked at."""

MOST_DAYS_OF_A_RUN = 366
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_ONE = "dagster/partition"
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Rules:
    """What checks must know of the settings."""

    history: Days
    settle_after: timedelta
    lookback_days: int
    late_after: timedelta

    @property
    def last_days(self) -> int:
        """How many of the lake's last days are looked at."""
        return self.lookback_days + MARGIN_DAYS


@dataclass(frozen=True)
class Service:
    """Whether a live service is among the sources, and its last day (None: no end is known)."""

    is_there: bool
    last_day: date | None = None

    def last_expected(self, history_end: date | None) -> date | None:
        """Return the last day that anything is expected of; None: there is no end to it."""
        if not self.is_there:
            return date.min
        ends = [self.last_day, history_end and history_end - _A_DAY]
        return min((end for end in ends if end is not None), default=None)


def service_of(sources: Sequence[Archive | Api]) -> Service:
    """Return what the sources say of a service; of several, the one that lasts longest counts.

    Raises:
        ConfigurationError: one cannot be opened.
    """
    ends = [source.service_end for source in sources if isinstance(source, Api)]
    known = [end for end in ends if end is not None]
    return Service(bool(ends), max(known) if ends and len(known) == len(ends) else None)


def days_of_run(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """Return the first and the last day that a run is about, from its tags; None: it is about no days."""
    first, last = (tags.get(name, tags.get(_ONE)) for name in _RANGE)
    try:
        return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None
    except ValueError:
        return None


def chosen(in_lake: Sequence[date], last_days: int, of_run: tuple[date, date] | None) -> list[date]:
    """Choose from the days of the lake (oldest first) those that are looked at."""
    run = [day for day in in_lake if of_run and of_run[0] <= day <= of_run[1]]
    return sorted({*in_lake[-last_days:], *run[-MOST_DAYS_OF_A_RUN:]})


def read_days(lake: Lake, table: Table, days: Iterable[date], columns: list[str]) -> pa.Table:
    """Read a few columns of some days of a small table, each row with its day."""
    fields = [table.schema.field(name) for name in columns]
    schema = pa.schema([*fields, pa.field(PARTITION, pa.date32())])
    parts = [schema.empty_table()]
    for day in days:
        rows = lake.read(table, day, columns)
        of_day = pa.repeat(pa.scalar(day, pa.date32()), rows.num_rows)
        parts.append(pa.table([*rows.columns, of_day], schema=schema))
    return pa.concat_tables(parts)


def before(day: date, days: int) -> list[date]:
    """Return the days before a day, oldest first."""
    return [day - back * _A_DAY for back in range(days, 0, -1)]
