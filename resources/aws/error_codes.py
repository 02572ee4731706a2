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


class Kind(Enum):
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
    Kind.CREDENTIALS: {
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
    Kind.FORBIDDEN: {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "Forbidden",
        "ForbiddenException",
    },
    Kind.MISSING: {"404", "NoSuchKey", "NotFound"},
    Kind.NO_BUCKET: {"NoSuchBucket", "InvalidBucketName"},
    Kind.ARCHIVED: {"InvalidObjectState"},
    Kind.ELSEWHERE: {
        "301",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    },
    Kind.LATER: {
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

_WITHOUT_ANSWER: tuple[tuple[tuple[type[Exception], ...], Kind], ...] = (
    (
        (
            refusals.NoCredentialsError,
            refusals.PartialCredentialsError,
            refusals.CredentialRetrievalError,
            refusals.TokenRetrievalError,
            refusals.SSOError,
        ),
        Kind.CREDENTIALS,
    ),
    ((refusals.SSLError,), Kind.UNTRUSTED),
    (
        (
            refusals.EndpointConnectionError,
            refusals.ConnectTimeoutError,
            refusals.ProxyConnectionError,
        ),
        Kind.UNREACHABLE,
    ),
    (
        (
            refusals.HTTPClientError,
            refusals.ConnectionError,
            refusals.IncompleteReadError,
            refusals.FlexibleChecksumError,
        ),
        Kind.BROKEN,
    ),
)


@dataclass(frozen=True)
class Answer:
    """What came back: its kind, the words of whoever said it, and the code and HTTP status it came with."""

    kind: Kind
    said: str
    code: str = ""
    status: int = 0

    @property
    def kms_key(self) -> str | None:
        """The KMS key that the words name."""
        found = _KEY.search(self.said)
        return found[0] if found else None


def answered(code: str, status: int, message: str) -> Answer:
    """Sort an answer of AWS's by its code, its HTTP status and its message; any of them may lack."""
    said = f"{code}: {message}" if message and message != code else code or f"HTTP {status}"
    return Answer(_kind(code, status, message), said, code, status)


def _kind(code: str, status: int, message: str) -> Kind:
    known = _KINDS.get(code)
    if code.startswith("KMS.") or (known is Kind.FORBIDDEN and "kms:" in message):
        return Kind.KMS
    if known is Kind.LATER or status == _TOO_MANY:
        return Kind.LATER
    if status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED:
        return Kind.LATER
    return known or Kind.OTHER


def sorted_out(problem: BaseException) -> Answer:
    """Sort what botocore raised."""
    if isinstance(problem, refusals.ClientError):
        error = problem.response.get("Error", {})
        return answered(code_of(problem), status_of(problem), str(error.get("Message", "")))
    for raised, kind in _WITHOUT_ANSWER:
        if isinstance(problem, raised):
            return Answer(kind, str(problem))
    return Answer(Kind.OTHER, str(problem))


def code_of(problem: BaseException | None) -> str:
    """The code that AWS gave with an answer; nothing where there was no answer of AWS's."""
    if not isinstance(problem, refusals.ClientError):
        return ""
    return str(problem.response.get("Error", {}).get("Code", ""))


def status_of(problem: Any) -> int:  # noqa: ANN401 (botocore has no types)
    """The HTTP status of an answer."""
    return int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
