"""AWS clients, and AWS's errors in our words.

Credentials come from boto3's default chain alone; `AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT` and the like are
honoured as boto3 honours them. botocore signs, retries and reads errors. Only the body of a page of
executions is handed on as bytes: building a dict a row out of it costs ten times what typed decoding does.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import boto3
import botocore.exceptions as refusals
import botocore.parsers
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials, create_assume_role_refresher
from botocore.loaders import create_loader

from resources.aws.error_codes import ErrorKind, classify_error
from resources.errors import (
    ConfigurationError,
    LedgerError,
    PermissionsError,
    RetryLaterError,
    ServiceEndedError,
)

SERVICE = "lookoutequipment"
RAW_BODY = "RawBody"
"""Under this key a page of executions carries its bytes."""

LAST_BOTO3_WITH_CLIENT = "1.44.5"
SERVICE_END = date(2026, 10, 7)
"""AWS's own endpoints; a custom endpoint has no end."""

_ANY_REGION = "us-east-1"  # of STS, which is everywhere the same
_AWS = ".amazonaws.com"
_NAME_AUTHORITIES = "name whom to trust there, or of the proxy on the way there, in AWS_CA_BUNDLE"
_RAW_SHAPES = frozenset({"ListInferenceExecutionsResponse"})


@dataclass(frozen=True)
class AwsAccess:
    """How to reach a service; None stands for what boto3 finds by itself."""

    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    endpoint_url: str | None = None

    def __str__(self) -> str:
        """Name it as the settings do, for messages."""
        said = {
            "region": self.region,
            "profile": self.profile,
            "role_arn": self.role_arn,
            "endpoint_url": self.endpoint_url,
        }
        return ", ".join(f"{name} {value}" for name, value in said.items() if value) or "boto3's defaults"


class _RawPages(botocore.parsers.ResponseParserFactory):  # type: ignore[misc]
    """Hands over the body of a page of executions unparsed; everything else is botocore's to parse."""

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401
        return _RawPage(super().create_parser(protocol_name))


class _RawPage:
    def __init__(self, inner: Any) -> None:  # noqa: ANN401
        self._inner = inner

    def parse(self, response: dict[str, Any], shape: Any) -> dict[str, Any]:  # noqa: ANN401
        if response["status_code"] >= 300 or shape is None or shape.name not in _RAW_SHAPES:  # noqa: PLR2004
            return self._inner.parse(response, shape)  # type: ignore[no-any-return]
        parsed: dict[str, Any] = self._inner.parse({**response, "body": b"{}"}, shape)
        return parsed | {RAW_BODY: response["body"]}


def open_lookout_client(access: AwsAccess, *, connections: int = 4) -> Any:  # noqa: ANN401
    """Open a client of the service.

    Raises:
        ConfigurationError: profile or region are wrong, or this boto3 has no such client any more.
    """
    try:
        session = _session(access)
        client = session.client(
            SERVICE,
            endpoint_url=access.endpoint_url,
            config=Config(
                retries={"mode": "adaptive", "total_max_attempts": 8},
                max_pool_connections=connections,
                connect_timeout=10,
                read_timeout=60,
            ),
        )
    except refusals.UnknownServiceError:
        raise ConfigurationError(
            f"boto3 {boto3.__version__} has no client for Lookout for Equipment any more",
            where=f"sources, kind api ({access})",
            next_step=f"install the last one known to have it: pip install boto3=={LAST_BOTO3_WITH_CLIENT}",
        ) from None
    except (refusals.BotoCoreError, refusals.ClientError) as problem:
        raise translate_error(problem, access, f"opening a client ({access})") from None
    _check_region(session, client, access)
    return client


def open_session(access: AwsAccess, setting: str) -> boto3.Session:
    """Open a session for one section of the settings, with the role taken on where there is one.

    Raises:
        LedgerError: the profile is unknown, or the role may not be taken on.
    """
    try:
        return _session(access)
    except (refusals.BotoCoreError, refusals.ClientError) as problem:
        answer = classify_error(problem)
    where = f"[{setting}] in ledger.toml: {access}"
    if answer.kind in {ErrorKind.LATER, ErrorKind.UNREACHABLE, ErrorKind.BROKEN}:
        raise RetryLaterError(
            f"STS cannot be asked for the role: {answer.said}", where=where, next_step="run it again later"
        )
    if answer.kind in {ErrorKind.CREDENTIALS, ErrorKind.FORBIDDEN}:
        raise PermissionsError(
            f"the role cannot be taken on: {answer.said}",
            where=where,
            next_step="let this caller, whom `aws sts get-caller-identity` names, call sts:AssumeRole for it,"
            " in the policy of the caller and in the trust policy of the role",
        )
    correct = f"correct profile and role_arn under [{setting}] in ledger.toml"
    next_step = _NAME_AUTHORITIES if answer.kind is ErrorKind.UNTRUSTED else correct
    raise ConfigurationError(answer.said, where=where, next_step=next_step)


