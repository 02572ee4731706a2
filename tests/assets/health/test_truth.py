"""Events and health of a fleet with planted anomalies, held against plain Python, for several seeds."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from assets.health.execution_health import DayTables, HealthPolicy, build_execution_health
from assets.health.slots import REASONS
from assets.tables import (
    ANOMALY_EVENTS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    PARTITION,
    RESULT_OBJECTS,
)
from tests.support import health_reference
from tests.support.event_reference import comparable
from tests.support.event_reference import events as events_in_plain_python
from tests.support.event_reference import points as points_in_plain_python
from tests.support.report_world import (
    DAYS,
    END,
    NOW,
    REGISTRY,
    START,
    World,
    contributions_table,
    executions_table,
    of_days,
    predictions_table,
    schedulers_table,
    world,
)

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
SETTLE_AFTER = timedelta(hours=3)
RULE = EventRule(min_duration=timedelta(minutes=5))

every_seed = pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))]
)


def made_of(of: World, days: Sequence[date], less: frozenset[int] = frozenset()) -> pa.Table:
    """Fragments of some days; `less` are lines that have not come yet, by number."""
    there = [row for number, row in enumerate(of.predictions) if number not in less]
    return build_fragments(
        predictions_table(of_days(there, days)), contributions_table(of_days(of.contributions, days))
    )


def event_notifications(made: pa.Table) -> list[dict[str, Any]]:
    rows = join_events(made, RULE, ANOMALY_EVENTS.schema.empty_table(), NOW).to_pylist()
    return sorted(map(comparable, rows), key=lambda row: (row["scheduler_arn"], row["start_time"]))


def approximately(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]


@every_seed
def test_events_are_those_of_plain_python_and_of_the_planted_anomalies(seed: int) -> None:
    of = world(seed)

    told = event_notifications(made_of(of, DAYS))

    expected = events_in_plain_python(
        points_in_plain_python(of.predictions, of.contributions), least=RULE.min_duration
    )
    assert told == approximately(expected)
    assert {one["state"] for one in told} >= {"closed"}
    assert len(told) > 20


@every_seed
def test_days_in_any_order_and_late_rows_change_no_event(seed: int) -> None:
    of, luck = world(seed), random.Random(seed)  # noqa: S311 (drawn, not encrypted)
    late = frozenset(luck.sample(range(len(of.predictions)), len(of.predictions) // 5))
    lake: dict[date, pa.Table] = {}
    for day in luck.sample(DAYS, len(DAYS)):
        lake[day] = made_of(of, [day], late)
    before = join_events(pa.concat_tables(lake.values()), RULE, ANOMALY_EVENTS.schema.empty_table(), NOW)
    for day in luck.sample(DAYS, len(DAYS)):
        lake[day] = made_of(of, [day])

    after = join_events(pa.concat_tables(lake.values()), RULE, before, NOW)

    once = join_events(made_of(of, DAYS), RULE, ANOMALY_EVENTS.schema.empty_table(), NOW)
    assert compute_content_version(ANOMALY_EVENTS, after) == compute_content_version(ANOMALY_EVENTS, once)
    assert compute_content_version(ANOMALY_EVENTS, before) != compute_content_version(ANOMALY_EVENTS, once)


# --- The health of equipment ------------------------------------------------------------------------------


def told_health(made: pa.Table, days: Sequence[date] = DAYS) -> list[dict[str, Any]]:
    rows = build_equipment_health(days, made, {}, REGISTRY, RULE, NOW).to_pylist()
    for row in rows:
        row["top_sensors"] = json.loads(row["top_sensors"]) if row["top_sensors"] else None
        equipment = REGISTRY.find_equipment(row["scheduler_arns"].split(",")[0])
        assert (row.pop("site"), row.pop("criticality")) == (equipment.site, equipment.criticality)
    return rows


@every_seed
def test_the_health_of_equipment_is_that_of_plain_python(seed: int) -> None:
    of = world(seed)

    told = told_health(made_of(of, DAYS))

    expected = list(health_reference.health(of.predictions, of.contributions, REGISTRY, DAYS, RULE))
    assert len(told) == len(expected)
    for one, other in zip(told, expected, strict=True):
        assert one == approximately([other])[0]


@every_seed
def test_the_health_of_a_day_is_the_same_alone_and_in_a_range(seed: int) -> None:
    made = made_of(world(seed), DAYS)
    together = told_health(made)

    for day in DAYS:
        assert told_health(made, [day]) == [row for row in together if row[PARTITION] == day]


def test_missing_data_is_neither_running_nor_healthy() -> None:
    arn = next(one.arn for one in world(1).fleet.schedulers if one.name == "pump-2")
    nothing = made_of(world(1), [])

    (row,) = build_equipment_health(
        [DAYS[0]], nothing, {DAYS[0]: {arn: "pump-2"}}, REGISTRY, RULE, NOW
    ).to_pylist()

    assert (row["equipment"], row["unknown_minutes"], row["running_minutes"]) == (arn, 1440, 0)
    assert row["anomalous_share"] is row["anomalous_share_28d"] is row["events_per_day_28d"] is None


def test_of_today_only_what_has_passed_is_unknown() -> None:
    of = world(1)
    now = START + timedelta(hours=36)
    there = [row for row in of.predictions if row["timestamp"] < now]
    made = build_fragments(predictions_table(there), contributions_table([]))

    rows = build_equipment_health([DAYS[1]], made, {}, REGISTRY, RULE, now).to_pylist()

    assert rows
    for row in rows:
        assert row["running_minutes"] + row["off_minutes"] + row["unknown_minutes"] == 720


# --- The health of executions -----------------------------------------------------------------------------


def covered(of: World, day: date, through: datetime | None) -> pa.Table:
    """Coverage of a day on which the service was asked for all that it listed then."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        {
            "scheduler_arn": one.arn,
            "scheduler_name": one.name,
            "complete_through": through,
            "executions": 1,
            "in_progress": 0,
            "failed": 0,
            "sources": "api",
            "recorded_at": NOW,
        }
        for one in of.fleet.schedulers
        if one.created_at < midnight + DAY and (one.deleted_at is None or one.deleted_at > midnight)
    ]
    return pa.Table.from_pylist(rows, schema=EXTRACTION_COVERAGE.schema)


