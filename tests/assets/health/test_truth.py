"""Events and health of generated fleets with planted anomalies, compared with slow references."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa
import pytest

from assets.anomalies.events import EventRule, join_events
from assets.anomalies.fragments import build_fragments
from assets.executions.coverage import compute_settle_time
from assets.framework.row_content import compute_content_version
from assets.health.equipment_health import build_equipment_health
from assets.health.execution_health import (
    RESULT_COLUMNS,
    DayTables,
    HealthPolicy,
    SchedulerHistory,
    build_execution_health,
)
from assets.health.slots import REASONS, STOPPED_FOR, STOPPED_SLOTS
from assets.tables import (
    ANOMALY_EVENTS,
    EXTRACTION_COVERAGE,
    PARTITION,
    RESULT_OBJECTS,
)
from resources.lake.shards import list_shards, select_shard
from tests.support.event_reference import build_events, build_points, normalize_event
from tests.support.health_reference import build_health_rows
from tests.support.report_world import (
    DAYS,
    END,
    NOW,
    REGISTRY,
    START,
    FleetRecords,
    build_contributions_table,
    build_executions_table,
    build_fleet_records,
    build_predictions_table,
    build_schedulers_table,
    select_days,
)

DAY = timedelta(days=1)
SETTLE_AFTER = timedelta(hours=3)
RULE = EventRule(min_duration=timedelta(minutes=5))

every_seed = pytest.mark.parametrize(
    "seed",
    [
        1,
        pytest.param(2, marks=pytest.mark.slow),
        *(pytest.param(seed, marks=pytest.mark.long) for seed in (3, 4, 5)),
    ],
)


def build_day_fragments(
    fleet: FleetRecords, days: Sequence[date], without: frozenset[int] = frozenset()
) -> pa.Table:
    """Build the fragments of some days; `without` are the numbers of lines to leave out."""
    predictions = [row for number, row in enumerate(fleet.predictions) if number not in without]
    return build_fragments(
        build_predictions_table(select_days(predictions, days)),
        [build_contributions_table(select_days(fleet.contributions, days))],
    )


def join_normalized_events(fragments: pa.Table) -> list[dict[str, Any]]:
    rows = join_events(fragments, RULE, ANOMALY_EVENTS.schema.empty_table(), NOW).to_pylist()
    return sorted(map(normalize_event, rows), key=lambda row: (row["scheduler_arn"], row["start_time"]))


def approximate(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]


@every_seed
def test_events_equal_those_of_the_reference(seed: int) -> None:
    fleet = build_fleet_records(seed)

    events = join_normalized_events(build_day_fragments(fleet, DAYS))

    expected = build_events(
        build_points(fleet.predictions, fleet.contributions), min_duration=RULE.min_duration
    )
    assert events == approximate(expected)
    assert {event["state"] for event in events} >= {"closed"}
    assert len(events) > 20


@every_seed
def test_events_do_not_depend_on_the_order_of_days_and_late_lines(seed: int) -> None:
    fleet, luck = build_fleet_records(seed), random.Random(seed)  # noqa: S311 (drawn, not encrypted)
    late = frozenset(luck.sample(range(len(fleet.predictions)), len(fleet.predictions) // 5))
    lake: dict[date, pa.Table] = {}
    for day in luck.sample(DAYS, len(DAYS)):
        lake[day] = build_day_fragments(fleet, [day], late)
    before = join_events(pa.concat_tables(lake.values()), RULE, ANOMALY_EVENTS.schema.empty_table(), NOW)
    for day in luck.sample(DAYS, len(DAYS)):
        lake[day] = build_day_fragments(fleet, [day])

    after = join_events(pa.concat_tables(lake.values()), RULE, before, NOW)

    one_pass = join_events(build_day_fragments(fleet, DAYS), RULE, ANOMALY_EVENTS.schema.empty_table(), NOW)
    assert compute_content_version(ANOMALY_EVENTS, after) == compute_content_version(ANOMALY_EVENTS, one_pass)
    assert compute_content_version(ANOMALY_EVENTS, before) != compute_content_version(
        ANOMALY_EVENTS, one_pass
    )


# --- The health of equipment ------------------------------------------------------------------------------


def compute_health(fragments: pa.Table, days: Sequence[date] = DAYS) -> list[dict[str, Any]]:
    rows = build_equipment_health(days, fragments, {}, REGISTRY, RULE, NOW).to_pylist()
    for row in rows:
        row["top_sensors"] = json.loads(row["top_sensors"]) if row["top_sensors"] else None
        equipment = REGISTRY.find_equipment(row["scheduler_arns"].split(",")[0])
        assert (row.pop("site"), row.pop("criticality")) == (equipment.site, equipment.criticality)
    return rows


@every_seed
def test_equipment_health_equals_the_reference(seed: int) -> None:
    fleet = build_fleet_records(seed)

    rows = compute_health(build_day_fragments(fleet, DAYS))

    expected = list(build_health_rows(fleet.predictions, fleet.contributions, REGISTRY, DAYS, RULE))
    assert len(rows) == len(expected)
    for row, reference in zip(rows, expected, strict=True):
        assert row == approximate([reference])[0]


@every_seed
def test_equipment_health_of_a_day_is_the_same_alone_and_in_a_range(seed: int) -> None:
    fragments = build_day_fragments(build_fleet_records(seed), DAYS)
    together = compute_health(fragments)

    for day in DAYS:
        assert compute_health(fragments, [day]) == [row for row in together if row[PARTITION] == day]


def test_missing_data_is_neither_running_nor_healthy() -> None:
    arn = next(
        scheduler.arn for scheduler in build_fleet_records(1).fleet.schedulers if scheduler.name == "pump-2"
    )
    fragments = build_day_fragments(build_fleet_records(1), [])

    expected = {DAYS[0]: {arn: "pump-2"}}
    table = build_equipment_health([DAYS[0]], fragments, expected, REGISTRY, RULE, NOW)

    (row,) = table.to_pylist()
    assert (row["equipment"], row["unknown_minutes"], row["running_minutes"]) == (arn, 1440, 0)
    assert row["anomalous_share"] is row["anomalous_share_28d"] is row["events_per_day_28d"] is None


def test_the_rest_of_today_is_not_unknown_time() -> None:
    now = START + timedelta(hours=36)
    past = [row for row in build_fleet_records(1).predictions if row["timestamp"] < now]
    fragments = build_fragments(build_predictions_table(past), [build_contributions_table([])])

    rows = build_equipment_health([DAYS[1]], fragments, {}, REGISTRY, RULE, now).to_pylist()

    assert rows
    for row in rows:
        assert row["running_minutes"] + row["off_minutes"] + row["unknown_minutes"] == 720


# --- The health of executions -----------------------------------------------------------------------------


def build_coverage(fleet: FleetRecords, day: date, complete_through: datetime | None) -> pa.Table:
    """Build the coverage of a day for all schedulers that existed then."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        {
            "scheduler_arn": scheduler.arn,
            "scheduler_name": scheduler.name,
            "complete_through": complete_through,
            "executions": 1,
            "in_progress": 0,
            "failed": 0,
            "sources": "api",
            "recorded_at": NOW,
        }
        for scheduler in fleet.fleet.schedulers
        if scheduler.created_at < midnight + DAY
        and (scheduler.deleted_at is None or scheduler.deleted_at > midnight)
    ]
    return pa.Table.from_pylist(rows, schema=EXTRACTION_COVERAGE.schema)


