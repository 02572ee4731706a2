"""Computes again the tables that derive from forgotten days, where they were computed before."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from assets.anomalies.assets import record_fragments
from assets.anomalies.events import EventRule, join_events
from assets.executions.selection import contiguous_ranges
from assets.framework.materializations import PartitionResult
from assets.health.equipment_health import NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE
from assets.health.execution_health import SCHEDULER_COLUMNS, HealthPolicy, SchedulerHistory
from assets.health.recording import (
    DAYS_PER_BATCH,
    compute_equipment_health,
    record_equipment_health,
    record_execution_health,
)
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    INFERENCE_SCHEDULERS,
)
from resources.config.equipment import EquipmentRegistry
from resources.lake.lake import Lake

_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DerivedTables:
    """The rules of the derived tables.

    Attributes:
        lake: the lake.
        policy: the rules of `execution_health`.
        rule: the rules of `anomaly_events`.
        registry: the machines.
        now: the current time.
    """

    lake: Lake
    policy: HealthPolicy
    rule: EventRule
    registry: EquipmentRegistry
    now: datetime

    def update(
        self, days: Collection[date], *, settings_changed: bool
    ) -> Iterator[tuple[date, PartitionResult]]:
        """Compute the tables again, and yield each day of each table with its new content.

        Args:
            days: the days whose executions, coverage or results changed.
            settings_changed: whether `inference_schedulers` changed, which concerns all days.
        """
        changed = set(days)
        for day in sorted(changed & {*self.lake.days(ANOMALY_FRAGMENTS)}):
            yield from self._label(day, record_fragments(self.lake, self._clock, day.isoformat()))
        if self.lake.has(ANOMALY_EVENTS):
            fragments = self.lake.scan(ANOMALY_FRAGMENTS)
            self.lake.update(
                ANOMALY_EVENTS, None, lambda existing: join_events(fragments, self.rule, existing, self.now)
            )
        schedulers = SchedulerHistory(self.lake.read(INFERENCE_SCHEDULERS, columns=SCHEDULER_COLUMNS))
        with_health = {*self.lake.days(EXECUTION_HEALTH)}
        concerned = with_health if settings_changed else changed & with_health
        for day in sorted(concerned):
            results = record_execution_health(self.lake, schedulers, self.policy, day.isoformat())
            yield from self._label(day, results)
        nearby = {
            day + number * _A_DAY
            for day in changed
            for number in range(-NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE + 1)
        }
        yield from self._update_machines((nearby | concerned) & {*self.lake.days(EQUIPMENT_HEALTH)})

    def _update_machines(self, days: Collection[date]) -> Iterator[tuple[date, PartitionResult]]:
        for first, last in contiguous_ranges(days):
            in_range = [first + number * _A_DAY for number in range((last - first).days + 1)]
            for start in range(0, len(in_range), DAYS_PER_BATCH):
                batch = in_range[start : start + DAYS_PER_BATCH]
                rows = compute_equipment_health(self.lake, batch, self.registry, self.rule, self.now)
                for day in batch:
                    results = record_equipment_health(self.lake, rows, self._clock, day.isoformat())
                    yield from self._label(day, results)

    def _clock(self) -> datetime:
        return self.now

    @staticmethod
    def _label(day: date, results: Collection[PartitionResult]) -> Iterator[tuple[date, PartitionResult]]:
        return ((day, result) for result in results)
