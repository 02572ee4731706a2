"""Result objects of the sandbox are read from S3 into the lake, on real Dagster instances."""

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.framework.metadata import FAILED_PARTITIONS, read_metadata, read_reasons
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    INSTANT,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, ResultSettings, Settings
from resources.lake.lake import Lake
from resources.lake.shards import hash_scheduler
from sandbox.events import has_succeeded
from sandbox.fleet import Fleet
from sandbox.results import Line, build_lines
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import DAYS, EXTRACTION, Location, use_s3_at
from tests.support.run_results import get_failure_message

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
DAY = date(2026, 10, 7)
WHOLE_DAY = DAY, DAY
RESULTS = [dg.AssetKey("anomaly_predictions")]
TABLES = (RESULT_OBJECTS, ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS)


@pytest.fixture(scope="module")
def service(small_fleet: Fleet) -> Iterator[Handle]:
    with run_sandbox(small_fleet, NOW) as handle, pytest.MonkeyPatch.context() as environment:
        use_s3_at(handle.s3_url, environment)
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        environment.setenv("AWS_MAX_ATTEMPTS", "1")
        yield handle


def locate(service: Handle, lake: Path, instance: dg.DagsterInstance, shards: int = 1) -> Location:
    """Two schedulers of one account and region."""
    settings = Settings(
        lake=LakeSettings(uri=str(lake), shards=shards),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        results=ResultSettings(concurrency=8),
        sources=(
            ApiSettings(region="eu-west-1", endpoint_url=service.url, schedulers=("boiler-1", "turbine-2")),
        ),
    )
    definitions = build_defs({"clock": lambda: NOW}, settings=settings)
    return Location(definitions, instance, Lake.from_settings(settings))


@dataclass(frozen=True)
class FirstRun:
    """The first run of a day and its location. Tests must not change it."""

    location: Location
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def first(service: Handle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstRun]:
    with dg.DagsterInstance.ephemeral() as instance:
        location = locate(service, tmp_path_factory.mktemp("first") / "lake", instance)
        assert location.run(*WHOLE_DAY, assets=EXTRACTION[:1]).success
        result = location.run(*WHOLE_DAY, assets=RESULTS)
        assert result.success
        yield FirstRun(location, result)


@pytest.fixture
def location(service: Handle, first: FirstRun, tmp_path: Path, instance: dg.DagsterInstance) -> Location:
    """A copy of the lake after the first run."""
    shutil.copytree(first.location.lake.root, tmp_path / "lake")
    return locate(service, tmp_path / "lake", instance)


@pytest.fixture
def s3(service: Handle) -> Iterator[Any]:  # noqa: ARG001 (its environment)
    client = boto3.Session().client("s3")
    yield client
    client.close()


