"""What AWS or the way to it answered, sorted by kind: the one place that knows codes and exceptions."""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import botocore.exceptions as refusals

_TOO_MANY = 429
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501
_KEY = re.compile(r"arn:aws[\w-]*:kms:[\w-]*:\d*:(?:key|alias)/[\w/-]+")


class ErrorKind(Enum):
    """What became of a request."""

    CREDENTIALS = auto()
    """Nobody knows this caller."""
    FORBIDDEN = auto()
    """The caller is known, and may not."""
    KMS = auto()
    """A KMS key stands in between that may not, or cannot, be used."""
    MISSING = auto()
    """There is no such object."""
    NO_BUCKET = auto()
    """There is no such bucket."""
    ARCHIVED = auto()
    """The object lies in Glacier, and was not restored."""
    ELSEWHERE = auto()
    """It is in another region."""
    LATER = auto()
    """The service is busy, or out of order."""
    UNREACHABLE = auto()
    """No connection came about."""
    BROKEN = auto()
    """The connection broke."""
    UNTRUSTED = auto()
    """The certificate of the other side is not trusted."""
    OTHER = auto()
    """Something else is wrong with what was asked."""


_OF_CODE = {
    ErrorKind.CREDENTIALS: {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
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
    ErrorKind.MISSING: {"404", "NoSuchKey", "NotFound"},
    ErrorKind.NO_BUCKET: {"NoSuchBucket", "InvalidBucketName"},
    ErrorKind.ARCHIVED: {"InvalidObjectState"},
    ErrorKind.ELSEWHERE: {
        "301",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    },
    ErrorKind.LATER: {
        "InternalServerException",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    },
}
_KINDS = {code: kind for kind, codes in _OF_CODE.items() for code in codes}

_WITHOUT_ANSWER: tuple[tuple[tuple[type[Exception], ...], ErrorKind], ...] = (
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
        ErrorKind.BROKEN,
    ),
)


@dataclass(frozen=True)
class AwsError:
    """What came back: its kind, the words of whoever said it, and the code and HTTP status it came with."""

    kind: ErrorKind
    said: str
    code: str = ""
    status: int = 0

    @property
    def kms_key(self) -> str | None:
        """The KMS key that the words name."""
        found = _KEY.search(self.said)
        return found[0] if found else None


def classify_response(code: str, status: int, message: str) -> AwsError:
    """Sort an answer of AWS's by its code, its HTTP status and its message; any of them may lack."""
    said = f"{code}: {message}" if message and message != code else code or f"HTTP {status}"
    return AwsError(_kind(code, status, message), said, code, status)


def _kind(code: str, status: int, message: str) -> ErrorKind:
    known = _KINDS.get(code)
    if code.startswith("KMS.") or (known is ErrorKind.FORBIDDEN and "kms:" in message):
        return ErrorKind.KMS
    if known is ErrorKind.LATER or status == _TOO_MANY:
        return ErrorKind.LATER
    if status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED:
        return ErrorKind.LATER
    return known or ErrorKind.OTHER


def classify_error(problem: BaseException) -> AwsError:
    """Sort what botocore raised."""
    if isinstance(problem, refusals.ClientError):
        error = problem.response.get("Error", {})
        return classify_response(error_code(problem), http_status(problem), str(error.get("Message", "")))
    for raised, kind in _WITHOUT_ANSWER:
        if isinstance(problem, raised):
            return AwsError(kind, str(problem))
    return AwsError(ErrorKind.OTHER, str(problem))


def error_code(problem: BaseException | None) -> str:
    """The code that AWS gave with an answer; nothing where there was no answer of AWS's."""
    if not isinstance(problem, refusals.ClientError):
        return ""
    return str(problem.response.get("Error", {}).get("Code", ""))


def http_status(problem: Any) -> int:  # noqa: ANN401 (botocore has no types)
    """The HTTP status of an answer."""
    return int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
