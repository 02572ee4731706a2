"""What S3 and the way to it answer, in our words."""

from collections.abc import Sequence
from dataclasses import dataclass

import botocore.exceptions as refusals

from resources.aws.error_codes import AwsError, ErrorKind, classify_error
from resources.errors import ConfigurationError, LedgerError, PermissionsError, RetryLaterError


@dataclass(frozen=True)
class S3Request:
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


def translate_error(problem: Exception, asked: S3Request) -> LedgerError:  # noqa: PLR0911 (one a kind)
    """Say in our words what S3, the network or boto3 answered, by who can mend it."""
    answer = classify_error(problem)
    match answer.kind:
        case ErrorKind.CREDENTIALS:
            return _no_credentials(answer.said, asked)
        case ErrorKind.FORBIDDEN | ErrorKind.KMS:
            return PermissionsError(
                f"S3 refuses: {answer.said}",
                where=asked.where,
                next_step=f"grant {', '.join(asked.actions)} there to this caller, whom"
                " `aws sts get-caller-identity` names (without s3:ListBucket S3 refuses objects that are"
                " merely missing, too)",
            )
        case ErrorKind.LATER:
            said = f"S3 is busy or out of order: {answer.said}"
            return RetryLaterError(
                said, where=asked.where, next_step="run again later; what was recorded stays"
            )
        case ErrorKind.UNREACHABLE:
            return RetryLaterError(
                f"S3 cannot be reached at {asked.endpoint}",
                where=asked.where,
                next_step="check the network and AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL), where one is set,"
                " and run again",
            )
        case ErrorKind.BROKEN:
            said = f"the connection to S3 broke: {answer.said}"
            return RetryLaterError(
                said, where=asked.where, next_step="run again later; what was recorded stays"
            )
        case ErrorKind.UNTRUSTED:
            return ConfigurationError(
                f"the endpoint is not trusted: {answer.said}",
                where=asked.where,
                next_step="name the certificates of that endpoint, or of the proxy on the way there, in"
                " AWS_CA_BUNDLE",
            )
    if not isinstance(problem, refusals.ClientError):
        return ConfigurationError(
            f"S3 cannot be asked: {answer.said}",
            where=asked.where,
            next_step=f"correct {asked.setting}, or the AWS profile, region and endpoint of this environment",
        )
    return ConfigurationError(
        _misconfigured(problem, answer), where=asked.where, next_step=_mend(answer, asked)
    )


def _no_credentials(said: str, asked: S3Request) -> LedgerError:
    return PermissionsError(
        f"no usable AWS credentials: {said}",
        where=asked.where,
        next_step="log in (aws sso login), or set AWS_PROFILE;"
        " `aws sts get-caller-identity` shows whether that worked",
    )


def _misconfigured(problem: refusals.ClientError, answer: AwsError) -> str:
    if answer.kind is not ErrorKind.ELSEWHERE:
        return f"S3 refuses: {answer.said}"
    error, metadata = problem.response.get("Error", {}), problem.response.get("ResponseMetadata", {})
    region = error.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return f"the bucket is in another region{f', {region}' if region else ''}: {answer.said}"


def _mend(answer: AwsError, asked: S3Request) -> str:
    if answer.kind is ErrorKind.NO_BUCKET:
        return f"create the bucket, or correct {asked.setting}; buckets differ from endpoint to endpoint"
    if answer.kind is ErrorKind.ELSEWHERE:
        return "set AWS_DEFAULT_REGION to the region of the bucket"
    if answer.code == "NotImplemented":
        return "keep this in another store: this one lacks what S3 can do (a lake needs conditional writes)"
    return f"correct {asked.setting}, or what it points to"
