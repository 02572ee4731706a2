"""Faults: how each looks to a stock boto3 client, and how often it strikes."""

import http.client
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.faults import KINDS, Fault, Injector, parse_fault
from sandbox.fleet import Fleet
from sandbox.protocol import OPERATIONS
from sandbox.schedulers import sort_newest_first
from sandbox.service import Handle, run_sandbox

LIST = "ListInferenceExecutions"
NOWHERE: dict[str, str | None] = {"scheduler": None, "region": None, "account": None}


def first_page(client: Any, **asked: Any) -> Any:
    return client.list_inference_executions(InferenceSchedulerName="pump-1", MaxResults=20, **asked)


def starts(response: Any) -> list[Any]:
    return [one["DataStartTime"] for one in response["InferenceExecutionSummaries"]]


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "told"),
        [
            ("throttle", ("ThrottlingException", 400, 2)),
            ("internal", ("InternalServerException", 500, 2)),
            ("unavailable", ("ServiceUnavailableException", 503, 2)),
            ("deny", ("AccessDeniedException", 400, 1)),
        ],
    )
    def test_are_the_services_own_and_retried_as_such(
        self, make_client: Callable[..., Any], handle: Handle, kind: str, told: tuple[str, int, int]
    ) -> None:
        code, status, asked = told
        handle.inject(kind)
        with pytest.raises(ClientError) as error:
            first_page(make_client(attempts=2))
        assert error.value.response["Error"]["Code"] == code
        assert error.value.response["Error"]["Message"]
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert handle.count(operation=LIST, outcome=code, faults=kind) == handle.count() == asked

    @pytest.mark.parametrize("kind", ["throttle", "internal", "unavailable", "reset", "hangup"])
    def test_that_pass_are_survived(self, make_client: Callable[..., Any], handle: Handle, kind: str) -> None:
        handle.inject(f"{kind}:count=1")
        response = first_page(make_client(attempts=3))
        assert len(starts(response)) == 20
        assert response["ResponseMetadata"]["RetryAttempts"] == 1
        assert (handle.count(faults=kind), handle.count(faults="")) == (1, 1)

    @pytest.mark.parametrize("kind", ["reset", "hangup"])
    def test_a_lost_connection(self, client: Any, handle: Handle, kind: str) -> None:
        handle.inject(kind)
        with pytest.raises(ConnectionClosedError):
            first_page(client)
        assert handle.count(outcome=kind) == 1

    def test_a_dropped_answer_breaks_off_in_the_middle(self, handle: Handle) -> None:
        with pytest.raises(http.client.IncompleteRead) as error:
            raw(handle, "drop")
        assert len(error.value.partial) > 1_000
        assert abs(len(error.value.partial) - (error.value.expected or 0)) <= 1

    def test_a_truncated_answer_ends_in_the_middle(self, handle: Handle) -> None:
        body = raw(handle, "truncate")
        assert len(body) > 1_000
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)

    @pytest.mark.parametrize("kind", ["drop", "truncate"])
    def test_botocore_makes_no_error_of_half_an_answer(
        self, make_client: Callable[..., Any], handle: Handle, kind: str
    ) -> None:
        # It does not compare the length of a body with its header, and what it cannot parse has no members.
        handle.inject(kind)
        answer = first_page(make_client(attempts=3))
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert "InferenceExecutionSummaries" not in answer
        assert handle.count(outcome=kind) == 1

    def test_a_slow_answer_outlasts_a_patience(self, make_client: Callable[..., Any], handle: Handle) -> None:
        handle.inject("slow:seconds=0.5")
        with pytest.raises(ReadTimeoutError):
            first_page(make_client(read_timeout=0.1))
        assert len(starts(first_page(make_client(read_timeout=5)))) == 20


def raw(handle: Handle, *faults: str) -> bytes:
    handle.inject(*faults)
    connection = http.client.HTTPConnection(handle.url.removeprefix("http://"))
    headers = {
        "X-Amz-Target": f"AWSLookoutEquipmentFrontendService.{LIST}",
        "Authorization": "Credential=111122223333/20261008/us-east-1/lookoutequipment/aws4_request",
    }
    try:
        connection.request("POST", "/", json.dumps({"InferenceSchedulerName": "pump-1"}), headers)
        return connection.getresponse().read()
    finally:
        connection.close()