def recorded(of: World, day: date, through: datetime | None, coverage: pa.Table | None = None) -> DayTables:
    results = [
        {
            "scheduler_arn": row["scheduler_arn"],
            "data_start_time": row["data_start_time"],
            "last_modified": row["data_end_time"] + timedelta(minutes=len(row["scheduler_name"])),
        }
        for row in of_days(of.executions, [day])
        if row["status"] == "SUCCESS"
    ]
    columns = ["scheduler_arn", "data_start_time", "last_modified"]
    return DayTables(
        executions_table(of_days(of.executions, [day])),
        covered(of, day, through) if coverage is None else coverage,
        schedulers_table(of.executions),
        pa.Table.from_pylist(
            results, schema=pa.schema([RESULT_OBJECTS.schema.field(one) for one in columns])
        ),
    )


def grid(mine: Sequence[Mapping[str, Any]], day: date) -> Iterator[tuple[datetime, datetime]]:
    """The windows that a scheduler's settings let one expect of a day, step by step."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    changes: list[tuple[datetime, timedelta, timedelta]] = []
    for row in mine:
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


def expected_reasons(of: World, arn: str, day: date) -> Counter[str]:
    """Counts by reason, everything proven."""
    mine = sorted(
        (row for row in of.executions if row["scheduler_arn"] == arn), key=lambda row: row["data_start_time"]
    )
    there = {row["data_start_time"]: row for row in mine if row["data_start_time"].date() == day}
    slots = {start: (end, there.get(start)) for start, end in grid(mine, day)}
    slots |= {start: (row["data_end_time"], row) for start, row in there.items()}
    counts: Counter[str] = Counter()
    ordered = sorted(slots.items())
    for is_absent, group in groupby(ordered, key=lambda slot: slot[1][1] is None):
        stretch = list(group)
        if is_absent:
            long = len(stretch) >= 3 and stretch[-1][1][0] - stretch[0][0] >= HOUR
            counts["not_running" if long else "missing"] += len(stretch)
            continue
        for _, (_, row) in stretch:
            assert row is not None
            reason = {"SUCCESS": "succeeded", "IN_PROGRESS": "stuck"}.get(
                row["status"], "failed_missing_input"
            )
            counts[reason] += 1
    return counts


@every_seed
def test_the_health_of_executions_is_that_of_plain_python(seed: int) -> None:
    of = world(seed)
    terms = HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True)
    seen_reasons: Counter[str] = Counter()
    for day in DAYS:
        rows = build_execution_health(
            day,
            recorded(of, day, compute_settle_time(day, SETTLE_AFTER)),
            terms,
            EXECUTION_HEALTH.schema.empty_table(),
        ).to_pylist()
        assert {row["scheduler_arn"] for row in rows} == set(
            covered(of, day, None)["scheduler_arn"].to_pylist()
        )
        for row in rows:
            expected = expected_reasons(of, row["scheduler_arn"], day)
            assert {reason: row[reason] for reason in REASONS if row[reason]} == dict(expected)
            assert row["expected"] == expected.total()
            outcomes = row["succeeded"] + row["failed_missing_input"] + row["failed_other"]
            asked = row["expected"] - row["not_running"]
            assert row["coverage_ratio"] == (pytest.approx(outcomes / asked) if asked else None)
            if row["succeeded"]:
                late = len(row["scheduler_name"])
                assert row["lateness_median_minutes"] == row["lateness_max_minutes"] == late
            causes = json.loads(row["failures_by_cause"] or "[]")
            assert sum(cause["count"] for cause in causes) == outcomes - row["succeeded"]
            seen_reasons += expected
    assert set(seen_reasons) == {"succeeded", "failed_missing_input", "not_running", "missing", "stuck"}


@pytest.mark.parametrize(("is_live", "reason"), [(False, "unknown"), (True, "unknown")])
def test_saved_responses_alone_prove_nothing(is_live: bool, reason: str) -> None:
    of = world(1)
    turbine = next(one.arn for one in of.fleet.schedulers if one.name == "turbine-1")
    for day in DAYS:
        coverage = EXTRACTION_COVERAGE.schema.empty_table()
        rows = build_execution_health(
            day,
            recorded(of, day, None, coverage),
            HealthPolicy(SETTLE_AFTER, NOW, None, is_live),
            EXECUTION_HEALTH.schema.empty_table(),
        ).to_pylist()
        assert not any(row["missing"] or row["not_running"] or row["stuck"] for row in rows)
        (one,) = [row for row in rows if row["scheduler_arn"] == turbine]
        expected = expected_reasons(of, turbine, day)
        assert one[reason] == expected["missing"] + expected["not_running"]


def test_a_day_that_was_not_asked_for_is_not_extracted_where_the_service_can_be_asked() -> None:
    of = world(1)
    day = DAYS[-1] + DAY
    pump = next(one for one in of.fleet.schedulers if one.name == "pump-2")
    listed = schedulers_table(of.executions).to_pylist()
    for row in listed:
        row["status"] = "RUNNING"
    there = recorded(of, day, None, EXTRACTION_COVERAGE.schema.empty_table())
    there = DayTables(
        there.executions,
        there.coverage,
        pa.Table.from_pylist(listed, schema=schedulers_table([]).schema),
        there.results,
    )

    rows = build_execution_health(
        day, there, HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True), EXECUTION_HEALTH.schema.empty_table()
    ).to_pylist()

    (one,) = [row for row in rows if row["scheduler_arn"] == pump.arn]
    assert (
        one["expected"] == one["not_extracted"] == sum(slot.scheduled <= NOW for slot in pump.slots(END, NOW))
    )


def test_a_scheduler_that_its_service_no_longer_lists_is_expected_nowhere() -> None:
    of = world(1)
    gone = next(one for one in of.fleet.schedulers if one.name == "fan-1")
    assert gone.deleted_at is not None
    day = gone.deleted_at.date() + DAY if gone.deleted_at.date() < DAYS[-1] else DAYS[-1]

    rows = build_execution_health(
        day,
        recorded(of, day, compute_settle_time(day, SETTLE_AFTER)),
        HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True),
        EXECUTION_HEALTH.schema.empty_table(),
    )

    assert gone.arn not in rows["scheduler_arn"].to_pylist()


def test_the_same_again_keeps_its_times_of_recording() -> None:
    of = world(1)
    terms = HealthPolicy(SETTLE_AFTER, NOW, None, is_live=True)
    there = recorded(of, DAYS[0], compute_settle_time(DAYS[0], SETTLE_AFTER))
    first = build_execution_health(DAYS[0], there, terms, EXECUTION_HEALTH.schema.empty_table())

    again = build_execution_health(
        DAYS[0], there, HealthPolicy(SETTLE_AFTER, NOW + DAY, None, is_live=True), first
    )

    assert again.equals(first)
    assert EQUIPMENT_HEALTH.key == ("equipment",)
