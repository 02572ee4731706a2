"""What checks look at: which days, and which columns of them.

Dagster knows no partition in the check of a run over a range, so checks have no partitions. They look at the
last days of the lake, a few more than scheduled runs read again, and at those that their run was about (a
backfill of an old year is looked at too, up to a year of it).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property

import dagster as dg
import pyarrow as pa

from assets.checks.scheduler_settings import COLUMNS as RHYTHM_COLUMNS
from assets.checks.scheduler_settings import SchedulerSettings, parse_scheduler_settings
from assets.executions import day_status
from assets.executions.day_status import SchedulerStatus, SettlementPolicy
from assets.framework.partitions import RANGE
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS, PARTITION, Table
from resources.lake.lake import Lake
from resources.sources.base import OpenSources, Source

MARGIN_DAYS = 3
"""Days beyond `history.lookback_days` that are looked at."""

MOST_DAYS_OF_A_RUN = 366
_ONE = "dagster/partition"
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class CheckSettings:
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
class ServiceState:
    """Whether a live service is among the sources, and its last day (None: no end is known)."""

    exists: bool
    last_day: date | None = None

    def last_expected(self, history_end: date | None) -> date | None:
        """Return the last day that anything is expected of; None: there is no end to it."""
        if not self.exists:
            return date.min
        ends = [self.last_day, history_end and history_end - _A_DAY]
        return min((end for end in ends if end is not None), default=None)


@dataclass(frozen=True)
class CheckContext:
    """One look of the checks of an asset, in one run: what they share is read once.

    Attributes:
        rules: what they must know of the settings.
        lake: what they look at.
        open_sources: opens what the extraction asks.
        now: the time of the look.
        instance: what remembers the runs.
        of_run: the first and the last day that the run is about; None: it is about no days.
    """

    rules: CheckSettings
    lake: Lake
    open_sources: OpenSources
    now: datetime
    instance: dg.DagsterInstance
    of_run: tuple[date, date] | None
    _listed: dict[str, list[date]] = field(default_factory=dict)

    def in_lake(self, table: Table) -> list[date]:
        """Return all days that a table has, oldest first; the lake is asked once."""
        if table.name not in self._listed:
            self._listed[table.name] = self.lake.days(table)
        return self._listed[table.name]

    def days(self, table: Table, last_days: int | None = None) -> list[date]:
        """Return the days of a table that are looked at, oldest first.

        Args:
            table: one with days.
            last_days: look at so many of its last days and at no others, also where the run is about them.
        """
        in_lake = self.in_lake(table)
        if last_days:
            return select_days(in_lake, last_days, None)
        return select_days(in_lake, self.rules.last_days, self.of_run)

    def read(self, table: Table, columns: list[str]) -> pa.Table:
        """Read a few columns of the days of a table that are looked at, each row with its day."""
        return read_days(self.lake, table, self.days(table), columns)

    def places(
        self, tables: Iterable[Table], last_days: Mapping[str, int] | None = None
    ) -> Iterator[tuple[Table, date | None]]:
        """Name each file that is looked at by table and day; the day is None where a table has none."""
        for table in tables:
            if table.partitioned:
                days = self.days(table, (last_days or {}).get(table.name))
                yield from ((table, day) for day in days)
            else:
                yield table, None

    @cached_property
    def execution_days(self) -> list[date]:
        """The days of `inference_executions` that are looked at."""
        return self.days(INFERENCE_EXECUTIONS)

    @cached_property
    def sources(self) -> Sequence[Source]:
        """What the extraction asks, opened."""
        return self.open_sources()

    @cached_property
    def scheduler_statuses(self) -> list[SchedulerStatus]:
        """How these days stand, by scheduler."""
        there = self.in_lake(EXTRACTION_COVERAGE)
        days = self.execution_days
        wanted = sorted({*days, *there[-self.rules.last_days :]} & {*there})
        coverage = read_days(self.lake, EXTRACTION_COVERAGE, wanted, day_status.COLUMNS)
        last_expected = get_service_state(self.sources).last_expected(self.rules.history.end)
        terms = SettlementPolicy(self.rules.settle_after, self.rules.lookback_days, self.now, last_expected)
        return day_status.find_scheduler_statuses(coverage, days, there, (), terms)

    @cached_property
    def scheduler_settings(self) -> dict[str, SchedulerSettings]:
        """How often each scheduler runs, by ARN."""
        return parse_scheduler_settings(self.lake.read(INFERENCE_SCHEDULERS, columns=RHYTHM_COLUMNS))


def get_service_state(sources: Sequence[Source]) -> ServiceState:
    """Return what the sources say of a service; of several, the one that lasts longest counts.

    Raises:
        ConfigurationError: one cannot be opened.
    """
    ends = [source.service.service_end for source in sources if source.service]
    known = [end for end in ends if end is not None]
    return ServiceState(bool(ends), max(known) if ends and len(known) == len(ends) else None)


def parse_run_days(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """Return the first and the last day that a run is about, from its tags; None: it is about no days."""
    first, last = (tags.get(name, tags.get(_ONE)) for name in RANGE)
    try:
        return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None
    except ValueError:
        return None


def select_days(in_lake: Sequence[date], last_days: int, of_run: tuple[date, date] | None) -> list[date]:
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


def list_days_before(day: date, days: int) -> list[date]:
    """Return the days before a day, oldest first."""
    return [day - back * _A_DAY for back in range(days, 0, -1)]