class TestPages:
    def test_a_repeated_token_comes_back_again_and_again(self, client: Any, handle: Handle) -> None:
        token = first_page(client)["NextToken"]
        handle.inject("repeat-token")
        pages = [first_page(client, NextToken=token) for _ in range(3)]
        assert {page["NextToken"] for page in pages} == {token}
        assert first_page(client)["NextToken"] == token

    def test_an_empty_page_leads_on(self, client: Any, handle: Handle) -> None:
        whole = first_page(client)
        handle.inject("empty-page:count=2")
        token: dict[str, str] = {}
        for _ in range(2):
            page = first_page(client, **token)
            assert page["InferenceExecutionSummaries"] == []
            token = {"NextToken": page["NextToken"]}
        assert starts(first_page(client, **token)) == starts(whole)

    def test_an_empty_page_in_the_middle_loses_nothing(self, client: Any, handle: Handle) -> None:
        first = first_page(client)
        second = first_page(client, NextToken=first["NextToken"])
        handle.inject("empty-page:count=1")
        empty = first_page(client, NextToken=first["NextToken"])
        assert starts(empty) == []
        assert starts(first_page(client, NextToken=empty["NextToken"])) == starts(second)

    def test_a_shifted_page_repeats_the_end_of_the_one_before(self, client: Any, handle: Handle) -> None:
        first = first_page(client)
        handle.inject("shift:items=4")
        second = first_page(client, NextToken=first["NextToken"])
        assert starts(second)[:4] == starts(first)[-4:]
        assert starts(first_page(client)) == starts(first)

    def test_a_shuffled_page_has_the_same_items(self, client: Any, handle: Handle) -> None:
        first = first_page(client)
        handle.inject("shuffle")
        shuffled = first_page(client)
        assert starts(shuffled) != starts(first)
        assert sorted(starts(shuffled)) == sorted(starts(first))
        assert shuffled["NextToken"] == first["NextToken"]

    def test_an_expired_token_is_refused(self, client: Any, handle: Handle) -> None:
        token = first_page(client)["NextToken"]
        handle.inject("expire-token:count=1")
        with pytest.raises(client.exceptions.ValidationException, match="expired"):
            first_page(client, NextToken=token)
        assert starts(first_page(client, NextToken=token))

    def test_whoever_dedupes_gets_everything_whatever_goes_wrong(
        self, make_client: Callable[..., Any], plants: Fleet, handle: Handle
    ) -> None:
        clock = plants.history.end + timedelta(hours=2)
        handle.set_clock(clock)
        kinds = {"throttle", "internal", "unavailable", "reset", "drop", "hangup", "truncate"}
        kinds |= {"shift", "shuffle", "empty-page"}
        handle.inject(*(f"{kind}:share=0.1" for kind in sorted(kinds)))
        client = make_client()
        found: dict[Any, Any] = {}
        token: dict[str, str] = {}
        while True:
            try:
                page = first_page(client, **token)
                found |= {one["DataStartTime"]: one for one in page["InferenceExecutionSummaries"]}
            except (ClientError, ConnectionClosedError, KeyError):
                continue
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert sort_newest_first(found.values()) == sort_newest_first(plants.schedulers[0].executions(clock))
        struck = {kind for asked in handle.requests() for kind in asked.faults.split("+")}
        assert kinds <= struck


