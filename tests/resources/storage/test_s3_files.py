"""Files of a source in S3: listed like a folder, identified by ETag, and never skipped silently."""

from datetime import UTC, datetime
from typing import Any

import pytest

from resources.errors import (
    ConfigurationError,
    DataError,
    PermissionsError,
    RetryLaterError,
    UnreadableArchiveError,
)
from resources.read_limits import ReadLimits
from resources.sources.archive import ArchiveSource
from resources.storage.base import StoredFile
from resources.storage.open import open_file_store
from resources.storage.s3_files import S3Files
from tests.support.s3_server import EXTERNAL_ENDPOINT, Fault


def list_keys(bucket: Any, below: str) -> list[str]:
    """The keys of the files listed at a URI."""
    uri = bucket.uri + below
    return [file.uri.removeprefix(f"{bucket.uri}/") for file in open_file_store(uri).list_files(uri)]


def read(uri: str) -> bytes:
    store = open_file_store(uri)
    (file,) = store.list_files(uri)
    return store.read(file)


def test_all_objects_below_a_prefix_are_listed_in_order(bucket: Any) -> None:
    for key in ("dumps/b", "dumps/a/z", "dumps/a/y/x", "dumps/c.json", "dumps/A", "dumps-old/x", "other"):
        bucket.put(key)
    below = ["dumps/A", "dumps/a/y/x", "dumps/a/z", "dumps/b", "dumps/c.json"]
    assert list_keys(bucket, "/dumps/") == list_keys(bucket, "/dumps") == below
    assert list_keys(bucket, "") == list_keys(bucket, "/") == sorted([*below, "dumps-old/x", "other"])


def test_hidden_names_and_folder_markers_are_skipped(bucket: Any) -> None:
    for key in ("_top/.a", "_top/_b", "_top/_tmp/d", "_top/sub/.e", "_top/sub/", "_top/", "_top/sub/g"):
        bucket.put(key)
    assert list_keys(bucket, "/_top") == ["_top/sub/g"]


def test_a_prefix_with_only_a_folder_marker_has_no_files(bucket: Any) -> None:
    bucket.put("dumps/", b"")
    assert list_keys(bucket, "/dumps/") == []
    assert list_keys(bucket, "") == []


@pytest.mark.parametrize(
    "key",
    [
        "x.json",
        "dumps/2026-10-06T12:00:00Z.json",
        "dumps/100%25 ok?a=b&c#d+e.json",
        "dumps/Öfen/ß\u2028.json",
        "/leading//double.json",
        ".hidden",
    ],
)
def test_a_uri_names_one_object_whatever_characters_its_key_has(bucket: Any, key: str) -> None:
    if EXTERNAL_ENDPOINT and key.startswith("/"):
        pytest.skip("SeaweedFS keeps keys as paths, without empty names")
    bucket.put(key, b"content")
    bucket.put(key + ".bak", b"another")
    uri = f"{bucket.uri}/{key}"
    assert [file.uri for file in open_file_store(uri).list_files(uri)] == [uri]
    assert read(uri) == b"content"


def test_a_name_that_is_an_object_and_a_prefix_lists_both(bucket: Any) -> None:
    for key in ("dumps", "dumps/a"):
        bucket.put(key)
    assert list_keys(bucket, "/dumps") == ["dumps", "dumps/a"]


