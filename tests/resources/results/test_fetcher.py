"""Result objects, fetched many at once from a real S3, behind a door that counts and refuses."""

import itertools
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from resources.aws.session import AwsAccess
from resources.errors import PermissionsError
from resources.results.fetcher import FetchedResult, FetchLimits, ObjectState, ResultFetcher, ResultRequest
from tests.support.s3_server import Bucket, Fault, Server

KEYS = [f"out/2026-10-07T{hour:02}:00:00Z/results.jsonl" for hour in range(12)]
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWNER = "111122223333"
OfAPlant = tuple[Server, Path]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for key in KEYS:
        bucket.put(key, key.encode())
    bucket.server.requests.clear()
    return bucket


def fetched(bucket: Bucket, tags: dict[str, str] | None = None, **more: Any) -> dict[str, FetchedResult]:
    results = ResultFetcher(AwsAccess(), limits=FetchLimits(concurrency=4), **more)
    wanted = [ResultRequest(bucket.name, key, (tags or {}).get(key)) for key in KEYS]
    found = [one for load in results.fetch(wanted) for one in load]
    assert sorted(one.request.key for one in found) == KEYS, "each once"
    return {one.request.key: one for one in found}


def states(found: dict[str, FetchedResult]) -> Counter[ObjectState]:
    return Counter(one.state for one in found.values())


def tags_of(found: dict[str, FetchedResult]) -> dict[str, str]:
    return {key: one.etag or "" for key, one in found.items()}


def gets(server: Server, bucket: Bucket) -> int:
    """Requests for objects; a listing is one for the bucket."""
    return sum(one.method == "GET" and one.path != f"/{bucket.name}" for one in server.requests)