class TestWhere:
    def test_only_where_it_is_said(self, make_client: Callable[..., Any], handle: Handle) -> None:
        handle.inject(
            "deny:scheduler=pump-1:region=us-east-1",
            f"throttle:{LIST}:account=123456789012",
            "slow:seconds=0",
        )
        first_page(make_client("eu-west-1"))
        make_client().list_inference_executions(InferenceSchedulerName="pump-2")
        make_client("eu-west-1", "123456789012").list_inference_schedulers()
        for wrong, code in (
            (make_client(), "AccessDeniedException"),
            (make_client("eu-west-1", "123456789012"), "ThrottlingException"),
        ):
            with pytest.raises(ClientError, match=code):
                first_page(wrong)

    def test_faults_can_be_there_from_the_start_and_be_healed(
        self, make_client: Callable[..., Any], plants: Fleet
    ) -> None:
        with run_sandbox(
            plants, plants.history.end, s3=False, faults=["deny", Fault("slow", seconds=0)]
        ) as one:
            client = make_client(url=one.url)
            with pytest.raises(client.exceptions.AccessDeniedException):
                first_page(client)
            one.clear_faults()
            assert starts(first_page(client))
            one.reset()
            with pytest.raises(client.exceptions.AccessDeniedException):
                first_page(client)


class TestHowOften:
    def struck(self, text: str, *, seed: int = 1, requests: int = 400) -> list[bool]:
        injector = Injector(seed, [parse_fault(text)])
        return [bool(injector.apply_faults(LIST, NOWHERE).kinds) for _ in range(requests)]

    def test_always_unless_told_otherwise(self) -> None:
        assert all(self.struck("deny"))

    def test_a_share_of_the_requests_the_same_ones_each_time(self) -> None:
        struck = self.struck("deny:share=0.2")
        assert 0.12 < sum(struck) / len(struck) < 0.28
        assert struck == self.struck("deny:share=0.2")
        assert struck != self.struck("deny:share=0.2", seed=2)

    def test_so_many_after_so_many(self) -> None:
        assert self.struck("deny:after=2:count=3")[:7] == [False, False, True, True, True, False, False]

    @settings(deadline=None, max_examples=30)
    @given(share=st.floats(0, 1), count=st.integers(0, 20), after=st.integers(0, 20))
    def test_never_more_than_it_may(self, share: float, count: int, after: int) -> None:
        struck = self.struck(f"deny:share={share:f}:count={count}:after={after}", requests=60)
        assert sum(struck) <= count
        assert not any(islice(struck, after))

    def test_one_more_does_not_change_the_others(self) -> None:
        injector = Injector(1, [parse_fault("slow:share=0.5:seconds=1")])
        alone = [injector.apply_faults(LIST, NOWHERE).seconds for _ in range(20)]
        injector.set([parse_fault("slow:share=0.5:seconds=1")])
        half = [injector.apply_faults(LIST, NOWHERE).seconds for _ in range(10)]
        injector.add([parse_fault("deny")])
        rest = [injector.apply_faults(LIST, NOWHERE) for _ in range(10)]
        assert half + [one.seconds for one in rest] == alone
        assert all(one.error is not None for one in rest)


class TestWriting:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("operation", [None, *OPERATIONS])
    def test_every_kind_can_be_written(self, kind: str, operation: str | None) -> None:
        text = kind if operation is None else f"{kind}:{operation}"
        assert parse_fault(text) == Fault(kind, operation=operation)

    def test_all_of_it(self) -> None:
        text = f"shift:{LIST}:scheduler=a:region=b:account=c:share=0.5:count=1:after=2:seconds=0.1:items=9"
        assert parse_fault(text) == Fault("shift", LIST, "a", "b", "c", 0.5, 1, 2, 0.1, 9)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("rain", "'rain' is not a fault; the faults are throttle,"),
            ("", "'' is not a fault"),
            (
                "deny:ListModels",
                "'ListModels' is not an operation; the operations are ListInferenceSchedulers,",
            ),
            ("deny:weather=bad", "'weather' is not a property of a fault; the properties are scheduler,"),
            ("deny:share=much", "'much' is not a number for 'share'"),
            ("deny:share=2", "share cannot be 2"),
            ("deny:count=-1", "count cannot be -1"),
            ("deny:count=1.5", "'1.5' is not a number for 'count'"),
            ("deny:share=nan", "share cannot be nan"),
        ],
    )
    def test_a_mistake_is_told(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            parse_fault(text)
