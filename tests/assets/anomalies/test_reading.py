"""Record a day of results from an S3 server in a lake; objects that cannot be read do not fail the day."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.anomalies.assets import ResultsConfig, UnreadObjects, build_day_fragments, count_results
from assets.anomalies.fragments import build_fragments
from assets.anomalies.reading import RecordedResults, record_results, record_shards
from assets.framework.row_content import conform
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    INSTANT,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from resources.aws.access import AwsAccess
from resources.errors import ConfigurationError, RetryLaterError
from resources.lake.lake import Lake
from resources.read_limits import ReadLimits
from resources.results.allowed_buckets import AllowedBuckets
from resources.results.base import FetchedResult, ObjectState, ResultRequest
from resources.results.fetcher import FetchLimits, ResultFetcher
from tests.support.mutations import damaged
from tests.support.s3_server import Bucket, Fault, Server, set_aws_credentials

DAY, START = date(2026, 10, 7), datetime(2026, 10, 7, tzinfo=UTC)
NOW, LATER = datetime(2026, 10, 8, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0"
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWNER = "111122223333"


def build_key(hour: int) -> str:
    return f"out/{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}/results.jsonl"


def build_line(at: datetime, sensors: int = 2) -> dict[str, Any]:
    return {
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000000",
        "prediction": 1,
        "prediction_reason": "ANOMALY_DETECTED",
        "anomaly_score": 0.75,
        "diagnostics": [{"name": f"p\\s{number}", "value": number / 1e5} for number in range(sensors)],
    }


def build_body(*lines: dict[str, Any]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def write_executions(lake: Lake, bucket: str, hours: int, source: str = "api") -> None:
    """Write a day with one successful execution per hour."""
    rows = [
        {
            "scheduler_arn": ARN,
            "scheduler_name": "pump-1",
            "account_id": "111122223333",
            "region": "eu-west-1",
            "data_start_time": START + timedelta(hours=hour),
            "status": "SUCCESS",
            "result_s3_bucket": bucket,
            "result_s3_key": build_key(hour),
            "source": source,
            "outcome_source": source,
            "recorded_at": NOW,
        }
        for hour in range(hours)
    ]
    nullable = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    executions = conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(rows, schema=nullable))
    lake.update(INFERENCE_EXECUTIONS, DAY, lambda _: executions)


def record(lake: Lake, now: datetime = NOW, **options: Any) -> RecordedResults:
    return record_results(
        lake, ResultFetcher(AwsAccess(), limits=FetchLimits(concurrency=4), **options), DAY, now
    )


def describe_unread_objects(recorded: RecordedResults, days: int = 1) -> list[str]:
    unread = UnreadObjects()
    for number in range(days):
        unread.add(str(DAY + timedelta(number)), recorded)
    return unread.describe()


def read_states(lake: Lake) -> dict[int, tuple[str, str | None]]:
    """Return state and error of each object, by hour."""
    rows = lake.read(RESULT_OBJECTS, DAY).to_pylist()
    return {row["data_start_time"].hour: (row["state"], row["error"]) for row in rows}


def build_refusal(hour: int, status: str, code: str, message: str, times: int = 1) -> Fault:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    about = f"{START + timedelta(hours=hour):%Y-%m-%dT%H}"
    return Fault("GET", status, text, times=times, path_part=about)


REFUSALS = {
    ObjectState.FORBIDDEN: ("403 FORBIDDEN", "AccessDenied", "Access Denied"),
    ObjectState.ARCHIVED: ("403 FORBIDDEN", "InvalidObjectState", "it lies in Glacier"),
    ObjectState.KEY_MISSING: ("400 BAD REQUEST", "KMS.DisabledException", f"{KMS} is disabled."),
    ObjectState.UNREACHABLE: ("500 INTERNAL SERVER ERROR", "InternalError", "out of order", 1000),
}
"""The refusals of the hours from 2 on; the object of hour 0 can be read, that of hour 1 does not exist."""


def test_unread_objects_are_counted_and_described_by_state_and_read_by_the_next_run(
    lake: Lake, bucket: Bucket, s3: Server
) -> None:
    write_executions(lake, bucket.name, 6)
    for hour in (0, 2, 3, 4, 5):
        bucket.put(build_key(hour), build_body(build_line(START + timedelta(hours=hour, minutes=5))))
    s3.faults += [build_refusal(hour, *REFUSALS[state]) for hour, state in enumerate(REFUSALS, 2)]

    recorded = record(lake)

    states = [ObjectState.READ, ObjectState.MISSING, *REFUSALS]
    assert recorded.states == Counter(states)
    recorded_states = read_states(lake)
    assert [recorded_states[hour][0] for hour in range(6)] == [state.value for state in states]
    assert recorded_states[1][1] and "NoSuchKey" in recorded_states[1][1]
    kms_error = recorded_states[4][1]
    assert kms_error and kms_error.startswith(f"its KMS key {KMS} cannot be used")
    for hour, state in enumerate(REFUSALS, 2):
        assert REFUSALS[state][1] in (recorded_states[hour][1] or "")
        reason = state.value.replace("_", " ")
        description = f"1 result object not read ({reason}) on 1 day ({DAY}), for example"
        assert f"{description} s3://{bucket.name}/{build_key(hour)}" in " ".join(
            describe_unread_objects(recorded)
        )
    assert lake.read(ANOMALY_PREDICTIONS, DAY)["data_start_time"].to_pylist() == [START]

    s3.faults.clear()
    bucket.put(build_key(1), build_body(build_line(START + timedelta(hours=1, minutes=5))))
    again = record(lake, LATER)

    assert again.states == {ObjectState.UNCHANGED: 1, ObjectState.READ: 5}
    assert {state for state, _ in read_states(lake).values()} == {"read"}
    assert lake.read(ANOMALY_PREDICTIONS, DAY).num_rows == 6
    assert describe_unread_objects(again) == []


def test_a_result_that_changes_after_it_was_read_is_reported(lake: Lake, bucket: Bucket) -> None:
    """A second scheduler with the same times and output prefix overwrites results."""
    write_executions(lake, bucket.name, 2)
    for hour in range(2):
        bucket.put(build_key(hour), build_body(build_line(START + timedelta(hours=hour, minutes=5))))
    assert describe_unread_objects(record(lake)) == []

    bucket.put(build_key(1), build_body(build_line(START + timedelta(hours=1, minutes=10))))
    again = record(lake, LATER)

    (message,) = describe_unread_objects(again)
    assert message.startswith(
        f"1 result objects changed after they were read, such as s3://{bucket.name}/{build_key(1)}."
    )
    assert "second scheduler" in message


def test_rows_of_objects_that_become_unreadable_stay(lake: Lake, bucket: Bucket, s3: Server) -> None:
    write_executions(lake, bucket.name, 5)
    for hour in range(5):
        bucket.put(build_key(hour), build_body(build_line(START + timedelta(hours=hour, minutes=5))))
    record(lake)
    before = lake.read(ANOMALY_PREDICTIONS, DAY), lake.read(SENSOR_CONTRIBUTIONS, DAY)
    for hour in range(5):  # all objects change, and only the first can be read
        bucket.put(build_key(hour), build_body(build_line(START + timedelta(hours=hour, minutes=6))))
    s3.faults += [build_refusal(hour, *REFUSALS[state]) for hour, state in enumerate(REFUSALS, 1)]

    recorded = record(lake, LATER)

    assert recorded.states == Counter([ObjectState.READ, *REFUSALS])
    for table, rows in zip((ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS), before, strict=True):
        after = lake.read(table, DAY)
        unread_after, unread_before = (
            version.filter(pc.greater(version["data_start_time"], START)) for version in (after, rows)
        )
        assert unread_after.equals(unread_before)
        assert after.num_rows == rows.num_rows and not after.equals(rows)


def test_nothing_is_read_from_a_bucket_of_another_account(lake: Lake, bucket: Bucket, s3: Server) -> None:
    write_executions(lake, bucket.name, 2)
    for hour in range(2):
        bucket.put(build_key(hour), build_body(build_line(START + timedelta(hours=hour))))
    s3.fail_next("HEAD", "403 FORBIDDEN")
    s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied")

    recorded = record(lake, expected_bucket_owner=OWNER)

    assert recorded.states == {ObjectState.WRONG_OWNER: 2}
    assert all(
        f"does not belong to account {OWNER}" in (error or "") for _, error in read_states(lake).values()
    )
    assert not lake.read(ANOMALY_PREDICTIONS, DAY).num_rows
    (message,) = describe_unread_objects(recorded, days=3)
    last = DAY + timedelta(2)
    expected = f"6 result objects not read (wrong owner) on 3 days ({DAY} to {last}), for example s3://"
    assert message.startswith(expected)


@pytest.mark.parametrize(("source", "state"), [("archive", "not_allowed"), ("api", "read")])
def test_a_file_cannot_name_any_bucket(
    lake: Lake, bucket: Bucket, s3: Server, source: str, state: str
) -> None:
    write_executions(lake, bucket.name, 1, source)
    bucket.put(build_key(0), build_body(build_line(START)))
    s3.requests.clear()

    recorded = record(lake, allowed_buckets=AllowedBuckets())

    assert {state for state, _ in read_states(lake).values()} == {state}
    assert recorded.predictions.rows.num_rows == (state == "read")
    if state == "not_allowed":
        assert s3.requests == []
        (message,) = describe_unread_objects(recorded)
        assert message.endswith(f'"{bucket.name}" is not in results.allowed_buckets')


def test_without_credentials_the_state_of_each_object_says_so(
    lake: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_executions(lake, bucket.name, 3)
    bucket.put(build_key(0), build_body(build_line(START)))
    record(lake)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    recorded = record(lake, LATER)

    assert recorded.states == {ObjectState.NO_CREDENTIALS: 3}
    assert all("usable AWS credentials" in (error or "") for _, error in read_states(lake).values())
    assert lake.read(ANOMALY_PREDICTIONS, DAY).num_rows == 1, "rows that were read stay"
    assert count_results(recorded)["anomalous"] == 1


def test_without_a_read_object_nothing_is_counted_in_objects(lake: Lake, bucket: Bucket) -> None:
    write_executions(lake, bucket.name, 3, "archive")
    counts = count_results(record(lake, allowed_buckets=AllowedBuckets()))

    assert (counts["objects"], counts["objects_read"], counts["objects_not_allowed"]) == (3, 0, 3)
    assert not counts.keys() & {"lines", "anomalous", "contributions", "rejected"}

    for hour in range(3):
        bucket.put(build_key(hour), b"")
    counts = count_results(record(lake))
    assert (counts["objects_read"], counts["lines"], counts["anomalous"]) == (3, 0, 0)


def test_captured_objects_are_recorded_with_the_captured_values(
    lake: Lake, bucket: Bucket, captures: Path
) -> None:
    files = sorted((captures.parent / "results").glob("*.jsonl"))
    write_executions(lake, bucket.name, len(files))
    for hour, file in enumerate(files):
        bucket.put(build_key(hour), file.read_bytes())

    recorded = record(lake)

    assert recorded.states == {ObjectState.READ: len(files)}
    assert not recorded.rejected.rows.num_rows
    rows, shares = lake.read(ANOMALY_PREDICTIONS, DAY), lake.read(SENSOR_CONTRIBUTIONS, DAY)
    for hour, file in enumerate(files):
        of_file = pa.scalar(START + timedelta(hours=hour), INSTANT)
        file_rows = rows.filter(pc.equal(rows["data_start_time"], of_file)).to_pylist()
        file_shares = shares.filter(pc.equal(shares["data_start_time"], of_file)).to_pylist()
        captured = [json.loads(line) for line in file.read_text().splitlines()]
        names = ("prediction", "prediction_reason", "anomaly_score")
        assert {row["timestamp"]: [row[name] for name in names] for row in file_rows} == {
            parse_time(line): [line.get(name) for name in names] for line in captured
        }
        assert {
            (row["timestamp"], row["diagnostic_name"], row["component"], row["sensor"]): row["contribution"]
            for row in file_shares
        } == {
            (parse_time(line), share["name"], *share["name"].split("\\", 1)): share["value"]
            for line in captured
            for share in line.get("diagnostics", ())
        }


def parse_time(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC)


def test_the_largest_possible_object_is_recorded_without_its_invalid_line(lake: Lake, bucket: Bucket) -> None:
    write_executions(lake, bucket.name, 1)
    first = build_body(build_line(START, sensors=300))
    lines = [first.replace(b"T00:00:00.", b"T00:%02d:%02d." % divmod(second, 60)) for second in range(3600)]
    lines[1800] = b'{"timestamp": "2026-10-07T00:30:00.000000", "predi\n'
    bucket.put(build_key(0), gzip.compress(b"".join(lines), 1))

    recorded = record(lake)

    assert recorded.contributions == 3599 * 300
    rows = lake.read(ANOMALY_PREDICTIONS, DAY)
    assert pc.count_distinct(rows["timestamp"]).as_py() == rows.num_rows == 3599
    (rejected,) = lake.read(REJECTED_RESULTS, DAY).to_pylist()
    assert (rejected["result_s3_bucket"], rejected["result_s3_key"]) == (bucket.name, build_key(0))
    assert (rejected["line_number"], rejected["raw"]) == (1801, lines[1800].decode().strip())
    shares = lake.read(SENSOR_CONTRIBUTIONS, DAY, ["component", "sensor", "contribution"])
    sums = shares.group_by(["component", "sensor"]).aggregate(
        [("contribution", "sum"), ("contribution", "count")]
    )
    assert {(row["component"], row["sensor"]): row["contribution_count"] for row in sums.to_pylist()} == {
        ("p", f"s{number}"): 3599 for number in range(300)
    }
    assert {row["sensor"]: pytest.approx(row["contribution_sum"] / 3599) for row in sums.to_pylist()} == {
        f"s{number}": number / 1e5 for number in range(300)
    }


def test_an_object_beyond_the_limit_is_rejected_and_read_once_the_limit_is_raised(
    lake: Lake, bucket: Bucket
) -> None:
    write_executions(lake, bucket.name, 2)
    small, large = (build_body(build_line(START, sensors)) for sensors in (1, 100))
    bucket.put(build_key(0), small)
    bucket.put(build_key(1), large)
    for _ in range(2):
        recorded = record(lake, read_limits=ReadLimits(size_bytes=1_000))
        assert recorded.predictions.rows.num_rows == 1
        (rejected,) = lake.read(REJECTED_RESULTS, DAY).to_pylist()
        assert (rejected["result_s3_key"], rejected["line_number"]) == (build_key(1), 0)
        assert "limits.max_megabytes_per_file" in rejected["reason"]
    recorded = record(lake)
    assert recorded.predictions.rows.num_rows == 2
    assert recorded.rejected.rows.num_rows == 0


class MemoryFetcher(ResultFetcher):
    """Returns objects from memory."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        super().__init__(AwsAccess())
        self._objects = objects

    def fetch(self, requests: Sequence[ResultRequest]) -> Iterator[list[FetchedResult]]:
        yield [
            FetchedResult(request, ObjectState.READ, self._objects[request.key], "etag")
            for request in requests
        ]


