"""What S3 and the way to it answer, in our words.

Belongs here: which answer is whose to mend, for everything that is kept in S3.
Does not belong here: asking (see `s3`), and answers of the Lookout service (see `aws`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import botocore.exceptions as refusals

from resources.errors import ConfigurationError, LedgerError, PermissionsError, RetryLaterError

_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
_ELSEWHERE = {
    "301",
    "307",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_FORBIDDEN = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden"}
_LATER = {
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_NOT_IMPLEMENTED = 501
_SERVER_ERROR = 500
_TOO_MANY = 429


@dataclass(frozen=True)
class Asked:
    """What was asked of S3: for whom, of what, where, and what the caller must be allowed for it.

    `setting` is the key of the settings that leads there, such as `lake.uri`.
    """

    setting: str
    uri: str
    endpoint: str
    actions: Sequence[str]

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        return f"{self.setting}: {self.uri}" + (f" at {self.endpoint}" if self.endpoint else "")


def code_of(problem: BaseException | None) -> str:
    """The code that S3 gave with an answer; nothing where there was no answer of S3's."""
    if not isinstance(problem, refusals.ClientError):
        return ""
    return str(problem.response.get("Error", {}).get("Code", ""))


def status_of(problem: refusals.ClientError) -> int:
    """The HTTP status of an answer."""
    return int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def told(problem: Exception, asked: Asked) -> LedgerError:
    """Say in our words what S3, the network or boto3 answered, by who can mend it."""
    match problem:
        case refusals.ClientError():
            return _told_by_s3(problem, asked)
        case (
            refusals.NoCredentialsError()
            | refusals.PartialCredentialsError()
            | refusals.CredentialRetrievalError()
            | refusals.TokenRetrievalError()
            | refusals.SSOError()
        ):
            return _no_credentials(str(problem), asked)
        case refusals.SSLError():
            return ConfigurationError(
                f"the endpoint is not trusted: {problem}",
                where=asked.where,
                next_step="name the certificates of that endpoint, or of the proxy on the way there, in"
                " AWS_CA_BUNDLE",
            )
        case (
            refusals.EndpointConnectionError()
            | refusals.ConnectTimeoutError()
            | refusals.ProxyConnectionError()
        ):
            return RetryLaterError(
                f"S3 cannot be reached at {asked.endpoint}",
                where=asked.where,
                next_step="check the network and AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL), where one is set,"
                " and run again",
            )
        case refusals.HTTPClientError() | refusals.IncompleteReadError() | refusals.FlexibleChecksumError():
            return RetryLaterError(
                f"the connection to S3 broke: {problem}",
                where=asked.where,
                next_step="run again later; what was recorded stays",
            )
    return ConfigurationError(
        f"S3 cannot be asked: {problem}",
        where=asked.where,
        next_step=f"correct {asked.setting}, or the AWS profile, region and endpoint of this environment",
    )


def _told_by_s3(problem: refusals.ClientError, asked: Asked) -> LedgerError:
    code, status = code_of(problem), status_of(problem)
    message = str(problem.response.get("Error", {}).get("Message", ""))
    said = f"{code}: {message}" if message and message != code else code or f"HTTP {status}"
    if code in _LATER or status == _TOO_MANY or (status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED):
        return RetryLaterError(
            f"S3 is busy or out of order: {said}",
            where=asked.where,
            next_step="run again later; what was recorded stays",
        )
    if code in _CREDENTIALS:
        return _no_credentials(said, asked)
    if code in _FORBIDDEN or code.startswith("KMS."):
        return PermissionsError(
            f"S3 refuses: {said}",
            where=asked.where,
            next_step=f"grant {', '.join(asked.actions)} there to this caller, whom"
            " `aws sts get-caller-identity` names (without s3:ListBucket S3 refuses objects that are merely"
            " missing, too)",
        )
    return ConfigurationError(_misconfigured(problem, said), where=asked.where, next_step=_mend(code, asked))


def _no_credentials(said: str, asked: Asked) -> LedgerError:
    return PermissionsError(
        f"no usable AWS credentials: {said}",
        where=asked.where,
        next_step="log in (aws sso login), or set AWS_PROFILE;"
        " `aws sts get-caller-identity` shows whether that worked",
    )


def _misconfigured(problem: refusals.ClientError, said: str) -> str:
    if code_of(problem) not in _ELSEWHERE:
        return f"S3 refuses: {said}"
    error, answer = problem.response.get("Error", {}), problem.response.get("ResponseMetadata", {})
    region = error.get("Region") or answer.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return f"the bucket is in another region{f', {region}' if region else ''}: {said}"


def _mend(code: str, asked: Asked) -> str:
    if code in _NO_BUCKET:
        return f"create the bucket, or correct {asked.setting}; buckets differ from endpoint to endpoint"
    if code in _ELSEWHERE:
        return "set AWS_DEFAULT_REGION to the region of the bucket"
    if code == "NotImplemented":
        return "keep this in another store: this one lacks what S3 can do (a lake needs conditional writes)"
    return f"correct {asked.setting}, or what it points to"
