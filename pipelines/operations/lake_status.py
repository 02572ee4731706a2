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
    DayState,
    SchedulerStatus,
    SettlementPolicy,
    find_days_without_coverage,
    find_scheduler_statuses,
    needs_action,
)
from assets.executions.selection import contiguous_ranges
from assets.executions.tombstones import ForgetOperation, read_operations
from assets.framework.partitions import daily_partitions, parse_days
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.operations.coverage import read_coverage
from pipelines.operations.lake_knowledge import UnknownDays, find_unknown_days
from resources.config.settings import Settings
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.name_patterns import matches, matches_any, no_scheduler_error
from resources.sources.factory import open_sources


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
class LakeStatus:
    """The state of each scheduler on some days.

    `never_extracted` lists the days that no run has recorded; `refused` what the last runs could not read;
    `unknown` the recorded days whose results are not read or whose tables are not computed; `forgotten` the
    uses of `ledger forget`; `outside_history` messages about saved executions that no run records.
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


def inspect_lake(
    lake: Lake, settings: Settings, days: Sequence[date], now: datetime, patterns: Sequence[str] = ()
) -> LakeStatus:
    """Find the state of the lake on some days.

    Args:
        lake: the lake.
        settings: the settings of its code location.
        days: the days to inspect.
        now: the current time.
        patterns: names or ARNs of schedulers, with * and ?; empty: all.

    Raises:
        ConfigurationError: a pattern matches no scheduler, or the lake is empty and no source is set.
        LedgerError: the lake cannot be read.
    """
    extracted = lake.days(EXTRACTION_COVERAGE)
    if not extracted:
        settings.require_sources()
    archives = lake.read(ARCHIVE_FILES)
    history = Days(settings.history.start_date, settings.history.end_date)
    archived = _select_days(_list_archived_days(archives), history, now.date())
    policy = settlement_policy(settings, now, [*extracted, *archived])
    failures = _load_failures(settings, days)
    schedulers = find_scheduler_statuses(read_coverage(lake), days, extracted, failures.days, policy)
    for pattern in patterns:
        if not any(matches(pattern, row.scheduler_name, row.scheduler_arn) for row in schedulers):
            raise no_scheduler_error(pattern, (row.scheduler_name for row in schedulers), "--scheduler")
    if patterns:
        schedulers = [
            row for row in schedulers if matches_any(patterns, row.scheduler_name, row.scheduler_arn)
        ]
    never_extracted = find_days_without_coverage(days, extracted)
    items = list(_list_action_items(schedulers, never_extracted, policy))
    min_event = timedelta(minutes=settings.events.min_duration_minutes)
    unknown = [] if patterns else find_unknown_days(lake, days, min_event)
    return LakeStatus(
        days,
        schedulers,
        never_extracted,
        items,
        failures.sources,
        failures.error,
        unknown,
        read_operations(lake),
        _describe_files_outside_history(archives, history, now.date()),
    )


def settlement_policy(settings: Settings, now: datetime, known: Sequence[date]) -> SettlementPolicy:
    """Build the policy of a code location; no day is expected after all services and known days.

    Args:
        settings: the settings of the code location.
        now: the current time.
        known: days that are extracted, or that saved responses have.
    """
    return SettlementPolicy(
        timedelta(minutes=settings.history.settle_after_minutes),
        settings.history.lookback_days,
        now,
        _last_expected_day(settings, known, now.date()),
    )


def find_data_range(lake: Lake, settings: Settings, history: Days, today: date) -> tuple[date, date] | None:
    """Return the first and the last day that is extracted or in saved responses.

    None if there is none, or if a service can add days.

    Saved responses count from the first run that reads them, also for days that are not extracted.

    Raises:
        LedgerError: the lake cannot be read.
    """
    ends = _list_service_ends(settings)
    if any(end is None or end >= today for end in ends):
        return None
    known = [*lake.days(EXTRACTION_COVERAGE), *_list_archived_days(lake.read(ARCHIVE_FILES))]
    days = _select_days(known, history, today)
    return (min(days), max(days)) if days else None


def _list_archived_days(archives: pa.Table) -> list[date]:
    """Return the first and the last day of each file, and its proven days."""
    columns = [archives["first_data_start_time"], archives["last_data_start_time"]]
    days = [day for column in columns for day in pc.unique(column.cast(pa.date32())).to_pylist()]
    days += pc.unique(pc.list_flatten(archives["proven_dates"])).to_pylist()
    return [day for day in days if day]


def _describe_files_outside_history(archives: pa.Table, history: Days, today: date) -> list[str]:
    """Return messages about saved executions that no run records."""
    first, last = (archives[f"{name}_data_start_time"].cast(pa.date32()) for name in ("first", "last"))
    end = history.end or today + timedelta(days=1)
    is_outside = pc.or_kleene(pc.less(first, history.first), pc.greater_equal(last, end))
    files = load_records(archives.filter(is_outside)).values()
    return describe_files_outside_history(list(files), history, today)


def _select_days(days: Iterable[date], history: Days, today: date) -> list[date]:
    return [day for day in days if history.first <= day <= today and day < (history.end or date.max)]


def _last_expected_day(settings: Settings, known: Sequence[date], today: date) -> date | None:
    last = max(known, default=today)
    for end in _list_service_ends(settings):
        if end is None:
            return None
        last = max(last, end)
    return last


def _list_service_ends(settings: Settings) -> list[date | None]:
    """Return the last day of each service; None: it has no end, or its settings are invalid."""
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
