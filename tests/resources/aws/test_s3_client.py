"""Clients of S3: each request of sources, lake, reports, recordings and settings names the expected owner."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from resources.config.equipment import load_equipment
from resources.config.settings import ArchiveSettings, BucketSettings, LakeSettings, Settings
from resources.config.silences import load_silences
from resources.errors import PermissionsError
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.bucket_listings import ResultReader
from resources.sources.factory import open_source
from resources.storage.recording_store import open_recording_store
from resources.storage.report_store import ReportStore
from tests.support.readings import READINGS, SETTINGS
from tests.support.s3_server import Bucket, Server

OWNER = "111122223333"


def use_archive(uri: str) -> None:
    source = open_source(ArchiveSettings(uri=f"{uri}/in", expected_bucket_owner=OWNER), DEFAULT_LIMITS)
    assert source.files
    saved = source.files.open(source.files.list_files()[0])
    list(saved.read_pages(datetime(2026, 10, 7, tzinfo=UTC)))


def use_bucket_source(uri: str) -> None:
    source = open_source(BucketSettings(uri=f"{uri}/in"), DEFAULT_LIMITS, ResultReader(owner=OWNER))
    assert source.days
    source.days.list_prefixes()


def use_lake(uri: str) -> None:
    lake = Lake.from_settings(Settings(lake=LakeSettings(uri=f"{uri}/lake", expected_bucket_owner=OWNER)))
    lake.update(SETTINGS, None, lambda rows: rows)
    lake.days(READINGS)
    lake.has(SETTINGS)
    lake.dataset(SETTINGS)


def use_listing(uri: str) -> None:
    settings = BucketSettings(uri="s3://results", listing=f"{uri}/keys.txt", expected_bucket_owner=OWNER)
    source = open_source(settings, DEFAULT_LIMITS)
    assert source.days
    source.days.list_prefixes()


def use_report(uri: str) -> None:
    ReportStore(f"{uri}/reports", OWNER).write("page.md", "text")


def use_recording(uri: str) -> None:
    store = open_recording_store(f"{uri}/recording", OWNER)
    store.create("a.warc.gz", b"data")
    assert store.read("a.warc.gz") == b"data"
    assert store.list_names() == ["a.warc.gz"]


def use_registry(uri: str) -> None:
    assert load_equipment(f"{uri}/equipment.toml", OWNER).entries == ()


def use_silences(uri: str) -> None:
    assert load_silences(f"{uri}/silences.toml", OWNER) == []


USERS: dict[str, Callable[[str], None]] = {
    "sources, archive": use_archive,
    "results, bucket": use_bucket_source,
    "lake": use_lake,
    "sources, listing": use_listing,
    "report": use_report,
    "equipment": use_registry,
    "alerts": use_silences,
    "--expected-bucket-owner": use_recording,
}


@pytest.mark.parametrize("user", USERS)
def test_each_request_names_the_expected_owner(bucket: Bucket, s3: Server, user: str) -> None:
    bucket.put("in/2026-10-06T12:00:00Z/results.jsonl", b"{}")
    bucket.put("in/a.json", b"{}")
    bucket.put("keys.txt", b"2026-10-06 12:01:00 2 out/2026-10-06T12:00:00Z/results.jsonl\n")
    s3.requests.clear()

    USERS[user](bucket.uri)

    by_boto3 = [request for request in s3.requests if "boto" in request.headers["user-agent"].lower()]
    assert by_boto3
    assert {request.headers.get("x-amz-expected-bucket-owner") for request in by_boto3} == {OWNER}


@pytest.mark.parametrize("user", USERS)
def test_a_bucket_of_another_account_is_refused_with_the_setting(
    bucket: Bucket, s3: Server, user: str
) -> None:
    for method in ("GET", "HEAD", "PUT"):
        s3.fail_next(method, "403 FORBIDDEN", "AccessDenied", times=-1)

    with pytest.raises(PermissionsError, match="does not belong to account 111122223333") as caught:
        USERS[user](bucket.uri)

    setting = user if user.startswith("--") else f"{user.partition(',')[0]}.expected_bucket_owner"
    assert setting in caught.value.next_step
