"""The protocol: what a request must be, and what the wire looks like."""

import http.client
import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.protocol import ServiceError, check_parameters, load_service_model
from sandbox.service import Handle

PREFIX = "AWSLookoutEquipmentFrontendService"
LIST = "ListInferenceExecutions"
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=111122223333/20261008/us-east-1/lookoutequipment/aws4_request, Signature=0"
)

Answer = tuple[int, dict[str, str], bytes]


def ask(handle: Handle, operation: str, body: object, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(handle.url.removeprefix("http://"))
    sent = {"X-Amz-Target": f"{PREFIX}.{operation}", "Authorization": SIGNED} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    try:
        connection.request("POST", "/", body if isinstance(body, bytes) else json.dumps(body), sent)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read()
    finally:
        connection.close()


def refused(handle: Handle, operation: str, body: object, **headers: str) -> tuple[int, str, str]:
    status, _, told = ask(handle, operation, body, **headers)
    error = json.loads(told)
    assert error.keys() == {"__type", "Message"}
    namespace, _, code = error["__type"].partition("#")
    assert namespace
    return status, code, error["Message"]


class TestWire:
    def test_headers(self, handle: Handle) -> None:
        status, headers, body = ask(handle, LIST, {"InferenceSchedulerName": "pump-1"})
        assert status == 200
        assert headers.keys() == {"x-amzn-requestid", "content-type", "content-length", "date"}
        assert headers["content-type"] == "application/x-amz-json-1.0"
        assert headers["content-length"] == str(len(body))
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["x-amzn-requestid"])
        assert parsedate_to_datetime(headers["date"]) == datetime(2026, 10, 8, tzinfo=UTC)

    def test_body(self, handle: Handle) -> None:
        _, _, body = ask(handle, LIST, {"InferenceSchedulerName": "pump-1", "MaxResults": 500})
        assert re.search(rb'"DataStartTime":1\.\d+E9,', body)
        assert b"null" not in body
        response = json.loads(body)
        assert list(response) == ["InferenceExecutionSummaries", "NextToken"]
        for one in response["InferenceExecutionSummaries"]:
            assert list(one) == sorted(one)

    def test_a_connection_is_kept(self, handle: Handle) -> None:
        connection = http.client.HTTPConnection(handle.url.removeprefix("http://"))
        ports = set()
        for _ in range(3):
            connection.request("POST", "/", "{}", {"X-Amz-Target": "x", "Authorization": SIGNED})
            connection.getresponse().read()
            ports.add(connection.sock.getsockname())
        connection.close()
        assert len(ports) == 1

    def test_the_last_page_leaves_the_token_out(self, handle: Handle) -> None:
        _, _, body = ask(handle, LIST, {"InferenceSchedulerName": "nobody"})
        assert body == b'{"InferenceExecutionSummaries":[]}'

    def test_every_response_has_the_members_of_the_model(self, client: Any, end: datetime) -> None:
        of = {"InferenceSchedulerName": "pump-1"}
        interval = {"IntervalStartTime": datetime(2026, 10, 5, tzinfo=UTC), "IntervalEndTime": end}
        for name, response in (
            ("ListInferenceSchedulers", client.list_inference_schedulers(MaxResults=1)),
            ("DescribeInferenceScheduler", client.describe_inference_scheduler(**of)),
            ("ListInferenceExecutions", client.list_inference_executions(**of, MaxResults=1)),
            ("ListInferenceEvents", client.list_inference_events(**of, **interval, MaxResults=1)),
        ):
            members = load_service_model().operation_model(name).output_shape.members
            rare = {"ServerSideKmsKeyId", "NextToken"}
            assert response.keys() - {"ResponseMetadata"} - rare == members.keys() - rare


