"""The state of the lake, from its coverage and the Dagster instance."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from shlex import quote

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.checks.run_outcomes import (
    UnansweredSource,
    filter_failed_partitions,
    find_unanswered_sources,
    load_recent_runs,
)
from assets.executions.archive_index import describe_files_outside_history, load_records
from assets.executions.day_status import (
    ACTION_STATES,
    COLUMNS,
    DayState,
    SchedulerStatus,
    SettlementPolicy,
    find_days_without_coverage,
    find_scheduler_statuses,
    needs_action,
    read_coverage,
)
from assets.executions.selection import contiguous_ranges
from assets.executions.tombstones import ForgetOperation, read_operations
from assets.framework.partitions import daily_partitions, parse_days
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.operations.lake_knowledge import UnknownDays, find_unknown_days
from resources.config.settings import Settings
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.name_patterns import matches, matches_any, no_scheduler_error
from resources.sources.factory import open_sources
from resources.storage.local_files import may_exist


@dataclass(frozen=True)
class ActionItem:
    """A range of days that needs action, and the command that fixes it.

    `schedulers` are names; empty: all schedulers.
    """

    state: DayState
    first: date
    last: date
    schedulers: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class DamagedFile:
    """A saved response, and why a run could not read it completely."""

    uri: str
    reason: str


@dataclass(frozen=True)
class LakeStatus:
    """The state of each scheduler on some days.

    `never_extracted` lists the days that no run has recorded; `refused` what the last runs could not read;
    `unknown` the recorded days whose results are not read or whose tables are not computed; `forgotten` the
    uses of `ledger forget`; `outside_history` messages about saved executions that no run records;
    `damaged_files` the saved responses that still exist, as far as known, and were not read completely.
    `runs_error` is the reason if the runs themselves could not be read.
    """

    days: Sequence[date]
    schedulers: Sequence[SchedulerStatus]
    never_extracted: Sequence[date]
    action_items: Sequence[ActionItem]
    refused: Sequence[UnansweredSource] = ()
    runs_error: str | None = None
    unknown: Sequence[UnknownDays] = ()
    forgotten: Sequence[ForgetOperation] = ()
    outside_history: Sequence[str] = ()
    damaged_files: Sequence[DamagedFile] = ()

    @property
    def needs_action(self) -> bool:
        """Whether scheduled runs will not fix everything; a source may recover after a single failure."""
        return (
            bool(self.action_items)
            or any(source.runs_in_a_row > 1 for source in self.refused)
            or any(not operation.is_finished for operation in self.forgotten)
        )

    @property
    def totals(self) -> dict[DayState, int]:
        """The number of scheduler days in each state."""
        counts = Counter(state for scheduler in self.schedulers for state in scheduler.states.values())
        return {state: counts[state] for state in DayState if counts[state]}


@dataclass(frozen=True)
class DataExtent:
    """Which days can have data, as far as the names of files and the index of saved responses show.

    Attributes:
        history: the partitions.
        today: the current day.
        extracted: the days with coverage.
        archives: the rows of `archive_files`.
        service_ends: the last day of each service; None: it has no end, or its settings are invalid.
    """

    history: Days
    today: date
    extracted: Sequence[date]
    archives: pa.Table
    service_ends: Sequence[date | None]

    @classmethod
    def load(cls, lake: Lake, settings: Settings, today: date) -> "DataExtent":
        """Read the lake and the settings; no service is called.

        Raises:
            LedgerError: the lake cannot be read.
        """
        return cls(
            Days(settings.history.start_date, settings.history.end_date),
            today,
            lake.days(EXTRACTION_COVERAGE),
            lake.read(ARCHIVE_FILES),
            _list_service_ends(settings),
        )

    def find_range(self) -> tuple[date, date] | None:
        """Return the first and the last day that is extracted or in saved responses.

        None if there is none, or if a service can add days.

        Saved responses count from the first run that reads them, also for days that are not extracted.
        """
        if any(end is None or end >= self.today for end in self.service_ends):
            return None
        days = self._select_days([*self.extracted, *self._list_archived_days()])
        return (min(days), max(days)) if days else None

    def find_last_expected(self) -> date | None:
        """Return the last day for which any source can have data; None: a service has no end."""
        last = max([*self.extracted, *self._select_days(self._list_archived_days())], default=self.today)
        for end in self.service_ends:
            if end is None:
                return None
            last = max(last, end)
        return last

    def describe_files_outside(self) -> list[str]:
        """Return messages about saved executions that no run records."""
        first, last = (
            self.archives[f"{name}_data_start_time"].cast(pa.date32()) for name in ("first", "last")
        )
        end = self.history.end or self.today + timedelta(days=1)
        is_outside = pc.or_kleene(pc.less(first, self.history.first), pc.greater_equal(last, end))
        files = load_records(self.archives.filter(is_outside)).values()
        return describe_files_outside_history(list(files), self.history, self.today)

    def list_damaged_files(self) -> list[DamagedFile]:
        """Return the saved responses that a run could not read completely, if they may still exist."""
        damaged = self.archives.filter(pc.is_valid(self.archives["error"]))
        pairs = zip(damaged["uri"].to_pylist(), damaged["error"].to_pylist(), strict=True)
        return [DamagedFile(uri, error) for uri, error in pairs if "://" in uri or may_exist(uri)]

    def _list_archived_days(self) -> list[date]:
        """Return the first and the last day of each file, and its proven days."""
        columns = [self.archives["first_data_start_time"], self.archives["last_data_start_time"]]
        days = [day for column in columns for day in pc.unique(column.cast(pa.date32())).to_pylist()]
        days += pc.unique(pc.list_flatten(self.archives["proven_dates"])).to_pylist()
        return [day for day in days if day]

    def _select_days(self, days: Iterable[date]) -> list[date]:
        end = self.history.end or date.max
        return [day for day in days if self.history.first <= day <= self.today and day < end]


def inspect_lake(
    lake: Lake,
    settings: Settings,
    extent: DataExtent,
    days: Sequence[date],
    now: datetime,
    patterns: Sequence[str] = (),
) -> LakeStatus:
    """Find the state of the lake on some days.

    Args:
        lake: the lake.
        settings: the settings of its code location.
        extent: which days can have data.
        days: the days to inspect.
        now: the current time.
        patterns: names or ARNs of schedulers, with * and ?; empty: all.

    Raises:
        ConfigurationError: a pattern matches no scheduler, or the lake is empty and no source is set.
        LedgerError: the lake cannot be read.
    """
    if not extent.extracted:
        settings.require_sources()
    policy = SettlementPolicy(
        timedelta(minutes=settings.history.settle_after_minutes),
        settings.history.lookback_days,
        now,
        extent.find_last_expected(),
    )
    failures = _load_failures(settings, days)
    coverage = read_coverage(lake, columns=[*COLUMNS, "failed"])
    schedulers = find_scheduler_statuses(coverage, days, extent.extracted, failures.days, policy)
    for pattern in patterns:
        if not any(matches(pattern, row.scheduler_name, row.scheduler_arn) for row in schedulers):
            raise no_scheduler_error(pattern, (row.scheduler_name for row in schedulers), "--scheduler")
    if patterns:
        schedulers = [
            row for row in schedulers if matches_any(patterns, row.scheduler_name, row.scheduler_arn)
        ]
    never_extracted = find_days_without_coverage(days, extent.extracted)
    items = list(_list_action_items(schedulers, never_extracted, policy))
    min_event = timedelta(minutes=settings.events.min_duration_minutes)
    return LakeStatus(
        days,
        schedulers,
        never_extracted,
        items,
        failures.sources,
        failures.error,
        [] if patterns else find_unknown_days(lake, coverage, days, min_event),
        read_operations(lake),
        extent.describe_files_outside(),
        extent.list_damaged_files(),
    )


def _list_service_ends(settings: Settings) -> list[date | None]:
    ends: list[date | None] = []
    for source in open_sources(settings) if settings.sources else ():
        if source.service:
            try:
                ends.append(source.service.service_end)
            except LedgerError:
                ends.append(None)  # `ledger doctor` reports why the source fails
    return ends


@dataclass(frozen=True)
class _RunFailures:
    """The days whose last run failed, the sources it could not read, and why the runs cannot be read."""

    days: Sequence[date] = ()
    sources: Sequence[UnansweredSource] = ()
    error: str | None = None


def _load_failures(settings: Settings, days: Sequence[date]) -> _RunFailures:
    """Read the failures from Dagster; without an instance there are none."""
    home = os.environ.get("DAGSTER_HOME")
    if home is None or not Path(home, "dagster.yaml").exists():
        return _RunFailures()
    try:
        return _read_failures(settings, days)
    except Exception as error:  # noqa: BLE001 (databases and YAML files raise many types)
        message = str(error).strip().partition("\n")[0] or repr(error)
        return _RunFailures(error=f"Cannot open the Dagster instance at {home}: {message}")


def _read_failures(settings: Settings, days: Sequence[date]) -> _RunFailures:
    executions = dg.AssetKey([*settings.dagster.key_prefix, INFERENCE_EXECUTIONS.name])
    partitions = daily_partitions(Days(settings.history.start_date, settings.history.end_date))
    keys = [day.isoformat() for day in days]
    with dg.DagsterInstance.get() as instance:
        failed = filter_failed_partitions(instance, executions, partitions, keys)
        refused = find_unanswered_sources(load_recent_runs(instance, executions))
    return _RunFailures(parse_days(failed), refused)


def _list_action_items(
    schedulers: Sequence[SchedulerStatus], never_extracted: Sequence[date], policy: SettlementPolicy
) -> Iterator[ActionItem]:
    for state in ACTION_STATES:
        if state is DayState.never_extracted:  # a state of the day for all schedulers, also if none is known
            days = [day for day in never_extracted if needs_action(state, day, policy)]
            for first, last in contiguous_ranges(days):
                yield _build_action_item(state, first, last, ())
            continue
        by_range: dict[tuple[date, date], list[SchedulerStatus]] = {}
        for scheduler in schedulers:
            days = [
                day
                for day, day_state in scheduler.states.items()
                if day_state is state and needs_action(state, day, policy)
            ]
            for day_range in contiguous_ranges(days):
                by_range.setdefault(day_range, []).append(scheduler)
        for (first, last), affected in sorted(by_range.items(), key=lambda item: item[0]):
            is_all = len(affected) == len(schedulers)
            names = () if is_all else tuple(sorted({scheduler.scheduler_name for scheduler in affected}))
            yield _build_action_item(state, first, last, names)


def _build_action_item(state: DayState, first: date, last: date, names: tuple[str, ...]) -> ActionItem:
    options = "".join(f" --scheduler {quote(name)}" for name in names)
    return ActionItem(state, first, last, names, f"ledger backfill --from {first} --to {last}{options}")
