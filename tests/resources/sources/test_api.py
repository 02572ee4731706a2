"""The API source, for each behavior that the service's documentation leaves open."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.executions.flatten import decode_summaries, flatten_pages
from assets.framework.time_windows import Window, filter_window
from resources.aws import access, session
from resources.aws.access import AwsAccess
from resources.aws.session import open_lookout_client
from resources.errors import (
    ConfigurationError,
    DataError,
    PermissionsError,
    RetryLaterError,
    ServiceEndedError,
)
from resources.sources.api import ApiSource
from resources.sources.base import ListedScheduler
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox

START, END = datetime(2026, 10, 6, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC)
NOW = END + timedelta(hours=2)
ACCOUNT, OTHER, REGION = "111122223333", "123456789012", "us-east-1"


@pytest.fixture(scope="module")
def plants() -> Fleet:
    return build_fleet(seed=5, history=History(START, END))


@pytest.fixture(autouse=True)
def _caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def handle(plants: Fleet) -> Iterator[Handle]:
    with run_sandbox(plants, NOW, s3=False) as running:
        yield running


def api(handle: Handle, **more: Any) -> ApiSource:
    return ApiSource(AwsAccess(region=REGION, endpoint_url=handle.url), **more)


def starts(source: ApiSource, scheduler: ListedScheduler, start: datetime, end: datetime) -> list[datetime]:
    """Return the start times in one window, filtered and deduplicated as an extraction does."""
    pages = flatten_pages(source.read_pages(scheduler, start, end, NOW))
    return sorted(
        {
            at
            for page in pages
            for at in filter_window(page.rows, Window(start, end))["data_start_time"].to_pylist()
        }
    )


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
@pytest.mark.parametrize("bounds", ["strict", "inclusive"])
def test_any_split_of_a_range_returns_the_same_executions(plants: Fleet, bounds: Any, order: Any) -> None:
    faults = ("shift:ListInferenceExecutions:share=0.5", "shuffle:ListInferenceExecutions:share=0.5")
    with run_sandbox(plants, NOW, s3=False, bounds=bounds, order=order, faults=faults) as handle:
        source = api(handle)
        schedulers = source.list_schedulers()
        whole = {scheduler.arn: starts(source, scheduler, START, END) for scheduler in schedulers}

        @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(
            st.sampled_from(schedulers),
            st.lists(st.integers(0, 2 * 24 * 60 - 1), max_size=5, unique=True).map(sorted),
        )
        def holds(scheduler: ListedScheduler, minutes: list[int]) -> None:
            edges = [START, *(START + timedelta(minutes=minute) for minute in minutes), END]
            pieces = [at for start, end in pairwise(edges) for at in starts(source, scheduler, start, end)]
            assert pieces == whole[scheduler.arn]

        holds()

    truth = {
        scheduler.arn: sorted(
            summary["DataStartTime"]
            for summary in scheduler.executions(NOW)
            if START <= summary["DataStartTime"] < END
        )
        for scheduler in plants.list_schedulers(NOW)
        if scheduler.arn.split(":")[3:5] == [REGION, ACCOUNT]
    }
    assert whole == truth


def test_a_custom_client_returns_the_same_rows(handle: Handle) -> None:
    standard_client = boto3.client("lookoutequipment", region_name=REGION, endpoint_url=handle.url)
    own_source, custom_source = api(handle), api(handle, client=standard_client)
    schedulers = own_source.list_schedulers()
    assert schedulers

    for scheduler in schedulers:
        raw_pages, parsed_pages = (
            [page.rows for page in flatten_pages(source.read_pages(scheduler, START, END, NOW))]
            for source in (own_source, custom_source)
        )
        assert [rows.to_pylist() for rows in raw_pages] == [rows.to_pylist() for rows in parsed_pages]


def test_a_role_in_another_account_is_assumed(plants: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_sandbox(plants, NOW) as handle:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", handle.s3_url)
        role = f"arn:aws:iam::{OTHER}:role/lookout-reader"
        source = ApiSource(AwsAccess(region="eu-west-1", role_arn=role, endpoint_url=handle.url))

        accounts = {scheduler.arn.split(":")[4] for scheduler in source.list_schedulers()}

    assert accounts == {OTHER}


def test_the_endpoint_can_come_from_the_environment(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT", handle.url)

    assert ApiSource(AwsAccess(region=REGION)).list_schedulers()


def test_an_empty_response_for_a_deleted_scheduler_proves_nothing(handle: Handle) -> None:
    deleted = ListedScheduler(
        arn="arn:aws:lookoutequipment:us-east-1:1:inference-scheduler/gone/1", name="gone"
    )

    assert next(flatten_pages(api(handle).read_pages(deleted, START, END, NOW))).summaries == 0
    assert not api(handle).scheduler_exists(deleted)
    existing = api(handle).list_schedulers()[0]
    assert api(handle).scheduler_exists(existing)
    assert not api(handle).scheduler_exists(ListedScheduler(arn=existing.arn + "0", name=existing.name)), (
        "re-created under its name"
    )


SUMMARY = '{"InferenceSchedulerArn": "arn:1", "DataStartTime": 1791331200.0}'


@pytest.mark.parametrize(
    "body",
    ["{}", f"[{SUMMARY}]", f'{{"InferenceExecutionSummaries": [{SUMMARY}], "NextToken": 5}}'],
    ids=["no summaries", "a list", "an invalid token"],
)
def test_a_body_that_is_no_page_is_requested_again(body: str) -> None:
    address = "http://127.0.0.1:1"
    client = open_lookout_client(AwsAccess(region=REGION, endpoint_url=address))
    requests = list[Any]()

    def respond(request: Any, **_: Any) -> AWSResponse:
        requests.append(request)
        response = AWSResponse(address, 200, {}, None)
        response._content = body.encode()
        return response

    client.meta.events.register("before-send.lookoutequipment", respond)
    source = ApiSource(AwsAccess(region=REGION, endpoint_url=address), client=client)

    with pytest.raises(DataError, match="is not valid"):
        list(source.read_pages(ListedScheduler("arn:1", "pump-1"), START, END, NOW, decode_summaries))

    assert len(requests) == 9, "a page three times, and three times from the first page"


def test_a_region_without_the_service_raises_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"never offered in eu-central-1[\s\S]*eu-west-1"):
        open_lookout_client(AwsAccess(region="eu-central-1"))


def test_a_missing_region_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigurationError, match="region"):
        open_lookout_client(AwsAccess())


def test_an_unknown_profile_raises_an_error() -> None:
    with pytest.raises(ConfigurationError, match="plant-z"):
        open_lookout_client(AwsAccess(profile="plant-z", region=REGION))


def test_a_boto3_without_the_client_raises_an_error_with_the_last_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "SERVICE", "lookoutequipment-no-more")

    with pytest.raises(
        ConfigurationError, match=r"install the last version that has it, boto3==\d+\.\d+\.\d+"
    ):
        open_lookout_client(AwsAccess(region=REGION))


def test_only_the_aws_service_has_an_end(handle: Handle) -> None:
    assert ApiSource(AwsAccess(region=REGION)).service_end == access.SERVICE_END
    assert api(handle).service_end is None


def test_missing_permission_network_error_and_end_of_service_are_distinguished(handle: Handle) -> None:
    import botocore.exceptions as refusals  # noqa: PLC0415

    def translate(error: Exception) -> type[Exception]:
        return type(access.translate_error(error, AwsAccess(), "list the schedulers"))

    def response(code: str, status: int = 400) -> refusals.ClientError:
        return refusals.ClientError(
            {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, "List"
        )

    aws_endpoint = "https://lookoutequipment.us-east-1.amazonaws.com/"
    assert translate(refusals.EndpointConnectionError(endpoint_url=aws_endpoint)) is ServiceEndedError
    assert translate(refusals.EndpointConnectionError(endpoint_url=handle.url)) is RetryLaterError
    assert translate(response("AccessDeniedException")) is PermissionsError
    assert translate(response("ThrottlingException")) is RetryLaterError
    assert translate(response("Anything", 503)) is RetryLaterError
    assert translate(response("ValidationException")) is ConfigurationError
    assert translate(refusals.NoCredentialsError()) is PermissionsError
    untrusted = refusals.SSLError(endpoint_url=handle.url, error="self-signed certificate")
    assert translate(untrusted) is ConfigurationError, "a retry does not help"
    assert "AWS_CA_BUNDLE" in str(access.translate_error(untrusted, AwsAccess(), "list the schedulers"))


def test_continued_throttling_raises_a_retryable_error(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MAX_ATTEMPTS", 3)  # eight take half a minute
    handle.inject("throttle")

    with pytest.raises(RetryLaterError, match="ThrottlingException"):
        api(handle).list_schedulers()

    assert handle.count(operation="ListInferenceSchedulers") == 3
