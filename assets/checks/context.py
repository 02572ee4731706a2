"""The days and columns that checks examine.

Dagster gives no partition to a check in a run over a range, so the checks have no partitions. They examine
the last days of the lake, a few more than scheduled runs extract, and the days of their run, up to a year.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property

import dagster as dg
import pyarrow as pa

from assets.checks.scheduler_settings import COLUMNS as SCHEDULER_COLUMNS
from assets.checks.scheduler_settings import SchedulerSettings, parse_scheduler_settings
from assets.executions import day_status
from assets.executions.day_status import SchedulerStatus, SettlementPolicy
from assets.executions.service_state import get_service_state
from assets.framework.partitions import RANGE
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS, PARTITION, Table
from resources.lake.lake import Lake
from resources.sources.base import OpenSources, Source

MARGIN_DAYS = 3
"""Days before the lookback period that checks also examine."""

MAX_RUN_DAYS = 366
_PARTITION_TAG = "dagster/partition"
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class CheckSettings:
    """The project settings that checks need."""

    history: Days
    settle_after: timedelta
    lookback_days: int
    late_after: timedelta

    @property
    def last_days(self) -> int:
        """Number of the lake's last days that are examined."""
        return self.lookback_days + MARGIN_DAYS


@dataclass(frozen=True)
class CheckContext:
    """The inputs of all checks of an asset in one run. Shared data is read once.

    Attributes:
        settings: The project settings that checks need.
        lake: The lake to examine.
        open_sources: Opens the sources of the extraction.
        now: The time of the evaluation.
        instance: The Dagster instance with the run history.
        asset: The asset whose checks are evaluated.
        run_days: The first and the last day of the run; None: the run has no days.
    """

    settings: CheckSettings
    lake: Lake
    open_sources: OpenSources
    now: datetime
    instance: dg.DagsterInstance
    asset: dg.AssetKey
    run_days: tuple[date, date] | None
    _days: dict[str, list[date]] = field(default_factory=dict)

    def list_lake_days(self, table: Table) -> list[date]:
        """Return all days of a table, oldest first. The lake is listed once."""
        if table.name not in self._days:
            self._days[table.name] = self.lake.days(table)
        return self._days[table.name]

    def list_checked_days(self, table: Table, last_days: int | None = None) -> list[date]:
        """Return the days of a partitioned table to examine, oldest first.

        Args:
            table: A partitioned table.
            last_days: Examine only this many last days, and no others of the run.
        """
        lake_days = self.list_lake_days(table)
        if last_days:
            return select_days(lake_days, last_days, None)
        return select_days(lake_days, self.settings.last_days, self.run_days)

    def read_checked_files(self, table: Table, columns: list[str]) -> Iterator[pa.Table]:
        """Yield columns of each file of the days to examine, with the day of each row."""
        return read_files(self.lake, table, self.list_checked_days(table), columns)

    def iterate_partitions(
        self, tables: Iterable[Table], last_days: Mapping[str, int] | None = None
    ) -> Iterator[tuple[Table, date | None]]:
        """Yield the table and the day of each file to examine; the day is None for unpartitioned tables."""
        for table in tables:
            if table.partitioned:
                days = self.list_checked_days(table, (last_days or {}).get(table.name))
                yield from ((table, day) for day in days)
            else:
                yield table, None

    @cached_property
    def execution_days(self) -> list[date]:
        """The days of `inference_executions` to examine."""
        return self.list_checked_days(INFERENCE_EXECUTIONS)

    @cached_property
    def sources(self) -> Sequence[Source]:
        """The open sources of the extraction."""
        return self.open_sources()

    @cached_property
    def scheduler_statuses(self) -> list[SchedulerStatus]:
        """The state of the examined days, by scheduler."""
        extracted = self.list_lake_days(EXTRACTION_COVERAGE)
        days = self.execution_days
        days_to_read = sorted({*days, *extracted[-self.settings.last_days :]} & {*extracted})
        coverage = read_days(self.lake, EXTRACTION_COVERAGE, days_to_read, day_status.COLUMNS)
        service = get_service_state(self.sources)
        policy = SettlementPolicy(
            self.settings.settle_after,
            self.settings.lookback_days,
            self.now,
            service.get_last_expected_day(self.settings.history.end),
        )
        return day_status.find_scheduler_statuses(coverage, days, extracted, (), policy)

    @cached_property
    def schedulers(self) -> pa.Table:
        """The settings of all schedulers at all times."""
        return self.lake.read(INFERENCE_SCHEDULERS, columns=SCHEDULER_COLUMNS)

    @cached_property
    def scheduler_settings(self) -> dict[str, SchedulerSettings]:
        """The latest settings of each scheduler, by ARN."""
        return parse_scheduler_settings(self.schedulers)


def parse_run_days(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """Return the first and the last day of a run from its tags; None: the run has no days."""
    first, last = (tags.get(name, tags.get(_PARTITION_TAG)) for name in RANGE)
    try:
        return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None
    except ValueError:
        return None


def select_days(lake_days: Sequence[date], last_days: int, run_days: tuple[date, date] | None) -> list[date]:
    """Select the last days of the lake (oldest first) and the days of the run."""
    run = [day for day in lake_days if run_days and run_days[0] <= day <= run_days[1]]
    return sorted({*lake_days[-last_days:], *run[-MAX_RUN_DAYS:]})


def read_days(lake: Lake, table: Table, days: Iterable[date], columns: list[str]) -> pa.Table:
    """Read columns of some days of a small table, with the day of each row."""
    empty = _select_fields(table, columns).empty_table()
    return pa.concat_tables([empty, *read_files(lake, table, days, columns)])


def read_files(lake: Lake, table: Table, days: Iterable[date], columns: list[str]) -> Iterator[pa.Table]:
    """Yield columns of each file of some days, with the day of each row; one file is in memory at a time."""
    schema = _select_fields(table, columns)
    for day in days:
        for rows in lake.read_files(table, day, columns):
            day_column = pa.repeat(pa.scalar(day, pa.date32()), rows.num_rows)
            yield pa.table([*rows.select(columns).columns, day_column], schema=schema)


def _select_fields(table: Table, columns: list[str]) -> pa.Schema:
    fields = [table.schema.field(name) for name in columns]
    return pa.schema([*fields, pa.field(PARTITION, pa.date32())])


def list_days_before(day: date, days: int) -> list[date]:
    """Return this many days before a day, oldest first."""
    return [day - back * _A_DAY for back in range(days, 0, -1)]
