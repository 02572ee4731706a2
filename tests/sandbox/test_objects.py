"""The S3 beside the service, read by a stock boto3 client."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.events import has_succeeded
from sandbox.fleet import Fleet
from sandbox.objects import CHECK_FILE, AlreadyRunningError
from sandbox.results import build_content, build_lines
from sandbox.schedulers import Scheduler
from sandbox.service import Handle, run_sandbox

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running(plants: Fleet, end: datetime) -> Iterator[Handle]:
    with run_sandbox(plants, end + 2 * HOUR) as handle:
        yield handle


@pytest.fixture
def stored(running: Handle) -> Iterator[Handle]:
    yield running
    running.reset()


@pytest.fixture
def s3(stored: Handle, make_client: Callable[..., Any]) -> Any:
    return make_client(service="s3", url=stored.s3_url)


def keys(s3: Any, bucket: str, prefix: str = "") -> set[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {one["Key"] for page in pages for one in page.get("Contents", [])}


def expected(one: Scheduler, clock: datetime) -> set[str]:
    found = {
        each["CustomerResultObject"]["Key"]
        for each in one.executions(clock)
        if "CustomerResultObject" in each
    }
    return found | {f"{one.output.prefix}{CHECK_FILE}"}


class TestObjects:
    def test_every_success_has_one_and_nothing_else_is_there(
        self, s3: Any, plants: Fleet, end: datetime
    ) -> None:
        for bucket in ("seoul-plant-inference", "ireland-plant-inference"):
            assert keys(s3, bucket) == {
                key
                for one in plants.schedulers
                if one.output.bucket == bucket
                for key in expected(one, end + 2 * HOUR)
            }

    def test_each_holds_the_lines_of_its_execution(self, s3: Any, plants: Fleet, end: datetime) -> None:
        for one in plants.schedulers:
            slots = list(one.slots(one.created_at, end))[5:200:19]
            for slot in slots:
                where = one.result_object(slot.window)
                if has_succeeded(one, end + 2 * HOUR, slot):
                    got = s3.get_object(**where)
                    body = got["Body"].read()
                    assert [json.loads(line) for line in body.splitlines()] == build_lines(one, slot)
                    assert got["ContentLength"] == len(body)
                    assert got["LastModified"] == one.outcome(slot).settles_at
                else:
                    with pytest.raises(s3.exceptions.NoSuchKey):
                        s3.get_object(**where)

    def test_what_the_service_names_is_there(
        self, s3: Any, make_client: Callable[..., Any], stored: Handle
    ) -> None:
        client = make_client(url=stored.url)
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", Status="SUCCESS", MaxResults=5
        )
        for one in response["InferenceExecutionSummaries"]:
            head = s3.head_object(**one["CustomerResultObject"])
            body = s3.get_object(**one["CustomerResultObject"])["Body"].read()
            (listed,) = s3.list_objects_v2(
                Bucket=one["CustomerResultObject"]["Bucket"], Prefix=one["CustomerResultObject"]["Key"]
            )["Contents"]
            assert head["ContentLength"] == listed["Size"] == len(body)
            assert head["ETag"] == listed["ETag"]
            assert head["LastModified"].replace(microsecond=0) == listed["LastModified"].replace(
                microsecond=0
            )

    def test_ranges_and_conditions_are_those_of_s3(self, s3: Any, plants: Fleet) -> None:
        pump = plants.schedulers[0]
        slot = next(pump.slots(pump.created_at, pump.created_at + HOUR))
        where = pump.result_object(slot.window)
        whole = build_content(pump, slot)
        got = s3.get_object(**where, Range="bytes=10-29")
        assert got["Body"].read() == whole[10:30]
        etag = s3.get_object(**where)["ETag"]
        with pytest.raises(ClientError, match="304"):
            s3.get_object(**where, IfNoneMatch=etag)

    def test_the_check_file_is_empty(self, s3: Any) -> None:
        got = s3.get_object(Bucket="virginia-plant-inference", Key=f"pump-1/output/{CHECK_FILE}")
        assert got["Body"].read() == b""

    def test_results_of_one_scheduler_are_encrypted_with_its_key(self, s3: Any, plants: Fleet) -> None:
        (one,) = (each for each in plants.schedulers if each.output.kms_key_id is not None)
        slot = next(one.slots(one.created_at, one.created_at + HOUR))
        for ask in (s3.get_object, s3.head_object):
            got = ask(**one.result_object(slot.window))
            assert got["ServerSideEncryption"] == "aws:kms"
            assert got["SSEKMSKeyId"] == one.output.kms_key_id

    @pytest.mark.parametrize(
        ("account", "places"),
        [("111122223333", ["ireland", "virginia"]), ("123456789012", ["leeds", "seoul"])],
    )
    def test_an_account_has_its_buckets(
        self, stored: Handle, make_client: Callable[..., Any], account: str, places: list[str]
    ) -> None:
        listed = make_client(key=account, service="s3", url=stored.s3_url).list_buckets()["Buckets"]
        fleets = [one["Name"] for one in listed if one["Name"].endswith("-plant-inference")]
        assert sorted(fleets) == [f"{place}-plant-inference" for place in places]


class TestClock:
    def test_an_object_is_there_when_its_execution_has_succeeded(
        self, s3: Any, stored: Handle, plants: Fleet, end: datetime
    ) -> None:
        (pump, *_) = plants.schedulers
        slot = next(slot for slot in pump.slots(end, end + HOUR) if pump.outcome(slot).status == "SUCCESS")
        settles_at = pump.outcome(slot).settles_at
        assert settles_at is not None
        where = pump.result_object(slot.window)
        for clock, is_there in (
            (settles_at - timedelta(seconds=1), False),
            (settles_at, True),
            (slot.scheduled, False),
            (end + HOUR, True),
        ):
            stored.set_clock(clock)
            assert (where["Key"] in keys(s3, where["Bucket"], where["Key"])) is is_there

    def test_back_and_forth_is_what_it_was(self, s3: Any, stored: Handle, end: datetime) -> None:
        bucket, prefix = "seoul-plant-inference", "fan-2/"
        before = keys(s3, bucket, prefix)
        stored.set_clock(end - timedelta(days=2))
        early = keys(s3, bucket, prefix)
        stored.set_clock(end + 2 * HOUR)
        assert early < before == keys(s3, bucket, prefix)
        assert len(before) > 50

    def test_objects_of_a_deleted_scheduler_stay(self, s3: Any, plants: Fleet, end: datetime) -> None:
        (fan,) = (one for one in plants.schedulers if one.name == "fan-1")
        assert fan not in plants.listed(end)
        assert keys(s3, fan.output.bucket, fan.output.prefix) == expected(fan, end)


class TestS3:
    def test_other_buckets_can_be_made_and_written_under_conditions(self, s3: Any) -> None:
        s3.create_bucket(Bucket="a-lake")
        s3.put_object(Bucket="a-lake", Key="table/part-0.parquet", Body=b"PAR1", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="a-lake", Key="table/part-0.parquet", Body=b"PAR1", IfNoneMatch="*")
        assert s3.get_object(Bucket="a-lake", Key="table/part-0.parquet")["Body"].read() == b"PAR1"

    def test_a_result_can_be_replaced_by_another_object(
        self, s3: Any, stored: Handle, plants: Fleet, end: datetime
    ) -> None:
        pump = plants.schedulers[0]
        (*_, slot) = (each for each in pump.slots(end - HOUR, end) if pump.outcome(each).status == "SUCCESS")
        where = pump.result_object(slot.window)
        s3.put_object(**where, Body=b"mine")
        stored.set_clock(end - timedelta(days=1))
        assert s3.get_object(**where)["Body"].read() == b"mine"

    def test_a_role_opens_its_account(self, stored: Handle, make_client: Callable[..., Any]) -> None:
        sts = make_client(service="sts", url=stored.s3_url)
        role = "arn:aws:iam::123456789012:role/reader"
        issued = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        client = make_client("eu-west-1", issued["AccessKeyId"], url=stored.url)
        found = client.list_inference_schedulers()["InferenceSchedulerSummaries"]
        assert [one["InferenceSchedulerName"] for one in found] == ["boiler-1", "pump-1", "turbine-2"]

    def test_there_is_one_in_a_process(self, running: Handle, plants: Fleet, end: datetime) -> None:
        with pytest.raises(AlreadyRunningError), run_sandbox(plants, end):
            pass
        assert running.s3_url.startswith("http://127.0.0.1:")

    def test_without_one_there_is_no_address(self, handle: Handle) -> None:
        with pytest.raises(ValueError, match="s3=False"):
            _ = handle.s3_url
