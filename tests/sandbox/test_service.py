"""The sandbox service, called with a stock boto3 client."""

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


def get_scheduler(plants: Fleet, name: str, region: str = "us-east-1") -> Scheduler:
    return [
        scheduler for scheduler in plants.schedulers if (scheduler.name, scheduler.region) == (name, region)
    ][-1]


def list_all_pages(
    client: Any, operation: str = "list_inference_executions", **parameters: Any
) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    items, token = [], {}
    while True:
        response = getattr(client, operation)(**parameters, **token)
        (member,) = (name for name in response if name.endswith("Summaries"))
        items += response[member]
        if "NextToken" not in response:
            return items
        token = {"NextToken": response["NextToken"]}


def drop_unknown_members(summary: Summary) -> Summary:
    """Remove the members that botocore does not know and drops."""
    return {
        name: {inner: each for inner, each in value.items() if inner != "ResultFormat"}
        if isinstance(value, dict)
        else value
        for name, value in summary.items()
        if name != "InferenceRuntimeInSeconds"
    }


def list_executions(scheduler: Scheduler, clock: datetime) -> list[Summary]:
    return [drop_unknown_members(summary) for summary in sort_newest_first(scheduler.executions(clock))]


def get_error_code_and_status(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


class TestListInferenceSchedulers:
    def test_each_account_and_region_lists_its_own_schedulers(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        for account in ACCOUNTS:
            for region in REGIONS:
                listed = list_all_pages(make_client(region, account), "list_inference_schedulers")
                assert [scheduler["InferenceSchedulerArn"] for scheduler in listed] == [
                    scheduler.arn
                    for scheduler in sorted(plants.list_schedulers(end), key=lambda scheduler: scheduler.name)
                    if (scheduler.account, scheduler.region) == (account, region)
                ]

    def test_members(self, client: Any, plants: Fleet) -> None:
        pump = next(
            summary
            for summary in client.list_inference_schedulers()["InferenceSchedulerSummaries"]
            if summary["InferenceSchedulerName"] == "pump-2"
        )
        assert pump == {
            "ModelName": "pump-2-model",
            "ModelArn": get_scheduler(plants, "pump-2").model_arn,
            "InferenceSchedulerName": "pump-2",
            "InferenceSchedulerArn": get_scheduler(plants, "pump-2").arn,
            "Status": "RUNNING",
            "DataDelayOffsetInMinutes": 2,
            "DataUploadFrequency": "PT5M",
            "LatestInferenceResult": "NORMAL",
        }

    @pytest.mark.parametrize(
        ("parameters", "names"),
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
    def test_filters(self, client: Any, parameters: dict[str, Any], names: list[str]) -> None:
        listed = list_all_pages(client, "list_inference_schedulers", **parameters)
        assert [scheduler["InferenceSchedulerName"] for scheduler in listed] == names

    def test_a_stopped_scheduler_has_the_status_stopped(
        self, make_client: Callable[..., Any], handle: Handle, plants: Fleet
    ) -> None:
        turbine = get_scheduler(plants, "turbine-1", "eu-west-1")
        assert turbine.schedules[0].until is not None
        handle.set_clock(turbine.schedules[0].until + MINUTE)
        stopped = list_all_pages(make_client("eu-west-1"), "list_inference_schedulers", Status="STOPPED")
        assert [summary["InferenceSchedulerName"] for summary in stopped] == ["turbine-1"]


class TestDescribeInferenceScheduler:
    def test_members(self, make_client: Callable[..., Any], plants: Fleet) -> None:
        scheduler = get_scheduler(plants, "compressor-2", "eu-west-1")
        description = make_client("eu-west-1").describe_inference_scheduler(
            InferenceSchedulerName=scheduler.name
        )
        assert description["InferenceSchedulerArn"] == scheduler.arn
        assert description["DataInputConfiguration"]["InputTimeZoneOffset"] == "+02:00"
        assert description["DataOutputConfiguration"]["KmsKeyId"] == scheduler.output.kms_key_id
        assert scheduler.created_at - MINUTE <= description["CreatedAt"] <= scheduler.created_at
        assert description["CreatedAt"].microsecond

    def test_an_update_changes_the_description(
        self, make_client: Callable[..., Any], handle: Handle, plants: Fleet
    ) -> None:
        turbine = get_scheduler(plants, "turbine-2", "eu-west-1")
        client = make_client("eu-west-1", "123456789012")
        before, after = [], []
        for clock, descriptions in (
            (turbine.schedules[1].since - MINUTE, before),
            (turbine.schedules[1].since, after),
        ):
            handle.set_clock(clock)
            descriptions += [client.describe_inference_scheduler(InferenceSchedulerName="turbine-2")]
        assert [description["DataUploadFrequency"] for description in (*before, *after)] == ["PT15M", "PT5M"]
        assert before[0]["UpdatedAt"] == before[0]["CreatedAt"] < after[0]["UpdatedAt"]

    @pytest.mark.parametrize(
        ("name", "region", "key"),
        [
            ("missing", "us-east-1", "111122223333"),
            ("pump-1", "eu-west-1", "111122223333"),
            ("pump-1", "us-east-1", "123456789012"),
            ("fan-1", "ap-northeast-2", "123456789012"),  # deleted
        ],
    )
    def test_an_unknown_scheduler_is_an_error(
        self, make_client: Callable[..., Any], name: str, region: str, key: str
    ) -> None:
        client = make_client(region, key)
        with pytest.raises(client.exceptions.ResourceNotFoundException) as error:
            client.describe_inference_scheduler(InferenceSchedulerName=name)
        assert get_error_code_and_status(error) == ("ResourceNotFoundException", 400)
        assert error.value.response["Message"].endswith(name)


class TestListInferenceExecutions:
    @pytest.mark.parametrize(
        ("bounds", "order"),
        [("strict", "newest"), ("strict", "oldest"), ("strict", "shuffled"), ("inclusive", "newest")],
    )
    def test_all_pages_together_are_the_executions_in_the_range(
        self, make_client: Callable[..., Any], plants: Fleet, bounds: Any, order: Any
    ) -> None:
        end = plants.history.end
        low, high = end - timedelta(days=1), end - timedelta(hours=1)

        def is_within(execution: Summary) -> bool:
            start, stop = execution["DataStartTime"], execution["DataEndTime"]
            return low <= start and stop <= high if bounds == "inclusive" else low < start and stop < high

        for paging in ("item", "offset"):
            with run_sandbox(plants, end, s3=False, bounds=bounds, order=order, paging=paging) as handle:
                for scheduler in plants.list_schedulers(end):
                    if scheduler.name not in {"pump-2", "turbine-2", "mill-1", "chiller-1"}:
                        continue
                    listed = list_all_pages(
                        make_client(scheduler.region, scheduler.account, url=handle.url),
                        InferenceSchedulerName=scheduler.name,
                        DataStartTimeAfter=low,
                        DataEndTimeBefore=high,
                        MaxResults=7,
                    )
                    expected = [each for each in list_executions(scheduler, end) if is_within(each)]
                    if order == "oldest":
                        expected.reverse()
                    if order == "shuffled":
                        assert listed != expected
                        listed = sort_newest_first(listed)
                    assert listed == expected

    def test_all_executions_of_all_schedulers_are_listed(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime, handle: Handle
    ) -> None:
        clock = end + timedelta(minutes=7)
        handle.set_clock(clock)
        for scheduler in plants.list_schedulers(clock):
            client = make_client(scheduler.region, scheduler.account)
            assert list_all_pages(
                client, InferenceSchedulerName=scheduler.name, MaxResults=500
            ) == list_executions(scheduler, clock)

    @pytest.mark.parametrize("status", ["SUCCESS", "FAILED", "IN_PROGRESS"])
    def test_executions_are_filtered_by_status(
        self, client: Any, plants: Fleet, end: datetime, status: str
    ) -> None:
        for name in ("pump-1", "mixer-1"):
            listed = list_all_pages(client, InferenceSchedulerName=name, Status=status, MaxResults=3)
            assert listed == [
                execution
                for execution in list_executions(get_scheduler(plants, name), end)
                if execution["Status"] == status
            ]

    def test_pages_have_the_requested_size_or_fifty(self, client: Any) -> None:
        def size(**parameters: Any) -> int:
            response = client.list_inference_executions(InferenceSchedulerName="pump-1", **parameters)
            return len(response["InferenceExecutionSummaries"])

        assert [size(), size(MaxResults=1), size(MaxResults=500)] == [50, 1, 500]

    def test_the_last_page_has_no_token_even_when_it_is_full(self, client: Any, end: datetime) -> None:
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", DataStartTimeAfter=end - timedelta(minutes=26), MaxResults=5
        )
        assert len(response["InferenceExecutionSummaries"]) == 5
        assert "NextToken" not in response

    def test_bounds_are_compared_with_fractions_of_a_second(self, client: Any, end: datetime) -> None:
        start = end - timedelta(minutes=5)
        for after, count in ((start - timedelta(microseconds=1), 1), (start + timedelta(microseconds=1), 0)):
            listed = list_all_pages(client, InferenceSchedulerName="pump-1", DataStartTimeAfter=after)
            assert len(listed) == count

    def test_an_execution_shows_in_progress_and_settles_as_the_clock_moves(
        self, client: Any, handle: Handle, plants: Fleet, end: datetime
    ) -> None:
        pump = get_scheduler(plants, "pump-1")
        slot = next(pump.slots(end, end + timedelta(hours=1)))
        settles_at = pump.outcome(slot).settles_at
        assert settles_at is not None
        states = []
        for clock in (slot.scheduled - MINUTE, slot.scheduled, settles_at, slot.scheduled):
            handle.set_clock(clock)
            newest = client.list_inference_executions(InferenceSchedulerName="pump-1", MaxResults=1)
            (execution,) = newest["InferenceExecutionSummaries"]
            states.append(
                (execution["DataStartTime"] == end, execution["Status"], "CustomerResultObject" in execution)
            )
        assert states[1:] == [
            (True, "IN_PROGRESS", False),
            (True, "SUCCESS", True),
            (True, "IN_PROGRESS", False),
        ]
        assert not states[0][0]

    def test_a_deleted_scheduler_has_no_executions(
        self, make_client: Callable[..., Any], handle: Handle, plants: Fleet
    ) -> None:
        client = make_client("ap-northeast-2", "123456789012")
        fan = get_scheduler(plants, "fan-1", "ap-northeast-2")
        assert fan.deleted_at is not None
        counts = []
        for clock in (fan.deleted_at - MINUTE, fan.deleted_at):
            handle.set_clock(clock)
            names = [
                summary["InferenceSchedulerName"]
                for summary in client.list_inference_schedulers()["InferenceSchedulerSummaries"]
            ]
            counts.append(
                ("fan-1" in names, len(list_all_pages(client, InferenceSchedulerName="fan-1")) > 90)
            )
        assert counts == [(True, True), (False, False)]

    def test_a_recreated_scheduler_has_only_its_new_executions(
        self, make_client: Callable[..., Any], plants: Fleet
    ) -> None:
        fan = get_scheduler(plants, "fan-2", "ap-northeast-2")
        listed = list_all_pages(make_client("ap-northeast-2", "123456789012"), InferenceSchedulerName="fan-2")
        assert {execution["InferenceSchedulerArn"] for execution in listed} == {fan.arn}

    def test_an_unknown_scheduler_has_an_empty_list(self, client: Any) -> None:
        response = client.list_inference_executions(InferenceSchedulerName="missing")
        assert response["InferenceExecutionSummaries"] == []
        assert "NextToken" not in response

    def test_an_unknown_scheduler_can_be_an_error(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        with run_sandbox(plants, end, s3=False, unknown_scheduler="error") as handle:
            client = make_client(url=handle.url)
            for operation in ("list_inference_executions", "list_inference_events"):
                parameters: dict[str, Any] = {"InferenceSchedulerName": "missing"}
                if operation == "list_inference_events":
                    parameters |= {"IntervalStartTime": end, "IntervalEndTime": end}
                with pytest.raises(client.exceptions.ResourceNotFoundException):
                    getattr(client, operation)(**parameters)

    def test_new_executions_shift_only_pages_by_offset(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        repeated = {}
        for paging in ("item", "offset"):
            with run_sandbox(plants, end, s3=False, paging=paging) as handle:
                client = make_client(url=handle.url)
                parameters = {"InferenceSchedulerName": "pump-1", "MaxResults": 10}
                first = client.list_inference_executions(**parameters)
                handle.set_clock(end + timedelta(minutes=10))
                second = client.list_inference_executions(**parameters, NextToken=first["NextToken"])
            starts = [
                {execution["DataStartTime"] for execution in response["InferenceExecutionSummaries"]}
                for response in (first, second)
            ]
            repeated[paging] = len(starts[0] & starts[1])
        assert repeated == {"item": 0, "offset": 2}


class TestTokens:
    def get_token(self, client: Any, **parameters: Any) -> str:
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", MaxResults=5, **parameters
        )
        return str(response["NextToken"])

    @pytest.mark.parametrize(
        "changed",
        [
            {"Status": "SUCCESS"},
            {"InferenceSchedulerName": "pump-2"},
            {"InferenceSchedulerName": "missing"},
            {"DataStartTimeAfter": datetime(2026, 10, 7, tzinfo=UTC)},
        ],
    )
    def test_a_token_of_another_request_is_refused(self, client: Any, changed: dict[str, Any]) -> None:
        parameters = {"InferenceSchedulerName": "pump-1"} | changed
        with pytest.raises(client.exceptions.ValidationException) as error:
            client.list_inference_executions(**parameters, NextToken=self.get_token(client))
        assert get_error_code_and_status(error) == ("ValidationException", 400)

    def test_a_token_of_another_operation_or_region_is_refused(
        self, client: Any, make_client: Callable[..., Any]
    ) -> None:
        token = self.get_token(client)
        with pytest.raises(client.exceptions.ValidationException):
            client.list_inference_schedulers(NextToken=token)
        with pytest.raises(client.exceptions.ValidationException):
            make_client("eu-west-1").list_inference_executions(
                InferenceSchedulerName="pump-1", NextToken=token
            )

    def test_a_token_can_continue_with_another_page_size(self, client: Any) -> None:
        response = client.list_inference_executions(
            InferenceSchedulerName="pump-1", MaxResults=9, NextToken=self.get_token(client)
        )
        assert len(response["InferenceExecutionSummaries"]) == 9

    def test_an_invalid_token_is_refused(self, client: Any) -> None:
        token = self.get_token(client)
        for garbage in (
            "garbage",
            "",
            "Zm9v",
            token[:-4],
            token[4:],
            token.swapcase(),
            "\x00",
            "é",
        ):
            with pytest.raises(client.exceptions.ValidationException):
                client.list_inference_executions(InferenceSchedulerName="pump-1", NextToken=garbage)

    def test_a_token_is_opaque_ascii(self, client: Any) -> None:
        token = self.get_token(client)
        assert token.isascii()
        assert token.isprintable()
        assert "pump" not in token

    def test_an_expired_token_is_an_error_or_starts_again(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        for when_expired in ("error", "ignore"):
            with run_sandbox(plants, end, s3=False, token_seconds=60, when_expired=when_expired) as handle:
                client = make_client(url=handle.url)
                parameters = {"InferenceSchedulerName": "mixer-1", "MaxResults": 5}
                first = client.list_inference_executions(**parameters)
                token = first["NextToken"]
                handle.set_clock(end + timedelta(seconds=60))
                second = client.list_inference_executions(**parameters, NextToken=token)
                handle.set_clock(end + timedelta(seconds=61))
                if when_expired == "error":
                    with pytest.raises(client.exceptions.ValidationException, match="expired"):
                        client.list_inference_executions(**parameters, NextToken=token)
                else:
                    again = client.list_inference_executions(**parameters, NextToken=token)
                    assert again["InferenceExecutionSummaries"] == first["InferenceExecutionSummaries"]
                assert second["InferenceExecutionSummaries"] != first["InferenceExecutionSummaries"]

    def test_a_token_keeps_its_position_when_items_are_added(self, end: datetime) -> None:
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
            event
            for name in ("pump-1", "pump-2", "mixer-1", "blower-1")
            for event in self.list_events(client, name, end - timedelta(days=3), end)
        ]

    def list_events(
        self, client: Any, name: str, start: datetime, end: datetime, **parameters: Any
    ) -> list[dict[str, Any]]:
        return list_all_pages(
            client,
            "list_inference_events",
            InferenceSchedulerName=name,
            IntervalStartTime=start,
            IntervalEndTime=end,
            **parameters,
        )

    def test_each_event_is_a_planted_anomaly_of_more_than_five_minutes(
        self, events: list[dict[str, Any]], plants: Fleet
    ) -> None:
        assert len(events) >= 5
        for event in events:
            scheduler = get_scheduler(plants, event["InferenceSchedulerName"])
            (anomaly,) = get_ground_truth(scheduler, event["EventStartTime"], event["EventEndTime"]).anomalies
            assert anomaly.start <= event["EventStartTime"] < event["EventEndTime"] <= anomaly.end
            lasted = event["EventEndTime"] - event["EventStartTime"]
            assert event["EventDurationInSeconds"] == lasted.total_seconds() > 300

    def test_diagnostics_are_json_and_planted_sensors_have_the_largest_values(
        self, events: list[dict[str, Any]], plants: Fleet
    ) -> None:
        for event in events:
            scheduler = get_scheduler(plants, event["InferenceSchedulerName"])
            (anomaly,) = get_ground_truth(scheduler, event["EventStartTime"], event["EventEndTime"]).anomalies
            values = {each["name"]: each["value"] for each in json.loads(event["Diagnostics"])}
            assert len(values) == scheduler.plant.sensors
            assert sum(values.values()) == pytest.approx(1, abs=0.001)
            ranked = sorted(values, key=lambda name: -values[name])
            assert tuple(ranked[: len(anomaly.sensors)]) == anomaly.sensors

    def test_events_are_newest_first_on_every_page(self, client: Any, end: datetime) -> None:
        start = end - timedelta(days=3)
        events = self.list_events(client, "pump-1", start, end)
        assert events == self.list_events(client, "pump-1", start, end, MaxResults=1)
        assert all(later["EventStartTime"] > earlier["EventStartTime"] for later, earlier in pairwise(events))

    def test_an_event_is_listed_in_every_interval_that_it_overlaps(
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
            assert (event in self.list_events(client, event["InferenceSchedulerName"], start, until)) is is_in

    def test_an_event_grows_with_the_clock(
        self, client: Any, handle: Handle, events: list[dict[str, Any]], end: datetime
    ) -> None:
        event = next(event for event in events if event["EventDurationInSeconds"] > 3000)
        handle.set_clock(event["EventStartTime"] + timedelta(minutes=45))
        (early,) = self.list_events(client, event["InferenceSchedulerName"], event["EventStartTime"], end)
        assert early["EventStartTime"] == event["EventStartTime"]
        assert early["EventEndTime"] < event["EventEndTime"]
        assert client.describe_inference_scheduler(InferenceSchedulerName=event["InferenceSchedulerName"])[
            "LatestInferenceResult"
        ] in {"ANOMALOUS", "NORMAL"}

    def test_an_unknown_scheduler_has_no_events(self, client: Any, end: datetime) -> None:
        assert self.list_events(client, "missing", end, end) == []


class TestAccounts:
    def test_an_access_key_can_be_assigned_to_an_account(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        with run_sandbox(plants, end, s3=False, accounts_by_key={"AKIAEXAMPLE": "123456789012"}) as handle:
            names = {
                key: [
                    summary["InferenceSchedulerName"]
                    for summary in list_all_pages(
                        make_client("eu-west-1", key, url=handle.url), "list_inference_schedulers"
                    )
                ]
                for key in ("AKIAEXAMPLE", "AKIAOTHER", "123456789012", "999999999999")
            }
        assert names["AKIAEXAMPLE"] == names["123456789012"] == ["boiler-1", "pump-1", "turbine-2"]
        assert names["AKIAOTHER"] == ["compressor-1", "compressor-2", "turbine-1"]
        assert names["999999999999"] == []


class TestControl:
    def send(self, handle: Handle, path: str, content: object = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(f"{handle.url}/_sandbox/{path}", body, timeout=5) as answer:  # noqa: S310
            return json.load(answer)

    def send_refused(self, handle: Handle, path: str, content: object = None) -> tuple[int, str]:
        with pytest.raises(urllib.error.HTTPError) as error:
            self.send(handle, path, content)
        with error.value as answer:
            return answer.code, json.load(answer)["error"]

    def test_the_clock_can_be_read_and_set(self, handle: Handle, end: datetime) -> None:
        assert self.send(handle, "clock") == {"now": end.isoformat(), "rate": 0}
        response = self.send(handle, "clock", {"now": "2026-10-08T03:00:00+02:00"})
        assert datetime.fromisoformat(response["now"]) == end + timedelta(hours=1)
        assert handle.core.clock.now() == end + timedelta(hours=1)

    def test_the_clock_can_run(self, handle: Handle, end: datetime) -> None:
        self.send(handle, "clock", {"rate": 3600})
        time.sleep(0.05)
        assert handle.core.clock.now() >= end + timedelta(minutes=2)

    @pytest.mark.parametrize(
        ("path", "content", "message"),
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
    def test_an_invalid_control_request_is_refused_with_a_reason(
        self, handle: Handle, path: str, content: object, message: str
    ) -> None:
        status, error = self.send_refused(handle, path, content)
        assert status == 400
        assert message in error

    def test_an_unknown_path_lists_the_known_paths(self, handle: Handle) -> None:
        assert self.send_refused(handle, "nonsense")[0] == 404
        assert "POST /_sandbox/reset" in self.send_refused(handle, "nonsense")[1]

    def test_requests_are_counted_until_the_reset(self, client: Any, handle: Handle) -> None:
        client.list_inference_executions(InferenceSchedulerName="pump-1")
        client.list_inference_executions(InferenceSchedulerName="pump-1")
        with pytest.raises(ClientError):
            client.describe_inference_scheduler(InferenceSchedulerName="missing")
        counted = self.send(handle, "requests")["requests"]
        assert [
            (request["operation"], request["scheduler"], request["outcome"], request["count"])
            for request in counted
        ] == [
            ("DescribeInferenceScheduler", "missing", "ResourceNotFoundException", 1),
            ("ListInferenceExecutions", "pump-1", "ok", 2),
        ]
        assert handle.count(scheduler="pump-1") == 2
        self.send(handle, "reset", {})
        assert self.send(handle, "requests") == {"requests": []}

    def test_faults_are_replaced_and_reset(self, handle: Handle, end: datetime) -> None:
        response = self.send(handle, "faults", {"faults": ["deny:scheduler=pump-1", "slow:seconds=0.5"]})
        assert [fault["kind"] for fault in response["faults"]] == ["deny", "slow"]
        handle.set_clock(end + MINUTE)
        self.send(handle, "reset", {})
        assert self.send(handle, "faults") == {"faults": []}
        assert handle.core.clock.now() == end

    def test_the_fleet_page_has_schedulers_and_planted_anomalies(
        self, handle: Handle, plants: Fleet, end: datetime
    ) -> None:
        schedulers = self.send(handle, "fleet")["schedulers"]
        assert [scheduler["arn"] for scheduler in schedulers] == [
            scheduler.arn for scheduler in plants.schedulers
        ]
        planted = get_ground_truth(plants.schedulers[0], plants.history.start, end)
        assert [anomaly["start"] for anomaly in schedulers[0]["anomalies"]] == [
            anomaly.start.isoformat() for anomaly in planted.anomalies
        ]


class TestServer:
    def test_the_server_listens_on_loopback_only(self, handle: Handle) -> None:
        assert handle.url.startswith("http://127.0.0.1:")

    def test_a_port_in_use_is_an_error(self, handle: Handle, plants: Fleet, end: datetime) -> None:
        port = int(handle.url.rpartition(":")[2])
        with (
            pytest.raises(OSError, match=f"cannot listen on port {port} of 127.0.0.1"),
            run_sandbox(plants, end, port=port, s3=False),
        ):
            pass

    def test_the_server_answers_requests_in_parallel(
        self, make_client: Callable[..., Any], handle: Handle
    ) -> None:
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

    def test_five_thousand_summaries_a_second_are_served(
        self, client: Any, handle: Handle, plants: Fleet
    ) -> None:
        parameters = {"InferenceSchedulerName": "pump-2", "MaxResults": 500}
        client.list_inference_executions(**parameters)
        durations = []
        for _ in range(3):
            began = time.perf_counter()
            response = handle.core.respond(
                {
                    "x-amz-target": "AWSLookoutEquipmentFrontendService.ListInferenceExecutions",
                    "authorization": "Credential=1/20261008/us-east-1/lookoutequipment/aws4_request",
                },
                json.dumps(parameters).encode(),
            )
            durations.append(time.perf_counter() - began)
            assert response.body.count(b'"DataStartTime"') == 500
        assert 500 / min(durations) > 5_000
        assert plants.seed == 1

    def test_the_server_stops_while_a_request_is_waiting(
        self, make_client: Callable[..., Any], plants: Fleet, end: datetime
    ) -> None:
        failed = Counter[str]()

        def send(client: Any) -> None:
            try:
                client.list_inference_schedulers()
            except Exception as error:  # noqa: BLE001 (every kind of error counts)
                failed[type(error).__name__] += 1

        with run_sandbox(plants, end, s3=False, faults=["slow:seconds=60"]) as handle:
            waiting = threading.Thread(target=send, args=(make_client(url=handle.url),))
            waiting.start()
            time.sleep(0.2)
            began = time.monotonic()
        waiting.join(5)
        assert not waiting.is_alive()
        assert time.monotonic() - began < 2
