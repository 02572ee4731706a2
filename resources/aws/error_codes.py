"""Classifies errors of AWS and of the connection to it: the only list of error codes."""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import botocore.exceptions as refusals

from resources.errors import PermissionsError

_TOO_MANY_REQUESTS = 429
_PRECONDITION_FAILED = 412
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501
_CLOCK_SKEW = re.compile(
    r"RequestTimeTooSkewed|RequestExpired|RequestInTheFuture|Signature expired|Signature not yet current"
)
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|(?i:token .*expired|credentials .*expired)")
_KMS_KEY_ARN = re.compile(r"arn:aws[\w-]*:kms:[\w-]*:\d*:(?:key|alias)/[\w/-]+")

CHECK_PROXY = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY of this environment, then run again"
"""The fix if a proxy cannot be reached."""

THROTTLING_CODES = frozenset(
    {
        "RequestLimitExceeded",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""The codes of requests that were rejected because there were too many."""


class ErrorKind(Enum):
    """What went wrong with a request."""

    CREDENTIALS = auto()
    """There are no credentials, or they are not valid."""
    FORBIDDEN = auto()
    """The caller lacks a permission."""
    KMS = auto()
    """A KMS key cannot be used."""
    NO_OBJECT = auto()
    """The object in S3 does not exist."""
    NO_BUCKET = auto()
    """The bucket does not exist."""
    NO_RESOURCE = auto()
    """The database, table or scheduler does not exist."""
    EXISTS = auto()
    """The object that the request creates exists already."""
    CONFLICT = auto()
    """Another writer changed the object at the same time."""
    ARCHIVED = auto()
    """The object is in Glacier and was not restored."""
    OTHER_REGION = auto()
    """The bucket is in another region."""
    EMPTY_RANGE = auto()
    """The requested range lies outside of the object."""
    INVALID_REQUEST = auto()
    """A value in the request is not valid."""
    NOT_IMPLEMENTED = auto()
    """The service does not implement the operation."""
    BUSY = auto()
    """The service throttles, or has an internal error; a later retry can succeed."""
    UNREACHABLE = auto()
    """No connection was established."""
    CONNECTION_LOST = auto()
    """The connection was interrupted."""
    UNTRUSTED = auto()
    """The certificate of the endpoint is not trusted."""
    OTHER = auto()
    """Any other error; a retry does not help."""


_CODES_BY_KIND = {
    ErrorKind.CREDENTIALS: {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    },
    ErrorKind.FORBIDDEN: {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "Forbidden",
        "ForbiddenException",
    },
    ErrorKind.NO_OBJECT: {"404", "NoSuchKey", "NotFound"},
    ErrorKind.NO_BUCKET: {"NoSuchBucket", "InvalidBucketName"},
    ErrorKind.NO_RESOURCE: {"EntityNotFoundException", "ResourceNotFoundException"},
    ErrorKind.EXISTS: {"AlreadyExistsException"},
    ErrorKind.CONFLICT: {
        "ConcurrentModificationException",
        "ConditionalRequestConflict",
        "OperationAborted",
        "PreconditionFailed",
    },
    ErrorKind.ARCHIVED: {"InvalidObjectState"},
    ErrorKind.OTHER_REGION: {
        "301",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    },
    ErrorKind.EMPTY_RANGE: {"InvalidRange"},
    ErrorKind.INVALID_REQUEST: {"ValidationException"},
    ErrorKind.NOT_IMPLEMENTED: {"NotImplemented"},
    ErrorKind.BUSY: {
        "InternalServerException",
        "InternalServiceException",
        "OperationTimeoutException",
        "RequestThrottled",
        "RequestTimeout",
        "ResourceNotReadyException",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequests",
        *THROTTLING_CODES,
    },
}
_KIND_BY_CODE = {code: kind for kind, codes in _CODES_BY_KIND.items() for code in codes}

_KINDS_WITHOUT_RESPONSE: tuple[tuple[tuple[type[Exception], ...], ErrorKind], ...] = (
    (
        (
            refusals.NoCredentialsError,
            refusals.PartialCredentialsError,
            refusals.CredentialRetrievalError,
            refusals.TokenRetrievalError,
            refusals.SSOError,
        ),
        ErrorKind.CREDENTIALS,
    ),
    ((refusals.SSLError,), ErrorKind.UNTRUSTED),
    (
        (
            refusals.EndpointConnectionError,
            refusals.ConnectTimeoutError,
            refusals.ProxyConnectionError,
        ),
        ErrorKind.UNREACHABLE,
    ),
    (
        (
            refusals.HTTPClientError,
            refusals.ConnectionError,
            refusals.IncompleteReadError,
            refusals.FlexibleChecksumError,
        ),
        ErrorKind.CONNECTION_LOST,
    ),
)


@dataclass(frozen=True)
class AwsError:
    """A classified error.

    Attributes:
        kind: what went wrong.
        message: the code and message of AWS, or the message of botocore.
        code: the code of AWS; empty without a response.
        status: the HTTP status; 0 without a response.
        is_about_proxy: whether the proxy cannot be reached, not the service.
    """

    kind: ErrorKind
    message: str
    code: str = ""
    status: int = 0
    is_about_proxy: bool = False

    @property
    def kms_key(self) -> str | None:
        """The ARN of the KMS key in the message."""
        match = _KMS_KEY_ARN.search(self.message)
        return match[0] if match else None


def classify_response(code: str, status: int, message: str) -> AwsError:
    """Classify an error response of AWS; code and message may be empty."""
    name = code if code and not code.isdigit() else f"HTTP {code or status}"
    text = f"{name}: {message}" if message and message not in {code, name} else name
    return AwsError(_find_kind(code, status, message), text, code, status)


def _find_kind(code: str, status: int, message: str) -> ErrorKind:
    kind = _KIND_BY_CODE.get(code)
    if code.startswith("KMS.") or (kind is ErrorKind.FORBIDDEN and "kms:" in message):
        return ErrorKind.KMS
    if kind is ErrorKind.BUSY or status == _TOO_MANY_REQUESTS:
        return ErrorKind.BUSY
    if status == _PRECONDITION_FAILED:
        return ErrorKind.CONFLICT
    if status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED:
        return ErrorKind.BUSY
    return kind or ErrorKind.OTHER


def classify_error(error: BaseException | None) -> AwsError:
    """Classify an exception of botocore; any other exception is of kind OTHER."""
    if isinstance(error, refusals.ClientError):
        response: Any = error.response
        details = response.get("Error", {})
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return classify_response(str(details.get("Code", "")), status, str(details.get("Message", "")))
    for classes, kind in _KINDS_WITHOUT_RESPONSE:
        if isinstance(error, classes):
            is_about_proxy = isinstance(error, refusals.ProxyConnectionError)
            return AwsError(kind, str(error), is_about_proxy=is_about_proxy)
    return AwsError(ErrorKind.OTHER, str(error))


def credentials_error(message: str, where: str, *, profile: str = "AWS_PROFILE") -> PermissionsError:
    """Build the error for missing, invalid or expired credentials, or for a wrong clock.

    Args:
        message: the code and message of AWS, or the message of botocore.
        where: what failed.
        profile: what can name the profile.
    """
    if _CLOCK_SKEW.search(message):
        return PermissionsError(
            f"Cannot sign requests: the clock of this machine is wrong: {message}",
            where=where,
            next_step="synchronize the clock of this machine (see `timedatectl`), and run again",
        )
    if _EXPIRED.search(message):
        return PermissionsError(
            f"Cannot use the AWS credentials: they have expired: {message}",
            where=where,
            next_step=f"log in again (aws sso login), or renew the credentials of {profile}",
        )
    return PermissionsError(
        f"Cannot find usable AWS credentials: {message}",
        where=where,
        next_step=f"log in (aws sso login), or set {profile}; check with `aws sts get-caller-identity`",
    )
