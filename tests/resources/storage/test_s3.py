"""A lake in S3: requests, conflicts, and errors of S3 and the network."""

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from moto.core.authorization import enable_iam_authentication

from assets.tables import INSTANT, Column, Table
from resources.config.settings import load_settings
from resources.errors import ConfigurationError, LakeContractError, PermissionsError, RetryLaterError
from resources.lake.lake import Lake
from resources.storage.s3 import S3Storage

CHECKOUT = Path(__file__).resolve().parents[3]
DAY = date(2026, 3, 1)
KEY = "lake/readings/data_date=2026-03-01/part-0.parquet"

READINGS = Table(
    name="readings",
    meaning="What the tests write.",
    grain="one reading",
    key=("name",),
    partitioned=True,
    columns=(Column("name", pa.string(), "who", required=True), Column("at", INSTANT, "when")),
)


@pytest.fixture
def lake(bucket: Any) -> Lake:
    return Lake(f"{bucket.uri}/lake", lock_timeout_seconds=20)


def rows(*names: str) -> pa.Table:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return pa.Table.from_pylist([{"name": name, "at": at} for name in names], schema=READINGS.schema)


def adding(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda existing: pa.concat_tables([existing, rows(name)])


def names(lake: Lake) -> list[str]:
    actual: list[str] = lake.read(READINGS, DAY)["name"].to_pylist()
    return actual


# --- Layout and requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "key"),
    [
        ("", "readings/data_date=2026-03-01/part-0.parquet"),
        ("/", "readings/data_date=2026-03-01/part-0.parquet"),
        ("/lake/", KEY),
        ("/a b/c:d/100%25?x#y", "a b/c:d/100%25?x#y/readings/data_date=2026-03-01/part-0.parquet"),
    ],
)
def test_a_prefix_is_a_folder_whatever_characters_it_has(bucket: Any, below: str, key: str) -> None:
    lake = Lake(bucket.uri + below)
    path = lake.update(READINGS, DAY, adding("a")).path
    assert path == f"{bucket.uri}/{key}"
    assert bucket.get(key)[:4] == b"PAR1"
    assert lake.days(READINGS) == [DAY]
    assert lake.files(READINGS).startswith("s3://")


def test_a_lake_in_s3_has_no_root_folder(lake: Lake) -> None:
    assert not lake.is_local
    with pytest.raises(AttributeError, match="is not a folder"):
        lake.root  # noqa: B018


