"""The forms in which people saved the service's responses: one page of summaries to text.

Forms of a whole response hold the NextToken and, from boto3, the ResponseMetadata; the bare forms hold
nothing but summaries, so an incomplete one cannot be told from a complete one.
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
    """How a response was saved."""

    CLI_V2 = "cli-v2"
    """AWS CLI v2: ISO 8601 in the zone of the machine."""
    CLI_V1 = "cli-v1"
    """AWS CLI v1: seconds as floats."""
    WIRE = "wire"
    """The body of the HTTP response: compact, seconds as Java writes doubles, and no newline at the end."""
    BOTO3_JSON = "boto3-json"
    """`json.dumps(response, default=str)`."""
    BOTO3_REPR = "boto3-repr"
    """The response as a notebook shows it: Python, with `datetime.datetime` in it."""
    JSON_LINES = "json-lines"
    """Bare summaries, one a line."""
    BARE_LIST = "bare-list"
    """A list of bare summaries."""
    CAMEL_CASE = "camel-case"
    """As SDKs of other languages have it: camelCase members, milliseconds, Z."""


@dataclass(frozen=True)
class Page:
    """One response: its summaries, and what else a form may need of it.

    Attributes:
        summaries: In the order of the response.
        next_token: Absent on the last page.
        taken_at: When it was requested; boto3 keeps the response's Date header.
        zone: The zone of the machine that saved it.
    """

    summaries: list[Summary]
    next_token: str | None = None
    taken_at: datetime | None = None
    zone: tzinfo = UTC

    @property
    def response(self) -> dict[str, Any]:
        """The members in the order in which botocore and the CLI give them."""
        token = {} if self.next_token is None else {"NextToken": self.next_token}
        return token | {"InferenceExecutionSummaries": self.summaries}

    @property
    def response_with_metadata(self) -> dict[str, Any]:
        """What boto3 returns."""
        request_id = chance.identifier(self.next_token, self.taken_at, len(self.summaries))
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


def java_double(number: float) -> str:
    """A finite double as Java's `Double.toString` writes it, with the fewest digits that tell it apart.

    Plain notation from 10^-3 up to, but not with, 10^7; beyond it one digit, a point, at least one more digit
    and an exponent: 1.6304139E9.
    """
    if 1e7 <= number < 1e15 and number.is_integer():  # noqa: PLR2004 - times, and there are millions of them
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


def _cli_v2(page: Page) -> str:
    def in_zone(at: datetime) -> str:
        return at.astimezone(page.zone).isoformat()

    return json.dumps(page.response, indent=4, default=in_zone) + "\n"


def _cli_v1(page: Page) -> str:
    return json.dumps(page.response, indent=4, default=datetime.timestamp) + "\n"


def _wire(page: Page) -> str:
    return wire(page.response)


def wire(value: object) -> str:
    """A value as the service puts it on the wire."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        return "{" + ",".join([f'"{key}":{wire(value[key])}' for key in sorted(value)]) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(wire, value)) + "]"
    if isinstance(value, datetime):
        return java_double(value.timestamp())
    if isinstance(value, float):
        return java_double(value)
    return json.dumps(value)


def _boto3_json(page: Page) -> str:
    return json.dumps(page.response_with_metadata, default=str) + "\n"


def _boto3_repr(page: Page) -> str:
    # boto3 gives times in the machine's zone; on a machine that runs on UTC dateutil calls it so.
    return repr(page.response_with_metadata).replace("datetime.timezone.utc", "tzutc()") + "\n"


def _json_lines(page: Page) -> str:
    return "".join(json.dumps(summary, default=datetime.isoformat) + "\n" for summary in page.summaries)


def _bare_list(page: Page) -> str:
    return json.dumps(page.summaries, indent=2, default=_zulu) + "\n"


def _camel_case(page: Page) -> str:
    return json.dumps(_camel(page.response), default=_zulu_milliseconds) + "\n"


def _zulu(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _zulu_milliseconds(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _camel(value: object) -> object:
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _camel(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_camel(element) for element in value]
    return value


FORMS: Mapping[Form, Callable[[Page], str]] = MappingProxyType(
    {
        Form.CLI_V2: _cli_v2,
        Form.CLI_V1: _cli_v1,
        Form.WIRE: _wire,
        Form.BOTO3_JSON: _boto3_json,
        Form.BOTO3_REPR: _boto3_repr,
        Form.JSON_LINES: _json_lines,
        Form.BARE_LIST: _bare_list,
        Form.CAMEL_CASE: _camel_case,
    }
)
"""How each form writes a page."""
