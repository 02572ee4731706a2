"""Opens boto3 sessions and the client of Lookout for Equipment, and translates the errors of the service.

Credentials and endpoints come from boto3's default chain, such as `AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT`.
botocore signs, retries and parses. The body of a response stays bytes: botocore expects valid
JSON of the right types, and one dict for each row would cost ten times as much as typed decoding.
"""

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import botocore
import botocore.exceptions as refusals
import botocore.parsers
import botocore.session
import msgspec
from botocore.config import Config
from botocore.credentials import RefreshableCredentials, create_assume_role_refresher
from botocore.loaders import JSONFileLoader, create_loader

from resources.aws.access import RAW_BODY, SERVICE, SET_CA_BUNDLE, AwsAccess, is_aws_client, translate_error
from resources.aws.clients import create_client
from resources.aws.error_codes import ErrorKind, classify_error
from resources.aws.limited_session import LimitedSession
from resources.aws.listing_parser import ListingParser
from resources.errors import (
    ConfigurationError,
    PermissionsError,
    RetryLaterError,
)
from resources.read_limits import DEFAULT_LIMITS, ReadLimits

LAST_BOTO3_WITH_CLIENT = "1.44.5"
MAX_ATTEMPTS = 8
"""The requests of a call to the service, with pauses of up to 20 s between them."""

_STS_REGION = "us-east-1"  # every region of STS returns the same
_RAW_SHAPES = frozenset(
    {
        "DescribeInferenceSchedulerResponse",
        "ListInferenceExecutionsResponse",
        "ListInferenceSchedulersResponse",
    }
)
_MAX_MESSAGE_BYTES = 500
_MODEL_SUFFIXES: dict[str, Callable[..., Any]] = {".json": open, ".json.gz": gzip.open}
_USER_AGENT = f"lookout-ledger Boto3/{boto3.__version__} Botocore/{botocore.__version__}"
"""botocore builds its own from thirty parts for each request, which is a sixth of the CPU time of a page."""


class _ErrorBody(msgspec.Struct):
    code: str | None = msgspec.field(default=None, name="__type")
    message: str | None = None
    other_message: str | None = msgspec.field(default=None, name="Message")


class _RawPageParsers(botocore.parsers.ResponseParserFactory):  # type: ignore[misc]
    """Keeps the body of a response of the service as bytes, and parses the listings of S3."""

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401
        parser = super().create_parser(protocol_name)
        if protocol_name == "rest-xml":
            return ListingParser(parser)
        return _RawPageParser(parser) if protocol_name == "json" else parser


class _RawPageParser:
    def __init__(self, inner: Any) -> None:  # noqa: ANN401
        self._inner = inner

    def parse(self, response: dict[str, Any], shape: Any) -> dict[str, Any]:  # noqa: ANN401
        if response["status_code"] >= 300:  # noqa: PLR2004
            body = _normalize_error(response["body"], response["status_code"])
            return self._inner.parse({**response, "body": body}, shape)  # type: ignore[no-any-return]
        if shape is None or shape.name not in _RAW_SHAPES:
            return self._inner.parse(response, shape)  # type: ignore[no-any-return]
        headers = {name.lower(): value for name, value in response["headers"].items()}
        metadata = {"HTTPStatusCode": response["status_code"], "HTTPHeaders": headers}
        return {"ResponseMetadata": metadata, RAW_BODY: response["body"]}


