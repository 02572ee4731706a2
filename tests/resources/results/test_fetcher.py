"""Fetching result objects from an S3 server that counts requests and injects errors."""

import itertools
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from obstore.auth.boto3 import Boto3CredentialProvider

from resources.aws.access import AwsAccess
from resources.clock import monotonic
from resources.errors import PermissionsError, RetryLaterError
from resources.results.base import FetchedResult, ObjectState, ResultRequest
from resources.results.fetcher import FetchLimits, ResultFetcher
from tests.support.s3_server import Bucket, Fault, Server

KEYS = [f"out/2026-10-07T{hour:02}:00:00Z/results.jsonl" for hour in range(12)]
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWNER = "111122223333"
PrivateCaServer = tuple[Server, Path]


@pytest.fixture
def full_bucket(bucket: Bucket) -> Bucket:
    bucket.fill({key: key.encode() for key in KEYS})
    return bucket


def fetch_all(bucket: Bucket, etags: dict[str, str] | None = None, **more: Any) -> dict[str, FetchedResult]:
    fetcher = ResultFetcher(AwsAccess(), limits=FetchLimits(concurrency=4), **more)
    requests = [ResultRequest(bucket.name, key, (etags or {}).get(key)) for key in KEYS]
    results = [result for load in fetcher.fetch(requests) for result in load]
    assert sorted(result.request.key for result in results) == KEYS, "each object once"
    return {result.request.key: result for result in results}


def count_states(results: dict[str, FetchedResult]) -> Counter[ObjectState]:
    return Counter(result.state for result in results.values())


def get_etags(results: dict[str, FetchedResult]) -> dict[str, str]:
    return {key: result.etag or "" for key, result in results.items()}


def count_object_requests(server: Server, bucket: Bucket) -> int:
    """Count the requests for objects, without listings."""
    return sum(request.method == "GET" and request.path != f"/{bucket.name}" for request in server.requests)


