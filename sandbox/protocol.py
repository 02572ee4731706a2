"""The AWS JSON 1.0 protocol: credentials, operation and members of requests, and errors."""

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import botocore.loaders
import botocore.model

OPERATIONS = (
    "ListInferenceSchedulers",
    "DescribeInferenceScheduler",
    "ListInferenceExecutions",
    "ListInferenceEvents",
)
CONTENT_TYPE = "application/x-amz-json-1.0"

_NAMESPACE = "com.amazonaws.lookoutequipment"  # the real one is not published
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/lookoutequipment/aws4_request")
_STATUSES = {"InternalServerException": 500, "ServiceUnavailableException": 503}
_YEARS = (1, 9999)


class ServiceError(Exception):
    """An error response of the service."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = _STATUSES.get(code, 400)
        self.message = message

    @property
    def body(self) -> bytes:
        """The body of the response."""
        return json.dumps({"__type": f"{_NAMESPACE}#{self.code}", "Message": self.message}).encode()


def build_validation_error(message: str) -> ServiceError:
    """Return the error of an invalid request."""
    return ServiceError("ValidationException", message)


@dataclass(frozen=True)
class Scope:
    """The access key and the region of the credential scope of a signature."""

    access_key: str
    region: str


def parse_scope(authorization: str | None) -> Scope:
    """Parse the Authorization header. The signature is not verified.

    Raises:
        ServiceError: The request is not signed, or for another service.
    """
    match = _CREDENTIAL.search(authorization or "")
    if match is None:
        raise ServiceError(
            "MissingAuthenticationTokenException", "Missing Authentication Token: the sandbox reads SigV4"
        )
    return Scope(match[1], match[2])


def parse_operation(target: str | None) -> str:
    """Return the operation in the X-Amz-Target header.

    Raises:
        ServiceError: The sandbox has no such operation.
    """
    prefix, _, name = (target or "").partition(".")
    if prefix != load_service_model().metadata["targetPrefix"] or name not in OPERATIONS:
        raise ServiceError("UnknownOperationException", f"The sandbox has only {', '.join(OPERATIONS)}")
    return name


def parse_parameters(body: bytes) -> dict[str, Any]:
    """Return the members of a request, not validated.

    Raises:
        ServiceError: The body is not a JSON object.
    """
    try:
        members = json.loads(body or b"{}")
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise ServiceError("SerializationException", "The request is not a JSON object")
    return {name: value for name, value in members.items() if value is not None}


def check_parameters(name: str, members: Mapping[str, Any]) -> None:
    """Validate a request against the model. Unknown members are ignored.

    Raises:
        ServiceError: ValidationException with all violations.
    """
    shape = load_service_model().operation_model(name).input_shape
    problems = [
        f"Value null at '{_to_camel_case(member)}' failed to satisfy constraint: Member must not be null"
        for member in shape.required_members
        if member not in members
    ]
    for member, member_shape in shape.members.items():
        if member in members:
            where = f"Value {members[member]!r} at '{_to_camel_case(member)}'"
            problems += [
                f"{where} failed to satisfy constraint: Member must {constraint}"
                for constraint in _find_violations(member_shape, members[member])
            ]
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
        raise build_validation_error(f"{count}: {'; '.join(problems)}")


@functools.cache
def load_service_model() -> Any:  # noqa: ANN401 - botocore is untyped
    """Return the service model of botocore."""
    name = "lookoutequipment"
    description = botocore.loaders.create_loader().load_service_model(name, "service-2")
    return botocore.model.ServiceModel(description, name)


def _find_violations(shape: Any, value: object) -> Iterator[str]:  # noqa: ANN401 - botocore is untyped
    match shape.type_name:
        case "string":
            yield from _find_string_violations(shape, value)
        case "integer" | "long":
            yield from _find_number_violations(shape, value)
        case "timestamp":
            if not _is_time(value):
                yield "be a time in seconds since 1970"
        case other:
            raise NotImplementedError(other)  # the requests of these operations have no other types


def _find_string_violations(shape: Any, value: object) -> Iterator[str]:  # noqa: ANN401 - botocore is untyped
    rules = shape.metadata
    if not isinstance(value, str):
        yield "be a string"
        return
    if len(value) < rules.get("min", 0):
        yield f"have length greater than or equal to {rules['min']}"
    if len(value) > rules.get("max", math.inf):
        yield f"have length less than or equal to {rules['max']}"
    if rules.get("enum") and value not in rules["enum"]:
        yield f"satisfy enum value set: [{', '.join(rules['enum'])}]"
    if "pattern" in rules and not _compile_pattern(rules["pattern"]).fullmatch(value):
        yield f"satisfy regular expression pattern: {rules['pattern']}"


def _find_number_violations(shape: Any, value: object) -> Iterator[str]:  # noqa: ANN401 - botocore is untyped
    rules = shape.metadata
    if not isinstance(value, int) or isinstance(value, bool):
        yield "be a whole number"
        return
    if value < rules.get("min", -math.inf):
        yield f"have value greater than or equal to {rules['min']}"
    if value > rules.get("max", math.inf):
        yield f"have value less than or equal to {rules['max']}"


def _is_time(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    first, last = (datetime(year, 1, 2, tzinfo=UTC).timestamp() for year in _YEARS)
    return first <= value <= last


@functools.cache
def _compile_pattern(java: str) -> re.Pattern[str]:
    return re.compile(java.replace(r"\p{ASCII}", r"[\x00-\x7f]"))


def _to_camel_case(member: str) -> str:
    return member[0].lower() + member[1:]
