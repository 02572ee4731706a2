"""The checks of a lake in S3 by `ledger doctor`, with stores that ignore conditions."""

import pytest

from resources.aws.access import AwsAccess
from resources.diagnostics import Level, check_identity, check_lake
from tests.support.s3_server import Bucket, Server


@pytest.mark.parametrize("had_check", [False, True], ids=["first check", "later check"])
@pytest.mark.parametrize(
    ("ignored", "named"),
    [
        ({"If-Match"}, "If-Match"),
        ({"If-None-Match"}, "If-None-Match"),
        ({"If-Match", "If-None-Match"}, "If-None-Match and If-Match"),
    ],
)
def test_a_store_that_ignores_a_condition_is_refused_each_time(
    bucket: Bucket, ignored: set[str], named: str, had_check: bool
) -> None:
    if had_check:
        assert check_lake(bucket.uri).level is Level.ok
    bucket.server.ignored_headers |= ignored

    for _ in range(2):
        finding = check_lake(bucket.uri)
        assert (finding.level, named in finding.message) == (Level.fail, True), finding


def test_a_store_with_both_conditions_passes_each_time(bucket: Bucket) -> None:
    assert [check_lake(f"{bucket.uri}/lake").level for _ in range(2)] == [Level.ok, Level.ok]


def test_an_unreachable_sts_is_a_warning(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    finding = check_identity(AwsAccess("eu-west-1"), "api")
    assert finding.level is Level.warn and "Cannot reach STS" in finding.message