def _session(access: AwsAccess) -> boto3.Session:
    core = _core(access.profile)
    session = boto3.Session(botocore_session=core, region_name=access.region)
    if access.role_arn is None:
        return session
    assumed = _core()
    refresh = create_assume_role_refresher(
        session.client("sts", region_name=session.region_name or _ANY_REGION),
        {"RoleArn": access.role_arn, "RoleSessionName": "lookout-ledger"},
    )
    assumed._credentials = RefreshableCredentials.create_from_metadata(  # noqa: SLF001 (as boto3's own docs do)
        metadata=refresh(), refresh_using=refresh, method="sts-assume-role"
    )
    return boto3.Session(botocore_session=assumed, region_name=access.region or session.region_name)


def _core(profile: str | None = None) -> botocore.session.Session:
    core = botocore.session.Session(profile=profile)
    core.register_component("data_loader", _models(core.get_config_variable("data_path")))
    core.register_component("response_parser_factory", _RawPages())
    return core


@cache
def _models(data_path: str | None) -> Any:  # noqa: ANN401
    """Return what reads botocore's descriptions of services: megabytes, read once for all sessions."""
    return create_loader(data_path)


def get_caller_arn(access: AwsAccess) -> str:
    """Ask STS, once, who the credentials are; return the ARN.

    Raises:
        LedgerError: there are none, they are not valid, or STS cannot be reached.
    """
    try:
        once = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
        client = _session(access).client("sts", region_name=access.region, config=once)
        return str(client.get_caller_identity()["Arn"])
    except (refusals.BotoCoreError, refusals.ClientError) as problem:
        raise translate_error(problem, access, "asking STS who the caller is") from None


def is_aws_client(client: Any) -> bool:  # noqa: ANN401
    """Tell whether a client speaks to AWS itself, and not to something of its kind."""
    return is_aws_endpoint(str(client.meta.endpoint_url))


def is_aws_endpoint(endpoint: str) -> bool:
    """Tell whether an endpoint is one of AWS itself."""
    return endpoint.rstrip("/").endswith(_AWS)


def _check_region(session: boto3.Session, client: Any, access: AwsAccess) -> None:  # noqa: ANN401
    regions = session.get_available_regions(SERVICE)
    if is_aws_client(client) and client.meta.region_name not in regions:
        raise ConfigurationError(
            f"Lookout for Equipment was never offered in {client.meta.region_name}",
            where=f"sources.region ({access})",
            next_step=f"set region to one of {', '.join(regions)}",
        )


def translate_error(problem: Exception, access: AwsAccess, doing: str) -> LedgerError:  # noqa: PLR0911 (one a kind)
    """Say in our words what AWS or the network answered, by who can mend it."""
    where = f"{doing}; {access}"
    answer = classify_error(problem)
    match answer.kind:
        case ErrorKind.CREDENTIALS if not answer.code:  # nobody was asked
            return PermissionsError(
                f"no usable AWS credentials: {answer.said}",
                where=where,
                next_step="log in (aws sso login), or set AWS_PROFILE or profile in ledger.toml;"
                " `aws sts get-caller-identity` shows who you are",
            )
        case ErrorKind.CREDENTIALS | ErrorKind.FORBIDDEN | ErrorKind.KMS:
            return PermissionsError(
                answer.said,
                where=where,
                next_step="grant lookoutequipment:ListInferenceSchedulers, DescribeInferenceScheduler and"
                f" ListInferenceExecutions to this caller; after {SERVICE_END} AWS may refuse everybody",
            )
        case ErrorKind.LATER:
            return RetryLaterError(
                answer.said, where=where, next_step="run it again later; what was fetched is recorded"
            )
        case ErrorKind.UNREACHABLE if _AWS in answer.said:
            return ServiceEndedError(
                f"the endpoint cannot be reached: {answer.said}",
                where=where,
                next_step=f"check network and region; AWS ended the service on {SERVICE_END}:"
                " saved responses can still be a source",
            )
        case ErrorKind.UNREACHABLE:
            return RetryLaterError(
                f"the endpoint cannot be reached: {answer.said}",
                where=where,
                next_step="start it, then run again",
            )
        case ErrorKind.UNTRUSTED:
            return ConfigurationError(
                f"the endpoint is not trusted: {answer.said}", where=where, next_step=_NAME_AUTHORITIES
            )
        case ErrorKind.BROKEN:
            return RetryLaterError(
                f"the connection broke: {answer.said}", where=where, next_step="run it again later"
            )
    return ConfigurationError(answer.said, where=where, next_step="correct the source in ledger.toml")
