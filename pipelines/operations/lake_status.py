"""How the lake stands, read from its coverage and from Dagster's instance."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from assets.executions.day_status import (
    COLUMNS,
    DayState,
    SchedulerStatus,
    SettlementPolicy,
    find_days_without_coverage,
    find_scheduler_statuses,
    needs_action,
)
from assets.executions.selection import contiguous_ranges
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, PARTITION
from pipelines.cli.arguments import no_scheduler_error
from resources.config.settings import Settings
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.name_patterns import matches, matches_any
from resources.sources.factory import open_sources

if TYPE_CHECKING:
    from assets.checks.run_outcomes import UnansweredSource

_FIRST_WORDS = (DayState.failed, DayState.missing, DayState.never_extracted, DayState.overdue, DayState.stuck)
"""In this order a person looks at them: what may be lost first, what merely hangs last."""


@dataclass(frozen=True)
class ActionItem:
    """A stretch of days that a person has to see to, and the command that mends it.

    `schedulers` are names; none: it is so for all of them.
    """

    state: DayState
    first: date
    last: date
    schedulers: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class LakeStatus:
    """How each scheduler stands on some days.

    `never` are the days that no run has recorded, `refused` what the last runs could not ask.
    """

    days: Sequence[date]
    schedulers: Sequence[SchedulerStatus]
    never: Sequence[date]
    trouble: Sequence[ActionItem]
    refused: Sequence["UnansweredSource"] = ()

    @property
    def needs_action(self) -> bool:
        """Whether nothing but a person will mend it; what one run could not ask the next may."""
        return bool(self.trouble) or any(one.runs_in_a_row > 1 for one in self.refused)

    @property
    def totals(self) -> dict[DayState, int]:
        """How many days of schedulers are in each state."""
        counted = Counter(state for one in self.schedulers for state in one.states.values())
        return {state: counted[state] for state in DayState if counted[state]}


def inspect_lake(
    lake: Lake, settings: Settings, days: Sequence[date], now: datetime, patterns: Sequence[str] = ()
) -> LakeStatus:
    """Find out how the lake stands on some days.

    Args:
        lake: the lake.
        settings: those of its code location.
        days: the days that are asked for.
        now: the moment.
        patterns: names or ARNs of schedulers, with * and ?; none: all.

    Raises:
        ConfigurationError: a pattern is the name of no scheduler; or nothing is recorded, nor any source set.
        LedgerError: the lake cannot be looked into.
    """
    extracted = lake.days(EXTRACTION_COVERAGE)
    if not extracted:
        settings.require_sources()
    terms = settlement_policy(settings, now, extracted)
    failed, refused = _remembered(settings, days)
    found = find_scheduler_statuses(coverage(lake), days, extracted, failed, terms)
    for pattern in patterns:
        if not any(matches(pattern, one.scheduler_name, one.scheduler_arn) for one in found):
            raise no_scheduler_error(pattern, (one.scheduler_name for one in found))
    if patterns:
        found = [one for one in found if matches_any(patterns, one.scheduler_name, one.scheduler_arn)]
    never = find_days_without_coverage(days, extracted)
    return LakeStatus(days, found, never, list(_trouble(found, never, terms)), refused)


def coverage(lake: Lake, first: date | None = None, last: date | None = None) -> pa.Table:
    """Read the coverage of some days (default: of all), all files at once: `COLUMNS` and the day."""
    columns = [*COLUMNS, PARTITION]
    if not lake.days(EXTRACTION_COVERAGE):
        schema = EXTRACTION_COVERAGE.schema.append(pa.field(PARTITION, pa.date32()))
        return pa.schema([schema.field(name) for name in columns]).empty_table()
    wanted = None
    if first is not None and last is not None:
        wanted = (ds.field(PARTITION) >= first) & (ds.field(PARTITION) <= last)
    return lake.dataset(EXTRACTION_COVERAGE).to_table(columns=columns, filter=wanted)


def settlement_policy(settings: Settings, now: datetime, extracted: Sequence[date]) -> SettlementPolicy:
    """Return what settling depends on; nothing is expected after the end of all services."""
    return SettlementPolicy(
        timedelta(minutes=settings.history.settle_after_minutes),
        settings.history.lookback_days,
        now,
        _last_expected(settings, extracted, now.date()),
    )


def _last_expected(settings: Settings, extracted: Sequence[date], today: date) -> date | None:
    ends = [max(extracted, default=today)]
    for source in open_sources(settings) if settings.sources else ():
        if source.service:
            try:
                end = source.service.service_end
            except LedgerError:
                end = None  # what keeps it from being asked is for `ledger doctor` to say
            if end is None:
                return None
            ends.append(end)
    return max(ends)


def _remembered(settings: Settings, days: Sequence[date]) -> tuple[list[date], list["UnansweredSource"]]:
    """Return what Dagster remembers: days that the last run over them failed for, and who could not be asked.

    Nothing where it has no instance here.
    """
    home = os.environ.get("DAGSTER_HOME")
    if home is None or not Path(home, "dagster.yaml").exists():
        return [], []
    import dagster as dg  # noqa: PLC0415 (which takes seconds)

    from assets.checks.run_outcomes import filter_failed_partitions, find_unanswered_sources, load_recent_runs  # noqa: PLC0415
    from assets.framework.partitions import daily_partitions  # noqa: PLC0415
    from assets.framework.partitions import parse_days as days_of  # noqa: PLC0415

    executions = dg.AssetKey(INFERENCE_EXECUTIONS.name)
    history = Days(settings.history.start_date, settings.history.end_date)
    with dg.DagsterInstance.get() as instance:
        failed = filter_failed_partitions(
            instance, executions, daily_partitions(history), [day.isoformat() for day in days]
        )
        refused = find_unanswered_sources(load_recent_runs(instance, executions))
    return days_of(failed), refused


def _trouble(
    found: Sequence[SchedulerStatus], never: Sequence[date], terms: SettlementPolicy
) -> Iterator[ActionItem]:
    for state in _FIRST_WORDS:
        if state is DayState.never_extracted:
            days = [day for day in never if needs_action(state, day, terms)]
            for first, last in contiguous_ranges(days):
                yield ActionItem(state, first, last, (), _command(first, last, ()))
            continue
        places: dict[tuple[date, date], list[SchedulerStatus]] = {}
        for one in found:
            hit = [day for day, its in one.states.items() if its is state]
            for stretch in contiguous_ranges(hit):
                places.setdefault(stretch, []).append(one)
        for (first, last), ones in sorted(places.items(), key=lambda place: place[0]):
            all_of_them = len(ones) == len(found)
            names = () if all_of_them else tuple(sorted({one.scheduler_name for one in ones}))
            yield ActionItem(state, first, last, names, _command(first, last, names))


def _command(first: date, last: date, names: Sequence[str]) -> str:
    some = "".join(f" --scheduler {name}" for name in names)
    return f"ledger backfill --from {first} --to {last}{some}"
