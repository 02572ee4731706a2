"""Saved responses in S3: found as in a folder, told apart, and never skipped in silence."""

from datetime import UTC, datetime
from typing import Any

import pytest

from resources.errors import ConfigurationError, PermissionsError, RetryLaterError, UnreadableArchiveError
from resources.sources.archive import ArchiveSource
from resources.storage.files import StoredFile, open_store
from resources.storage.files_s3 import S3Files


def found(bucket: Any, below: str) -> list[str]:
    """What is found at a uri, by its key."""
    uri = bucket.uri + below
    return [file.uri.removeprefix(f"{bucket.uri}/") for file in open_store(uri).find(uri)]


def read(uri: str) -> bytes:
    store = open_store(uri)
    (file,) = store.find(uri)
    return store.read(file)


def test_everything_below_a_prefix_is_found_in_order(bucket: Any) -> None:
    for key in ("dumps/b", "dumps/a/z", "dumps/a/y/x", "dumps/c.json", "dumps/A", "dumps-old/x", "other"):
        bucket.put(key)
    below = ["dumps/A", "dumps/a/y/x", "dumps/a/z", "dumps/b", "dumps/c.json"]
    assert found(bucket, "/dumps/") == found(bucket, "/dumps") == below
    assert found(bucket, "") == found(bucket, "/") == sorted([*below, "dumps-old/x", "other"])


def test_hidden_names_and_folders_are_passed_over(bucket: Any) -> None:
    for key in ("_top/.a", "_top/_b", "_top/_tmp/d", "_top/sub/.e", "_top/sub/", "_top/", "_top/sub/g"):
        bucket.put(key)
    assert found(bucket, "/_top") == ["_top/sub/g"]


def test_a_prefix_with_nothing_but_its_own_mark_holds_nothing(bucket: Any) -> None:
    bucket.put("dumps/", b"")
    assert found(bucket, "/dumps/") == []
    assert found(bucket, "") == []


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
def test_a_uri_may_name_one_object_whatever_is_in_its_name(bucket: Any, key: str) -> None:
    bucket.put(key, b"content")
    bucket.put(key + ".bak", b"another")
    uri = f"{bucket.uri}/{key}"
    assert [file.uri for file in open_store(uri).find(uri)] == [uri]
    assert read(uri) == b"content"


def test_a_name_that_is_both_object_and_prefix_is_both(bucket: Any) -> None:
    for key in ("dumps", "dumps/a"):
        bucket.put(key)
    assert found(bucket, "/dumps") == ["dumps", "dumps/a"]


def test_many_pages_are_read_to_the_end(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")
    for number in range(45):
        bucket.put(f"dumps/{number:02}.json")
    assert len(found(bucket, "/dumps")) == 45


def test_a_file_is_told_apart_by_size_and_tag(bucket: Any) -> None:
    uri = f"{bucket.uri}/a"
    bucket.put("a", b"four")
    (before,) = open_store(uri).find(uri)
    assert before == StoredFile(uri, 4, "8cbad96aced40b3838dd9f07f6ef5772")
    bucket.put("a", b"five")
    assert open_store(uri).find(uri) != [before]
    assert open_store(bucket.uri).find(bucket.uri) == open_store(uri).find(uri)


@pytest.mark.parametrize("below", ["/none", "/none/", "/dump", "/dumps/a/"])
def test_a_place_where_nothing_is_is_told(bucket: Any, below: str) -> None:
    bucket.put("dumps/a")
    uri = bucket.uri + below
    with pytest.raises(ConfigurationError, match="nothing lies there") as caught:
        open_store(uri).find(uri)
    assert caught.value.where == f"sources.uri = {uri}"
    assert "correct the uri in ledger.toml" in caught.value.next_step


def test_a_bucket_that_is_not_there_is_told(s3: Any) -> None:
    del s3
    with pytest.raises(ConfigurationError, match="NoSuchBucket") as caught:
        open_store("s3://no-such-bucket/x").find("s3://no-such-bucket/x")
    assert "correct sources.uri" in caught.value.next_step


def test_an_object_that_is_gone_is_unreadable(bucket: Any) -> None:
    with pytest.raises(UnreadableArchiveError, match="cannot be opened: it is gone") as caught:
        S3Files(bucket.uri).read(StoredFile(f"{bucket.uri}/gone", 1, "x"))
    assert caught.value.where == f"{bucket.uri}/gone"


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "KMS.DisabledException"])
def test_an_object_that_may_not_be_read_is_unreadable(bucket: Any, code: str) -> None:
    bucket.server.refuse("GET", "403 Forbidden", code)
    with pytest.raises(UnreadableArchiveError, match=f"cannot be opened: S3 refuses: {code}"):
        S3Files(bucket.uri).read(StoredFile(f"{bucket.uri}/a", 1, "x"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("400 Bad Request", "ExpiredToken", PermissionsError),
        ("503 Slow Down", "SlowDown", RetryLaterError),
        ("404 Not Found", "NoSuchBucket", ConfigurationError),
    ],
)
def test_what_concerns_all_objects_is_no_matter_of_one(
    bucket: Any, status: str, code: str, kind: type[Exception]
) -> None:
    """A run that took it for one would put every file down as broken, and end well."""
    bucket.server.refuse("GET", status, code)
    with pytest.raises(kind, match=code):
        S3Files(bucket.uri).read(StoredFile(f"{bucket.uri}/a", 1, "x"))


def test_an_archive_in_s3_gives_pages(bucket: Any) -> None:
    bucket.put("dumps/a.json", b'[{"DataStartTime": 1}]')
    bucket.put("dumps/notes.md", b"none")
    archive = ArchiveSource(f"{bucket.uri}/dumps")
    (file,) = archive.list_files()
    (page,) = archive.read_pages(archive.read(file), datetime(2026, 1, 1, tzinfo=UTC))
    assert (page.origin, page.body) == (f"{bucket.uri}/dumps/a.json", b'[{"DataStartTime": 1}]')
