"""The wire protocol: validation of requests, and the format of responses."""

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


def send(handle: Handle, operation: str, body: object, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(handle.url.removeprefix("http://"))
    request_headers = {"X-Amz-Target": f"{PREFIX}.{operation}", "Authorization": SIGNED} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    try:
        connection.request(
            "POST", "/", body if isinstance(body, bytes) else json.dumps(body), request_headers
        )
        answer = connection.getresponse()
        response_headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, response_headers, answer.read()
    finally:
        connection.close()


def send_refused(handle: Handle, operation: str, body: object, **headers: str) -> tuple[int, str, str]:
    status, _, content = send(handle, operation, body, **headers)
    error = json.loads(content)
    assert error.keys() == {"__type", "Message"}
    namespace, _, code = error["__type"].partition("#")
    assert namespace
    return status, code, error["Message"]


class TestWire:
    def test_a_response_has_the_headers_of_the_service(self, handle: Handle) -> None:
        status, headers, body = send(handle, LIST, {"InferenceSchedulerName": "pump-1"})
        assert status == 200
        assert headers.keys() == {"x-amzn-requestid", "content-type", "content-length", "date"}
        assert headers["content-type"] == "application/x-amz-json-1.0"
        assert headers["content-length"] == str(len(body))
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["x-amzn-requestid"])
        assert parsedate_to_datetime(headers["date"]) == datetime(2026, 10, 8, tzinfo=UTC)

    def test_a_response_body_is_compact_json_with_sorted_members(self, handle: Handle) -> None:
        _, _, body = send(handle, LIST, {"InferenceSchedulerName": "pump-1", "MaxResults": 500})
        assert re.search(rb'"DataStartTime":1\.\d+E9,', body)
        assert b"null" not in body
        response = json.loads(body)
        assert list(response) == ["InferenceExecutionSummaries", "NextToken"]
        for summary in response["InferenceExecutionSummaries"]:
            assert list(summary) == sorted(summary)

    def test_connections_are_reused(self, handle: Handle) -> None:
        connection = http.client.HTTPConnection(handle.url.removeprefix("http://"))
        ports = set()
        for _ in range(3):
            connection.request("POST", "/", "{}", {"X-Amz-Target": "x", "Authorization": SIGNED})
            connection.getresponse().read()
            ports.add(connection.sock.getsockname())
        connection.close()
        assert len(ports) == 1

    def test_the_last_page_has_no_token(self, handle: Handle) -> None:
        _, _, body = send(handle, LIST, {"InferenceSchedulerName": "missing"})
        assert body == b'{"InferenceExecutionSummaries":[]}'

    def test_every_response_has_the_members_of_the_model(self, client: Any, end: datetime) -> None:
        scheduler = {"InferenceSchedulerName": "pump-1"}
        interval = {"IntervalStartTime": datetime(2026, 10, 5, tzinfo=UTC), "IntervalEndTime": end}
        for name, response in (
            ("ListInferenceSchedulers", client.list_inference_schedulers(MaxResults=1)),
            ("DescribeInferenceScheduler", client.describe_inference_scheduler(**scheduler)),
            ("ListInferenceExecutions", client.list_inference_executions(**scheduler, MaxResults=1)),
            ("ListInferenceEvents", client.list_inference_events(**scheduler, **interval, MaxResults=1)),
        ):
            members = load_service_model().operation_model(name).output_shape.members
            optional = {"ServerSideKmsKeyId", "NextToken"}
            assert response.keys() - {"ResponseMetadata"} - optional == members.keys() - optional


class TestValidation:
    @pytest.mark.parametrize(
        ("operation", "members", "message_pattern"),
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
    def test_a_request_that_violates_the_service_model_is_refused(
        self, handle: Handle, operation: str, members: dict[str, Any], message_pattern: str
    ) -> None:
        status, code, message = send_refused(handle, operation, members)
        assert (status, code) == (400, "ValidationException")
        assert re.search(message_pattern, message, re.IGNORECASE), message

    def test_requests_that_boto3_does_not_validate_are_refused(self, client: Any) -> None:
        for invalid in ({"InferenceSchedulerName": "a b"}, {"MaxResults": 501}, {"Status": "DONE"}):
            with pytest.raises(client.exceptions.ValidationException):
                client.list_inference_executions(**({"InferenceSchedulerName": "pump-1"} | invalid))

    def test_unknown_members_are_ignored(self) -> None:
        check_parameters(LIST, {"InferenceSchedulerName": "a", "Colour": "red"})

    def test_all_validation_errors_are_reported_at_once(self) -> None:
        with pytest.raises(ServiceError, match="2 validation errors"):
            check_parameters(LIST, {"MaxResults": 0})


class TestRequests:
    @pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff"])
    def test_a_body_that_is_not_a_json_object_is_refused(self, handle: Handle, body: bytes) -> None:
        assert send_refused(handle, LIST, body)[:2] == (400, "SerializationException")

    @pytest.mark.parametrize("target", ["", "ListInferenceExecutions", f"{PREFIX}.ListModels", "Other.List"])
    def test_an_unknown_operation_is_refused(self, handle: Handle, target: str) -> None:
        assert send_refused(handle, LIST, {}, X_Amz_Target=target)[:2] == (400, "UnknownOperationException")

    @pytest.mark.parametrize("header", ["", "Bearer x", SIGNED.replace("lookoutequipment", "s3")])
    def test_a_request_without_a_signature_for_the_service_is_refused(
        self, handle: Handle, header: str
    ) -> None:
        answer = send_refused(handle, "ListInferenceSchedulers", {}, Authorization=header)
        assert answer[:2] == (400, "MissingAuthenticationTokenException")

    def test_an_operation_that_the_sandbox_does_not_implement_is_refused(self, client: Any) -> None:
        with pytest.raises(ClientError, match="UnknownOperationException"):
            client.list_models()