class TestReading:
    def test_every_object_comes_once_with_its_content_and_tag(self, filled: Bucket) -> None:
        found = fetched(filled)

        assert states(found) == {ObjectState.READ: len(KEYS)}
        for key, one in found.items():
            assert one.data == key.encode()
            head = filled.client.head_object(Bucket=filled.name, Key=key)
            assert (f'"{one.etag}"', one.last_modified) == (head["ETag"], head["LastModified"])

    def test_what_is_unchanged_costs_one_listing(self, filled: Bucket, s3: Server) -> None:
        tags = tags_of(fetched(filled))
        s3.requests.clear()

        found = fetched(filled, tags)

        assert states(found) == {ObjectState.UNCHANGED: len(KEYS)}
        assert gets(s3, filled) == 0
        assert s3.count("GET") == 1

    def test_what_changed_or_went_is_all_that_costs_more(self, filled: Bucket, s3: Server) -> None:
        tags = tags_of(fetched(filled))
        filled.put(KEYS[3], b"other")
        filled.client.delete_object(Bucket=filled.name, Key=KEYS[5])
        s3.requests.clear()

        found = fetched(filled, tags)

        assert states(found) == {
            ObjectState.UNCHANGED: len(KEYS) - 2,
            ObjectState.READ: 1,
            ObjectState.MISSING: 1,
        }
        assert found[KEYS[3]].data == b"other"
        assert found[KEYS[5]].state is ObjectState.MISSING
        assert gets(s3, filled) == 1

    def test_where_listing_is_forbidden_each_is_asked_whether_it_changed(
        self, filled: Bucket, s3: Server
    ) -> None:
        tags = tags_of(fetched(filled))
        filled.put(KEYS[3], b"other")
        s3.requests.clear()
        s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied")  # the first GET is the listing

        found = fetched(filled, tags)

        assert states(found) == {ObjectState.UNCHANGED: len(KEYS) - 1, ObjectState.READ: 1}
        assert gets(s3, filled) == len(KEYS)

    @pytest.mark.parametrize(
        "key", ["a//b", "/led", "a/./b", "../a", "a/", "til~de", "a b+c%20?#d", "ü/ñ", "a\\b"]
    )
    def test_keys_are_anything(self, bucket: Bucket, key: str) -> None:
        bucket.put(key, b"found")

        ((one,),) = ResultFetcher(AwsAccess()).fetch([ResultRequest(bucket.name, key)])

        assert (one.state, one.data) == (ObjectState.READ, b"found")

        ((again,),) = ResultFetcher(AwsAccess()).fetch([ResultRequest(bucket.name, key, one.etag)])
        assert again.state is ObjectState.UNCHANGED

    @pytest.mark.parametrize("told", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
    def test_an_s3_private_ca_s3s_own_authority_is_read_where_that_is_named(
        self,
        filled: Bucket,
        private_ca_s3: OfAPlant,
        told: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server, bundle = private_ca_s3
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {bundle}\n")
        told_in = str(tmp_path / "config" if told == "ca_bundle" else bundle)
        monkeypatch.setenv("AWS_CONFIG_FILE" if told == "ca_bundle" else told, told_in)

        found = fetched(filled)

        assert states(found) == {ObjectState.READ: len(KEYS)}, found[KEYS[0]].error
        assert server.count("GET") == len(KEYS), "by the same way"

    def test_a_role_is_taken_on_first(
        self, filled: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", s3.url)
        role = AwsAccess(role_arn="arn:aws:iam::111122223333:role/results-reader")

        ((one,),) = ResultFetcher(role).fetch([ResultRequest(filled.name, KEYS[0])])

        assert one.state is ObjectState.READ
        last = s3.requests[-1].headers["authorization"]
        assert "Credential=testing/" not in last
        assert "Credential=" in last


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "code", "message", "state"),
        [
            ("403 FORBIDDEN", "AccessDenied", "Access Denied", ObjectState.FORBIDDEN),
            ("403 FORBIDDEN", "InvalidObjectState", "it lies in Glacier", ObjectState.ARCHIVED),
            (
                "403 FORBIDDEN",
                "AccessDenied",
                f"User: x is not authorized to perform: kms:Decrypt on resource: {KMS}",
                ObjectState.KEY_MISSING,
            ),
            ("400 BAD REQUEST", "KMS.DisabledException", f"{KMS} is disabled.", ObjectState.KEY_MISSING),
            ("404 NOT FOUND", "NoSuchKey", "no such key", ObjectState.MISSING),
        ],
        ids=["forbidden", "archived", "kms denied", "kms disabled", "missing"],
    )
    def test_an_object_that_cannot_be_read_is_a_fact_and_the_others_are_read(
        self, filled: Bucket, s3: Server, status: str, code: str, message: str, state: ObjectState
    ) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        s3.faults.append(Fault("GET", status, body))

        found = fetched(filled)

        assert states(found) == {ObjectState.READ: len(KEYS) - 1, state: 1}
        (one,) = [one for one in found.values() if one.state is state]
        assert one.error is not None
        assert f"{code}: {message}" in one.error
        assert state is not ObjectState.KEY_MISSING or one.error.startswith(
            f"its KMS key {KMS} cannot be used"
        )

    def test_an_s3_that_is_busy_for_a_moment_is_asked_again(self, filled: Bucket, s3: Server) -> None:
        s3.fail_next("GET", "503 SLOW DOWN", "SlowDown", times=3)

        assert states(fetched(filled)) == {ObjectState.READ: len(KEYS)}

    def test_an_s3_that_stays_out_of_order_is_unreachable_in_the_same_words_each_time(
        self, filled: Bucket, s3: Server
    ) -> None:
        s3.fail_next("GET", "500 INTERNAL SERVER ERROR", "InternalError", times=1000)

        found = fetched(filled)

        assert states(found) == {ObjectState.UNREACHABLE: len(KEYS)}
        assert {one.error for one in found.values()} == {"InternalError: said InternalError"}

    def test_a_bucket_that_is_not_there_is_asked_for_once(self, filled: Bucket, s3: Server) -> None:
        found = fetched(Bucket("no-such-bucket", s3, filled.client))

        assert states(found) == {ObjectState.MISSING: len(KEYS)}
        assert found[KEYS[0]].error == "there is no bucket no-such-bucket"
        assert len(s3.requests) == 1

    def test_an_endpoint_that_is_not_there_is_tried_once_and_not_for_each_object(
        self, filled: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

        assert states(fetched(filled)) == {ObjectState.UNREACHABLE: len(KEYS)}

    def test_an_s3_private_ca_s3s_own_authority_is_not_trusted_by_itself(
        self, filled: Bucket, private_ca_s3: OfAPlant
    ) -> None:
        found = fetched(filled)

        assert states(found) == {ObjectState.UNREACHABLE: len(KEYS)}
        assert all("AWS_CA_BUNDLE" in (one.error or "") for one in found.values())
        assert not private_ca_s3[0].requests

    @pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
    def test_a_caller_whom_nobody_knows_is_told_to_log_in(
        self, filled: Bucket, s3: Server, code: str
    ) -> None:
        s3.fail_next("GET", "403 FORBIDDEN", code, times=100)

        with pytest.raises(PermissionsError, match=r"(?s)usable AWS credentials.*aws sso login"):
            fetched(filled)

    def test_no_credentials_at_all(self, filled: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        with pytest.raises(PermissionsError, match="usable AWS credentials"):
            fetched(filled)


class TestOwner:
    def test_a_bucket_of_the_expected_owner_is_read(self, filled: Bucket, s3: Server) -> None:
        assert states(fetched(filled, expected_bucket_owner=OWNER)) == {ObjectState.READ: len(KEYS)}

        (looked,) = [one for one in s3.requests if one.method == "HEAD"]
        assert looked.headers["x-amz-expected-bucket-owner"] == OWNER

    def test_nothing_is_fetched_from_a_bucket_of_anybody_else(self, filled: Bucket, s3: Server) -> None:
        s3.fail_next("HEAD", "403 FORBIDDEN", times=2)  # of the bucket, and of one of its objects

        found = fetched(filled, expected_bucket_owner=OWNER)

        assert states(found) == {ObjectState.WRONG_OWNER: len(KEYS)}
        assert f"does not belong to account {OWNER}" in (found[KEYS[0]].error or "")
        assert s3.count("GET") == 0

    def test_who_may_not_see_the_bucket_has_its_owner_verified_by_an_object(
        self, filled: Bucket, s3: Server
    ) -> None:
        s3.fail_next("HEAD", "403 FORBIDDEN")

        assert states(fetched(filled, expected_bucket_owner=OWNER)) == {ObjectState.READ: len(KEYS)}


class TestMemory:
    @pytest.mark.parametrize("concurrency", [1, 3, 16])
    @pytest.mark.parametrize("sizes", [[10] * 40, [1, 250, 1, 90, 90, 90, 1], [400, 400, 1]], ids=str)
    def test_so_many_bytes_wait_at_most_and_all_come(
        self, bucket: Bucket, sizes: list[int], concurrency: int
    ) -> None:
        wanted = []
        for number, size in enumerate(sizes):
            bucket.put(f"{number}", b"x" * size)
            wanted.append(ResultRequest(bucket.name, f"{number}"))
        limits = FetchLimits(concurrency, load_bytes=60, bytes_in_flight=100)

        loads = list(ResultFetcher(AwsAccess(), limits=limits).fetch(wanted))

        assert sorted(one.size_in_memory for one in itertools.chain(*loads)) == sorted(sizes)
        for load in loads:
            assert (
                sum(one.size_in_memory for one in load) <= 100 or len([one for one in load if one.data]) == 1
            )

    def test_so_many_are_asked_for_at_once_and_no_more(self, bucket: Bucket, s3: Server) -> None:
        wanted = [ResultRequest(bucket.name, f"{number}") for number in range(60)]
        for one in wanted:
            bucket.put(one.key)
        s3.max_concurrency = 0

        loads = list(ResultFetcher(AwsAccess(), limits=FetchLimits(concurrency=3)).fetch(wanted))

        assert sum(map(len, loads)) == 60
        assert 1 < s3.max_concurrency <= 3

    def test_who_turns_away_leaves_nobody_working(self, filled: Bucket) -> None:
        limits = FetchLimits(concurrency=4, load_bytes=1, bytes_in_flight=50)
        loads = ResultFetcher(AwsAccess(), limits=limits).fetch(
            [ResultRequest(filled.name, key) for key in KEYS]
        )
        next(loads)

        assert "results" in {thread.name for thread in threading.enumerate()}
        loads.close()  # type: ignore[attr-defined]

        assert "results" not in {thread.name for thread in threading.enumerate()}