class TestValidation:
    @pytest.mark.parametrize(
        ("operation", "members", "said"),
        [
            (LIST, {}, "Value null at 'inferenceSchedulerName' failed .* must not be null"),
            (LIST, {"InferenceSchedulerName": None}, "must not be null"),
            (LIST, {"InferenceSchedulerName": ""}, "length greater than or equal to 1"),
            (LIST, {"InferenceSchedulerName": "a b"}, "must satisfy regular expression pattern"),
            (LIST, {"InferenceSchedulerName": "a\n"}, "must satisfy regular expression pattern"),
            (LIST, {"InferenceSchedulerName": "a" * 201}, "length less than or equal to 200"),
            (LIST, {"InferenceSchedulerName": 1}, "must be a string"),
            (LIST, {"InferenceSchedulerName": "a", "MaxResults": 0}, "greater than or equal to 1"),
            (LIST, {"InferenceSchedulerName": "a", "MaxResults": 501}, "less than or equal to 500"),
            (LIST, {"InferenceSchedulerName": "a", "MaxResults": "5"}, "must be a whole number"),
            (LIST, {"InferenceSchedulerName": "a", "MaxResults": True}, "must be a whole number"),
            (
                LIST,
                {"InferenceSchedulerName": "a", "Status": "DONE"},
                r"set: \[IN_PROGRESS, SUCCESS, FAILED\]",
            ),
            (LIST, {"InferenceSchedulerName": "a", "DataStartTimeAfter": "2026-10-08"}, "must be a time"),
            (LIST, {"InferenceSchedulerName": "a", "DataStartTimeAfter": 1e300}, "must be a time"),
            (LIST, {"InferenceSchedulerName": "a", "DataEndTimeBefore": math.nan}, "must be a time"),
            (LIST, {"InferenceSchedulerName": "a", "DataEndTimeBefore": True}, "must be a time"),
            (LIST, {"InferenceSchedulerName": "a", "NextToken": "x" * 8193}, "less than or equal to 8192"),
            (LIST, {"InferenceSchedulerName": "a", "NextToken": "é"}, "pattern"),
            ("ListInferenceEvents", {"InferenceSchedulerName": "a"}, "2 validation errors detected"),
            ("ListInferenceSchedulers", {"Status": "GONE"}, "PENDING, RUNNING, STOPPING, STOPPED"),
            ("ListInferenceSchedulers", {"ModelName": "a b"}, "pattern"),
            ("DescribeInferenceScheduler", {}, "1 validation error detected"),
        ],
    )
    def test_a_request_that_breaks_the_model(
        self, handle: Handle, operation: str, members: dict[str, Any], said: str
    ) -> None:
        status, code, message = refused(handle, operation, members)
        assert (status, code) == (400, "ValidationException")
        assert re.search(said, message, re.IGNORECASE), message

    def test_what_boto3_lets_through(self, client: Any) -> None:
        for asked in ({"InferenceSchedulerName": "a b"}, {"MaxResults": 501}, {"Status": "DONE"}):
            with pytest.raises(client.exceptions.ValidationException):
                client.list_inference_executions(**({"InferenceSchedulerName": "pump-1"} | asked))

    def test_unknown_members_are_passed_over(self) -> None:
        check_parameters(LIST, {"InferenceSchedulerName": "a", "Colour": "red"})

    def test_all_problems_are_told_at_once(self) -> None:
        with pytest.raises(ServiceError, match="2 validation errors"):
            check_parameters(LIST, {"MaxResults": 0})


class TestRequests:
    @pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff"])
    def test_a_body_that_is_no_json_object(self, handle: Handle, body: bytes) -> None:
        assert refused(handle, LIST, body)[:2] == (400, "SerializationException")

    @pytest.mark.parametrize("target", ["", "ListInferenceExecutions", f"{PREFIX}.ListModels", "Other.List"])
    def test_an_unknown_operation(self, handle: Handle, target: str) -> None:
        assert refused(handle, LIST, {}, X_Amz_Target=target)[:2] == (400, "UnknownOperationException")

    @pytest.mark.parametrize("header", ["", "Bearer x", SIGNED.replace("lookoutequipment", "s3")])
    def test_a_request_that_is_not_signed_for_the_service(self, handle: Handle, header: str) -> None:
        answer = refused(handle, "ListInferenceSchedulers", {}, Authorization=header)
        assert answer[:2] == (400, "MissingAuthenticationTokenException")

    def test_an_operation_of_the_service_that_the_sandbox_lacks(self, client: Any) -> None:
        with pytest.raises(ClientError, match="UnknownOperationException"):
            client.list_models()