def build_day_tables(
    fleet: FleetRecords, day: date, complete_through: datetime | None, coverage: pa.Table | None = None
) -> DayTables:
    """Build the tables of a day; results arrive as many minutes late as the scheduler's name has letters."""
    executions = select_days(fleet.executions, [day])
    results = [
        {
            "scheduler_arn": row["scheduler_arn"],
            "data_start_time": row["data_start_time"],
            "last_modified": row["data_end_time"] + timedelta(minutes=len(row["scheduler_name"])),
        }
        for row in executions
        if row["status"] == "SUCCESS"
    ]
    result_schema = pa.schema([RESULT_OBJECTS.schema.field(name) for name in RESULT_COLUMNS])
    return DayTables(
        build_executions_table(executions),
        build_coverage(fleet, day, complete_through) if coverage is None else coverage,
        SchedulerHistory(build_schedulers_table(fleet.executions)),
        pa.Table.from_pylist(results, schema=result_schema),
    )


def list_windows(executions: Sequence[Mapping[str, Any]], day: date) -> Iterator[tuple[datetime, datetime]]:
    """Yield the windows that a scheduler's settings imply for a day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    changes: list[tuple[datetime, timedelta, timedelta]] = []
    for row in executions:
        length = row["data_end_time"] - row["data_start_time"]
        delay = row["scheduled_start_time"] - row["data_end_time"]
        if not changes or changes[-1][1:] != (length, delay):
            changes.append((row["data_start_time"], length, delay))
    for number, (since, length, _) in enumerate(changes):
        until = changes[number + 1][0] if number + 1 < len(changes) else NOW
        at = since
        while at + length <= until and at < midnight + DAY:
            if at >= midnight:
                yield at, at + length
            at += length


def count_expected_reasons(fleet: FleetRecords, arn: str, day: date) -> Counter[str]:
    """Count the slots of a day by reason, with every absence proven."""
    executions = sorted(
        (row for row in fleet.executions if row["scheduler_arn"] == arn),
        key=lambda row: row["data_start_time"],
    )
    recorded = {row["data_start_time"]: row for row in executions if row["data_start_time"].date() == day}
    slots = {start: (end, recorded.get(start)) for start, end in list_windows(executions, day)}
    slots |= {start: (row["data_end_time"], row) for start, row in recorded.items()}
    counts: Counter[str] = Counter()
    for is_absent, group in groupby(sorted(slots.items()), key=lambda slot: slot[1][1] is None):
        adjacent = list(group)
        if is_absent:
            duration = adjacent[-1][1][0] - adjacent[0][0]
            is_stop = len(adjacent) >= STOPPED_SLOTS and duration >= STOPPED_FOR
            counts["not_running" if is_stop else "missing"] += len(adjacent)
            continue
        for _, (_, row) in adjacent:
            assert row is not None
            reasons = {"SUCCESS": "succeeded", "IN_PROGRESS": "stuck"}
            counts[reasons.get(row["status"], "failed_missing_input")] += 1
    return counts


@every_seed
def test_execution_health_equals_the_reference(seed: int) -> None:
    fleet = build_fleet_records(seed)
    policy = HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True)
    seen_reasons: Counter[str] = Counter()
    for day in DAYS:
        tables = build_day_tables(fleet, day, compute_settle_time(day, SETTLE_AFTER))
        rows = build_execution_health(day, tables, policy).to_pylist()
        covered_arns = build_coverage(fleet, day, None)["scheduler_arn"].to_pylist()
        assert {row["scheduler_arn"] for row in rows} == set(covered_arns)
        for row in rows:
            expected = count_expected_reasons(fleet, row["scheduler_arn"], day)
            assert {reason: row[reason] for reason in REASONS if row[reason]} == dict(expected)
            assert row["expected"] == expected.total()
            outcomes = row["succeeded"] + row["failed_missing_input"] + row["failed_other"]
            running = row["expected"] - row["not_running"]
            assert row["coverage_ratio"] == (pytest.approx(outcomes / running) if running else None)
            if row["succeeded"]:
                lateness = len(row["scheduler_name"])
                assert row["lateness_median_minutes"] == row["lateness_max_minutes"] == lateness
            causes = json.loads(row["failures_by_cause"] or "[]")
            assert sum(cause["count"] for cause in causes) == outcomes - row["succeeded"]
            seen_reasons += expected
    assert set(seen_reasons) == {"succeeded", "failed_missing_input", "not_running", "missing", "stuck"}


@pytest.mark.parametrize("is_live", [False, True])
def test_without_coverage_no_absence_is_proven(is_live: bool) -> None:
    fleet = build_fleet_records(1)
    turbine = next(scheduler.arn for scheduler in fleet.fleet.schedulers if scheduler.name == "turbine-1")
    policy = HealthPolicy(SETTLE_AFTER, NOW, None, is_live)
    for day in DAYS:
        tables = build_day_tables(fleet, day, None, EXTRACTION_COVERAGE.schema.empty_table())
        rows = build_execution_health(day, tables, policy).to_pylist()
        assert not any(row["missing"] or row["not_running"] or row["stuck"] for row in rows)
        (row,) = [row for row in rows if row["scheduler_arn"] == turbine]
        expected = count_expected_reasons(fleet, turbine, day)
        assert row["unknown"] == expected["missing"] + expected["not_running"]


def test_a_day_that_was_not_extracted_is_so_while_the_service_can_be_queried() -> None:
    fleet = build_fleet_records(1)
    day = DAYS[-1] + DAY
    pump = next(scheduler for scheduler in fleet.fleet.schedulers if scheduler.name == "pump-2")
    listed = [row | {"status": "RUNNING"} for row in build_schedulers_table(fleet.executions).to_pylist()]
    tables = replace(
        build_day_tables(fleet, day, None, EXTRACTION_COVERAGE.schema.empty_table()),
        schedulers=SchedulerHistory(pa.Table.from_pylist(listed, schema=build_schedulers_table([]).schema)),
    )
    policy = HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True)

    rows = build_execution_health(day, tables, policy).to_pylist()

    (row,) = [row for row in rows if row["scheduler_arn"] == pump.arn]
    due = sum(slot.scheduled <= NOW for slot in pump.slots(END, NOW))
    assert row["expected"] == row["not_extracted"] == due


def test_nothing_is_expected_of_a_scheduler_that_its_service_no_longer_lists() -> None:
    fleet = build_fleet_records(1)
    deleted = next(scheduler for scheduler in fleet.fleet.schedulers if scheduler.name == "fan-1")
    assert deleted.deleted_at is not None
    day = min(deleted.deleted_at.date() + DAY, DAYS[-1])
    tables = build_day_tables(fleet, day, compute_settle_time(day, SETTLE_AFTER))
    policy = HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True)

    rows = build_execution_health(day, tables, policy)

    assert deleted.arn not in rows["scheduler_arn"].to_pylist()


@pytest.mark.parametrize("count", [2, 7])
def test_the_shards_of_a_day_have_the_rows_of_the_day(count: int) -> None:
    tables = build_day_tables(build_fleet_records(1), DAYS[0], compute_settle_time(DAYS[0], SETTLE_AFTER))
    policy = HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True)

    parts = [
        build_execution_health(
            DAYS[0],
            replace(
                tables,
                executions=select_shard(tables.executions, shard),
                results=select_shard(tables.results, shard),
                shard=shard,
            ),
            policy,
        )
        for shard in list_shards(count)
    ]

    assert sum(part.num_rows > 0 for part in parts) > 1
    joined = pa.concat_tables(parts).sort_by("scheduler_arn")
    assert joined.equals(build_execution_health(DAYS[0], tables, policy))