def _normalize_error(body: bytes, status: int) -> bytes:
    """Return the body of an error as JSON that botocore can parse, whatever a proxy or a service sent."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody)
        code, message = error.code, error.message or error.other_message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        code, message = None, body[:_MAX_MESSAGE_BYTES].decode(errors="backslashreplace")
    return msgspec.json.encode({"__type": code or str(status), "message": message or f"HTTP {status}"})


def open_lookout_client(
    access: AwsAccess,
    *,
    connections: int = 4,
    limits: ReadLimits = DEFAULT_LIMITS,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Any:  # noqa: ANN401
    """Open a client of Lookout for Equipment. Its requests end while `is_stopped` returns True.

    Raises:
        ConfigurationError: profile or region are invalid, or this version of boto3 lacks the client.
    """
    try:
        session = _open_session(access)
        client = create_client(
            session,
            SERVICE,
            endpoint_url=access.endpoint_url,
            config=Config(
                retries={"mode": "adaptive", "total_max_attempts": MAX_ATTEMPTS},
                max_pool_connections=connections,
                connect_timeout=10,
                read_timeout=60,
                user_agent=_USER_AGENT,
                parameter_validation=False,  # the sources build valid requests
            ),
        )
    except refusals.UnknownServiceError:
        raise ConfigurationError(
            f"Cannot open a client: boto3 {boto3.__version__} has no client for Lookout for Equipment",
            where=f"sources, kind api ({access})",
            next_step=f"install the last version that has it, boto3=={LAST_BOTO3_WITH_CLIENT}",
        ) from None
    except (refusals.BotoCoreError, refusals.ClientError) as error:
        raise translate_error(error, access, "open a client") from None
    _check_region(session, client, access)
    endpoint = client._endpoint  # noqa: SLF001 (no public access)
    endpoint.http_session = LimitedSession(endpoint.http_session, limits, is_stopped)
    return client


def open_session(access: AwsAccess, setting: str) -> boto3.Session:
    """Open a session for one section of the settings; assume the role, if one is set.

    Raises:
        LedgerError: the profile is unknown, or the role cannot be assumed.
    """
    try:
        return _open_session(access)
    except (refusals.BotoCoreError, refusals.ClientError) as error:
        answer = classify_error(error)
    where = f"[{setting}] in ledger.toml: {access}"
    if answer.kind in {ErrorKind.BUSY, ErrorKind.UNREACHABLE, ErrorKind.CONNECTION_LOST}:
        raise RetryLaterError(
            f"Cannot call STS to assume the role: {answer.message}",
            where=where,
            next_step="run it again later",
        )
    if answer.kind in {ErrorKind.CREDENTIALS, ErrorKind.FORBIDDEN}:
        raise PermissionsError(
            f"Cannot assume the role: {answer.message}",
            where=where,
            next_step="grant sts:AssumeRole for it to this caller (see `aws sts get-caller-identity`), in the"
            " policy of the caller and in the trust policy of the role",
        )
    fix = f"correct profile and role_arn under [{setting}] in ledger.toml"
    if answer.kind is ErrorKind.UNTRUSTED:
        fix = SET_CA_BUNDLE
    raise ConfigurationError(f"Cannot open an AWS session: {answer.message}", where=where, next_step=fix)


@cache
def default_session() -> boto3.Session:
    """Return one session with boto3's defaults; it caches credentials and service models."""
    return boto3.Session(botocore_session=_open_core_session())


def _open_session(access: AwsAccess) -> boto3.Session:
    core = _open_core_session(access.profile)
    session = boto3.Session(botocore_session=core, region_name=access.region)
    if access.role_arn is None:
        return session
    assumed = _open_core_session()
    sts = create_client(session, "sts", region_name=session.region_name or _STS_REGION)
    refresh = create_assume_role_refresher(
        sts,
        {"RoleArn": access.role_arn, "RoleSessionName": "lookout-ledger"},
    )
    assumed._credentials = RefreshableCredentials.create_from_metadata(  # noqa: SLF001 (as boto3's own docs do)
        metadata=refresh(), refresh_using=refresh, method="sts-assume-role"
    )
    return boto3.Session(botocore_session=assumed, region_name=access.region or session.region_name)


def _open_core_session(profile: str | None = None) -> botocore.session.Session:
    core = botocore.session.Session(profile=profile)
    core.register_component("data_loader", _load_models(core.get_config_variable("data_path")))
    core.register_component("response_parser_factory", _RawPageParsers())
    return core


@cache
def _load_models(data_path: str | None) -> Any:  # noqa: ANN401
    """Return a loader of service models that all sessions share; the models have megabytes."""
    loader = create_loader(data_path)
    loader.file_loader = _ModelFiles()
    return loader


class _ModelFiles(JSONFileLoader):  # type: ignore[misc]
    """Parses models with msgspec; botocore's parser builds an ordered dict for each object of JSON."""

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401
        """Return the content of a file without its suffix; None: it does not exist."""
        for suffix, open_file in _MODEL_SUFFIXES.items():
            if (path := Path(f"{file_path}{suffix}")).is_file():
                with open_file(path, "rb") as file:
                    return msgspec.json.decode(file.read())
        return None


def get_caller_arn(access: AwsAccess) -> str:
    """Return the ARN of the caller from STS; send one request, without retries.

    Raises:
        LedgerError: the credentials are missing or invalid, or STS cannot be reached.
    """
    try:
        no_retries = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
        client = create_client(_open_session(access), "sts", region_name=access.region, config=no_retries)
        return str(client.get_caller_identity()["Arn"])
    except (refusals.BotoCoreError, refusals.ClientError) as error:
        raise translate_error(error, access, "get the caller identity from STS") from None


def _check_region(session: boto3.Session, client: Any, access: AwsAccess) -> None:  # noqa: ANN401
    if not is_aws_client(client):  # the list of regions is slow to read
        return
    regions = session.get_available_regions(SERVICE)
    if client.meta.region_name not in regions:
        raise ConfigurationError(
            f"Cannot open a client: Lookout for Equipment was never offered in {client.meta.region_name}",
            where=f"sources.region ({access})",
            next_step=f"set region to one of {', '.join(regions)}",
        )
