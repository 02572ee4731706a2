"""Translates errors of S3 into the project's errors, which name the setting, the place and the fix."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import botocore.exceptions as refusals

from resources.aws.error_codes import CHECK_PROXY, AwsError, ErrorKind, classify_error, credentials_error
from resources.errors import ConfigurationError, LedgerError, PermissionsError, RetryLaterError

_BAD_REQUEST = 400
_CHECKSUM = re.compile(r"(?i)checksum|x-amz-trailer|aws-chunked|XAmzContentSHA256Mismatch")
_CHECKSUM_FIX = (
    "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required and AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"
)
_VERBS = {"s3:GetObject": "read from", "s3:PutObject": "write to", "s3:ListBucket": "list"}


@dataclass(frozen=True)
class S3Request:
    """A request, as far as an error message needs it.

    Attributes:
        setting: the key of the settings that names the place, such as `lake.uri`.
        uri: the object or prefix.
        endpoint: the URL of the service; empty if it is not known.
        actions: the permissions that the request needs, the main one first.
        owner: the account that must own the bucket, with its setting; empty: any account.
    """

    setting: str
    uri: str
    endpoint: str
    actions: Sequence[str]
    owner: str = ""

    @property
    def where(self) -> str:
        """The place, for messages."""
        return f"{self.setting}: {self.uri}" + (f" at {self.endpoint}" if self.endpoint else "")

    @property
    def owner_hint(self) -> str:
        """The end of a message about denied access, if the bucket must have an owner."""
        return f". S3 also denies access to a bucket that does not belong to account {self.owner}" * bool(
            self.owner
        )

    @property
    def failure(self) -> str:
        """The first words of a message."""
        return f"Cannot {_VERBS.get(self.actions[0], 'use')} S3"


def translate_error(error: Exception, request: S3Request) -> LedgerError:
    """Turn an error of S3, the network or boto3 into a LedgerError by what can be done about it."""
    answer = classify_error(error)
    match answer.kind:
        case ErrorKind.CREDENTIALS:
            return credentials_error(answer.message, request.where)
        case ErrorKind.FORBIDDEN | ErrorKind.KMS:
            return PermissionsError(
                f"{request.failure}: {answer.message}",
                where=request.where,
                next_step=f"grant {', '.join(request.actions)} there to this caller (see"
                " `aws sts get-caller-identity`). Without s3:ListBucket, S3 denies access to missing objects"
                f" too{request.owner_hint}",
            )
        case ErrorKind.BUSY | ErrorKind.CONFLICT | ErrorKind.UNREACHABLE | ErrorKind.CONNECTION_LOST:
            return _translate_temporary(answer, request)
        case ErrorKind.UNTRUSTED:
            return ConfigurationError(
                f"{request.failure}: the certificate of the endpoint is not trusted: {answer.message}",
                where=request.where,
                next_step="set AWS_CA_BUNDLE to the certificates of the endpoint, or of the proxy",
            )
    return _translate_permanent(error, answer, request)


def _translate_temporary(answer: AwsError, request: S3Request) -> RetryLaterError:
    if answer.is_about_proxy:
        return RetryLaterError(
            f"Cannot reach S3: {answer.message}", where=request.where, next_step=CHECK_PROXY
        )
    if answer.kind is ErrorKind.UNREACHABLE:
        return RetryLaterError(
            f"Cannot reach S3 at {request.endpoint}",
            where=request.where,
            next_step="check the network and AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL), then run again",
        )
    reason = "the connection was lost" if answer.kind is ErrorKind.CONNECTION_LOST else "S3 is busy"
    return RetryLaterError(
        f"{request.failure}: {reason}: {answer.message}",
        where=request.where,
        next_step="run again later; recorded data is kept",
    )


def _translate_permanent(error: Exception, answer: AwsError, request: S3Request) -> ConfigurationError:
    reason = answer.message
    fix = f"correct {request.setting}, or the AWS profile, region and endpoint of this environment"
    match answer.kind:
        case ErrorKind.NO_BUCKET:
            fix = f"create the bucket, or correct {request.setting}. Each endpoint has its own buckets"
        case ErrorKind.OTHER_REGION:
            region = _find_region(error)
            reason = f"the bucket is in another region{f', {region}' if region else ''}: {reason}"
            fix = "set AWS_DEFAULT_REGION to the region of the bucket"
        case _ if _CHECKSUM.search(answer.message):
            fix = f"{_CHECKSUM_FIX}: this store does not support the checksums of current AWS SDKs"
        case ErrorKind.NOT_IMPLEMENTED:
            fix = (
                "use another store: this one lacks an operation (a lake needs conditional writes). If it"
                f" lacks only checksums, {_CHECKSUM_FIX}"
            )
        case _ if answer.status == _BAD_REQUEST and request.actions[0] == "s3:PutObject":
            fix = (
                f"correct {request.setting}, or what it points to. If this store does not support the"
                f" checksums of current AWS SDKs, {_CHECKSUM_FIX}"
            )
        case _ if answer.code:
            fix = f"correct {request.setting}, or what it points to"
    return ConfigurationError(f"{request.failure}: {reason}", where=request.where, next_step=fix)


def _find_region(error: Exception) -> str | None:
    if not isinstance(error, refusals.ClientError):
        return None
    response: Any = error.response
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return region
