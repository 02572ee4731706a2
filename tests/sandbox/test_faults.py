"""Faults: their effect on a stock boto3 client, and how often they apply."""

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


def list_first_page(client: Any, **parameters: Any) -> Any:
    return client.list_inference_executions(InferenceSchedulerName="pump-1", MaxResults=20, **parameters)


def get_starts(response: Any) -> list[Any]:
    return [summary["DataStartTime"] for summary in response["InferenceExecutionSummaries"]]


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("throttle", ("ThrottlingException", 400, 2)),
            ("internal", ("InternalServerException", 500, 2)),
            ("unavailable", ("ServiceUnavailableException", 503, 2)),
            ("deny", ("AccessDeniedException", 400, 1)),
        ],
    )
    def test_an_error_fault_has_the_code_and_retries_of_the_service(
        self, make_client: Callable[..., Any], handle: Handle, kind: str, expected: tuple[str, int, int]
    ) -> None:
        code, status, requests = expected
        handle.inject(kind)
        with pytest.raises(ClientError) as error:
            list_first_page(make_client(attempts=2))
        assert error.value.response["Error"]["Code"] == code
        assert error.value.response["Error"]["Message"]
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert handle.count(operation=LIST, outcome=code, faults=kind) == handle.count() == requests

    @pytest.mark.parametrize("kind", ["throttle", "internal", "unavailable", "reset", "hangup"])
    def test_a_client_retries_after_a_transient_fault(
        self, make_client: Callable[..., Any], handle: Handle, kind: str
    ) -> None:
        handle.inject(f"{kind}:count=1")
        response = list_first_page(make_client(attempts=3))
        assert len(get_starts(response)) == 20
        assert response["ResponseMetadata"]["RetryAttempts"] == 1
        assert (handle.count(faults=kind), handle.count(faults="")) == (1, 1)

    @pytest.mark.parametrize("kind", ["reset", "hangup"])
    def test_a_lost_connection_is_a_connection_error(self, client: Any, handle: Handle, kind: str) -> None:
        handle.inject(kind)
        with pytest.raises(ConnectionClosedError):
            list_first_page(client)
        assert handle.count(outcome=kind) == 1

    def test_a_dropped_response_is_shorter_than_its_content_length(self, handle: Handle) -> None:
        with pytest.raises(http.client.IncompleteRead) as error:
            read_raw_response(handle, "drop")
        assert len(error.value.partial) > 1_000
        assert abs(len(error.value.partial) - (error.value.expected or 0)) <= 1

    def test_a_truncated_response_is_invalid_json(self, handle: Handle) -> None:
        body = read_raw_response(handle, "truncate")
        assert len(body) > 1_000
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)

    @pytest.mark.parametrize("kind", ["drop", "truncate"])
    def test_botocore_accepts_a_partial_response(
        self, make_client: Callable[..., Any], handle: Handle, kind: str
    ) -> None:
        # botocore does not compare the body with Content-Length. A body that it cannot parse has no members.
        handle.inject(kind)
        answer = list_first_page(make_client(attempts=3))
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert "InferenceExecutionSummaries" not in answer
        assert handle.count(outcome=kind) == 1

    def test_a_slow_response_exceeds_the_read_timeout(
        self, make_client: Callable[..., Any], handle: Handle
    ) -> None:
        handle.inject("slow:seconds=0.5")
        with pytest.raises(ReadTimeoutError):
            list_first_page(make_client(read_timeout=0.1))
        assert len(get_starts(list_first_page(make_client(read_timeout=5)))) == 20


def read_raw_response(handle: Handle, *faults: str) -> bytes:
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
    def test_repeat_token_returns_the_same_token_each_time(self, client: Any, handle: Handle) -> None:
        token = list_first_page(client)["NextToken"]
        handle.inject("repeat-token")
        pages = [list_first_page(client, NextToken=token) for _ in range(3)]
        assert {page["NextToken"] for page in pages} == {token}
        assert list_first_page(client)["NextToken"] == token

    def test_an_empty_page_has_a_token_to_continue(self, client: Any, handle: Handle) -> None:
        expected = list_first_page(client)
        handle.inject("empty-page:count=2")
        token: dict[str, str] = {}
        for _ in range(2):
            page = list_first_page(client, **token)
            assert page["InferenceExecutionSummaries"] == []
            token = {"NextToken": page["NextToken"]}
        assert get_starts(list_first_page(client, **token)) == get_starts(expected)

    def test_an_empty_page_in_the_middle_skips_no_executions(self, client: Any, handle: Handle) -> None:
        first = list_first_page(client)
        second = list_first_page(client, NextToken=first["NextToken"])
        handle.inject("empty-page:count=1")
        empty = list_first_page(client, NextToken=first["NextToken"])
        assert get_starts(empty) == []
        assert get_starts(list_first_page(client, NextToken=empty["NextToken"])) == get_starts(second)

    def test_a_shifted_page_repeats_the_end_of_the_previous_page(self, client: Any, handle: Handle) -> None:
        first = list_first_page(client)
        handle.inject("shift:items=4")
        second = list_first_page(client, NextToken=first["NextToken"])
        assert get_starts(second)[:4] == get_starts(first)[-4:]
        assert get_starts(list_first_page(client)) == get_starts(first)

    def test_a_shuffled_page_has_the_same_items(self, client: Any, handle: Handle) -> None:
        first = list_first_page(client)
        handle.inject("shuffle")
        shuffled = list_first_page(client)
        assert get_starts(shuffled) != get_starts(first)
        assert sorted(get_starts(shuffled)) == sorted(get_starts(first))
        assert shuffled["NextToken"] == first["NextToken"]

    def test_an_expired_token_is_refused(self, client: Any, handle: Handle) -> None:
        token = list_first_page(client)["NextToken"]
        handle.inject("expire-token:count=1")
        with pytest.raises(client.exceptions.ValidationException, match="expired"):
            list_first_page(client, NextToken=token)
        assert get_starts(list_first_page(client, NextToken=token))

    def test_a_client_that_deduplicates_gets_every_execution_under_all_faults(
        self, make_client: Callable[..., Any], plants: Fleet, handle: Handle
    ) -> None:
        clock = plants.history.end + timedelta(hours=2)
        handle.set_clock(clock)
        kinds = {"throttle", "internal", "unavailable", "reset", "drop", "hangup", "truncate"}
        kinds |= {"shift", "shuffle", "empty-page"}
        handle.inject(*(f"{kind}:share=0.1" for kind in sorted(kinds)))
        client = make_client()
        executions: dict[Any, Any] = {}
        token: dict[str, str] = {}
        while True:
            try:
                page = list_first_page(client, **token)
                executions |= {
                    summary["DataStartTime"]: summary for summary in page["InferenceExecutionSummaries"]
                }
            except (ClientError, ConnectionClosedError, KeyError):
                continue
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert sort_newest_first(executions.values()) == sort_newest_first(
            plants.schedulers[0].executions(clock)
        )
        applied = {kind for request in handle.requests() for kind in request.faults.split("+")}
        assert kinds <= applied


