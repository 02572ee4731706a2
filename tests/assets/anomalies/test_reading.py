"""A day of results out of a real S3 into a real lake: what cannot be read is a fact, and no failed day."""

import gzip
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.anomalies.assets import _oddities as oddities
from assets.anomalies.reading import RecordedResults, record_results
from assets.framework.row_content import conform
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    INSTANT,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from resources.aws.session import AwsAccess
from resources.lake.lake import Lake
from resources.results.fetcher import FetchLimits, ObjectState, ResultFetcher
from tests.resources.conftest import Bucket, Mischief, Server

DAY, START = date(2026, 10, 7), datetime(2026, 10, 7, tzinfo=UTC)
NOW, LATER = datetime(2026, 10, 8, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0"
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWNER = "111122223333"


def key_of(hour: int) -> str:
    return f"out/{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}/results.jsonl"


def a_line(at: datetime, sensors: int = 2) -> dict[str, Any]:
    return {
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000000",
        "prediction": 1,
        "prediction_reason": "ANOMALY_DETECTED",
        "anomaly_score": 0.75,
        "diagnostics": [{"name": f"p\\s{number}", "value": number / 1e5} for number in range(sensors)],
    }


def body(*lines: dict[str, Any]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def named(lake: Lake, bucket: str, hours: int) -> None:
    """A day whose executions succeeded hour by hour."""
    rows = [
        {
            "scheduler_arn": ARN,
            "scheduler_name": "pump-1",
            "account_id": "111122223333",
            "region": "eu-west-1",
            "data_start_time": START + timedelta(hours=hour),
            "status": "SUCCESS",
            "result_s3_bucket": bucket,
            "result_s3_key": key_of(hour),
            "source": "api",
            "outcome_source": "api",
            "recorded_at": NOW,
        }
        for hour in range(hours)
    ]
    nullable = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    of = conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(rows, schema=nullable))
    lake.update(INFERENCE_EXECUTIONS, DAY, lambda _: of)


def read(lake: Lake, now: datetime = NOW, **more: Any) -> RecordedResults:
    return record_results(
        lake, ResultFetcher(AwsAccess(), limits=FetchLimits(concurrency=4), **more), DAY, now
    )


def remembered(lake: Lake) -> dict[int, tuple[str, str | None]]:
    """State and error of each hour's object."""
    rows = lake.read(RESULT_OBJECTS, DAY).to_pylist()
    return {row["data_start_time"].hour: (row["state"], row["error"]) for row in rows}


def refusing(hour: int, status: str, code: str, message: str, times: int = 1) -> Mischief:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    about = f"{START + timedelta(hours=hour):%Y-%m-%dT%H}"
    return Mischief("GET", status, text, times=times, about=about)


REFUSALS = {
    ObjectState.FORBIDDEN: ("403 FORBIDDEN", "AccessDenied", "Access Denied"),
    ObjectState.ARCHIVED: ("403 FORBIDDEN", "InvalidObjectState", "it lies in Glacier"),
    ObjectState.KEY_MISSING: ("400 BAD REQUEST", "KMS.DisabledException", f"{KMS} is disabled."),
    ObjectState.UNREACHABLE: ("500 INTERNAL SERVER ERROR", "InternalError", "out of order", 1000),
}
"""What each of the hours from 2 on meets; that of 0 is read, and that of 1 was never there."""


def test_each_way_of_not_being_read_is_counted_and_named_and_mended_by_the_next_read(
    lake: Lake, bucket: Bucket, s3: Server
) -> None:
    named(lake, bucket.name, 6)
    for hour in (0, 2, 3, 4, 5):
        bucket.put(key_of(hour), body(a_line(START + timedelta(hours=hour, minutes=5))))
    s3.mischief += [refusing(hour, *REFUSALS[state]) for hour, state in enumerate(REFUSALS, 2)]

    recorded = read(lake)

    states = [ObjectState.READ, ObjectState.MISSING, *REFUSALS]
    assert recorded.states == Counter(states)
    told = remembered(lake)
    assert [told[hour][0] for hour in range(6)] == [state.value for state in states]
    assert told[1][1] and "NoSuchKey" in told[1][1]
    assert told[4][1] and told[4][1].startswith(f"its KMS key {KMS} cannot be used")
    for hour, state in enumerate(REFUSALS, 2):
        assert REFUSALS[state][1] in (told[hour][1] or "")
        assert f"1 objects {state.value.replace('_', ' ')}, such as s3://{bucket.name}/{key_of(hour)}" in (
            oddities(recorded)
        )
    assert lake.read(ANOMALY_PREDICTIONS, DAY)["data_start_time"].to_pylist() == [START]

    s3.mischief.clear()
    bucket.put(key_of(1), body(a_line(START + timedelta(hours=1, minutes=5))))
    again = read(lake, LATER)

    assert again.states == {ObjectState.UNCHANGED: 1, ObjectState.READ: 5}
    assert {state for state, _ in remembered(lake).values()} == {"read"}
    assert lake.read(ANOMALY_PREDICTIONS, DAY).num_rows == 6
    assert oddities(again) == ""


def test_what_was_read_before_it_went_out_of_reach_stays(lake: Lake, bucket: Bucket, s3: Server) -> None:
    named(lake, bucket.name, 5)
    for hour in range(5):
        bucket.put(key_of(hour), body(a_line(START + timedelta(hours=hour, minutes=5))))
    read(lake)
    before = lake.read(ANOMALY_PREDICTIONS, DAY), lake.read(SENSOR_CONTRIBUTIONS, DAY)
    for hour in range(5):  # all changed, and one can still be had
        bucket.put(key_of(hour), body(a_line(START + timedelta(hours=hour, minutes=6))))
    s3.mischief += [refusing(hour, *REFUSALS[state]) for hour, state in enumerate(REFUSALS, 1)]

    recorded = read(lake, LATER)

    assert recorded.states == Counter([ObjectState.READ, *REFUSALS])
    for table, rows in zip((ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS), before, strict=True):
        kept = lake.read(table, DAY)
        others, of_others = (one.filter(pc.greater(one["data_start_time"], START)) for one in (kept, rows))
        assert others.equals(of_others)
        assert kept.num_rows == rows.num_rows and not kept.equals(rows)


def test_nothing_is_read_from_a_bucket_of_somebody_else(lake: Lake, bucket: Bucket, s3: Server) -> None:
    named(lake, bucket.name, 2)
    for hour in range(2):
        bucket.put(key_of(hour), body(a_line(START + timedelta(hours=hour))))
    s3.refuse("HEAD", "403 FORBIDDEN", times=2)  # of the bucket, and of one of its objects

    recorded = read(lake, expected_bucket_owner=OWNER)

    assert recorded.states == {ObjectState.WRONG_OWNER: 2}
    assert all(
        f"does not belong to account {OWNER}" in (error or "") for _, error in remembered(lake).values()
    )
    assert not lake.read(ANOMALY_PREDICTIONS, DAY).num_rows
    assert "2 objects wrong owner" in oddities(recorded)


def test_captured_objects_are_recorded_as_they_were_captured(
    lake: Lake, bucket: Bucket, captures: Path
) -> None:
    files = sorted((captures.parent / "results").glob("*.jsonl"))
    named(lake, bucket.name, len(files))
    for hour, file in enumerate(files):
        bucket.put(key_of(hour), file.read_bytes())

    recorded = read(lake)

    assert recorded.states == {ObjectState.READ: len(files)}
    assert not recorded.rejected.rows.num_rows
    rows, shares = lake.read(ANOMALY_PREDICTIONS, DAY), lake.read(SENSOR_CONTRIBUTIONS, DAY)
    for hour, file in enumerate(files):
        of_file = pa.scalar(START + timedelta(hours=hour), INSTANT)
        mine = rows.filter(pc.equal(rows["data_start_time"], of_file)).to_pylist()
        its_shares = shares.filter(pc.equal(shares["data_start_time"], of_file)).to_pylist()
        captured = [json.loads(line) for line in file.read_text().splitlines()]
        names = ("prediction", "prediction_reason", "anomaly_score")
        assert {row["timestamp"]: [row[name] for name in names] for row in mine} == {
            instant(line): [line.get(name) for name in names] for line in captured
        }
        assert {
            (row["timestamp"], row["diagnostic_name"], row["component"], row["sensor"]): row["contribution"]
            for row in its_shares
        } == {
            (instant(line), each["name"], *each["name"].split("\\", 1)): each["value"]
            for line in captured
            for each in line.get("diagnostics", ())
        }


def instant(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC)


def test_the_largest_object_there_can_be_packed_and_with_a_broken_line(lake: Lake, bucket: Bucket) -> None:
    named(lake, bucket.name, 1)
    one = body(a_line(START, sensors=300))
    lines = [one.replace(b"T00:00:00.", b"T00:%02d:%02d." % divmod(second, 60)) for second in range(3600)]
    lines[1800] = b'{"timestamp": "2026-10-07T00:30:00.000000", "predi\n'
    bucket.put(key_of(0), gzip.compress(b"".join(lines), 1))

    recorded = read(lake)

    assert recorded.contributions == 3599 * 300
    rows = lake.read(ANOMALY_PREDICTIONS, DAY)
    assert pc.count_distinct(rows["timestamp"]).as_py() == rows.num_rows == 3599
    (rejected,) = lake.read(REJECTED_RESULTS, DAY).to_pylist()
    assert (rejected["result_s3_bucket"], rejected["result_s3_key"]) == (bucket.name, key_of(0))
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