def test_the_days_of_all_listing_pages_are_read(
    lake: Lake, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")
    for number in range(45):
        day = date.fromordinal(DAY.toordinal() - number)
        bucket.put(f"lake/readings/data_date={day}/part-0.parquet")
    assert len(lake.days(READINGS)) == 45


def test_a_read_is_one_request_and_an_update_two(lake: Lake, bucket: Any) -> None:
    lake.update(READINGS, DAY, adding("a"))
    assert [request.method for request in bucket.server.requests] == ["GET", "PUT"]
    bucket.server.requests.clear()
    lake.read(READINGS, DAY, ["name"])
    assert [request.method for request in bucket.server.requests] == ["GET"]


def test_every_write_is_conditional_and_nothing_is_deleted(lake: Lake, bucket: Any) -> None:
    for name in ("a", "b"):
        lake.update(READINGS, DAY, adding(name))
    first, second = (request.headers for request in bucket.server.requests if request.method == "PUT")
    assert first["if-none-match"] == "*"
    assert "if-match" not in first
    assert second["if-match"].startswith('"')
    assert "if-none-match" not in second
    assert not bucket.server.count("DELETE")
    assert not bucket.server.count("POST")


@pytest.mark.usefixtures("s3")
def test_objects_are_encrypted_with_the_configured_key(bucket: Any) -> None:
    for key_id in (None, "alias/plant"):
        Lake(bucket.uri, kms_key_id=key_id).update(READINGS, DAY, adding("a"))
    plain, encrypted = (request.headers for request in bucket.server.requests if request.method == "PUT")
    assert "x-amz-server-side-encryption" not in plain
    assert encrypted["x-amz-server-side-encryption"] == "aws:kms"
    assert encrypted["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/plant"


# --- Concurrency ------------------------------------------------------------------------------------------

WRITER = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
import pyarrow as pa
from datetime import UTC, date, datetime
from assets.tables import INSTANT, Column, Table
from resources.lake.lake import Lake
from resources.config.settings import load_settings

READINGS = Table("readings", "", "", ("name",), (
    Column("name", pa.string(), "who", required=True), Column("at", INSTANT, "when"),
), partitioned=True)

def row(name):
    return pa.Table.from_pylist([{{"name": name, "at": datetime(2026, 3, 1, tzinfo=UTC)}}], READINGS.schema)

lake, day, merges = Lake(sys.argv[1]), date(2026, 3, 1), 0

def add(name):
    def merge(old):
        global merges
        merges += 1
        return pa.concat_tables([old, row(name)])
    lake.update(READINGS, day, merge)
"""

ADD_ROWS = """
for n in range(int(sys.argv[3])):
    add(f"{sys.argv[2]}-{n}")
print(merges)
"""


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, 4])
def test_processes_that_update_the_same_day_lose_no_rows(
    lake: Lake, writers: int, rounds: Callable[[int], int]
) -> None:
    count = rounds(25)
    commands = [
        [sys.executable, "-c", WRITER + ADD_ROWS, lake.uri, str(n), str(count)] for n in range(writers)
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    merges = [int(process.communicate(timeout=3600)[0]) for process in processes]
    assert sorted(names(lake)) == sorted(f"{writer}-{n}" for writer in range(writers) for n in range(count))
    assert sum(merges) > writers * count, "there was no conflict, so the test proves nothing"


ADD_UNTIL_KILLED = """
import os, signal, time
row("loads what the first row needs")
for line in sys.stdin:
    milliseconds, begun = map(int, line.split())
    at_work, started = os.pipe()
    writer = os.fork()  # without repeating the imports
    if not writer:
        for number in range(begun, begun + 10_000):
            add(f"{number:08}")
            os.write(started, b".")
    os.read(at_work, 1)
    time.sleep(milliseconds / 1000)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    os.set_blocking(at_work, False)
    try:
        acknowledged = 1 + len(os.read(at_work, 100_000))
    except BlockingIOError:
        acknowledged = 1
    print(acknowledged, flush=True)
"""


@pytest.mark.slow
def test_a_writer_killed_at_random_times_loses_no_acknowledged_row(
    lake: Lake, rounds: Callable[[int], int]
) -> None:
    chance, begun, expected = random.Random(7), 0, set[str]()  # noqa: S311
    command = [sys.executable, "-c", WRITER + ADD_UNTIL_KILLED, lake.uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdin and killer.stdout
        for _ in range(rounds(10)):
            killer.stdin.write(f"{chance.randrange(200)} {begun}\n")
            killer.stdin.flush()
            acknowledged = int(killer.stdout.readline())
            expected |= {f"{number:08}" for number in range(begun, begun + acknowledged)}
            stored = set(names(lake))
            last = f"{begun + acknowledged:08}"  # it can be stored without an acknowledgment
            assert expected <= stored <= expected | {last}
            begun += 10_000
            expected = stored
        killer.stdin.close()
    assert len(expected) > rounds(10)


def test_a_conflicting_write_is_merged(lake: Lake) -> None:
    lake.update(READINGS, DAY, adding("old"))
    rival = Lake(lake.uri)
    seen: list[list[str]] = []

    def merge(existing: pa.Table) -> pa.Table:
        seen.append(existing["name"].to_pylist())
        if len(seen) < 3:
            rival.update(READINGS, DAY, adding(f"rival-{len(seen)}"))
        return adding("ours")(existing)

    written = lake.update(READINGS, DAY, merge)
    assert seen == [["old"], ["old", "rival-1"], ["old", "rival-1", "rival-2"]]
    assert names(lake) == ["old", "rival-1", "rival-2", "ours"]
    assert written.before["name"].to_pylist() == ["old", "rival-1", "rival-2"]
    assert written.changed


def test_a_conflicting_first_write_is_merged(lake: Lake) -> None:
    def merge(existing: pa.Table) -> pa.Table:
        if not existing.num_rows:
            Lake(lake.uri).update(READINGS, DAY, adding("rival"))
        return adding("ours")(existing)

    lake.update(READINGS, DAY, merge)
    assert names(lake) == ["rival", "ours"]


def test_an_object_that_is_deleted_meanwhile_is_created_again(lake: Lake, bucket: Any) -> None:
    lake.update(READINGS, DAY, adding("old"))

    def merge(existing: pa.Table) -> pa.Table:
        if existing.num_rows:
            bucket.client.delete_object(Bucket=bucket.name, Key=KEY)
        return adding("ours")(existing)

    lake.update(READINGS, DAY, merge)
    assert names(lake) == ["ours"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("409 Conflict", "ConditionalRequestConflict"),
        ("409 Conflict", "OperationAborted"),
        ("412 Precondition Failed", "PreconditionFailed"),
        ("412 Precondition Failed", ""),
    ],
)
def test_every_conflict_response_is_recognized(lake: Lake, bucket: Any, status: str, code: str) -> None:
    bucket.server.fail_next("PUT", status, code)
    assert lake.update(READINGS, DAY, adding("a")).changed
    assert names(lake) == ["a"]
    assert bucket.server.count("PUT") == 2


def test_endless_conflicts_time_out(bucket: Any) -> None:
    lake = Lake(f"{bucket.uri}/lake", lock_timeout_seconds=0.1)
    bucket.server.fail_next("PUT", "409 Conflict", "ConditionalRequestConflict", times=-1)
    with pytest.raises(RetryLaterError, match=r"\d+ conflicts with other writers") as caught:
        lake.update(READINGS, DAY, adding("a"))
    assert caught.value.where == f"lake.uri: {bucket.uri}/{KEY}"


def test_a_lost_response_is_not_a_conflict(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The retry of botocore fails its condition, because the first request has written the object."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    lake = Lake(f"{bucket.uri}/lake")
    lake.update(READINGS, DAY, adding("old"))
    bucket.server.fail_next("PUT", "500 Internal Server Error", "InternalError", after_execution=True)
    written = lake.update(READINGS, DAY, adding("new"))
    assert names(lake) == ["old", "new"]
    assert written.changed
    assert written.before["name"].to_pylist() == ["old"]


# --- Errors -----------------------------------------------------------------------------------------------


def test_a_file_above_the_size_limit_is_not_sent(
    lake: Lake, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.storage.s3.MAX_OBJECT_BYTES", 100)
    with pytest.raises(ConfigurationError, match="S3 accepts at most") as caught:
        lake.update(READINGS, DAY, adding("a"))
    assert KEY in caught.value.where
    assert "local folder" in caught.value.next_step
    assert not bucket.server.count("PUT")


def attempts(lake: Lake) -> list[Callable[[], object]]:
    return [
        lambda: lake.read(READINGS, DAY),
        lambda: lake.update(READINGS, DAY, adding("a")),
        lambda: lake.days(READINGS),
    ]


def test_a_missing_bucket_is_an_error(s3: Any) -> None:
    for attempt in attempts(Lake("s3://no-such-bucket/lake")):
        with pytest.raises(ConfigurationError, match="NoSuchBucket") as caught:
            attempt()
        assert "lake.uri: s3://no-such-bucket/lake/readings" in caught.value.where
        assert s3.url in caught.value.where
        assert "create the bucket, or correct lake.uri" in caught.value.next_step


def test_an_invalid_bucket_name_is_an_error(s3: Any) -> None:
    with pytest.raises(ConfigurationError, match="Invalid bucket name"):
        Lake("s3://no bucket/lake").read(READINGS, DAY)
    assert not s3.requests


@pytest.mark.usefixtures("s3")
def test_invalid_credentials_are_a_permissions_error(lake: Lake) -> None:
    with enable_iam_authentication():
        for attempt in attempts(lake):
            with pytest.raises(PermissionsError, match="usable AWS credentials: InvalidAccessKeyId"):
                attempt()
        with pytest.raises(PermissionsError, match="InvalidAccessKeyId"):
            lake.has(READINGS, DAY)


def test_missing_permissions_are_named(bucket: Any) -> None:
    lake = Lake(bucket.uri, kms_key_id="alias/plant")
    for method, action in (("GET", "s3:GetObject"), ("PUT", "s3:PutObject")):
        bucket.server.fail_next(method, "403 Forbidden", "AccessDenied")
        with pytest.raises(PermissionsError, match=r"Cannot (read from|write to) S3: AccessDenied") as caught:
            lake.update(READINGS, DAY, adding("a"))
        assert action in caught.value.next_step
        assert "kms:GenerateDataKey" in caught.value.next_step


@pytest.mark.usefixtures("new_session")
@pytest.mark.parametrize("kind", ["none at all", "a profile that is not there"])
def test_without_credentials_the_error_says_how_to_set_them(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    if kind == "none at all":
        with pytest.raises(PermissionsError, match="usable AWS credentials") as caught:
            Lake(bucket.uri).read(READINGS, DAY)
        assert "AWS_PROFILE" in caught.value.next_step
    else:
        monkeypatch.setenv("AWS_PROFILE", "missing")
        with pytest.raises(ConfigurationError, match="missing"):
            Lake(bucket.uri).read(READINGS, DAY)


@pytest.mark.parametrize(
    ("status", "code", "kind", "problem"),
    [
        ("503 Slow Down", "SlowDown", RetryLaterError, "S3 is busy: SlowDown"),
        ("500 Internal Server Error", "InternalError", RetryLaterError, "InternalError"),
        ("502 Bad Gateway", "", RetryLaterError, "502"),
        ("400 Bad Request", "RequestTimeout", RetryLaterError, "RequestTimeout"),
        ("429 Too Many Requests", "", RetryLaterError, "429"),
        ("400 Bad Request", "ExpiredToken", PermissionsError, "they have expired: ExpiredToken"),
        ("403 Forbidden", "RequestTimeTooSkewed", PermissionsError, "the clock of this machine is wrong"),
        ("400 Bad Request", "XAmzContentSHA256Mismatch", ConfigurationError, "SHA256Mismatch"),
        ("400 Bad Request", "KMS.DisabledException", PermissionsError, "KMS.DisabledException"),
        ("501 Not Implemented", "NotImplemented", ConfigurationError, "NotImplemented"),
        ("400 Bad Request", "InvalidRequest", ConfigurationError, "S3: InvalidRequest"),
    ],
)
def test_errors_of_s3_are_classified_by_their_fix(
    lake: Lake, bucket: Any, status: str, code: str, kind: type[Exception], problem: str
) -> None:
    for method in ("GET", "PUT"):
        bucket.server.fail_next(method, status, code)
        with pytest.raises(kind, match=problem) as caught:
            lake.update(READINGS, DAY, adding("a"))
        assert KEY in str(caught.value)
    assert not lake.has(READINGS, DAY)


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        ("400 Bad Request", "ExpiredToken", "they have expired"),
        ("403 Forbidden", "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        ("403 Forbidden", "AccessDenied", "AccessDenied"),
    ],
)
def test_the_reason_is_found_if_the_response_has_no_body(
    lake: Lake, bucket: Any, status: str, code: str, problem: str
) -> None:
    lake.update(READINGS, DAY, adding("a"))
    bucket.server.fail_next("HEAD", status, times=-1)
    bucket.server.fail_next("GET", status, code, times=2)
    with pytest.raises(PermissionsError, match=problem):
        lake.has(READINGS, DAY)
    with pytest.raises(PermissionsError, match=problem):
        lake.scan(READINGS)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", "x-amz-checksum-crc32 is not supported"),
        ("400 Bad Request", "InvalidArgument"),
        ("501 Not Implemented", "NotImplemented"),
    ],
)
def test_a_store_that_rejects_checksums_names_the_variable_to_set(
    lake: Lake, bucket: Any, status: str, code: str
) -> None:
    bucket.server.fail_next("PUT", status, code)
    with pytest.raises(ConfigurationError) as caught:
        lake.update(READINGS, DAY, adding("a"))
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in caught.value.next_step


def test_a_bucket_in_another_region_is_an_error(lake: Lake, bucket: Any) -> None:
    bucket.server.fail_next("GET", "301 Moved Permanently", "PermanentRedirect", times=2)
    with pytest.raises(ConfigurationError, match="in another region") as caught:
        lake.read(READINGS, DAY)
    assert "AWS_DEFAULT_REGION" in caught.value.next_step


def test_an_unreachable_endpoint_is_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del s3
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    for attempt in attempts(Lake("s3://plant/lake")):
        with pytest.raises(RetryLaterError, match=r"Cannot reach S3 at http://127\.0\.0\.1:9") as caught:
            attempt()
        assert "AWS_ENDPOINT_URL_S3" in caught.value.next_step


def test_an_invalid_endpoint_is_an_error(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del s3
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
    with pytest.raises(ConfigurationError, match="not a url"):
        Lake("s3://plant/lake").read(READINGS, DAY)


def test_a_truncated_response_is_retried(lake: Lake, bucket: Any) -> None:
    lake.update(READINGS, DAY, adding("a"))
    cut = {"Content-Length": "1000", "ETag": '"x"'}
    bucket.server.fail_next("GET", "200 OK", headers=cut, times=2)
    assert names(lake) == ["a"]
    bucket.server.fail_next("GET", "200 OK", headers=cut, times=3)
    with pytest.raises(RetryLaterError, match="S3: the connection was lost"):
        lake.read(READINGS, DAY)


def test_contract_errors_are_not_translated_into_s3_errors(lake: Lake, bucket: Any) -> None:
    bucket.put(KEY, b"no Parquet")
    with pytest.raises(LakeContractError, match="Cannot read a file of the lake"):
        lake.read(replace(READINGS, version=2), DAY)


# --- Settings ---------------------------------------------------------------------------------------------


def test_the_encryption_key_comes_from_the_settings(tmp_path: Path) -> None:
    environ = {"LEDGER_LAKE__URI": "s3://plant/lake/", "LEDGER_LAKE__KMS_KEY_ID": "alias/plant"}
    lake = load_settings(environ, tmp_path, DAY).lake
    assert (lake.uri, lake.kms_key_id) == ("s3://plant/lake", "alias/plant")
    assert load_settings({}, tmp_path, DAY).lake.kms_key_id is None


def test_an_empty_key_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"lake\.kms_key_id: is empty") as caught:
        load_settings({"LEDGER_LAKE__KMS_KEY_ID": " "}, tmp_path, DAY)
    assert "alias/" in caught.value.next_step


def test_a_local_lake_does_not_import_boto3() -> None:
    """boto3 takes long to import, which would slow down every command."""
    code = "import sys; from resources.lake.lake import Lake; Lake('x'); print('boto3' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True).stdout == b"False\n"


def test_engines_get_the_reason_of_a_refused_bucket(bucket: Any, s3: Any) -> None:
    s3.fail_next("HEAD", "403 FORBIDDEN")
    s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied")
    with pytest.raises(PermissionsError, match="AccessDenied"):
        S3Storage(bucket.uri, timeout_seconds=1).filesystem()
