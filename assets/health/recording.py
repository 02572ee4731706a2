"""Compute and record the health tables of a day from the tables of the lake."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.events import EventRule
from assets.framework.materializations import PartitionResult, partition_result
from assets.framework.row_content import stamp_changes
from assets.health.equipment_health import NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE, build_equipment_health
from assets.health.execution_health import (
    COVERAGE_COLUMNS,
    EXECUTION_COLUMNS,
    RESULT_COLUMNS,
    DayTables,
    HealthPolicy,
    SchedulerHistory,
    build_execution_health,
)
from assets.health.slots import REASONS
from assets.tables import (
    ANOMALY_FRAGMENTS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    PARTITION,
    RESULT_OBJECTS,
)
from resources.clock import Clock
from resources.config.equipment import EquipmentRegistry
from resources.lake.lake import Lake
from resources.lake.shards import list_shards

DAYS_PER_BATCH = 31
"""Days of `equipment_health` that are computed together."""


def find_dependent_days(days: Collection[date], computed: Iterable[date]) -> list[date]:
    """Return the computed days, in order, whose rows depend on the fragments of others that are given."""
    reach = range(-NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE + 1)
    near = {day + timedelta(number) for day in days for number in reach} - set(days)
    return sorted(near.intersection(computed))


def record_execution_health(
    lake: Lake, schedulers: SchedulerHistory, policy: HealthPolicy, key: str
) -> list[PartitionResult]:
    """Compute `execution_health` for a day, one shard after the other."""
    day = date.fromisoformat(key)
    coverage = lake.read(EXTRACTION_COVERAGE, day, COVERAGE_COLUMNS)
    count = lake.shards(INFERENCE_EXECUTIONS, day)
    rows = pa.concat_tables(
        build_execution_health(
            day,
            DayTables(
                lake.read(INFERENCE_EXECUTIONS, day, EXECUTION_COLUMNS, shard),
                coverage,
                schedulers,
                lake.read(RESULT_OBJECTS, day, RESULT_COLUMNS, shard),
                shard,
            ),
            policy,
        )
        for shard in list_shards(count)
    )
    written = lake.update(
        EXECUTION_HEALTH,
        day,
        lambda existing: stamp_changes(EXECUTION_HEALTH, rows, existing, policy.now),
    )
    counts = {name: pc.sum(written.rows[name]).as_py() or 0 for name in ("expected", *REASONS)}
    summary = (
        f"{counts['succeeded']:,} of {counts['expected']:,} expected executions succeeded"
        f" for {written.rows.num_rows:,} schedulers"
    )
    return [partition_result(EXECUTION_HEALTH, written, counts, summary)]


def compute_equipment_health(
    lake: Lake, days: Sequence[date], registry: EquipmentRegistry, rule: EventRule, now: datetime
) -> pa.Table:
    """Build the rows of the range from the first to the last day, which the rule computes together."""
    first, last = min(days), max(days)
    fragments = lake.scan(
        ANOMALY_FRAGMENTS,
        first - timedelta(NEEDS_DAYS_BEFORE),
        last + timedelta(1 + NEEDS_DAYS_AFTER),
    )
    schedulers = lake.scan(
        EXECUTION_HEALTH,
        first,
        last + timedelta(1),
        columns=["scheduler_arn", "scheduler_name", PARTITION],
    )
    expected: dict[date, dict[str, str | None]] = {}
    for row in schedulers.to_pylist():
        expected.setdefault(row[PARTITION], {})[row["scheduler_arn"]] = row["scheduler_name"]
    day_range = [first + timedelta(number) for number in range((last - first).days + 1)]
    return build_equipment_health(day_range, fragments, expected, registry, rule, now)


def record_equipment_health(
    lake: Lake, all_rows: pa.Table, clock: Clock, key: str, *, only_changed: bool = False
) -> list[PartitionResult]:
    """Record the rows of a day among those that `compute_equipment_health` built.

    Args:
        lake: the lake.
        all_rows: the rows of several days.
        clock: returns the current time.
        key: the day.
        only_changed: return no result if the rows of the day are as before.
    """
    day = date.fromisoformat(key)
    rows = all_rows.filter(pc.equal(all_rows[PARTITION], day)).drop_columns([PARTITION])
    written = lake.update(
        EQUIPMENT_HEALTH, day, lambda existing: stamp_changes(EQUIPMENT_HEALTH, rows, existing, clock())
    )
    if only_changed and not written.changed:
        return []
    metadata, summary = summarize_running_time(written.rows)
    return [partition_result(EQUIPMENT_HEALTH, written, metadata, summary)]


def summarize_running_time(rows: pa.Table) -> tuple[dict[str, float], str]:
    """Return the sums over the machines of a day, and a log line; only what is known has a sum."""
    names = ("running_minutes", "off_minutes", "unknown_minutes", "anomalous_minutes", "events")
    sums = {name: round(pc.sum(rows[name]).as_py() or 0, 1) for name in names}
    unknown = f"{sums['unknown_minutes'] / 60:,.1f} h unknown"
    if not sums["running_minutes"] + sums["off_minutes"]:
        return {"unknown_minutes": sums["unknown_minutes"]}, f"{rows.num_rows:,} machines, {unknown}"
    summary = f"{rows.num_rows:,} machines, {sums['running_minutes'] / 60:,.1f} h running, {unknown}"
    if sums["running_minutes"]:
        summary += f", {sums['anomalous_minutes']:,.0f} minutes anomalous, {sums['events']:,.0f} new events"
    return sums, summary
