"""Events and health as Dagster makes them: from the sandbox's service and S3 to the tables of reports."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pyarrow.compute as pc
import pytest

from assets.anomalies.events import EventRule
from assets.health.equipment_health import NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE
from assets.health.slots import REASONS
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    INFERENCE_EXECUTIONS,
    PARTITION,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from pipelines.definitions import build_defs
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry
from resources.config.settings import ApiSettings, EquipmentSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.fleet import Fleet
from sandbox.service import Handle, run_sandbox
from tests.support import event_reference
from tests.support.code_location import DAYS, Location, use_s3_at
from tests.support.health_reference import build_health_rows

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
FULL = DAYS[1:3]
MADE = [
    dg.AssetKey(name)
    for name in (
        "inference_executions",
        "inference_schedulers",
        "anomaly_predictions",
        "anomaly_fragments",
        "anomaly_events",
        "execution_health",
        "equipment_health",
    )
]
REGISTRY = """
[[equipment]]
name = "Feed pump"
site = "Leeds"
criticality = "high"
schedulers = ["pump-1"]
"""


FEED_PUMP = EquipmentRegistry([EquipmentEntry(Equipment("Feed pump", "Leeds", "high"), ("pump-1",))])


@pytest.fixture(scope="module")
def service(small_fleet: Fleet) -> Iterator[Handle]:
    with run_sandbox(small_fleet, NOW) as handle:
        yield handle


@pytest.fixture
def location(
    service: Handle, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Location:
    """Two schedulers of one account and region; one of them watches a machine that the registry names."""
    use_s3_at(service.s3_url, monkeypatch)
    (tmp_path / "equipment.toml").write_text(REGISTRY)
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        equipment=EquipmentSettings(registry=str(tmp_path / "equipment.toml")),
        sources=(
            ApiSettings(region="eu-west-1", endpoint_url=service.url, schedulers=("pump-1", "turbine-2")),
        ),
    )
    return Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(settings.lake.uri))


@pytest.fixture
def s3(location: Location) -> Iterator[Any]:  # noqa: ARG001 (its environment)
    client = boto3.Session().client("s3", region_name="eu-west-1")
    yield client
    client.close()


def rows_of(lake: Lake, table: Table) -> list[dict[str, Any]]:
    return [row | {PARTITION: day} for day in lake.days(table) for row in lake.read(table, day).to_pylist()]


def test_one_run_makes_events_and_health_and_the_same_again_changes_nothing(location: Location) -> None:
    assert location.run(assets=MADE).success

    lake = location.lake
    told = lake.read(ANOMALY_EVENTS).to_pylist()
    points = event_reference.build_points(rows_of(lake, ANOMALY_PREDICTIONS), shares_of_anomalies(lake))
    expected = event_reference.build_events(points)
    assert sorted(
        (one["scheduler_arn"], one["start_time"], one["end_time"], one["state"]) for one in told
    ) == [(one["scheduler_arn"], one["start_time"], one["end_time"], one["state"]) for one in expected]
    assert told
    for day in FULL:
        executions = lake.read(EXECUTION_HEALTH, day).to_pylist()
        assert {one["scheduler_name"] for one in executions} == {"pump-1", "turbine-2"}
        assert all(one["unknown"] == one["not_extracted"] == 0 for one in executions)
        assert all(one["lateness_median_minutes"] is not None for one in executions)
        statuses = Counter(
            (row["scheduler_arn"], row["status"])
            for row in lake.read(INFERENCE_EXECUTIONS, day, ["scheduler_arn", "status"]).to_pylist()
        )
        for one in executions:
            arn, failed = one["scheduler_arn"], one["failed_missing_input"] + one["failed_other"]
            assert one["expected"] == sum(one[reason] for reason in REASONS)
            assert (one["succeeded"], failed, one["in_progress"] + one["stuck"]) == tuple(
                statuses[arn, status] for status in ("SUCCESS", "FAILED", "IN_PROGRESS")
            )
        equipment = lake.read(EQUIPMENT_HEALTH, day).to_pylist()
        assert {(one["equipment"], one["site"], one["criticality"]) for one in equipment} >= {
            ("Feed pump", "Leeds", "high")
        }
        for one in equipment:
            assert one["running_minutes"] + one["off_minutes"] + one["unknown_minutes"] == 1440

    before = lake.read(ANOMALY_EVENTS)
    again = location.run(assets=MADE[3:])

    assert again.success
    assert lake.read(ANOMALY_EVENTS).equals(before)
    for asset in ("anomaly_fragments", "execution_health", "equipment_health"):
        for made in location.get_materializations(again, asset).values():
            assert made.metadata["ledger/changed"].value is False


@pytest.mark.slow
def test_late_results_and_days_in_any_order_end_with_what_plain_python_gives(
    location: Location, s3: Any
) -> None:
    luck, lake = random.Random(7), location.lake  # noqa: S311 (drawn, not encrypted)
    assert location.run(assets=MADE[:2]).success
    late = withheld(s3, lake, luck)
    assert location.run(assets=MADE[2:3]).success
    for some in luck.sample([DAYS[:2], DAYS[2:]], 2):
        assert location.run(some[0], some[-1], assets=MADE[3:4]).success
    assert location.run(assets=MADE[4:]).success
    before = rows_of(lake, EQUIPMENT_HEALTH)

    for (bucket, key), body in late.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    for day in luck.sample(FULL, len(FULL)):
        assert location.run(day, day, assets=MADE[2:4]).success
    assert location.run(assets=MADE[4:5]).success
    for day in luck.sample(FULL, len(FULL)):
        assert location.run(day, day, assets=MADE[6:]).success

    predictions = rows_of(lake, ANOMALY_PREDICTIONS)
    shares = shares_of_anomalies(lake)
    points = event_reference.build_points(predictions, shares)
    told = map(event_reference.normalize_event, lake.read(ANOMALY_EVENTS).to_pylist())
    assert sorted(told, key=lambda one: (one["scheduler_arn"], one["start_time"])) == [
        approximately(one) for one in event_reference.build_events(points)
    ]
    after = rows_of(lake, EQUIPMENT_HEALTH)
    assert after != before
    assert [as_told(row) for row in after if row[PARTITION] in FULL] == [
        approximately(row) for row in build_health_rows(predictions, shares, FEED_PUMP, FULL, EventRule())
    ]


def shares_of_anomalies(lake: Lake) -> list[dict[str, Any]]:
    """The contributions that figures are made of: those of anomalous lines, a small part of all."""
    key = ["scheduler_arn", "data_start_time", "timestamp"]
    found = []
    for day in lake.days(SENSOR_CONTRIBUTIONS):
        lines = lake.read(ANOMALY_PREDICTIONS, day, [*key, "prediction"])
        anomalous = lines.filter(pc.equal(lines["prediction"], 1)).select(key)
        shares = lake.read(SENSOR_CONTRIBUTIONS, day, [*key, "diagnostic_name", "contribution"])
        found += shares.join(anomalous, key, join_type="left semi").to_pylist()
    return found


def withheld(s3: Any, lake: Lake, luck: random.Random) -> dict[tuple[str, str], bytes]:
    """Take a tenth of the result objects away, as if they had not come yet."""
    named = [
        (row["result_s3_bucket"], row["result_s3_key"])
        for row in rows_of(lake, INFERENCE_EXECUTIONS)
        if row["status"] == "SUCCESS"
    ]
    taken = {}
    for bucket, key in luck.sample(named, len(named) // 10):
        taken[bucket, key] = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.delete_object(Bucket=bucket, Key=key)
    return taken


def as_told(row: dict[str, Any]) -> dict[str, Any]:
    less = {name: value for name, value in row.items() if name not in ("site", "criticality", "recorded_at")}
    return less | {"top_sensors": json.loads(row["top_sensors"]) if row["top_sensors"] else None}


def approximately(row: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}


def test_a_registry_with_a_mistake_fails_with_its_mend(location: Location, tmp_path: Path) -> None:
    (tmp_path / "equipment.toml").write_text(REGISTRY.replace("high", "hihg"))

    result = location.run(assets=MADE[6:])

    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data is not None
    assert 'did you mean "high"?' in str(failed.step_failure_data.user_failure_data.description)


def test_a_day_that_changes_asks_for_the_days_that_are_compared_with_it_and_no_others(
    location: Location,
) -> None:
    def changed(day: date, version: str) -> dg.AssetMaterialization:
        return dg.AssetMaterialization(
            "anomaly_fragments",
            partition=day.isoformat(),
            tags={"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"},
        )

    settings = Settings(
        lake=LakeSettings(uri=location.lake.uri),
        history=HistorySettings(start_date=date(2026, 8, 1), end_date=date(2026, 10, 9)),
    )
    definitions = build_defs({"clock": lambda: NOW}, settings=settings)
    changes = [date(2026, 8, 10), date(2026, 10, 7)]
    for day in changes:
        location.instance.report_runless_asset_event(changed(day, "1"))
    selection = dg.AssetSelection.assets("equipment_health", "anomaly_events")
    first = dg.evaluate_automation_conditions(definitions, location.instance, selection, evaluation_time=NOW)
    for day in changes:
        location.instance.report_runless_asset_event(changed(day, "2"))

    then = dg.evaluate_automation_conditions(
        definitions, location.instance, selection, cursor=first.cursor, evaluation_time=NOW
    )

    asked = then.get_requested_partitions(dg.AssetKey("equipment_health"))
    expected = {
        (day + timedelta(days=number)).isoformat()
        for day in changes
        for number in range(-NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE + 1)
        if day + timedelta(days=number) < date(2026, 10, 9)
    }
    assert asked == expected
    assert then.get_num_requested(dg.AssetKey("anomaly_events")) == 1