@pytest.mark.parametrize(
    "examples", [10, pytest.param(40, marks=pytest.mark.slow), pytest.param(3_000, marks=pytest.mark.long)]
)
def test_a_damaged_object_affects_no_other_object_of_the_day(
    examples: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = build_body(*(build_line(START + timedelta(minutes=minute)) for minute in range(4)))
    times = [b"0001-01-01T00:00:00.0005", b"9999-12-31T23:59:59.9994", b"1969-12-31T23:59:59.9999"]

    @given(damaged(st.sampled_from([body, gzip.compress(body)])), st.none() | st.sampled_from(times))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def check(data: bytes, time: bytes | None) -> None:
        if time:
            data = data.replace(b"2026-10-07T00:01:00.000000", time)
        lake = Lake(str(tmp_path_factory.mktemp("fuzz")))
        write_executions(lake, "bucket", 3)
        fetcher = MemoryFetcher({build_key(0): body, build_key(1): data, build_key(2): body})
        recorded = record_results(lake, fetcher, DAY, NOW)
        hours = [at.hour for at in recorded.predictions.rows["data_start_time"].to_pylist()]
        assert (hours.count(0), hours.count(2)) == (4, 4)
        assert read_states(lake)[1] == ("read", None)
        assert {at.hour for at in recorded.rejected.rows["data_start_time"].to_pylist()} <= {1}
        build_fragments(recorded.predictions.rows, [lake.read(SENSOR_CONTRIBUTIONS, DAY)])

    check()


# --- Days in several files ---------------------------------------------------------------------------------

ARNS = [f"{ARN}{number}" for number in range(6)]
TABLES = (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)


class ChangingFetcher(ResultFetcher):
    """Returns objects of several schedulers from memory; those without content cannot be reached."""

    def __init__(self, objects: Mapping[str, bytes | None]) -> None:
        super().__init__(AwsAccess())
        self._objects = objects

    def fetch(self, requests: Sequence[ResultRequest]) -> Iterator[list[FetchedResult]]:
        for request in requests:
            data = self._objects[request.key]
            tag = str(hash(data))
            state = ObjectState.UNCHANGED if request.etag == tag else ObjectState.READ
            if data is None:
                state = ObjectState.UNREACHABLE
            read = (data, tag) if state is ObjectState.READ else (None, None)
            yield [FetchedResult(request, state, *read)]


def write_fleet(lake: Lake, hours: int) -> dict[str, bytes | None]:
    """Write executions of several schedulers, and return the objects that they name."""
    write_executions(lake, "bucket", hours)
    rows = lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist()
    fleet = [
        row | {"scheduler_arn": arn, "result_s3_key": f"{number}/{row['result_s3_key']}"}
        for number, arn in enumerate(ARNS)
        for row in rows
    ]
    executions = conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(fleet, INFERENCE_EXECUTIONS.schema))
    lake.update(INFERENCE_EXECUTIONS, DAY, lambda _: executions)
    return {
        row["result_s3_key"]: build_body(build_line(row["data_start_time"], number % 4)) + b"not JSON\n"
        for number, row in enumerate(fleet)
    }


