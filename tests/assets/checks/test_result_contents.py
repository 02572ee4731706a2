"""The rules that compare result objects with their executions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.checks import definitions, result_contents
from assets.checks.context import CheckContext, CheckSettings
from assets.framework.row_content import conform
from assets.framework.time_windows import Days
from assets.tables import ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, SENSOR_CONTRIBUTIONS
from resources.lake.lake import Lake
from resources.lake.shards import hash_scheduler
from tests.support.check_days import DAY, NOW

START = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ARN = "arn:aws:lookoutequipment:::output-prefix/bucket/pump/"


def build_executions(starts: Sequence[int], source: str = "bucket", minutes: int | None = 5) -> pa.Table:
    """Return executions that start these minutes after the start of the day."""
    rows = [
        {
            "scheduler_arn": ARN,
            "data_start_time": START + start * MINUTE,
            "scheduler_name": "pump",
            "data_end_time": None if minutes is None else START + (start + minutes) * MINUTE,
            "source": source,
            "outcome_source": source,
        }
        for start in starts
    ]
    columns = result_contents.EXECUTION_COLUMNS
    schema = pa.schema([INFERENCE_EXECUTIONS.schema.field(name) for name in columns])
    return pa.Table.from_pylist(rows, schema=schema)


def build_predictions(lines: Sequence[tuple[int, int]]) -> pa.Table:
    """Return lines: the minute at which the execution starts, and the minute of the line."""
    rows = [
        {
            "scheduler_arn": ARN,
            "data_start_time": START + start * MINUTE,
            "timestamp": START + time * MINUTE,
        }
        for start, time in lines
    ]
    columns = result_contents.PREDICTION_COLUMNS
    schema = pa.schema([ANOMALY_PREDICTIONS.schema.field(name) for name in columns])
    return pa.Table.from_pylist(rows, schema=schema)


def list_sensors(models: str) -> list[dict[str, Any]]:
    """Return the sensors of results every five minutes, by the letter of the model of each."""
    return [
        {
            "scheduler_arn": ARN,
            "data_start_time": START + 5 * number * MINUTE,
            "timestamp": START + (5 * number + line) * MINUTE,
            "diagnostic_name": f"{model}\\sensor{sensor}",
        }
        for number, model in enumerate(models)
        for line in (1, 2)
        for sensor in range(3)
    ]


def build_sensors(models: str) -> result_contents.SensorSets:
    columns = result_contents.DIAGNOSTIC_COLUMNS
    schema = pa.schema([SENSOR_CONTRIBUTIONS.schema.field(name) for name in columns])
    table = pa.Table.from_pylist(list_sensors(models), schema=schema)
    sensors = result_contents.SensorSets()
    for first in range(0, table.num_rows, 7):  # the lines of a result are in two batches
        sensors.add(table.slice(first, 7))
    return sensors


@pytest.mark.parametrize("end", [5, None], ids=["end", "unknown end"])
def test_lines_in_their_windows_pass(end: int | None) -> None:
    executions = build_executions([0, 5], minutes=end)
    results, outside = result_contents.find_times_outside_window(
        executions, build_predictions([(0, 0), (0, 5), (5, 9)])
    )
    outcome = result_contents.evaluate_result_times_in_window(results, [outside])
    assert outcome.passed
    assert outcome.message.startswith("2 results examined")


@pytest.mark.parametrize("line", [-1, 6], ids=["before the start", "after the end"])
def test_a_line_outside_its_window_is_reported(line: int) -> None:
    results, outside = result_contents.find_times_outside_window(
        build_executions([0, 5]), build_predictions([(0, 1), (0, line), (5, 6)])
    )
    outcome = result_contents.evaluate_result_times_in_window(results, [outside])
    assert not outcome.passed
    assert outcome.message.startswith("1 of 2 results have lines outside the data window")
    assert outcome.problem_ids == ["pump"]
    assert outcome.examples[0]["data_start_time"] == START


def test_an_unknown_end_is_at_most_an_hour_later() -> None:
    executions = build_executions([0], minutes=None)
    for minute, expected in ((60, 0), (61, 1)):
        _, outside = result_contents.find_times_outside_window(executions, build_predictions([(0, minute)]))
        assert outside.num_rows == expected


def test_no_claim_is_made_about_results_without_lines() -> None:
    results, outside = result_contents.find_times_outside_window(build_executions([0]), build_predictions([]))
    outcome = result_contents.evaluate_result_times_in_window(results, [outside])
    assert outcome.message == "No result of these days has lines, so no time was examined."


def find_shared(executions: pa.Table, models: str) -> list[str]:
    rows = result_contents.select_bucket_rows(executions)
    shared = result_contents.find_shared_prefixes(DAY, rows, build_sensors(models))
    return [item.evidence for item in shared]


def test_alternating_sensors_show_several_schedulers() -> None:
    executions = build_executions(range(0, 1440, 5))
    (evidence,) = find_shared(executions, "aabbab")
    assert evidence == "2 sets of sensors (3, 3 sensors) alternate, 3 times from 00:00 to 00:25 UTC"
    outcome = result_contents.evaluate_output_prefixes_not_shared(
        1, 6, [result_contents.SharedPrefix(DAY, "pump", evidence)]
    )
    assert not outcome.passed
    assert outcome.message.startswith("Several schedulers seem to write to the output prefix of pump: ")


@pytest.mark.parametrize("shards", [1, 3])
def test_the_sensors_of_all_shards_are_compared(tmp_path: Path, shards: int) -> None:
    lake = Lake(str(tmp_path / "lake"), shards=shards)
    assert shards == 1 or hash_scheduler(ARN) % shards > 0, "not in the first file"
    own = {"recorded_at": NOW, "sensor": "x", "contribution": 0.5}
    for table, rows in (
        (INFERENCE_EXECUTIONS, build_executions(range(0, 1440, 5)).to_pylist()),
        (SENSOR_CONTRIBUTIONS, list_sensors("aabbab")),
    ):
        new = conform(table, pa.Table.from_pylist([row | own for row in rows], schema=table.schema))
        lake.update(table, DAY, lambda _, new=new: new)
    settings = CheckSettings(Days(DAY), timedelta(hours=3), 7, timedelta(hours=6))
    with dg.DagsterInstance.ephemeral() as instance:
        asset = dg.AssetKey(ANOMALY_PREDICTIONS.name)
        context = CheckContext(settings, lake, list, NOW, instance, asset, None)
        outcome = definitions._check_output_prefixes(context)

    assert not outcome.passed
    assert "2 sets of sensors (3, 3 sensors) alternate" in outcome.message


@pytest.mark.parametrize("models", ["aaaa", "aabb", "aabbcc", ""])
def test_models_that_replace_each_other_are_one_scheduler(models: str) -> None:
    assert not find_shared(build_executions(range(0, 1440, 5)), models)


def test_times_that_contradict_one_frequency_show_several_schedulers() -> None:
    starts = sorted([*range(0, 1440, 60), *range(5, 1440, 60)])
    (evidence,) = find_shared(build_executions(starts), "")
    assert "minutes of the hour never occur" in evidence


def test_executions_of_a_service_are_not_examined() -> None:
    executions = build_executions(range(0, 1440, 5), source="api")
    assert not find_shared(executions, "abab")
    message = result_contents.evaluate_output_prefixes_not_shared(0, 0, []).message
    assert message == "No execution of these days comes from a bucket."


def test_sensors_that_were_not_read_are_named() -> None:
    outcome = result_contents.evaluate_output_prefixes_not_shared(2, 0, [])
    assert outcome.passed
    assert "sensors were not compared" in outcome.message