def test_all_pages_of_a_listing_are_read(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")
    for number in range(45):
        bucket.put(f"dumps/{number:02}.json")
    assert len(list_keys(bucket, "/dumps")) == 45


def test_a_file_is_identified_by_size_and_etag(bucket: Any) -> None:
    uri = f"{bucket.uri}/a"
    bucket.put("a", b"four")
    (before,) = open_file_store(uri).list_files(uri)
    assert before == StoredFile(uri, 4, "8cbad96aced40b3838dd9f07f6ef5772")
    bucket.put("a", b"five")
    assert open_file_store(uri).list_files(uri) != [before]
    assert open_file_store(bucket.uri).list_files(bucket.uri) == open_file_store(uri).list_files(uri)


@pytest.mark.parametrize("below", ["/none", "/none/", "/dump", "/dumps/a/"])
def test_a_prefix_without_objects_raises_an_error(bucket: Any, below: str) -> None:
    bucket.put("dumps/a")
    uri = bucket.uri + below
    with pytest.raises(ConfigurationError, match="no object exists there") as caught:
        open_file_store(uri).list_files(uri)
    assert caught.value.where == f"sources.uri = {uri}"
    assert "correct the uri in ledger.toml" in caught.value.next_step


def test_a_missing_bucket_raises_an_error(s3: Any) -> None:
    del s3
    with pytest.raises(ConfigurationError, match="NoSuchBucket") as caught:
        open_file_store("s3://no-such-bucket/x").list_files("s3://no-such-bucket/x")
    assert "correct sources.uri" in caught.value.next_step


def test_a_deleted_object_is_unreadable(bucket: Any) -> None:
    with pytest.raises(UnreadableArchiveError, match="Cannot open a file: it no longer exists") as caught:
        S3Files(bucket.uri).read(StoredFile(f"{bucket.uri}/gone", 1, "x"))
    assert caught.value.where == f"{bucket.uri}/gone"


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "KMS.DisabledException"])
def test_an_object_without_permission_is_unreadable(bucket: Any, code: str) -> None:
    bucket.server.fail_next("GET", "403 Forbidden", code)
    with pytest.raises(UnreadableArchiveError, match=f"Cannot read from S3: {code}"):
        S3Files(bucket.uri).read(StoredFile(f"{bucket.uri}/a", 1, "x"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("400 Bad Request", "ExpiredToken", PermissionsError),
        ("503 Slow Down", "SlowDown", RetryLaterError),
        ("404 Not Found", "NoSuchBucket", ConfigurationError),
    ],
)
def test_an_error_of_the_whole_bucket_is_not_reported_for_one_object(
    bucket: Any, status: str, code: str, kind: type[Exception]
) -> None:
    """Otherwise a run would record every file as unreadable, and succeed."""
    bucket.server.fail_next("GET", status, code)
    with pytest.raises(kind, match=code):
        S3Files(bucket.uri).read(StoredFile(f"{bucket.uri}/a", 1, "x"))


def test_an_archive_in_s3_yields_pages(bucket: Any) -> None:
    bucket.put("dumps/a.json", b'[{"DataStartTime": 1}]')
    bucket.put("dumps/notes.md", b"none")
    archive = ArchiveSource(f"{bucket.uri}/dumps")
    (file,) = archive.list_files()
    (page,) = archive.open(file).read_pages(datetime(2026, 1, 1, tzinfo=UTC))
    assert (page.origin, page.body) == (f"{bucket.uri}/dumps/a.json", b'[{"DataStartTime": 1}]')


def test_a_prefix_with_too_many_entries_is_not_listed(bucket: Any) -> None:
    for key in ("d/a", "d/b", "d/c"):
        bucket.put(key)
    uri = f"{bucket.uri}/d/"
    assert len(S3Files(uri, ReadLimits(entries=3)).list_files(uri)) == 3
    with pytest.raises(DataError, match=r"more than 2 entries \(limits.max_entries_per_listing\)") as caught:
        S3Files(uri, ReadLimits(entries=2)).list_files(uri)
    assert caught.value.where == f"sources.uri: {uri}"


def test_empty_pages_without_end_stop_at_the_limit(bucket: Any) -> None:
    for number in range(20):
        token = f"<NextContinuationToken>{number}</NextContinuationToken>"
        page = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>"
        bucket.server.faults.append(Fault("GET", "200 OK", page.encode()))
    with pytest.raises(DataError, match=r"more than 5 pages \(limits.max_pages_per_query\)"):
        S3Files(bucket.uri, ReadLimits(pages=5)).list_files(bucket.uri)