class TestReading:
    def test_each_object_is_returned_once_with_content_and_etag(self, full_bucket: Bucket) -> None:
        results = fetch_all(full_bucket)

        assert count_states(results) == {ObjectState.READ: len(KEYS)}
        for key, result in results.items():
            assert result.data == key.encode()
            head = full_bucket.client.head_object(Bucket=full_bucket.name, Key=key)
            assert (f'"{result.etag}"', result.last_modified) == (head["ETag"], head["LastModified"])

    def test_credentials_are_requested_once_for_many_objects(
        self, full_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requested = []
        provide = Boto3CredentialProvider.__call__

        def note_request(provider: Boto3CredentialProvider) -> Any:
            requested.append(provider)
            return provide(provider)

        monkeypatch.setattr(Boto3CredentialProvider, "__call__", note_request)
        fetcher = ResultFetcher(AwsAccess())
        for key in KEYS[:2]:
            [[result]] = fetcher.fetch([ResultRequest(full_bucket.name, key)])
            assert result.state is ObjectState.READ
            time.sleep(0.15)  # obstore keeps credentials that are about to expire for 0.1 s

        assert len(requested) == 1

    def test_unchanged_objects_cost_one_listing(self, full_bucket: Bucket, s3: Server) -> None:
        etags = get_etags(fetch_all(full_bucket))
        s3.requests.clear()

        results = fetch_all(full_bucket, etags)

        assert count_states(results) == {ObjectState.UNCHANGED: len(KEYS)}
        assert count_object_requests(s3, full_bucket) == 0
        assert s3.count("GET") == 1

    def test_only_changed_and_missing_objects_cost_more_requests(
        self, full_bucket: Bucket, s3: Server
    ) -> None:
        etags = get_etags(fetch_all(full_bucket))
        full_bucket.put(KEYS[3], b"other")
        full_bucket.client.delete_object(Bucket=full_bucket.name, Key=KEYS[5])
        s3.requests.clear()

        results = fetch_all(full_bucket, etags)

        assert count_states(results) == {
            ObjectState.UNCHANGED: len(KEYS) - 2,
            ObjectState.READ: 1,
            ObjectState.MISSING: 1,
        }
        assert results[KEYS[3]].data == b"other"
        assert results[KEYS[5]].state is ObjectState.MISSING
        assert count_object_requests(s3, full_bucket) == 1

    def test_conditional_requests_replace_a_forbidden_listing(self, full_bucket: Bucket, s3: Server) -> None:
        etags = get_etags(fetch_all(full_bucket))
        full_bucket.put(KEYS[3], b"other")
        s3.requests.clear()
        s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied")  # the first GET is the listing

        results = fetch_all(full_bucket, etags)

        assert count_states(results) == {ObjectState.UNCHANGED: len(KEYS) - 1, ObjectState.READ: 1}
        assert count_object_requests(s3, full_bucket) == len(KEYS)

    @pytest.mark.parametrize(
        "key", ["a//b", "/led", "a/./b", "../a", "a/", "til~de", "a b+c%20?#d", "ü/ñ", "a\\b"]
    )
    def test_any_key_is_read(self, bucket: Bucket, key: str) -> None:
        bucket.put(key, b"found")

        ((result,),) = ResultFetcher(AwsAccess()).fetch([ResultRequest(bucket.name, key)])

        assert (result.state, result.data) == (ObjectState.READ, b"found")

        ((unchanged,),) = ResultFetcher(AwsAccess()).fetch([ResultRequest(bucket.name, key, result.etag)])
        assert unchanged.state is ObjectState.UNCHANGED

    @pytest.mark.parametrize("source", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
    def test_an_endpoint_with_a_configured_authority_is_read(
        self,
        full_bucket: Bucket,
        private_ca_s3: PrivateCaServer,
        source: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server, bundle = private_ca_s3
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {bundle}\n")
        value = str(tmp_path / "config" if source == "ca_bundle" else bundle)
        monkeypatch.setenv("AWS_CONFIG_FILE" if source == "ca_bundle" else source, value)

        results = fetch_all(full_bucket)

        assert count_states(results) == {ObjectState.READ: len(KEYS)}, results[KEYS[0]].error
        assert server.count("GET") == len(KEYS), "obstore uses the same authority"

    def test_a_role_is_assumed_first(
        self, full_bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", s3.url)
        role = AwsAccess(role_arn="arn:aws:iam::111122223333:role/results-reader")

        ((result,),) = ResultFetcher(role).fetch([ResultRequest(full_bucket.name, KEYS[0])])

        assert result.state is ObjectState.READ
        last = s3.requests[-1].headers["authorization"]
        assert "Credential=testing/" not in last
        assert "Credential=" in last


class TestErrors:
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
    def test_an_unreadable_object_is_reported_and_the_others_are_read(
        self, full_bucket: Bucket, s3: Server, status: str, code: str, message: str, state: ObjectState
    ) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        s3.faults.append(Fault("GET", status, body))

        results = fetch_all(full_bucket)

        assert count_states(results) == {ObjectState.READ: len(KEYS) - 1, state: 1}
        (result,) = [result for result in results.values() if result.state is state]
        assert result.error is not None
        assert f"{code}: {message}" in result.error
        assert state is not ObjectState.KEY_MISSING or result.error.startswith(
            f"its KMS key {KMS} cannot be used"
        )

    def test_a_temporary_error_is_retried(self, full_bucket: Bucket, s3: Server) -> None:
        s3.fail_next("GET", "503 SLOW DOWN", "SlowDown", times=3)

        assert count_states(fetch_all(full_bucket)) == {ObjectState.READ: len(KEYS)}

    def test_a_permanent_error_gives_the_same_message_each_time(
        self, full_bucket: Bucket, s3: Server
    ) -> None:
        s3.fail_next("GET", "500 INTERNAL SERVER ERROR", "InternalError", times=1000)

        results = fetch_all(full_bucket)

        assert count_states(results) == {ObjectState.UNREACHABLE: len(KEYS)}
        assert {result.error for result in results.values()} == {"InternalError: details of InternalError"}

    def test_a_missing_bucket_is_requested_once(self, full_bucket: Bucket, s3: Server) -> None:
        results = fetch_all(Bucket("no-such-bucket", s3, full_bucket.client))

        assert count_states(results) == {ObjectState.MISSING: len(KEYS)}
        assert results[KEYS[0]].error == "there is no bucket no-such-bucket"
        assert len(s3.requests) == 1

    def test_an_unreachable_endpoint_is_tried_once_for_all_objects(
        self, full_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

        assert count_states(fetch_all(full_bucket)) == {ObjectState.UNREACHABLE: len(KEYS)}

    def test_an_endpoint_with_an_unknown_authority_is_not_trusted(
        self, full_bucket: Bucket, private_ca_s3: PrivateCaServer
    ) -> None:
        results = fetch_all(full_bucket)

        assert count_states(results) == {ObjectState.UNREACHABLE: len(KEYS)}
        assert all("AWS_CA_BUNDLE" in (result.error or "") for result in results.values())
        assert not private_ca_s3[0].requests

    @pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
    def test_unknown_credentials_raise_an_error(self, full_bucket: Bucket, s3: Server, code: str) -> None:
        s3.fail_next("GET", "403 FORBIDDEN", code, times=100)

        with pytest.raises(PermissionsError, match=r"(?s)AWS credentials.*aws sso login"):
            fetch_all(full_bucket)

    @pytest.mark.parametrize("owner", [None, OWNER])
    @pytest.mark.parametrize(
        ("status", "code", "problem"),
        [
            ("400 Bad Request", "ExpiredToken", "they have expired"),
            ("403 Forbidden", "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        ],
    )
    def test_a_response_without_a_body_does_not_hide_expired_credentials_or_a_wrong_clock(
        self, full_bucket: Bucket, s3: Server, status: str, code: str, problem: str, owner: str | None
    ) -> None:
        s3.fail_next("HEAD", status, times=-1)
        s3.fail_next("GET", status, code, times=-1)

        with pytest.raises(PermissionsError, match=problem):
            fetch_all(full_bucket, expected_bucket_owner=owner)

    def test_missing_credentials_raise_an_error(
        self, full_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        with pytest.raises(PermissionsError, match="usable AWS credentials"):
            fetch_all(full_bucket)


class TestOwner:
    def test_a_bucket_of_the_expected_owner_is_read(self, full_bucket: Bucket, s3: Server) -> None:
        assert count_states(fetch_all(full_bucket, expected_bucket_owner=OWNER)) == {
            ObjectState.READ: len(KEYS)
        }

        (head_request,) = [request for request in s3.requests if request.method == "HEAD"]
        assert head_request.headers["x-amz-expected-bucket-owner"] == OWNER

    def test_a_bucket_of_another_owner_is_not_read(self, full_bucket: Bucket, s3: Server) -> None:
        s3.fail_next("HEAD", "403 FORBIDDEN")
        s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied")

        results = fetch_all(full_bucket, expected_bucket_owner=OWNER)

        assert count_states(results) == {ObjectState.WRONG_OWNER: len(KEYS)}
        assert f"does not belong to account {OWNER}" in (results[KEYS[0]].error or "")
        assert s3.count("GET") == 1

    def test_each_request_of_boto3_names_the_owner(self, full_bucket: Bucket, s3: Server) -> None:
        full_bucket.put("out//empty-segment")
        s3.requests.clear()
        etags = dict.fromkeys(KEYS, "old")
        fetcher = ResultFetcher(AwsAccess(), expected_bucket_owner=OWNER)
        keys = [*KEYS, "out//empty-segment"]

        list(fetcher.fetch([ResultRequest(full_bucket.name, key, etags.get(key)) for key in keys]))

        by_boto3 = [request for request in s3.requests if "boto" in request.headers["user-agent"].lower()]
        assert {request.method for request in by_boto3} == {"HEAD", "GET"}
        assert len(by_boto3) >= 3, "the bucket, a listing and an object"
        assert {request.headers.get("x-amz-expected-bucket-owner") for request in by_boto3} == {OWNER}

    def test_the_owner_is_verified_again_after_a_minute(
        self, full_bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetcher = ResultFetcher(AwsAccess(), expected_bucket_owner=OWNER)
        request = ResultRequest(full_bucket.name, KEYS[0])
        ((first,),) = fetcher.fetch([request])
        ((second,),) = fetcher.fetch([request])
        assert s3.count("HEAD") == 1
        s3.fail_next("HEAD", "403 FORBIDDEN")
        s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied")
        now = monotonic()
        monkeypatch.setattr("resources.results.bucket.monotonic", lambda: now + 61)

        ((third,),) = fetcher.fetch([request])

        assert [first.state, second.state, third.state] == ["read", "read", "wrong_owner"]

    def test_the_owner_is_verified_by_an_object_if_the_bucket_cannot_be_listed(
        self, full_bucket: Bucket, s3: Server
    ) -> None:
        s3.fail_next("HEAD", "403 FORBIDDEN")

        assert count_states(fetch_all(full_bucket, expected_bucket_owner=OWNER)) == {
            ObjectState.READ: len(KEYS)
        }


class TestMemory:
    @pytest.mark.parametrize("concurrency", [1, 3, 16])
    @pytest.mark.parametrize("sizes", [[10] * 40, [1, 250, 1, 90, 90, 90, 1], [400, 400, 1]], ids=str)
    def test_bytes_in_memory_are_limited_and_all_objects_are_returned(
        self, bucket: Bucket, sizes: list[int], concurrency: int
    ) -> None:
        bucket.fill({f"{number}": b"x" * size for number, size in enumerate(sizes)})
        requests = [ResultRequest(bucket.name, f"{number}") for number in range(len(sizes))]
        limits = FetchLimits(concurrency, load_bytes=60, bytes_in_flight=100)

        loads = list(ResultFetcher(AwsAccess(), limits=limits).fetch(requests))

        assert sorted(result.size_in_memory for result in itertools.chain(*loads)) == sorted(sizes)
        for load in loads:
            assert (
                sum(result.size_in_memory for result in load) <= 100
                or len([result for result in load if result.data]) == 1
            )

    def test_concurrency_is_limited(
        self, bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests = [ResultRequest(bucket.name, f"{number}") for number in range(60)]
        bucket.fill(dict.fromkeys((request.key for request in requests), b"x"))
        s3.max_concurrency = 0
        respond = s3._moto

        def respond_slowly(*request: Any) -> Any:
            time.sleep(0.002)  # other requests arrive meanwhile
            return respond(*request)

        monkeypatch.setattr(s3, "_moto", respond_slowly)
        loads = list(ResultFetcher(AwsAccess(), limits=FetchLimits(concurrency=3)).fetch(requests))

        assert sum(map(len, loads)) == 60
        assert 1 < s3.max_concurrency <= 3

    def test_an_abandoned_fetch_leaves_no_threads(self, full_bucket: Bucket) -> None:
        limits = FetchLimits(concurrency=4, load_bytes=1, bytes_in_flight=50)
        loads = ResultFetcher(AwsAccess(), limits=limits).fetch(
            [ResultRequest(full_bucket.name, key) for key in KEYS]
        )
        next(loads)

        assert "results" in {thread.name for thread in threading.enumerate()}
        loads.close()  # type: ignore[attr-defined]

        assert "results" not in {thread.name for thread in threading.enumerate()}


def test_an_object_that_arrives_too_slowly_is_unreachable(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> bytes:
        raise RetryLaterError("Cannot read a response: too slow", where="", next_step="")

    bucket.put("out//empty-segment")  # boto3 reads this key
    monkeypatch.setattr("resources.results.bucket.read_body", wait)
    ((result,),) = ResultFetcher(AwsAccess()).fetch([ResultRequest(bucket.name, "out//empty-segment")])
    assert (result.state, result.error) == (ObjectState.UNREACHABLE, "Cannot read a response: too slow")
