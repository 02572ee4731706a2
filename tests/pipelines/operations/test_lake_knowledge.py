"""What `ledger status` says about results that were read after the tables that depend on them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.anomalies.fragments import PREDICTION_COLUMNS, build_fragments
from assets.anomalies.top_sensors import CONTRIBUTION_COLUMNS
from assets.executions.day_status import read_coverage
from assets.tables import (
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    PARTITION,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from pipelines.operations.lake_knowledge import COVERAGE_COLUMNS, find_unknown_days
from resources.lake.lake import Lake
from tests.support.machine_lake import REASONS, write_rows

DAYS = [date(2026, 10, 1), date(2026, 10, 2)]
START = datetime(2026, 10, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
HOURS = 48


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two days of one scheduler: every hour is recorded, and has a result."""
    lake = Lake(str(tmp_path / "lake"))
    days = [{PARTITION: day, "scheduler_arn": "arn", "scheduler_name": "pump-1"} for day in DAYS]
    counts = {"executions": 24, "in_progress": 0, "failed": 0, "sources": "archive"}
    write_rows(lake, EXTRACTION_COVERAGE, [day | counts for day in days])
    health = dict.fromkeys(REASONS, 0) | {"expected": 24, "succeeded": 24}
    write_rows(lake, EXECUTION_HEALTH, [day | health for day in days])
    times = {"running_minutes": 1440.0, "off_minutes": 0.0, "unknown_minutes": 0.0, "anomalous_minutes": 0.0}
    machine = {"equipment": "arn", "name": "pump-1", "events": 0, "anomalous_hours_7d": 0, **times}
    write_rows(lake, EQUIPMENT_HEALTH, [{PARTITION: day, **machine} for day in DAYS])
    return lake


def read_results(lake: Lake, hours: int, *, repeats: bool = False) -> None:
    """Record the results of the first hours; with `repeats`, each also has the first line of the next."""
    objects, lines = [], []
    for hour in range(hours):
        start = START + timedelta(hours=hour)
        key = {PARTITION: start.date(), "scheduler_arn": "arn", "data_start_time": start}
        count = 12 + (repeats and hour % 24 < 23)
        location = {"result_s3_bucket": "plant", "result_s3_key": f"{hour}", "state": "read"}
        objects.append({**key, **location, "rows": count, "rejected": 0, "reader_version": 1})
        lines += [{**key, "timestamp": start + number * STEP, "prediction": 0} for number in range(count)]
    write_rows(lake, RESULT_OBJECTS, objects)
    write_rows(lake, ANOMALY_PREDICTIONS, lines)


def compute_fragments(lake: Lake) -> None:
    fragments: list[dict[str, Any]] = []
    for day in lake.days(ANOMALY_PREDICTIONS):
        predictions = lake.read(ANOMALY_PREDICTIONS, day, PREDICTION_COLUMNS)
        contributions = lake.read(SENSOR_CONTRIBUTIONS, day, CONTRIBUTION_COLUMNS)
        fragments += build_fragments(predictions, [contributions]).to_pylist()
    write_rows(lake, ANOMALY_FRAGMENTS, fragments)


def list_not_computed(lake: Lake) -> list[tuple[str, date, date]]:
    return [
        (item.text, item.first, item.last)
        for item in find_unknown_days(lake, read_coverage(lake, columns=COVERAGE_COLUMNS), DAYS)
        if item.state == "not computed"
    ]


def test_fragments_that_are_older_than_results_are_not_computed(lake: Lake) -> None:
    read_results(lake, 30)
    compute_fragments(lake)
    assert list_not_computed(lake) == []

    read_results(lake, HOURS)

    assert list_not_computed(lake) == [("1 of 2 recorded days (anomaly_fragments)", DAYS[1], DAYS[1])]
    compute_fragments(lake)
    assert list_not_computed(lake) == []


def test_lines_of_the_same_time_in_two_objects_are_one_point(lake: Lake) -> None:
    read_results(lake, HOURS, repeats=True)
    compute_fragments(lake)

    assert list_not_computed(lake) == []


def test_executions_with_an_unknown_status_do_not_make_a_day_uncomputed(lake: Lake) -> None:
    """`execution_health` counts them as unknown, and a new computation changes nothing."""
    key = {PARTITION: DAYS[0], "scheduler_arn": "arn", "scheduler_name": "pump-1"}
    source = {"source": "archive", "outcome_source": "archive"}
    statuses = ["NEW_STATUS", None, *["SUCCESS"] * 21]
    rows = [
        key | source | {"data_start_time": START + timedelta(hours=hour), "status": status}
        for hour, status in enumerate(statuses)
    ]
    write_rows(lake, INFERENCE_EXECUTIONS, rows)
    coverage = {"executions": 23, "in_progress": 0, "failed": 0, "sources": "archive"}
    write_rows(lake, EXTRACTION_COVERAGE, [key | coverage])
    health = dict.fromkeys(REASONS, 0) | {"expected": 24, "succeeded": 21, "unknown": 3}
    write_rows(lake, EXECUTION_HEALTH, [key | health])
    assert list_not_computed(lake) == []

    write_rows(lake, EXECUTION_HEALTH, [key | health | {"succeeded": 20, "unknown": 4}])
    assert [first for _, first, _ in list_not_computed(lake)] == [DAYS[0]]