class TestWhere:
    def test_a_fault_applies_only_to_matching_requests(
        self, make_client: Callable[..., Any], handle: Handle
    ) -> None:
        handle.inject(
            "deny:scheduler=pump-1:region=us-east-1",
            f"throttle:{LIST}:account=123456789012",
            "slow:seconds=0",
        )
        list_first_page(make_client("eu-west-1"))
        make_client().list_inference_executions(InferenceSchedulerName="pump-2")
        make_client("eu-west-1", "123456789012").list_inference_schedulers()
        for wrong, code in (
            (make_client(), "AccessDeniedException"),
            (make_client("eu-west-1", "123456789012"), "ThrottlingException"),
        ):
            with pytest.raises(ClientError, match=code):
                list_first_page(wrong)

    def test_faults_of_the_start_can_be_cleared_and_reset(
        self, make_client: Callable[..., Any], plants: Fleet
    ) -> None:
        with run_sandbox(
            plants, plants.history.end, s3=False, faults=["deny", Fault("slow", seconds=0)]
        ) as sandbox:
            client = make_client(url=sandbox.url)
            with pytest.raises(client.exceptions.AccessDeniedException):
                list_first_page(client)
            sandbox.clear_faults()
            assert get_starts(list_first_page(client))
            sandbox.reset()
            with pytest.raises(client.exceptions.AccessDeniedException):
                list_first_page(client)


class TestHowOften:
    def apply_repeatedly(self, text: str, *, seed: int = 1, requests: int = 400) -> list[bool]:
        injector = Injector(seed, [parse_fault(text)])
        return [bool(injector.apply_faults(LIST, NOWHERE).kinds) for _ in range(requests)]

    def test_a_fault_applies_to_every_request_by_default(self) -> None:
        assert all(self.apply_repeatedly("deny"))

    def test_a_share_selects_the_same_requests_for_the_same_seed(self) -> None:
        applied = self.apply_repeatedly("deny:share=0.2")
        assert 0.12 < sum(applied) / len(applied) < 0.28
        assert applied == self.apply_repeatedly("deny:share=0.2")
        assert applied != self.apply_repeatedly("deny:share=0.2", seed=2)

    def test_a_count_starts_after_the_skipped_requests(self) -> None:
        assert self.apply_repeatedly("deny:after=2:count=3")[:7] == [
            False,
            False,
            True,
            True,
            True,
            False,
            False,
        ]

    @settings(deadline=None, max_examples=30)
    @given(share=st.floats(0, 1), count=st.integers(0, 20), after=st.integers(0, 20))
    def test_a_fault_never_exceeds_its_count(self, share: float, count: int, after: int) -> None:
        applied = self.apply_repeatedly(f"deny:share={share:f}:count={count}:after={after}", requests=60)
        assert sum(applied) <= count
        assert not any(islice(applied, after))

    def test_a_new_fault_does_not_change_the_others(self) -> None:
        injector = Injector(1, [parse_fault("slow:share=0.5:seconds=1")])
        alone = [injector.apply_faults(LIST, NOWHERE).seconds for _ in range(20)]
        injector.set([parse_fault("slow:share=0.5:seconds=1")])
        half = [injector.apply_faults(LIST, NOWHERE).seconds for _ in range(10)]
        injector.add([parse_fault("deny")])
        rest = [injector.apply_faults(LIST, NOWHERE) for _ in range(10)]
        assert half + [fault.seconds for fault in rest] == alone
        assert all(fault.error is not None for fault in rest)


class TestWriting:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_can_be_parsed(self, kind: str) -> None:
        assert parse_fault(kind) == Fault(kind)
        for operation in OPERATIONS:
            assert parse_fault(f"{kind}:{operation}") == Fault(kind, operation=operation)

    def test_every_property_can_be_parsed(self) -> None:
        text = f"shift:{LIST}:scheduler=a:region=b:account=c:share=0.5:count=1:after=2:seconds=0.1:items=9"
        assert parse_fault(text) == Fault("shift", LIST, "a", "b", "c", 0.5, 1, 2, 0.1, 9)

    @pytest.mark.parametrize(
        ("text", "message"),
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
    def test_an_invalid_fault_is_rejected_with_a_reason(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            parse_fault(text)
