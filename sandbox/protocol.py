"""AWS JSON 1.0 as the service speaks it: who asks, for which operation, with which members; errors."""

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

_NAMESPACE = "com.amazonaws.lookoutequipment"  # what it really is nobody published
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/lookoutequipment/aws4_request")
_STATUSES = {"InternalServerException": 500, "ServiceUnavailableException": 503}
_YEARS = (1, 9999)


class ServiceError(Exception):
    """An error as the service tells it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = _STATUSES.get(code, 400)
        self.message = message

    @property
    def body(self) -> bytes:
        """The body of the response."""
        return json.dumps({"__type": f"{_NAMESPACE}#{self.code}", "Message": self.message}).encode()


def invalid(message: str) -> ServiceError:
    """The error for a request that cannot be answered as it is."""
    return ServiceError("ValidationException", message)


@dataclass(frozen=True)
class Scope:
    """Whom a request is signed for: the access key and the region of its signature's credential scope."""

    access_key: str
    region: str


def scope(authorization: str | None) -> Scope:
    """What the Authorization header says; the signature itself is taken on trust.

    Raises:
        ServiceError: The request is not signed, or for another service.
    """
    found = _CREDENTIAL.search(authorization or "")
    if found is None:
        raise ServiceError(
            "MissingAuthenticationTokenException", "Missing Authentication Token: the sandbox reads SigV4"
        )
    return Scope(found[1], found[2])


def operation(target: str | None) -> str:
    """The operation that the X-Amz-Target header names.

    Raises:
        ServiceError: The sandbox has no such operation.
    """
    prefix, _, name = (target or "").partition(".")
    if prefix != model().metadata["targetPrefix"] or name not in OPERATIONS:
        raise ServiceError("UnknownOperationException", f"The sandbox has only {', '.join(OPERATIONS)}")
    return name


def parameters(body: bytes) -> dict[str, Any]:
    """The members of a request, unchecked.

    Raises:
        ServiceError: The body is no JSON object.
    """
    try:
        members = json.loads(body or b"{}")
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise ServiceError("SerializationException", "The request is no JSON object")
    return {name: value for name, value in members.items() if value is not None}


def check(name: str, members: Mapping[str, Any]) -> None:
    """Compares a request with the model; members that the model does not know are passed over.

    Raises:
        ServiceError: ValidationException, with all that is wrong.
    """
    shape = model().operation_model(name).input_shape
    problems = [
        f"Value null at '{_camel(member)}' failed to satisfy constraint: Member must not be null"
        for member in shape.required_members
        if member not in members
    ]
    for member, of in shape.members.items():
        if member in members:
            where = f"Value {members[member]!r} at '{_camel(member)}'"
            problems += [
                f"{where} failed to satisfy constraint: Member must {constraint}"
                for constraint in _broken(of, members[member])
            ]
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
        raise invalid(f"{count}: {'; '.join(problems)}")


@functools.cache
def model() -> Any:  # noqa: ANN401 - botocore is untyped
    """The model of the service that botocore has."""
    name = "lookoutequipment"
    described = botocore.loaders.create_loader().load_service_model(name, "service-2")
    return botocore.model.ServiceModel(described, name)


def _broken(shape: Any, value: object) -> Iterator[str]:  # noqa: ANN401 - botocore is untyped
    match shape.type_name:
        case "string":
            yield from _broken_string(shape, value)
        case "integer" | "long":
            yield from _broken_number(shape, value)
        case "timestamp":
            if not _is_time(value):
                yield "be a time in seconds since 1970"
        case other:
            raise NotImplementedError(other)  # no request of these operations has any other


def _broken_string(shape: Any, value: object) -> Iterator[str]:  # noqa: ANN401 - botocore is untyped
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
    if "pattern" in rules and not _pattern(rules["pattern"]).fullmatch(value):
        yield f"satisfy regular expression pattern: {rules['pattern']}"


def _broken_number(shape: Any, value: object) -> Iterator[str]:  # noqa: ANN401 - botocore is untyped
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
def _pattern(java: str) -> re.Pattern[str]:
    return re.compile(java.replace(r"\p{ASCII}", r"[\x00-\x7f]"))


def _camel(member: str) -> str:
    return member[0].lower() + member[1:]
