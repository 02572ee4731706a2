"""Result objects are read from a local copy, and only from there."""

import os
from pathlib import Path

import pytest

from resources.aws.access import AwsAccess
from resources.read_limits import ReadLimits
from resources.results.fetcher import FetchedResult, ObjectState, ResultFetcher, ResultRequest
from resources.results.local_copy import LocalCopy

KEYS = ["plant/output/2026-09-10T00:00:00Z/results.jsonl", "plant/output/2026-09-10T00:05:00Z/results.jsonl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, key in enumerate(KEYS):
        file = tmp_path / "copy" / key.removeprefix("plant/")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"content %d" % number)
    return tmp_path / "copy"


def fetch(folder: Path, *requests: ResultRequest, limits: ReadLimits | None = None) -> list[FetchedResult]:
    """Fetch from the copy; there are no credentials and no S3."""
    copy = LocalCopy("bucket", "plant/", folder, limits or ReadLimits())
    fetcher = ResultFetcher(AwsAccess(profile="no-such-profile"), copies=[copy])
    results = [result for batch in fetcher.fetch(requests) for result in batch]
    return sorted(results, key=lambda result: result.request.key)


def test_objects_are_read_from_the_copy_without_credentials(folder: Path) -> None:
    results = fetch(folder, *(ResultRequest("bucket", key) for key in KEYS))
    assert [(result.state, result.data) for result in results] == [
        (ObjectState.READ, b"content 0"),
        (ObjectState.READ, b"content 1"),
    ]
    assert {result.last_modified for result in results} == {None}, "a file has the time of the copy"


def test_an_unchanged_file_is_not_read_again(folder: Path) -> None:
    first = fetch(folder, *(ResultRequest("bucket", key) for key in KEYS))
    (folder / KEYS[1].removeprefix("plant/")).write_bytes(b"changed content")
    again = fetch(folder, *(ResultRequest("bucket", result.request.key, result.etag) for result in first))
    assert [(result.state, result.data) for result in again] == [
        (ObjectState.UNCHANGED, None),
        (ObjectState.READ, b"changed content"),
    ]


def test_a_compressed_file_stands_in_for_its_object(folder: Path) -> None:
    file = folder / KEYS[0].removeprefix("plant/")
    file.rename(file.with_name("results.jsonl.gz"))
    (result,) = fetch(folder, ResultRequest("bucket", KEYS[0]))
    assert (result.state, result.data) == (ObjectState.READ, b"content 0")


def test_a_missing_file_is_a_missing_object(folder: Path) -> None:
    (result,) = fetch(folder, ResultRequest("bucket", "plant/output/2026-09-11T00:00:00Z/results.jsonl"))
    assert result.state is ObjectState.MISSING
    assert result.error == f"there is no such file in {folder}"


@pytest.mark.parametrize("path", ["../secret", "output/../../secret", "/etc/hosts", "./secret", ""])
def test_a_key_never_names_a_file_outside_of_the_folder(folder: Path, path: str) -> None:
    (folder.parent / "secret").write_text("secret")
    (result,) = fetch(folder, ResultRequest("bucket", f"plant/{path}"))
    assert (result.state, result.data) == (ObjectState.MISSING, None)


def test_a_large_file_is_rejected(folder: Path) -> None:
    (result,) = fetch(folder, ResultRequest("bucket", KEYS[0]), limits=ReadLimits(size_bytes=5))
    assert (result.state, result.data) == (ObjectState.READ, b"")
    assert "limits.max_megabytes_per_file" in str(result.problem)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="requires POSIX permissions")
def test_a_forbidden_file_is_reported(folder: Path) -> None:
    (folder / KEYS[0].removeprefix("plant/")).parent.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # nothing is forbidden to root
            os.seteuid(65534)
        (result,) = fetch(folder, ResultRequest("bucket", KEYS[0]))
    finally:
        os.seteuid(user)
    assert result.state is ObjectState.FORBIDDEN
    assert "Permission denied" in str(result.error)


def test_a_file_that_cannot_be_examined_is_reported_and_not_listed(folder: Path) -> None:
    key = f"plant/{'x' * 300}"
    (result,) = fetch(folder, ResultRequest("bucket", key))
    assert result.state is ObjectState.UNREACHABLE and "File name too long" in str(result.error)
    copy = LocalCopy("bucket", "plant/", folder)
    assert list(copy.list_objects([key, KEYS[0]])) == [KEYS[0]]
