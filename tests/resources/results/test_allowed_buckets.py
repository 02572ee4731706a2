"""The buckets from which result objects may be read."""

from pathlib import Path
from typing import Any

import pytest

from resources.aws.access import AwsAccess
from resources.config.settings import load_settings
from resources.results.allowed_buckets import AllowedBuckets, find_allowed_buckets
from resources.results.base import ObjectState, ResultRequest
from resources.results.fetcher import ResultFetcher
from tests.support.s3_server import Bucket, Server

ARCHIVE = '[[sources]]\nkind = "archive"\nuri = "{}"\n'
API = '[[sources]]\nkind = "api"\nregion = "eu-west-1"\n'


def load_rule(folder: Path, text: str, **environ: str) -> AllowedBuckets:
    (folder / "ledger.toml").write_text(text)
    return find_allowed_buckets(load_settings(environ, folder))


@pytest.mark.parametrize(
    ("text", "named_by_file", "named_by_service"),
    [
        (ARCHIVE.format("dumps/"), [], ["own", "plant-a", "plant-b"]),
        (ARCHIVE.format("s3://plant-a/dumps"), ["plant-a"], ["own", "plant-a", "plant-b"]),
        (API + '[lake]\nuri = "s3://plant-b/lake"', ["plant-b"], ["own", "plant-a", "plant-b"]),
        (API + '[results]\nallowed_buckets = ["own"]', ["own"], ["own"]),
        (API + '[results]\nallowed_buckets = ["plant-?"]', ["plant-a", "plant-b"], ["plant-a", "plant-b"]),
        (API + "[results]\nallowed_buckets = []", [], []),
        (
            API + '[results]\nallowed_buckets = ["*"]',
            ["own", "plant-a", "plant-b"],
            ["own", "plant-a", "plant-b"],
        ),
    ],
    ids=["local dumps", "dumps in S3", "lake in S3", "named", "pattern", "none", "any"],
)
def test_which_buckets_are_allowed(
    tmp_path: Path, text: str, named_by_file: list[str], named_by_service: list[str]
) -> None:
    rule = load_rule(tmp_path, text)
    buckets = ["own", "plant-a", "plant-b"]

    assert [name for name in buckets if rule.allow(name)] == named_by_file
    assert [name for name in buckets if rule.allow(name, is_named_by_service=True)] == named_by_service


def test_the_environment_names_buckets_with_spaces(tmp_path: Path) -> None:
    rule = load_rule(tmp_path, "", LEDGER_RESULTS__ALLOWED_BUCKETS="plant-a own-*")

    assert rule.patterns == ("plant-a", "own-*")


@pytest.mark.parametrize("name", ["plant-ab", "xplant-a", "PLANT-A", "plant-a\n", "plant-a/../own", ""])
def test_a_name_matches_as_a_whole(name: str) -> None:
    assert not AllowedBuckets(("plant-a",)).allow(name)


def fetch(rule: AllowedBuckets, *requests: ResultRequest, **more: Any) -> dict[str, Any]:
    fetcher = ResultFetcher(AwsAccess(), allowed_buckets=rule, **more)
    return {result.request.key: result for batch in fetcher.fetch(requests) for result in batch}


def test_an_object_of_another_bucket_is_not_requested(bucket: Bucket, s3: Server) -> None:
    bucket.put("secret", b"secret")
    s3.requests.clear()

    result = fetch(AllowedBuckets(), ResultRequest(bucket.name, "secret", "an etag"))["secret"]

    assert (result.state, result.data, s3.requests) == (ObjectState.NOT_ALLOWED, None, [])
    assert result.error == f'bucket not allowed: "{bucket.name}" is not in results.allowed_buckets'


def test_other_objects_are_read(bucket: Bucket) -> None:
    bucket.put("ours", b"a line")

    results = fetch(
        AllowedBuckets(),
        ResultRequest("foreign", "theirs"),
        ResultRequest(bucket.name, "ours", is_named_by_service=True),
    )

    assert {key: result.state for key, result in results.items()} == {
        "theirs": ObjectState.NOT_ALLOWED,
        "ours": ObjectState.READ,
    }


def test_refused_objects_need_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)

    assert fetch(AllowedBuckets(), ResultRequest("foreign", "x"))["x"].state is ObjectState.NOT_ALLOWED