def test_a_day_in_several_files_has_the_rows_and_counts_of_a_day_in_one(tmp_path: Path) -> None:
    lakes = [Lake(str(tmp_path / str(shards)), shards=shards) for shards in (1, 4)]
    for now in (NOW, NOW + timedelta(hours=1)):
        objects = write_fleet(lakes[0], 2)
        assert write_fleet(lakes[1], 2) == objects
        if now > NOW:
            changed, unreached = list(objects)[:2]
            objects |= {changed: build_body(build_line(START, 3)), unreached: None}
        counts = []
        for lake in lakes:
            counts.append(Counter[str]())
            for recorded in record_shards(lake, ChangingFetcher(objects), DAY, now):
                counts[-1].update(count_results(recorded))
        assert counts[0] == counts[1]
        for table in TABLES:
            assert lakes[1].read(table, DAY).equals(lakes[0].read(table, DAY))
    assert [lake.shards(SENSOR_CONTRIBUTIONS, DAY) for lake in lakes] == [1, 4]
    one, several = (build_day_fragments(lake, DAY) for lake in lakes)
    assert several[0].equals(one[0])
    assert several[1] == one[1]
    assert one[0]["contribution_sums"].null_count < one[0].num_rows
    assert counts[1]["objects_read"] == 1


def test_a_day_of_several_files_fails_only_if_no_object_can_be_reached(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), shards=4)
    objects = dict.fromkeys(write_fleet(lake, 1))
    with pytest.raises(RetryLaterError, match="Cannot reach any"):
        list(record_shards(lake, ChangingFetcher(objects), DAY, NOW))
    assert set(lake.read(RESULT_OBJECTS, DAY)["state"].to_pylist()) == {ObjectState.UNREACHABLE}
    assert lake.read(RESULT_OBJECTS, DAY).num_rows == len(objects)
    assert not lake.has(ANOMALY_PREDICTIONS, DAY)

    reached = next(iter(objects))
    recorded = list(record_shards(lake, ChangingFetcher(objects | {reached: b"{}"}), DAY, NOW))

    assert sum((each.states for each in recorded), Counter()) == {
        ObjectState.READ: 1,
        ObjectState.UNREACHABLE: len(objects) - 1,
    }


