"""The service, asked by a stock boto3 client."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.fleet import Fleet
from sandbox.paging import Listing, get_page
from sandbox.planted_anomalies import get_ground_truth
from sandbox.protocol import ServiceError
from sandbox.schedulers import Scheduler, Summary, sort_newest_first
from sandbox.service import Handle, run_sandbox
from sandbox.switches import Switches

ACCOUNTS = ("111122223333", "123456789012")
REGIONS = ("us-east-1", "eu-west-1", "ap-northeast-2")
MINUTE = timedelta(minutes=1)


def named(plants: Fleet, name: str, region: str = "us-east-1") -> Scheduler:
    return [one for one in plants.schedulers if (one.name, one.region) == (name, region)][-1]


def listed(client: Any, operation: str = "list_inference_executions", **asked: Any) -> list[dict[str, Any]]:
    """All pages."""
    found, token = [], {}
    while True:
        response = getattr(client, operation)(**asked, **token)
        (member,) = (name for name in response if name.endswith("Summaries"))
        found += response[member]
        if "NextToken" not in response:
            return found
        token = {"NextToken": response["NextToken"]}


def known(summary: Summary) -> Summary:
    """Without what botocore does not know and drops."""
    return {
        name: {inner: each for inner, each in value.items() if inner != "ResultFormat"}
        if isinstance(value, dict)
        else value
        for name, value in summary.items()
        if name != "InferenceRuntimeInSeconds"
    }


def executions(one: Scheduler, clock: datetime) -> list[Summary]:
    return [known(summary) for summary in sort_newest_first(one.executions(clock))]


def code(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


class TestListInferenceSchedulers:
    def test_an_account_in_a_region_has_its_own(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        for account in ACCOUNTS:
            for region in REGIONS:
                found = listed(make_client(region, account), "list_inference_schedulers")
                assert [one["InferenceSchedulerArn"] for one in found] == [
                    one.arn
                    for one in sorted(plants.listed(end), key=lambda one: one.name)
                    if (one.account, one.region) == (account, region)
                ]

    def test_members(self, client: Any, plants: Fleet) -> None:
        pump = next(
            one
            for one in client.list_inference_schedulers()["InferenceSchedulerSummaries"]
            if one["InferenceSchedulerName"] == "pump-2"
        )
        assert pump == {
            "ModelName": "pump-2-model",
            "ModelArn": named(plants, "pump-2").model_arn,
            "InferenceSchedulerName": "pump-2",
            "InferenceSchedulerArn": named(plants, "pump-2").arn,
            "Status": "RUNNING",
            "DataDelayOffsetInMinutes": 2,
            "DataUploadFrequency": "PT5M",
            "LatestInferenceResult": "NORMAL",
        }

    @pytest.mark.parametrize(
        ("asked", "names"),
        [
            ({"InferenceSchedulerNameBeginsWith": "pump"}, ["pump-1", "pump-2"]),
            ({"InferenceSchedulerNameBeginsWith": "ump"}, []),
            ({"ModelName": "mixer-1-model"}, ["mixer-1"]),
            ({"ModelName": "mixer-1"}, []),
            ({"Status": "RUNNING"}, ["blower-1", "mixer-1", "pump-1", "pump-2"]),
            ({"Status": "STOPPED"}, []),
            ({"MaxResults": 1}, ["blower-1", "mixer-1", "pump-1", "pump-2"]),
        ],
    )
    def test_filters(self, client: Any, asked: dict[str, Any], names: list[str]) -> None:
        found = listed(client, "list_inference_schedulers", **asked)
        assert [one["InferenceSchedulerName"] for one in found] == names

    def test_a_stopped_one_says_so(
        self, make_client: Callable[..., Any], handle: Handle, plants: Fleet
    ) -> None:
        turbine = named(plants, "turbine-1", "eu-west-1")
        assert turbine.schedules[0].until is not None
        handle.set_clock(turbine.schedules[0].until + MINUTE)
        stopped = listed(make_client("eu-west-1"), "list_inference_schedulers", Status="STOPPED")
        assert [one["InferenceSchedulerName"] for one in stopped] == ["turbine-1"]


class TestDescribeInferenceScheduler:
    def test_members(self, make_client: Callable[..., Any], plants: Fleet) -> None:
        one = named(plants, "compressor-2", "eu-west-1")
        told = make_client("eu-west-1").describe_inference_scheduler(InferenceSchedulerName=one.name)
        assert told["InferenceSchedulerArn"] == one.arn
        assert told["DataInputConfiguration"]["InputTimeZoneOffset"] == "+02:00"
        assert told["DataOutputConfiguration"]["KmsKeyId"] == one.output.kms_key_id
        assert one.created_at - MINUTE <= told["CreatedAt"] <= one.created_at
        assert told["CreatedAt"].microsecond

    def test_an_update_shows(self, make_client: Callable[..., Any], handle: Handle, plants: Fleet) -> None:
        turbine = named(plants, "turbine-2", "eu-west-1")
        client = make_client("eu-west-1", "123456789012")
        before, after = [], []
        for clock, told in (
            (turbine.schedules[1].since - MINUTE, before),
            (turbine.schedules[1].since, after),
        ):
            handle.set_clock(clock)
            told += [client.describe_inference_scheduler(InferenceSchedulerName="turbine-2")]
        assert [one["DataUploadFrequency"] for one in (*before, *after)] == ["PT15M", "PT5M"]
        assert before[0]["UpdatedAt"] == before[0]["CreatedAt"] < after[0]["UpdatedAt"]

    @pytest.mark.parametrize(
        ("name", "region", "key"),
        [
            ("nobody", "us-east-1", "111122223333"),
            ("pump-1", "eu-west-1", "111122223333"),
            ("pump-1", "us-east-1", "123456789012"),
            ("fan-1", "ap-northeast-2", "123456789012"),  # deleted
        ],
    )
    def test_an_unknown_one_is_an_error(
        self, make_client: Callable[..., Any], name: str, region: str, key: str
    ) -> None:
        client = make_client(region, key)
        with pytest.raises(client.exceptions.ResourceNotFoundException) as error:
            client.describe_inference_scheduler(InferenceSchedulerName=name)
        assert code(error) == ("ResourceNotFoundException", 400)
        assert error.value.response["Message"].endswith(name)


class TestListInferenceExecutions:
    @pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
    @pytest.mark.parametrize("bounds", ["strict", "inclusive"])
    def test_all_pages_are_the_truth(
        self, make_client: Callable[..., Any], plants: Fleet, bounds: Any, order: Any
    ) -> None:
        end = plants.history.end
        low, high = end - timedelta(days=1), end - timedelta(hours=1)

        def is_within(one: Summary) -> bool:
            start, stop = one["DataStartTime"], one["DataEndTime"]
            return low <= start and stop <= high if bounds == "inclusive" else low < start and stop < high

        for paging in ("item", "offset"):
            with run_sandbox(plants, end, s3=False, bounds=bounds, order=order, paging=paging) as handle:
                for one in plants.listed(end):
                    if one.name not in {"pump-2", "turbine-2", "mill-1", "chiller-1"}:
                        continue
                    got = listed(
                        make_client(one.region, one.account, url=handle.url),
                        InferenceSchedulerName=one.name,
                        DataStartTimeAfter=low,
                        DataEndTimeBefore=high,
                        MaxResults=7,
                    )
                    expected = [each for each in executions(one, end) if is_within(each)]
                    if order == "oldest":
                        expected.reverse()
                    if order == "shuffled":
                        assert got != expected
                        got = sort_newest_first(got)
                    assert got == expected

    def test_everything_of_everyone(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime, handle: Handle
    ) -> None:
        clock = end + timedelta(minutes=7)
        handle.set_clock(clock)
        for one in plants.listed(clock):
            client = make_client(one.region, one.account)
            assert listed(client, InferenceSchedulerName=one.name, MaxResults=500) == executions(one, clock)

    @pytest.mark.parametrize("status", ["SUCCESS", "FAILED", "IN_PROGRESS"])
    def test_by_status(self, client: Any, plants: Fleet, end: datetime, status: str) -> None:
        for name in ("pump-1", "mixer-1"):
            got = listed(client, InferenceSchedulerName=name, Status=status, MaxResults=3)
            assert got == [one for one in executions(named(plants, name), end) if one["Status"] == status]

    def test_pages_have_the_size_asked_for_and_fifty_without(self, client: Any) -> None:
        def size(**asked: Any) -> int:
            response = client.list_inference_executions(InferenceSchedulerName="pump-1", **asked)
            return len(response["InferenceExecutionSummaries"])

        assert [size(), size(MaxResults=1), size(MaxResults=500)] == [50, 1, 500]

    def test_the_last_page_has_no_token_even_when_it_is_full(self, client: Any, end: datetime) -> None:
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", DataStartTimeAfter=end - timedelta(minutes=26), MaxResults=5
        )
        assert len(response["InferenceExecutionSummaries"]) == 5
        assert "NextToken" not in response

    def test_fractions_of_a_second_count(self, client: Any, end: datetime) -> None:
        start = end - timedelta(minutes=5)
        for after, count in ((start - timedelta(microseconds=1), 1), (start + timedelta(microseconds=1), 0)):
            got = listed(client, InferenceSchedulerName="pump-1", DataStartTimeAfter=after)
            assert len(got) == count

    def test_an_execution_shows_in_progress_and_settles_as_the_clock_moves(
        self, client: Any, handle: Handle, plants: Fleet, end: datetime
    ) -> None:
        pump = named(plants, "pump-1")
        slot = next(pump.slots(end, end + timedelta(hours=1)))
        settles_at = pump.outcome(slot).settles_at
        assert settles_at is not None
        seen = []
        for clock in (slot.scheduled - MINUTE, slot.scheduled, settles_at, slot.scheduled):
            handle.set_clock(clock)
            newest = client.list_inference_executions(InferenceSchedulerName="pump-1", MaxResults=1)
            (one,) = newest["InferenceExecutionSummaries"]
            seen.append((one["DataStartTime"] == end, one["Status"], "CustomerResultObject" in one))
        assert seen[1:] == [
            (True, "IN_PROGRESS", False),
            (True, "SUCCESS", True),
            (True, "IN_PROGRESS", False),
        ]
        assert not seen[0][0]

    def test_a_deleted_scheduler_takes_its_history_with_it(
        self, make_client: Callable[..., Any], handle: Handle, plants: Fleet
    ) -> None:
        client = make_client("ap-northeast-2", "123456789012")
        fan = named(plants, "fan-1", "ap-northeast-2")
        assert fan.deleted_at is not None
        counts = []
        for clock in (fan.deleted_at - MINUTE, fan.deleted_at):
            handle.set_clock(clock)
            names = [
                one["InferenceSchedulerName"]
                for one in client.list_inference_schedulers()["InferenceSchedulerSummaries"]
            ]
            counts.append(("fan-1" in names, len(listed(client, InferenceSchedulerName="fan-1")) > 90))
        assert counts == [(True, True), (False, False)]

    def test_a_name_that_came_back_has_only_its_new_history(
        self, make_client: Callable[..., Any], plants: Fleet
    ) -> None:
        fan = named(plants, "fan-2", "ap-northeast-2")
        got = listed(make_client("ap-northeast-2", "123456789012"), InferenceSchedulerName="fan-2")
        assert {one["InferenceSchedulerArn"] for one in got} == {fan.arn}

    def test_an_unknown_scheduler_has_an_empty_list(self, client: Any) -> None:
        response = client.list_inference_executions(InferenceSchedulerName="nobody")
        assert response["InferenceExecutionSummaries"] == []
        assert "NextToken" not in response

    def test_or_is_an_error(self, make_client: Callable[..., Any], plants: Fleet, end: datetime) -> None:
        with run_sandbox(plants, end, s3=False, unknown_scheduler="error") as handle:
            client = make_client(url=handle.url)
            for operation in ("list_inference_executions", "list_inference_events"):
                asked: dict[str, Any] = {"InferenceSchedulerName": "nobody"}
                if operation == "list_inference_events":
                    asked |= {"IntervalStartTime": end, "IntervalEndTime": end}
                with pytest.raises(client.exceptions.ResourceNotFoundException):
                    getattr(client, operation)(**asked)

    def test_new_executions_shift_pages_that_are_counted_and_no_others(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        repeated = {}
        for paging in ("item", "offset"):
            with run_sandbox(plants, end, s3=False, paging=paging) as handle:
                client = make_client(url=handle.url)
                asked = {"InferenceSchedulerName": "pump-1", "MaxResults": 10}
                first = client.list_inference_executions(**asked)
                handle.set_clock(end + timedelta(minutes=10))
                second = client.list_inference_executions(**asked, NextToken=first["NextToken"])
            starts = [
                {one["DataStartTime"] for one in response["InferenceExecutionSummaries"]}
                for response in (first, second)
            ]
            repeated[paging] = len(starts[0] & starts[1])
        assert repeated == {"item": 0, "offset": 2}


class TestTokens:
    def token(self, client: Any, **asked: Any) -> str:
        response = client.list_inference_executions(InferenceSchedulerName="pump-1", MaxResults=5, **asked)
        return str(response["NextToken"])

    @pytest.mark.parametrize(
        "changed",
        [
            {"Status": "SUCCESS"},
            {"InferenceSchedulerName": "pump-2"},
            {"InferenceSchedulerName": "nobody"},
            {"DataStartTimeAfter": datetime(2026, 10, 7, tzinfo=UTC)},
        ],
    )
    def test_of_another_question_do_not_fit(self, client: Any, changed: dict[str, Any]) -> None:
        asked = {"InferenceSchedulerName": "pump-1"} | changed
        with pytest.raises(client.exceptions.ValidationException) as error:
            client.list_inference_executions(**asked, NextToken=self.token(client))
        assert code(error) == ("ValidationException", 400)

    def test_of_another_operation_or_region_do_not_fit(
        self, client: Any, make_client: Callable[..., Any]
    ) -> None:
        token = self.token(client)
        with pytest.raises(client.exceptions.ValidationException):
            client.list_inference_schedulers(NextToken=token)
        with pytest.raises(client.exceptions.ValidationException):
            make_client("eu-west-1").list_inference_executions(
                InferenceSchedulerName="pump-1", NextToken=token
            )

    def test_another_page_size_is_no_other_question(self, client: Any) -> None:
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", MaxResults=9, NextToken=self.token(client)
        )
        assert len(response["InferenceExecutionSummaries"]) == 9

    def test_garbage_is_refused(self, client: Any) -> None:
        token = self.token(client)
        for garbage in ("garbage", "", "Zm9v", token[:-4], token[4:], token.swapcase(), "\x00", "é"):
            with pytest.raises(client.exceptions.ValidationException):
                client.list_inference_executions(InferenceSchedulerName="pump-1", NextToken=garbage)

    def test_are_opaque_ascii(self, client: Any) -> None:
        token = self.token(client)
        assert token.isascii()
        assert token.isprintable()
        assert "pump" not in token

    def test_expire_with_an_error_or_begin_again(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        for when_expired in ("error", "ignore"):
            with run_sandbox(plants, end, s3=False, token_seconds=60, when_expired=when_expired) as handle:
                client = make_client(url=handle.url)
                asked = {"InferenceSchedulerName": "mixer-1", "MaxResults": 5}
                first = client.list_inference_executions(**asked)
                token = first["NextToken"]
                handle.set_clock(end + timedelta(seconds=60))
                second = client.list_inference_executions(**asked, NextToken=token)
                handle.set_clock(end + timedelta(seconds=61))
                if when_expired == "error":
                    with pytest.raises(client.exceptions.ValidationException, match="expired"):
                        client.list_inference_executions(**asked, NextToken=token)
                else:
                    again = client.list_inference_executions(**asked, NextToken=token)
                    assert again["InferenceExecutionSummaries"] == first["InferenceExecutionSummaries"]
                assert second["InferenceExecutionSummaries"] != first["InferenceExecutionSummaries"]

    def test_a_token_knows_its_place_in_anything_that_has_ranks(self, end: datetime) -> None:
        listing = Listing(["a", "b", "c"], str, ("letters",), end)
        items, token = get_page(listing, 2, None, Switches())
        grown = Listing(["a", "a1", "b", "b1", "c"], str, ("letters",), end)
        assert (items, get_page(grown, 9, token, Switches())) == (["a", "b"], (["b1", "c"], None))
        with pytest.raises(ServiceError):
            get_page(Listing(["a"], str, ("words",), end), 2, token, Switches())


class TestListInferenceEvents:
    @pytest.fixture
    def events(self, client: Any, end: datetime) -> list[dict[str, Any]]:
        return [
            one
            for name in ("pump-1", "pump-2", "mixer-1", "blower-1")
            for one in self.of(client, name, end - timedelta(days=3), end)
        ]

    def of(
        self, client: Any, name: str, start: datetime, end: datetime, **asked: Any
    ) -> list[dict[str, Any]]:
        return listed(
            client,
            "list_inference_events",
            InferenceSchedulerName=name,
            IntervalStartTime=start,
            IntervalEndTime=end,
            **asked,
        )

    def test_each_is_a_planted_anomaly_of_more_than_five_minutes(
        self, events: list[dict[str, Any]], plants: Fleet
    ) -> None:
        assert len(events) >= 5
        for event in events:
            one = named(plants, event["InferenceSchedulerName"])
            (anomaly,) = get_ground_truth(one, event["EventStartTime"], event["EventEndTime"]).anomalies
            assert anomaly.start <= event["EventStartTime"] < event["EventEndTime"] <= anomaly.end
            lasted = event["EventEndTime"] - event["EventStartTime"]
            assert event["EventDurationInSeconds"] == lasted.total_seconds() > 300

    def test_diagnostics_are_json_with_the_planted_sensors_in_front(
        self, events: list[dict[str, Any]], plants: Fleet
    ) -> None:
        for event in events:
            one = named(plants, event["InferenceSchedulerName"])
            (anomaly,) = get_ground_truth(one, event["EventStartTime"], event["EventEndTime"]).anomalies
            values = {each["name"]: each["value"] for each in json.loads(event["Diagnostics"])}
            assert len(values) == one.plant.sensors
            assert sum(values.values()) == pytest.approx(1, abs=0.001)
            ranked = sorted(values, key=lambda name: -values[name])
            assert tuple(ranked[: len(anomaly.sensors)]) == anomaly.sensors

    def test_newest_first_in_pages(self, client: Any, end: datetime) -> None:
        start = end - timedelta(days=3)
        whole = self.of(client, "pump-1", start, end)
        assert whole == self.of(client, "pump-1", start, end, MaxResults=1)
        assert all(later["EventStartTime"] > one["EventStartTime"] for later, one in pairwise(whole))

    def test_an_event_is_in_an_interval_that_it_reaches_into(
        self, client: Any, events: list[dict[str, Any]]
    ) -> None:
        event = events[0]
        first, last, second = event["EventStartTime"], event["EventEndTime"], timedelta(seconds=1)
        for start, until, is_in in (
            (last, last + second, True),
            (last + second, last + 2 * second, False),
            (first - second, first, False),
            (first - second, first + second, True),
        ):
            assert (event in self.of(client, event["InferenceSchedulerName"], start, until)) is is_in

    def test_an_event_grows_with_the_clock(
        self, client: Any, handle: Handle, events: list[dict[str, Any]], end: datetime
    ) -> None:
        event = next(one for one in events if one["EventDurationInSeconds"] > 3000)
        handle.set_clock(event["EventStartTime"] + timedelta(minutes=45))
        (early,) = self.of(client, event["InferenceSchedulerName"], event["EventStartTime"], end)
        assert early["EventStartTime"] == event["EventStartTime"]
        assert early["EventEndTime"] < event["EventEndTime"]
        assert client.describe_inference_scheduler(InferenceSchedulerName=event["InferenceSchedulerName"])[
            "LatestInferenceResult"
        ] in {"ANOMALOUS", "NORMAL"}

    def test_an_unknown_scheduler_has_none(self, client: Any, end: datetime) -> None:
        assert self.of(client, "nobody", end, end) == []


class TestAccounts:
    def test_a_key_can_be_given_an_account(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        with run_sandbox(plants, end, s3=False, accounts_by_key={"AKIAEXAMPLE": "123456789012"}) as handle:
            names = {
                key: [
                    one["InferenceSchedulerName"]
                    for one in listed(
                        make_client("eu-west-1", key, url=handle.url), "list_inference_schedulers"
                    )
                ]
                for key in ("AKIAEXAMPLE", "AKIAOTHER", "123456789012", "999999999999")
            }
        assert names["AKIAEXAMPLE"] == names["123456789012"] == ["boiler-1", "pump-1", "turbine-2"]
        assert names["AKIAOTHER"] == ["compressor-1", "compressor-2", "turbine-1"]
        assert names["999999999999"] == []


class TestControl:
    def ask(self, handle: Handle, path: str, told: object = None) -> Any:
        body = None if told is None else json.dumps(told).encode()
        with urllib.request.urlopen(f"{handle.url}/_sandbox/{path}", body, timeout=5) as answer:  # noqa: S310
            return json.load(answer)

    def refused(self, handle: Handle, path: str, told: object = None) -> tuple[int, str]:
        with pytest.raises(urllib.error.HTTPError) as error:
            self.ask(handle, path, told)
        with error.value as answer:
            return answer.code, json.load(answer)["error"]

    def test_the_clock_can_be_read_and_set(self, handle: Handle, end: datetime) -> None:
        assert self.ask(handle, "clock") == {"now": end.isoformat(), "rate": 0}
        told = self.ask(handle, "clock", {"now": "2026-10-08T03:00:00+02:00"})
        assert datetime.fromisoformat(told["now"]) == end + timedelta(hours=1)
        assert handle.core.clock.now() == end + timedelta(hours=1)

    def test_the_clock_can_run(self, handle: Handle, end: datetime) -> None:
        self.ask(handle, "clock", {"rate": 3600})
        time.sleep(0.05)
        assert handle.core.clock.now() >= end + timedelta(minutes=2)

    @pytest.mark.parametrize(
        ("path", "told", "said"),
        [
            ("clock", {"now": "soon"}, "soon"),
            ("clock", {"now": "2026-10-08T00:00:00"}, "has no time zone"),
            ("clock", {"now": "2099-10-08T00:00:00Z"}, "more than 400 days"),
            ("clock", {"rate": -1}, "not a rate"),
            ("clock", {"then": 1}, "then: only now, rate can be set"),
            ("faults", {"faults": ["rain"]}, "'rain' is not a fault; the faults are throttle,"),
            ("faults", [], "not a JSON object"),
        ],
    )
    def test_a_mistake_is_told(self, handle: Handle, path: str, told: object, said: str) -> None:
        status, error = self.refused(handle, path, told)
        assert status == 400
        assert said in error

    def test_an_unknown_path_names_the_known_ones(self, handle: Handle) -> None:
        assert self.refused(handle, "nonsense")[0] == 404
        assert "POST /_sandbox/reset" in self.refused(handle, "nonsense")[1]

    def test_requests_are_counted_and_forgotten(self, client: Any, handle: Handle) -> None:
        client.list_inference_executions(InferenceSchedulerName="pump-1")
        client.list_inference_executions(InferenceSchedulerName="pump-1")
        with pytest.raises(ClientError):
            client.describe_inference_scheduler(InferenceSchedulerName="nobody")
        counted = self.ask(handle, "requests")["requests"]
        assert [(one["operation"], one["scheduler"], one["outcome"], one["count"]) for one in counted] == [
            ("DescribeInferenceScheduler", "nobody", "ResourceNotFoundException", 1),
            ("ListInferenceExecutions", "pump-1", "ok", 2),
        ]
        assert handle.count(scheduler="pump-1") == 2
        self.ask(handle, "reset", {})
        assert self.ask(handle, "requests") == {"requests": []}

    def test_faults_are_replaced_and_reset(self, handle: Handle, end: datetime) -> None:
        told = self.ask(handle, "faults", {"faults": ["deny:scheduler=pump-1", "slow:seconds=0.5"]})
        assert [one["kind"] for one in told["faults"]] == ["deny", "slow"]
        handle.set_clock(end + MINUTE)
        self.ask(handle, "reset", {})
        assert self.ask(handle, "faults") == {"faults": []}
        assert handle.core.clock.now() == end

    def test_the_fleet_tells_the_truth(self, handle: Handle, plants: Fleet, end: datetime) -> None:
        told = self.ask(handle, "fleet")["schedulers"]
        assert [one["arn"] for one in told] == [one.arn for one in plants.schedulers]
        planted = get_ground_truth(plants.schedulers[0], plants.history.start, end)
        assert [one["start"] for one in told[0]["anomalies"]] == [
            one.start.isoformat() for one in planted.anomalies
        ]


class TestServer:
    def test_listens_on_loopback_only(self, handle: Handle) -> None:
        assert handle.url.startswith("http://127.0.0.1:")

    def test_a_taken_port_is_told(self, handle: Handle, plants: Fleet, end: datetime) -> None:
        port = int(handle.url.rpartition(":")[2])
        with (
            pytest.raises(OSError, match=f"cannot listen on port {port} of 127.0.0.1"),
            run_sandbox(plants, end, port=port, s3=False),
        ):
            pass

    def test_answers_many_at_once(self, make_client: Callable[..., Any], handle: Handle) -> None:
        handle.inject("slow:seconds=0.3")
        clients = [make_client() for _ in range(8)]
        began = time.monotonic()
        threads = [threading.Thread(target=each.list_inference_schedulers) for each in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 1.5
        assert handle.count(outcome="ok", faults="slow") == 8

    def test_is_fast_enough(self, client: Any, handle: Handle, plants: Fleet) -> None:
        asked = {"InferenceSchedulerName": "pump-2", "MaxResults": 500}
        client.list_inference_executions(**asked)
        took = []
        for _ in range(3):
            began = time.perf_counter()
            answer = handle.core.respond(
                {
                    "x-amz-target": "AWSLookoutEquipmentFrontendService.ListInferenceExecutions",
                    "authorization": "Credential=1/20261008/us-east-1/lookoutequipment/aws4_request",
                },
                json.dumps(asked).encode(),
            )
            took.append(time.perf_counter() - began)
            assert answer.body.count(b'"DataStartTime"') == 500
        assert 500 / min(took) > 5_000
        assert plants.seed == 1

    def test_stops_while_someone_waits(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        failed = Counter[str]()

        def ask(client: Any) -> None:
            try:
                client.list_inference_schedulers()
            except Exception as error:  # noqa: BLE001 - any will do
                failed[type(error).__name__] += 1

        with run_sandbox(plants, end, s3=False, faults=["slow:seconds=60"]) as handle:
            waiting = threading.Thread(target=ask, args=(make_client(url=handle.url),))
            waiting.start()
            time.sleep(0.2)
            began = time.monotonic()
        waiting.join(5)
        assert not waiting.is_alive()
        assert time.monotonic() - began < 2
