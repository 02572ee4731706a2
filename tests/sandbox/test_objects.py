"""The S3 of the sandbox, read with a stock boto3 client."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox import objects
from sandbox.events import has_succeeded
from sandbox.fleet import Fleet
from sandbox.objects import CHECK_FILE, AlreadyRunningError
from sandbox.results import build_content, build_lines
from sandbox.schedulers import Scheduler
from sandbox.service import Handle, run_sandbox

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running_sandbox(plants: Fleet, end: datetime) -> Iterator[Handle]:
    with run_sandbox(plants, end + 2 * HOUR) as handle:
        yield handle


@pytest.fixture
def sandbox(running_sandbox: Handle) -> Iterator[Handle]:
    yield running_sandbox
    running_sandbox.reset()


@pytest.fixture
def s3(sandbox: Handle, make_client: Callable[..., Any]) -> Any:
    return make_client(service="s3", url=sandbox.s3_url)


def list_keys(s3: Any, bucket: str, prefix: str = "") -> set[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def build_expected_keys(scheduler: Scheduler, clock: datetime) -> set[str]:
    keys = {
        each["CustomerResultObject"]["Key"]
        for each in scheduler.executions(clock)
        if "CustomerResultObject" in each
    }
    return keys | {f"{scheduler.output.prefix}{CHECK_FILE}"}


class TestObjects:
    def test_a_bucket_contains_exactly_the_objects_of_successful_executions(
        self, s3: Any, plants: Fleet, end: datetime
    ) -> None:
        for bucket in ("seoul-plant-inference", "ireland-plant-inference"):
            assert list_keys(s3, bucket) == {
                key
                for scheduler in plants.schedulers
                if scheduler.output.bucket == bucket
                for key in build_expected_keys(scheduler, end + 2 * HOUR)
            }

    def test_each_object_contains_the_lines_of_its_execution(
        self, s3: Any, plants: Fleet, end: datetime
    ) -> None:
        for scheduler in plants.schedulers:
            slots = list(scheduler.slots(scheduler.created_at, end))[5:200:19]
            for slot in slots:
                location = scheduler.result_object(slot.window)
                if has_succeeded(scheduler, end + 2 * HOUR, slot):
                    response = s3.get_object(**location)
                    body = response["Body"].read()
                    assert [json.loads(line) for line in body.splitlines()] == build_lines(scheduler, slot)
                    assert response["ContentLength"] == len(body)
                    assert response["LastModified"] == scheduler.outcome(slot).settles_at
                else:
                    with pytest.raises(s3.exceptions.NoSuchKey):
                        s3.get_object(**location)

    def test_every_listed_result_object_exists(
        self, s3: Any, make_client: Callable[..., Any], sandbox: Handle
    ) -> None:
        client = make_client(url=sandbox.url)
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", Status="SUCCESS", MaxResults=5
        )
        for execution in response["InferenceExecutionSummaries"]:
            head = s3.head_object(**execution["CustomerResultObject"])
            body = s3.get_object(**execution["CustomerResultObject"])["Body"].read()
            (entry,) = s3.list_objects_v2(
                Bucket=execution["CustomerResultObject"]["Bucket"],
                Prefix=execution["CustomerResultObject"]["Key"],
            )["Contents"]
            assert head["ContentLength"] == entry["Size"] == len(body)
            assert head["ETag"] == entry["ETag"]
            assert head["LastModified"].replace(microsecond=0) == entry["LastModified"].replace(microsecond=0)

    def test_ranges_and_conditional_reads_work(self, s3: Any, plants: Fleet) -> None:
        pump = plants.schedulers[0]
        slot = next(pump.slots(pump.created_at, pump.created_at + HOUR))
        location = pump.result_object(slot.window)
        content = build_content(pump, slot)
        response = s3.get_object(**location, Range="bytes=10-29")
        assert response["Body"].read() == content[10:30]
        etag = s3.get_object(**location)["ETag"]
        with pytest.raises(ClientError, match="304"):
            s3.get_object(**location, IfNoneMatch=etag)

    def test_the_check_file_is_empty(self, s3: Any) -> None:
        response = s3.get_object(Bucket="virginia-plant-inference", Key=f"pump-1/output/{CHECK_FILE}")
        assert response["Body"].read() == b""

    def test_results_of_one_scheduler_are_encrypted_with_its_key(self, s3: Any, plants: Fleet) -> None:
        (scheduler,) = (each for each in plants.schedulers if each.output.kms_key_id is not None)
        slot = next(scheduler.slots(scheduler.created_at, scheduler.created_at + HOUR))
        for request in (s3.get_object, s3.head_object):
            response = request(**scheduler.result_object(slot.window))
            assert response["ServerSideEncryption"] == "aws:kms"
            assert response["SSEKMSKeyId"] == scheduler.output.kms_key_id

    @pytest.mark.parametrize(
        ("account", "places"),
        [("111122223333", ["ireland", "virginia"]), ("123456789012", ["leeds", "seoul"])],
    )
    def test_each_account_lists_its_own_buckets(
        self, sandbox: Handle, make_client: Callable[..., Any], account: str, places: list[str]
    ) -> None:
        buckets = make_client(key=account, service="s3", url=sandbox.s3_url).list_buckets()["Buckets"]
        fleets = [bucket["Name"] for bucket in buckets if bucket["Name"].endswith("-plant-inference")]
        assert sorted(fleets) == [f"{place}-plant-inference" for place in places]


class TestClock:
    def test_an_object_exists_once_its_execution_has_succeeded(
        self, s3: Any, sandbox: Handle, plants: Fleet, end: datetime
    ) -> None:
        (pump, *_) = plants.schedulers
        slot = next(slot for slot in pump.slots(end, end + HOUR) if pump.outcome(slot).status == "SUCCESS")
        settles_at = pump.outcome(slot).settles_at
        assert settles_at is not None
        location = pump.result_object(slot.window)
        for clock, exists in (
            (settles_at - timedelta(seconds=1), False),
            (settles_at, True),
            (slot.scheduled, False),
            (end + HOUR, True),
        ):
            sandbox.set_clock(clock)
            assert (location["Key"] in list_keys(s3, location["Bucket"], location["Key"])) is exists

    def test_moving_the_clock_back_and_forth_restores_the_objects(
        self, s3: Any, sandbox: Handle, end: datetime
    ) -> None:
        bucket, prefix = "seoul-plant-inference", "fan-2/"
        before = list_keys(s3, bucket, prefix)
        sandbox.set_clock(end - timedelta(days=2))
        early = list_keys(s3, bucket, prefix)
        sandbox.set_clock(end + 2 * HOUR)
        assert early < before == list_keys(s3, bucket, prefix)
        assert len(before) > 50

    def test_objects_of_a_deleted_scheduler_stay(self, s3: Any, plants: Fleet, end: datetime) -> None:
        (fan,) = (scheduler for scheduler in plants.schedulers if scheduler.name == "fan-1")
        assert fan not in plants.list_schedulers(end)
        assert list_keys(s3, fan.output.bucket, fan.output.prefix) == build_expected_keys(fan, end)


class TestS3:
    def test_other_buckets_can_be_created_and_written_conditionally(self, s3: Any) -> None:
        s3.create_bucket(Bucket="a-lake")
        s3.put_object(Bucket="a-lake", Key="table/part-0.parquet", Body=b"PAR1", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="a-lake", Key="table/part-0.parquet", Body=b"PAR1", IfNoneMatch="*")
        assert s3.get_object(Bucket="a-lake", Key="table/part-0.parquet")["Body"].read() == b"PAR1"

    def test_a_result_can_be_replaced_by_another_object(
        self, s3: Any, sandbox: Handle, plants: Fleet, end: datetime
    ) -> None:
        pump = plants.schedulers[0]
        (*_, slot) = (each for each in pump.slots(end - HOUR, end) if pump.outcome(each).status == "SUCCESS")
        location = pump.result_object(slot.window)
        s3.put_object(**location, Body=b"mine")
        sandbox.set_clock(end - timedelta(days=1))
        assert s3.get_object(**location)["Body"].read() == b"mine"

    def test_an_assumed_role_accesses_its_account(
        self, sandbox: Handle, make_client: Callable[..., Any]
    ) -> None:
        sts = make_client(service="sts", url=sandbox.s3_url)
        role = "arn:aws:iam::123456789012:role/reader"
        issued = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        client = make_client("eu-west-1", issued["AccessKeyId"], url=sandbox.url)
        summaries = client.list_inference_schedulers()["InferenceSchedulerSummaries"]
        assert [summary["InferenceSchedulerName"] for summary in summaries] == [
            "boiler-1",
            "pump-1",
            "turbine-2",
        ]

    def test_a_process_can_run_only_one_s3(
        self, running_sandbox: Handle, plants: Fleet, end: datetime
    ) -> None:
        with pytest.raises(AlreadyRunningError), run_sandbox(plants, end):
            pass
        assert running_sandbox.s3_url.startswith("http://127.0.0.1:")

    def test_the_s3_url_is_an_error_without_s3(self, handle: Handle) -> None:
        with pytest.raises(ValueError, match="s3=False"):
            _ = handle.s3_url


def test_an_s3_whose_port_is_in_use_leaves_nothing_behind(
    end: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("s3_backends", "iam_backends"):  # the other tests run an S3 in this process
        monkeypatch.setattr(objects, name, {})
    monkeypatch.setattr(objects, "_running", threading.Lock())
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
            objects.S3([], lambda: end, lambda _: "123456789012", other.getsockname()[1])
