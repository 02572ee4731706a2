"""The formats of saved responses.

Formats of a whole response have the NextToken and, from boto3, the ResponseMetadata. Bare formats have only
summaries, so they do not show whether pages are missing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from email.utils import format_datetime
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any

from sandbox import chance
from sandbox.schedulers import Summary


class Form(StrEnum):
    """The format of a saved response."""

    CLI_V2 = "cli-v2"
    """AWS CLI v2: ISO 8601 in the local time zone."""
    CLI_V1 = "cli-v1"
    """AWS CLI v1: seconds as floats."""
    WIRE = "wire"
    """The body of the HTTP response: compact, seconds in Java's format of doubles, no newline at the end."""
    BOTO3_JSON = "boto3-json"
    """`json.dumps(response, default=str)`."""
    BOTO3_REPR = "boto3-repr"
    """The `repr` of the response, with `datetime.datetime`, as a notebook prints it."""
    JSON_LINES = "json-lines"
    """Bare summaries, one per line."""
    BARE_LIST = "bare-list"
    """A list of bare summaries."""
    CAMEL_CASE = "camel-case"
    """The format of other SDKs: camelCase members, milliseconds, Z."""


@dataclass(frozen=True)
class Page:
    """One response.

    Attributes:
        summaries: The summaries in the order of the response.
        next_token: The NextToken, or None on the last page.
        taken_at: The time of the request, for the Date header.
        zone: The local time zone of the machine.
    """

    summaries: list[Summary]
    next_token: str | None = None
    taken_at: datetime | None = None
    zone: tzinfo = UTC

    @property
    def response(self) -> dict[str, Any]:
        """The response in the member order of botocore and the CLI."""
        token = {} if self.next_token is None else {"NextToken": self.next_token}
        return token | {"InferenceExecutionSummaries": self.summaries}

    @property
    def response_with_metadata(self) -> dict[str, Any]:
        """The response of boto3."""
        request_id = chance.draw_uuid(self.next_token, self.taken_at, len(self.summaries))
        headers = {"x-amzn-requestid": request_id, "content-type": "application/x-amz-json-1.0"}
        if self.taken_at is not None:
            headers["date"] = format_datetime(self.taken_at.astimezone(UTC), usegmt=True)
        metadata = {
            "RequestId": request_id,
            "HTTPStatusCode": 200,
            "HTTPHeaders": headers,
            "RetryAttempts": 0,
        }
        return self.response | {"ResponseMetadata": metadata}


def format_java_double(number: float) -> str:
    """Format a finite double like Java's `Double.toString`, with the shortest unique digits.

    The notation is plain from 10^-3 to below 10^7. Otherwise it has an exponent: 1.6304139E9.
    """
    if 1e7 <= number < 1e15 and number.is_integer():  # noqa: PLR2004 - a fast path for times
        whole = str(int(number))
        return f"{whole[0]}.{whole[1:].rstrip('0') or '0'}E{len(whole) - 1}"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    significant = "".join(map(str, digits)).strip("0") or "0"
    if significant == "0":
        return "-0.0" if sign else "0.0"
    if 1e-3 <= abs(number) < 1e7:  # noqa: PLR2004 - Java's own bounds
        plain = f"{Decimal(repr(number)):f}".rstrip("0")
        return plain + "0" if plain.endswith(".") else plain
    power = len("".join(map(str, digits)).lstrip("0")) + int(exponent) - 1
    return f"{'-' if sign else ''}{significant[0]}.{significant[1:] or '0'}E{power}"


def _format_cli_v2(page: Page) -> str:
    def in_zone(at: datetime) -> str:
        return at.astimezone(page.zone).isoformat()

    return json.dumps(page.response, indent=4, default=in_zone) + "\n"


def _format_cli_v1(page: Page) -> str:
    return json.dumps(page.response, indent=4, default=datetime.timestamp) + "\n"


def _format_wire_page(page: Page) -> str:
    return format_wire(page.response)


def format_wire(value: object) -> str:
    """Format a value like the service."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        return "{" + ",".join([f'"{key}":{format_wire(value[key])}' for key in sorted(value)]) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(format_wire, value)) + "]"
    if isinstance(value, datetime):
        return format_java_double(value.timestamp())
    if isinstance(value, float):
        return format_java_double(value)
    return json.dumps(value)


def _format_boto3_json(page: Page) -> str:
    return json.dumps(page.response_with_metadata, default=str) + "\n"


def _format_boto3_repr(page: Page) -> str:
    # boto3 returns times in the local zone, which dateutil prints like this on a machine in UTC
    return repr(page.response_with_metadata).replace("datetime.timezone.utc", "tzutc()") + "\n"


def _format_json_lines(page: Page) -> str:
    return "".join(json.dumps(summary, default=datetime.isoformat) + "\n" for summary in page.summaries)


def _format_bare_list(page: Page) -> str:
    return json.dumps(page.summaries, indent=2, default=_format_utc) + "\n"


def _format_camel_case(page: Page) -> str:
    return json.dumps(_to_camel_case(page.response), default=_format_utc_milliseconds) + "\n"


def _format_utc(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _format_utc_milliseconds(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_camel_case(value: object) -> object:
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _to_camel_case(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_to_camel_case(element) for element in value]
    return value


FORMS: Mapping[Form, Callable[[Page], str]] = MappingProxyType(
    {
        Form.CLI_V2: _format_cli_v2,
        Form.CLI_V1: _format_cli_v1,
        Form.WIRE: _format_wire_page,
        Form.BOTO3_JSON: _format_boto3_json,
        Form.BOTO3_REPR: _format_boto3_repr,
        Form.JSON_LINES: _format_json_lines,
        Form.BARE_LIST: _format_bare_list,
        Form.CAMEL_CASE: _format_camel_case,
    }
)
"""The function that formats a page, by format."""
