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
from dagster._core.execution.asset_backfill import AssetBackfillData

from assets.anomalies.events import EventRule
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
ASSETS = [
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
    """Two schedulers of one account and region, in days with shards. The registry names one machine."""
    use_s3_at(service.s3_url, monkeypatch)
    (tmp_path / "equipment.toml").write_text(REGISTRY)
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake"), shards=4),
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


def read_all_rows(lake: Lake, table: Table) -> list[dict[str, Any]]:
    return [row | {PARTITION: day} for day in lake.days(table) for row in lake.read(table, day).to_pylist()]


def test_a_second_run_does_not_change_events_and_health(location: Location) -> None:
    assert location.run(assets=ASSETS).success

    lake = location.lake
    for table in (INFERENCE_EXECUTIONS, ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS):
        assert [lake.shards(table, day) for day in DAYS] == [4] * len(DAYS), table.name
    events = lake.read(ANOMALY_EVENTS).to_pylist()
    points = event_reference.build_points(
        read_all_rows(lake, ANOMALY_PREDICTIONS), read_contributions_of_anomalies(lake)
    )
    expected = event_reference.build_events(points)
    assert sorted(
        (event["scheduler_arn"], event["start_time"], event["end_time"], event["state"]) for event in events
    ) == [
        (event["scheduler_arn"], event["start_time"], event["end_time"], event["state"]) for event in expected
    ]
    assert events
    for day in FULL:
        executions = lake.read(EXECUTION_HEALTH, day).to_pylist()
        assert {row["scheduler_name"] for row in executions} == {"pump-1", "turbine-2"}
        assert all(row["unknown"] == row["not_extracted"] == 0 for row in executions)
        assert all(row["lateness_median_minutes"] is not None for row in executions)
        statuses = Counter(
            (row["scheduler_arn"], row["status"])
            for row in lake.read(INFERENCE_EXECUTIONS, day, ["scheduler_arn", "status"]).to_pylist()
        )
        for row in executions:
            arn, failed = row["scheduler_arn"], row["failed_missing_input"] + row["failed_other"]
            assert row["expected"] == sum(row[reason] for reason in REASONS)
            assert (row["succeeded"], failed, row["in_progress"] + row["stuck"]) == tuple(
                statuses[arn, status] for status in ("SUCCESS", "FAILED", "IN_PROGRESS")
            )
        equipment = lake.read(EQUIPMENT_HEALTH, day).to_pylist()
        assert {(row["equipment"], row["site"], row["criticality"]) for row in equipment} >= {
            ("Feed pump", "Leeds", "high")
        }
        for row in equipment:
            assert row["running_minutes"] + row["off_minutes"] + row["unknown_minutes"] == 1440

    before = lake.read(ANOMALY_EVENTS)
    again = location.run(assets=ASSETS[3:])

    assert again.success
    assert lake.read(ANOMALY_EVENTS).equals(before)
    for asset in ("anomaly_fragments", "execution_health", "equipment_health"):
        for materialization in location.get_materializations(again, asset).values():
            assert materialization.metadata["ledger/changed"].value is False


@pytest.mark.slow
def test_late_results_and_any_order_of_days_give_the_result_of_the_reference(
    location: Location, s3: Any
) -> None:
    rng, lake = random.Random(7), location.lake  # noqa: S311 (not for cryptography)
    assert location.run(assets=ASSETS[:2]).success
    late = withhold_objects(s3, lake, rng)
    assert location.run(assets=ASSETS[2:3]).success
    for days in rng.sample([DAYS[:2], DAYS[2:]], 2):
        assert location.run(days[0], days[-1], assets=ASSETS[3:4]).success
    assert location.run(assets=ASSETS[4:]).success
    before = read_all_rows(lake, EQUIPMENT_HEALTH)

    for (bucket, key), body in late.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    for day in rng.sample(FULL, len(FULL)):
        assert location.run(day, day, assets=ASSETS[2:4]).success
    assert location.run(assets=ASSETS[4:5]).success
    assert location.run(FULL[0], FULL[0], assets=ASSETS[6:]).success, "it updates the other days too"

    predictions = read_all_rows(lake, ANOMALY_PREDICTIONS)
    shares = read_contributions_of_anomalies(lake)
    points = event_reference.build_points(predictions, shares)
    events = map(event_reference.normalize_event, lake.read(ANOMALY_EVENTS).to_pylist())
    assert sorted(events, key=lambda event: (event["scheduler_arn"], event["start_time"])) == [
        approximate(event) for event in event_reference.build_events(points)
    ]
    after = read_all_rows(lake, EQUIPMENT_HEALTH)
    assert after != before
    assert [normalize_row(row) for row in after if row[PARTITION] in FULL] == [
        approximate(row) for row in build_health_rows(predictions, shares, FEED_PUMP, FULL, EventRule())
    ]


def read_contributions_of_anomalies(lake: Lake) -> list[dict[str, Any]]:
    """Read the contributions of anomalous lines, the only ones that events and health use."""
    key = ["scheduler_arn", "data_start_time", "timestamp"]
    rows = []
    for day in lake.days(SENSOR_CONTRIBUTIONS):
        lines = lake.read(ANOMALY_PREDICTIONS, day, [*key, "prediction"])
        anomalous = lines.filter(pc.equal(lines["prediction"], 1)).select(key)
        shares = lake.read(SENSOR_CONTRIBUTIONS, day, [*key, "diagnostic_name", "contribution"])
        rows += shares.join(anomalous, key, join_type="left semi").to_pylist()
    return rows


def withhold_objects(s3: Any, lake: Lake, rng: random.Random) -> dict[tuple[str, str], bytes]:
    """Delete a tenth of the result objects and return them, so that they can arrive late."""
    objects = [
        (row["result_s3_bucket"], row["result_s3_key"])
        for row in read_all_rows(lake, INFERENCE_EXECUTIONS)
        if row["status"] == "SUCCESS"
    ]
    withheld = {}
    for bucket, key in rng.sample(objects, len(objects) // 10):
        withheld[bucket, key] = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.delete_object(Bucket=bucket, Key=key)
    return withheld


def normalize_row(row: dict[str, Any]) -> dict[str, Any]:
    compared = {
        name: value for name, value in row.items() if name not in ("site", "criticality", "recorded_at")
    }
    return compared | {"top_sensors": json.loads(row["top_sensors"]) if row["top_sensors"] else None}


def approximate(row: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}


def test_an_invalid_registry_fails_with_a_suggestion(location: Location, tmp_path: Path) -> None:
    (tmp_path / "equipment.toml").write_text(REGISTRY.replace("high", "hihg"))

    result = location.run(assets=ASSETS[6:])

    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data is not None
    assert 'did you mean "high"?' in str(failed.step_failure_data.user_failure_data.description)


def test_a_changed_day_requests_itself_and_the_events(location: Location) -> None:
    def materialize(day: date, version: str, asset: str = "anomaly_fragments") -> dg.AssetMaterialization:
        return dg.AssetMaterialization(
            asset,
            partition=day.isoformat(),
            tags={"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"},
        )

    settings = Settings(
        lake=LakeSettings(uri=location.lake.uri),
        history=HistorySettings(start_date=date(2026, 8, 1), end_date=date(2026, 10, 9)),
    )
    definitions = build_defs({"clock": lambda: NOW}, settings=settings)
    changes = [date(2026, 8, 10), date(2026, 10, 7)]
    for number in range((date(2026, 10, 9) - date(2026, 8, 1)).days):
        day = date(2026, 8, 1) + timedelta(days=number)
        location.instance.report_runless_asset_event(materialize(day, "1", "execution_health"))
    for day in changes:
        location.instance.report_runless_asset_event(materialize(day, "1"))
    selection = dg.AssetSelection.assets("equipment_health", "anomaly_events")
    cursor = None
    for _ in range(2):  # the second one requests the days that exist already
        earlier = dg.evaluate_automation_conditions(
            definitions, location.instance, selection, cursor=cursor, evaluation_time=NOW
        )
        cursor = earlier.cursor
    for day in changes:
        location.instance.report_runless_asset_event(materialize(day, "2"))

    result = dg.evaluate_automation_conditions(
        definitions, location.instance, selection, cursor=cursor, evaluation_time=NOW
    )

    requested = result.get_requested_partitions(dg.AssetKey("equipment_health"))
    assert requested == {day.isoformat() for day in changes}
    assert result.get_num_requested(dg.AssetKey("anomaly_events")) == 1


@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning")  # by Dagster
def test_a_backfill_in_the_dagster_ui_requests_exactly_the_selected_days(location: Location) -> None:
    graph = location.definitions.resolve_asset_graph()
    days = [day.isoformat() for day in FULL]

    data = AssetBackfillData.from_asset_partitions(
        asset_graph=graph,
        partition_names=days,
        asset_selection=list(graph.materializable_asset_keys),
        dynamic_partitions_store=location.instance,
        all_partitions=False,
        backfill_start_timestamp=NOW.timestamp(),
    )

    subsets = data.target_subset.partitions_subsets_by_asset_key
    assert {key.to_user_string() for key in subsets} >= {"inference_executions", "anomaly_report"}
    assert all(set(subset.get_partition_keys()) == set(days) for subset in subsets.values())