@pytest.mark.parametrize("share", ["x", "4/4", "1/0", "-1/2", "1/2/3"])
def test_an_invalid_share_is_named(share: str) -> None:
    with pytest.raises(ConfigurationError, match="it is not K/N with K below N"):
        ResultsConfig(share=share).parse_share()


def test_no_credentials_of_an_endpoint_are_recorded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write_executions(lake, "plant", hours=1)
    set_aws_credentials(monkeypatch)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://operator:Hunter2xPass@127.0.0.1:9")
    with pytest.raises(RetryLaterError) as caught:
        record_results(lake, ResultFetcher(AwsAccess()), DAY, NOW)
    (error,) = lake.read(RESULT_OBJECTS, DAY)["error"].to_pylist()
    assert "Could not connect" in error
    assert "Hunter2xPass" not in error + str(caught.value)


def test_credentials_that_cannot_be_used_are_recorded_as_the_reason(lake: Lake, bucket: Bucket) -> None:
    write_executions(lake, bucket.name, hours=2)
    fetcher = ResultFetcher(AwsAccess(profile="no-such-profile"))
    with pytest.raises(ConfigurationError, match="profile"):
        record_results(lake, fetcher, DAY, NOW)
    assert set(lake.read(RESULT_OBJECTS, DAY)["state"].to_pylist()) == {ObjectState.NO_CREDENTIALS}
