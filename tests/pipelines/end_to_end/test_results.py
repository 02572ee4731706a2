"""Result objects into the lake: the sandbox's fleet over real S3, on real Dagster instances."""

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
from sandbox.events import has_succeeded
from sandbox.fleet import Fleet
from sandbox.results import Line, build_lines
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import DAYS, EXTRACTION, Location, use_s3_at

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


def locate(service: Handle, lake: Path, instance: dg.DagsterInstance) -> Location:
    """Two schedulers of one account and region."""
    settings = Settings(
        lake=LakeSettings(uri=str(lake)),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        results=ResultSettings(concurrency=8),
        sources=(
            ApiSettings(region="eu-west-1", endpoint_url=service.url, schedulers=("boiler-1", "turbine-2")),
        ),
    )
    return Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(settings.lake.uri))


@dataclass(frozen=True)
class First:
    """The first run over a day, and what it wrote; read it, do not change it."""

    location: Location
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def first(service: Handle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = locate(service, tmp_path_factory.mktemp("first") / "lake", instance)
        assert made.run(*WHOLE_DAY, assets=EXTRACTION[:1]).success
        result = made.run(*WHOLE_DAY, assets=RESULTS)
        assert result.success
        yield First(made, result)


@pytest.fixture
def location(service: Handle, first: First, tmp_path: Path, instance: dg.DagsterInstance) -> Location:
    """A lake of its own in which that day was read."""
    shutil.copytree(first.location.lake.root, tmp_path / "lake")
    return locate(service, tmp_path / "lake", instance)


@pytest.fixture
def s3(service: Handle) -> Iterator[Any]:  # noqa: ARG001 (its environment)
    client = boto3.Session().client("s3")
    yield client
    client.close()


def truth(of: Fleet, location: Location) -> dict[tuple[str, datetime], list[Line]]:
    """The lines of all objects that the day's executions in the lake name."""
    executions = location.lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist()
    arns = {row["scheduler_arn"] for row in executions}
    wanted = {(row["scheduler_arn"], row["data_start_time"]) for row in executions}
    found = {
        (one.arn, slot.window.start): build_lines(one, slot)
        for one in of.schedulers
        if one.arn in arns
        for slot in one.slots(datetime(2026, 10, 7, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
        if has_succeeded(one, NOW, slot) and (one.arn, slot.window.start) in wanted
    }
    assert len(found) == sum(row["status"] == "SUCCESS" for row in executions)
    return found


def instant(line: Line) -> datetime:
    return datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC)


def milliseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def recorded(location: Location) -> dict[tuple[str, datetime], list[Line]]:
    """The lake's rows, put together as the lines that they came from."""
    shares = location.lake.read(SENSOR_CONTRIBUTIONS, DAY)
    spelled_out = pc.binary_join_element_wise(shares["component"], shares["sensor"], "\\")
    assert spelled_out.equals(shares["diagnostic_name"])
    each: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    columns = [shares[name] for name in ("scheduler_arn", "diagnostic_name", "contribution")]
    columns[1:1] = [shares[name].cast(pa.int64()) for name in ("data_start_time", "timestamp")]
    for arn, start, at, name, value in zip(*(column.to_pylist() for column in columns), strict=True):
        each.setdefault((arn, start, at), []).append({"name": name, "value": value})
    found: dict[tuple[str, datetime], list[Line]] = {}
    for row in location.lake.read(ANOMALY_PREDICTIONS, DAY).to_pylist():
        execution = (row["scheduler_arn"], row["data_start_time"])
        line = {name: row[name] for name in ("prediction", "prediction_reason", "anomaly_score")}
        line["timestamp"] = row["timestamp"].replace(tzinfo=None).isoformat(timespec="microseconds")
        line["diagnostics"] = each.pop(
            (execution[0], *map(milliseconds, (execution[1], row["timestamp"]))), None
        )
        found.setdefault(execution, []).append({name: is_ for name, is_ in line.items() if is_ is not None})
    assert not each
    return found


def tables(location: Location) -> list[pa.Table]:
    """The rows of results."""
    return [location.lake.read(table, DAY) for table in (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS)]


def parted(rows: pa.Table, key: tuple[str, datetime]) -> tuple[pa.Table, pa.Table]:
    """Rows of one execution, and those of all others."""
    start = pa.scalar(key[1], INSTANT)
    mine = pc.and_(pc.equal(rows["scheduler_arn"], key[0]), pc.equal(rows["data_start_time"], start))
    return rows.filter(mine), rows.filter(pc.invert(mine))


def spelled(of: dict[tuple[str, datetime], list[Line]]) -> dict[tuple[str, datetime], list[Line]]:
    """Lines without what no table can tell apart: an empty list, and the order of sensors."""

    def one(line: Line) -> Line:
        diagnostics = sorted(line.get("diagnostics") or (), key=lambda each: str(each["name"]))
        return {**line, "diagnostics": diagnostics}

    return {key: sorted(map(one, some), key=instant) for key, some in of.items()}


def states(location: Location) -> Counter[str]:
    return Counter(location.lake.read(RESULT_OBJECTS, DAY)["state"].to_pylist())


def numbers(location: Location, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    metadata = location.get_materializations(result, "anomaly_predictions")[DAY.isoformat()].metadata
    return read_metadata(metadata)


def files(location: Location) -> dict[str, bytes]:
    return {table.name: Path(location.lake.path(table, DAY)).read_bytes() for table in TABLES}


def an_object(location: Location, at: int = 0) -> dict[str, str]:
    row = location.lake.read(RESULT_OBJECTS, DAY).to_pylist()[at]
    return {"Bucket": row["result_s3_bucket"], "Key": row["result_s3_key"]}


@pytest.fixture
def mended(s3: Any) -> Iterator[Callable[[dict[str, str]], None]]:
    """Remember an object, and put it back after the test."""
    before: dict[tuple[str, str], bytes] = {}

    def remember(where: dict[str, str]) -> None:
        before[where["Bucket"], where["Key"]] = s3.get_object(**where)["Body"].read()

    yield remember
    for (bucket, key), body in before.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def test_every_line_of_every_object_is_in_the_lake_as_it_was_written(
    first: First, small_fleet: Fleet
) -> None:
    location, result = first.location, first.result

    expected = truth(small_fleet, location)
    assert len(expected) > 50
    assert spelled(recorded(location)) == spelled(expected)
    assert states(location) == {"read": len(expected)}
    told = numbers(location, result)
    assert told["objects_read"] == told["objects"] == len(expected)
    assert told["lines"] == sum(map(len, expected.values()))
    assert told["anomalous"] == sum(line["prediction"] for some in expected.values() for line in some)
    for table in TABLES:
        assert location.get_materializations(result, table.name).keys() == {DAY.isoformat()}


def test_a_second_run_fetches_nothing_and_writes_nothing(first: First) -> None:
    location = first.location
    before = files(location)

    again = location.run(*WHOLE_DAY, assets=RESULTS)

    assert files(location) == before
    told = numbers(location, again)
    assert (told["objects_read"], told["megabytes"]) == (0, 0)
    assert told["objects_unchanged"] == told["objects"]
    for table in TABLES:
        (one,), (other,) = (
            location.get_materializations(run, table.name).values() for run in (first.result, again)
        )
        assert one.tags["dagster/data_version"] == other.tags["dagster/data_version"]


def test_a_changed_object_replaces_the_rows_of_its_execution_alone(
    location: Location, s3: Any, mended: Callable[[dict[str, str]], None]
) -> None:
    before = tables(location)
    row = location.lake.read(RESULT_OBJECTS, DAY).to_pylist()[3]
    key, where = (row["scheduler_arn"], row["data_start_time"]), an_object(location, 3)
    mended(where)
    new = {
        "timestamp": "2026-10-07T00:01:00.000000",
        "prediction": 1,
        "diagnostics": [{"name": "a\\b\\c", "value": 1.0}],
    }
    s3.put_object(**where, Body=json.dumps(new).encode() + b"\n")

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert numbers(location, result)["objects_read"] == 1
    (mine,) = parted(location.lake.read(SENSOR_CONTRIBUTIONS, DAY), key)[0].to_pylist()
    assert (mine["component"], mine["sensor"]) == ("a", "b\\c"), "split once, at the first backslash"
    for was, is_ in zip(before, tables(location), strict=True):
        mine_before, others_before = parted(was, key)
        mine_after, others_after = parted(is_, key)
        assert not mine_after.equals(mine_before)
        assert others_after.equals(others_before)


def test_a_deleted_object_is_a_fact_and_its_rows_stay(
    location: Location, s3: Any, mended: Callable[[dict[str, str]], None]
) -> None:
    before, where = tables(location), an_object(location)
    mended(where)
    s3.delete_object(**where)

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert result.success
    assert numbers(location, result)["objects_missing"] == 1
    assert states(location)["missing"] == 1
    assert tables(location) == before


def test_a_broken_line_is_put_aside_with_its_place_and_the_rest_is_used(
    location: Location, s3: Any, mended: Callable[[dict[str, str]], None]
) -> None:
    where = an_object(location)
    mended(where)
    good = b'{"timestamp": "2026-10-07T00:0%d:00.000000", "prediction": 0}\n'
    body = good % 1 + b'{"timestamp": "2026-10-07T00:02:00.000000", "prediction": NaN}\n' + good % 3
    s3.put_object(**where, Body=gzip.compress(body))

    assert location.run(*WHOLE_DAY, assets=RESULTS).success

    (rejected,) = location.lake.read(REJECTED_RESULTS, DAY).to_pylist()
    assert (rejected["result_s3_bucket"], rejected["result_s3_key"]) == (where["Bucket"], where["Key"])
    assert rejected["line_number"] == 2
    assert rejected["raw"] == '{"timestamp": "2026-10-07T00:02:00.000000", "prediction": NaN}'
    assert rejected["reason"].startswith("not JSON")
    (row,) = [row for row in location.lake.read(RESULT_OBJECTS, DAY).to_pylist() if row["rejected"]]
    assert row["rows"] == 2


def test_a_run_that_was_killed_before_it_remembered_reads_again_and_loses_nothing(location: Location) -> None:
    before = tables(location)
    Path(location.lake.path(RESULT_OBJECTS, DAY)).unlink()

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert numbers(location, result)["objects_read"] == numbers(location, result)["objects"]
    assert tables(location) == before


def test_a_day_without_executions_has_files_without_rows(location: Location) -> None:
    nothing = DAYS[0], DAYS[0]

    assert location.run(*nothing, assets=RESULTS).success

    assert [location.lake.read(table, DAYS[0]).num_rows for table in TABLES] == [0, 0, 0, 0]
    assert all(location.lake.has(table, DAYS[0]) for table in TABLES)


def test_an_s3_that_is_gone_fails_the_day_and_says_what_to_do(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    before = files(location)

    result = location.run(*WHOLE_DAY, assets=RESULTS)

    assert not result.success
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    told = failed.step_failure_data.user_failure_data
    assert told is not None
    (why,) = read_reasons(told.metadata, FAILED_PARTITIONS).values()
    assert "Cannot reach any of" in why
    assert "AWS_ENDPOINT_URL_S3" in why
    assert files(location) == before