def build_expected_lines(fleet: Fleet, location: Location) -> dict[tuple[str, datetime], list[Line]]:
    """Return the lines of every object that the executions of the day in the lake refer to."""
    executions = location.lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist()
    arns = {row["scheduler_arn"] for row in executions}
    executions_in_lake = {(row["scheduler_arn"], row["data_start_time"]) for row in executions}
    expected = {
        (scheduler.arn, slot.window.start): build_lines(scheduler, slot)
        for scheduler in fleet.schedulers
        if scheduler.arn in arns
        for slot in scheduler.slots(datetime(2026, 10, 7, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
        if has_succeeded(scheduler, NOW, slot) and (scheduler.arn, slot.window.start) in executions_in_lake
    }
    assert len(expected) == sum(row["status"] == "SUCCESS" for row in executions)
    return expected


def parse_instant(line: Line) -> datetime:
    return datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC)


def get_milliseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def read_lines(location: Location) -> dict[tuple[str, datetime], list[Line]]:
    """Rebuild the lines from the rows of the lake."""
    shares = location.lake.read(SENSOR_CONTRIBUTIONS, DAY)
    spelled_out = pc.binary_join_element_wise(shares["component"], shares["sensor"], "\\")
    assert spelled_out.equals(shares["diagnostic_name"])
    diagnostics: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    columns = [shares[name] for name in ("scheduler_arn", "diagnostic_name", "contribution")]
    columns[1:1] = [shares[name].cast(pa.int64()) for name in ("data_start_time", "timestamp")]
    for arn, start, timestamp, name, value in zip(*(column.to_pylist() for column in columns), strict=True):
        diagnostics.setdefault((arn, start, timestamp), []).append({"name": name, "value": value})
    lines: dict[tuple[str, datetime], list[Line]] = {}
    for row in location.lake.read(ANOMALY_PREDICTIONS, DAY).to_pylist():
        execution = (row["scheduler_arn"], row["data_start_time"])
        line = {name: row[name] for name in ("prediction", "prediction_reason", "anomaly_score")}
        line["timestamp"] = row["timestamp"].replace(tzinfo=None).isoformat(timespec="microseconds")
        line["diagnostics"] = diagnostics.pop(
            (execution[0], *map(get_milliseconds, (execution[1], row["timestamp"]))), None
        )
        lines.setdefault(execution, []).append(
            {name: value for name, value in line.items() if value is not None}
        )
    assert not diagnostics
    return lines


def read_tables(location: Location) -> list[pa.Table]:
    """Return the predictions and the contributions of the day."""
    return [location.lake.read(table, DAY) for table in (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS)]


def split_by_execution(rows: pa.Table, key: tuple[str, datetime]) -> tuple[pa.Table, pa.Table]:
    """Split rows into those of one execution and all others."""
    start = pa.scalar(key[1], INSTANT)
    is_selected = pc.and_(pc.equal(rows["scheduler_arn"], key[0]), pc.equal(rows["data_start_time"], start))
    return rows.filter(is_selected), rows.filter(pc.invert(is_selected))


def normalize_lines(
    lines_by_execution: dict[tuple[str, datetime], list[Line]],
) -> dict[tuple[str, datetime], list[Line]]:
    """Remove what tables cannot represent: empty lists and the order of sensors."""

    def normalize_line(line: Line) -> Line:
        diagnostics = sorted(line.get("diagnostics") or (), key=lambda each: str(each["name"]))
        return {**line, "diagnostics": diagnostics}

    return {
        key: sorted(map(normalize_line, lines), key=parse_instant)
        for key, lines in lines_by_execution.items()
    }


def count_states(location: Location) -> Counter[str]:
    return Counter(location.lake.read(RESULT_OBJECTS, DAY)["state"].to_pylist())


def get_metadata(location: Location, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    metadata = location.get_materializations(result, "anomaly_predictions")[DAY.isoformat()].metadata
    return read_metadata(metadata)


def read_files(location: Location) -> dict[str, bytes]:
    return {table.name: Path(location.lake.path(table, DAY)).read_bytes() for table in TABLES}


def get_object_location(location: Location, index: int = 0) -> dict[str, str]:
    row = location.lake.read(RESULT_OBJECTS, DAY).to_pylist()[index]
    return {"Bucket": row["result_s3_bucket"], "Key": row["result_s3_key"]}


def test_runs_that_share_a_day_by_shards_record_what_one_run_records(
    first: FirstRun, location: Location, service: Handle, instance: dg.DagsterInstance
) -> None:
    for table in TABLES:
        shutil.rmtree(location.lake.root / table.name)
    arns = location.lake.read(INFERENCE_EXECUTIONS, DAY)["scheduler_arn"].unique().to_pylist()
    shards = next(n for n in range(2, 20) if len({hash_scheduler(arn) % n % 2 for arn in arns}) > 1)
    shared = locate(service, location.lake.root, instance, shards)

    def run(**config: Any) -> dg.ExecuteInProcessResult:
        ops = {"anomaly_predictions": {"config": config}}
        return shared.run(*WHOLE_DAY, assets=RESULTS, run_config={"ops": ops})

    assert run(share="0/2").success
    assert "are not recorded" in get_failure_message(run(only_recorded=True))
    assert run(share="1/2").success
    keys = [dg.AssetKey(table.name) for table in TABLES]
    assert not any(instance.get_materialized_partitions(key) for key in keys), "no run has the whole day"

    result = run(only_recorded=True)

    assert shared.lake.shards(SENSOR_CONTRIBUTIONS, DAY) == shards
    for table in TABLES:
        assert shared.lake.read(table, DAY).equals(first.location.lake.read(table, DAY)), table.name
    volatile = ("seconds", "megabytes", "changed", "path", "preview")
    metadata, expected = (
        {name: value for name, value in get_metadata(place, done).items() if name not in volatile}
        for place, done in ((shared, result), (first.location, first.result))
    )
    assert metadata == expected


@pytest.fixture
def restore_after_test(s3: Any) -> Iterator[Callable[[dict[str, str]], None]]:
    """Return a function that saves an object and restores it after the test."""
    before: dict[tuple[str, str], bytes] = {}

    def remember(s3_object: dict[str, str]) -> None:
        before[s3_object["Bucket"], s3_object["Key"]] = s3.get_object(**s3_object)["Body"].read()

    yield remember
    for (bucket, key), body in before.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def test_the_lake_contains_every_line_of_every_object(first: FirstRun, small_fleet: Fleet) -> None:
    location, result = first.location, first.result

    expected = build_expected_lines(small_fleet, location)
    assert len(expected) > 50
    assert normalize_lines(read_lines(location)) == normalize_lines(expected)
    assert count_states(location) == {"read": len(expected)}
    metadata = get_metadata(location, result)
    assert metadata["objects_read"] == metadata["objects"] == len(expected)
    assert metadata["lines"] == sum(map(len, expected.values()))
    assert metadata["anomalous"] == sum(line["prediction"] for lines in expected.values() for line in lines)
    for table in TABLES:
        assert location.get_materializations(result, table.name).keys() == {DAY.isoformat()}


def test_a_second_run_does_not_fetch_or_write_unchanged_objects(first: FirstRun) -> None:
    location = first.location
    before = read_files(location)

    again = location.run(*WHOLE_DAY, assets=RESULTS)

    assert read_files(location) == before
    metadata = get_metadata(location, again)
    assert (metadata["objects_read"], metadata["megabytes"]) == (0, 0)
    assert metadata["objects_unchanged"] == metadata["objects"]
    for table in TABLES:
        (materialization,), (other,) = (
            location.get_materializations(run, table.name).values() for run in (first.result, again)
        )
        assert materialization.tags["dagster/data_version"] == other.tags["dagster/data_version"]


def test_a_changed_object_replaces_only_the_rows_of_its_execution(
    location: Location, s3: Any, restore_after_test: Callable[[dict[str, str]], None]
) -> None:
    before = read_tables(location)
    row = location.lake.read(RESULT_OBJECTS, DAY).to_pylist()[3]
    key, s3_object = (row["scheduler_arn"], row["data_start_time"]), get_object_location(location, 3)
    restore_after_test(s3_object)
    new = {
        "timestamp": "2026-10-07T00:01:00.000000",
        "prediction": 1,
        "diagnostics": [{"name": "a\\b\\c", "value": 1.0}],
    }
    s3.put_object(**s3_object, Body=json.dumps(new).encode() + b"\n")

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert get_metadata(location, result)["objects_read"] == 1
    (contribution,) = split_by_execution(location.lake.read(SENSOR_CONTRIBUTIONS, DAY), key)[0].to_pylist()
    assert (contribution["component"], contribution["sensor"]) == ("a", "b\\c"), (
        "split once, at the first backslash"
    )
    for was, is_ in zip(before, read_tables(location), strict=True):
        mine_before, others_before = split_by_execution(was, key)
        mine_after, others_after = split_by_execution(is_, key)
        assert not mine_after.equals(mine_before)
        assert others_after.equals(others_before)


def test_a_deleted_object_is_counted_and_its_rows_stay(
    location: Location, s3: Any, restore_after_test: Callable[[dict[str, str]], None]
) -> None:
    before, s3_object = read_tables(location), get_object_location(location)
    restore_after_test(s3_object)
    s3.delete_object(**s3_object)

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert result.success
    assert get_metadata(location, result)["objects_missing"] == 1
    assert count_states(location)["missing"] == 1
    assert read_tables(location) == before


def test_an_invalid_line_is_rejected_with_its_location_and_the_rest_is_used(
    location: Location, s3: Any, restore_after_test: Callable[[dict[str, str]], None]
) -> None:
    s3_object = get_object_location(location)
    restore_after_test(s3_object)
    good = b'{"timestamp": "2026-10-07T00:0%d:00.000000", "prediction": 0}\n'
    body = good % 1 + b'{"timestamp": "2026-10-07T00:02:00.000000", "prediction": NaN}\n' + good % 3
    s3.put_object(**s3_object, Body=gzip.compress(body))

    assert location.run(*WHOLE_DAY, assets=RESULTS).success

    (rejected,) = location.lake.read(REJECTED_RESULTS, DAY).to_pylist()
    assert (rejected["result_s3_bucket"], rejected["result_s3_key"]) == (
        s3_object["Bucket"],
        s3_object["Key"],
    )
    assert rejected["line_number"] == 2
    assert rejected["raw"] == '{"timestamp": "2026-10-07T00:02:00.000000", "prediction": NaN}'
    assert rejected["reason"].startswith("not JSON")
    (row,) = [row for row in location.lake.read(RESULT_OBJECTS, DAY).to_pylist() if row["rejected"]]
    assert row["rows"] == 2


def test_a_run_that_was_killed_before_it_recorded_its_objects_is_repeated_without_loss(
    location: Location,
) -> None:
    before = read_tables(location)
    Path(location.lake.path(RESULT_OBJECTS, DAY)).unlink()

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert get_metadata(location, result)["objects_read"] == get_metadata(location, result)["objects"]
    assert read_tables(location) == before


def test_a_day_without_executions_has_files_without_rows(location: Location) -> None:
    nothing = DAYS[0], DAYS[0]
    assert location.run(*nothing, assets=EXTRACTION[:1]).success

    result = location.run(*nothing, assets=[dg.AssetKey(SENSOR_CONTRIBUTIONS.name)])

    assert result.success
    assert [location.lake.read(table, DAYS[0]).num_rows for table in TABLES] == [0, 0, 0, 0]
    assert all(location.lake.has(table, DAYS[0]) for table in TABLES)
    days = [list(location.get_materializations(result, table.name)) for table in TABLES]
    assert days == [[str(DAYS[0])]] * len(TABLES), "a run of one of these tables writes all of them"


def test_an_unreachable_s3_fails_the_day_with_a_hint(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    before = read_files(location)

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert not result.success
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    metadata = failed.step_failure_data.user_failure_data
    assert metadata is not None
    (reason,) = read_reasons(metadata.metadata, FAILED_PARTITIONS).values()
    assert "Cannot reach any of" in reason
    assert "AWS_ENDPOINT_URL_S3" in reason
    after = read_files(location)
    assert after.pop("result_objects") != before.pop("result_objects"), "it records the reason"
    assert after == before, "the rows of the results stay"
