"""How to call a service of AWS, and the errors of Lookout for Equipment.

It imports no boto3, because the import takes a fifth of a second; `session` opens what calls the service.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from resources.aws.error_codes import CHECK_PROXY, ErrorKind, classify_error, credentials_error
from resources.errors import (
    ConfigurationError,
    LedgerError,
    PermissionsError,
    RetryLaterError,
    ServiceEndedError,
)
from resources.redaction import redact

SERVICE = "lookoutequipment"
RAW_BODY = "RawBody"
"""The key of a parsed response that holds its body."""

SERVICE_END = date(2026, 10, 7)
"""The last day of the AWS service; a custom endpoint has no end."""

SET_CA_BUNDLE = "set AWS_CA_BUNDLE to the certificates of the endpoint, or of the proxy"
_AWS = ".amazonaws.com"


@dataclass(frozen=True)
class AwsAccess:
    """How to call a service; None: boto3's default."""

    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    endpoint_url: str | None = None

    def __str__(self) -> str:
        """Format it with the keys of the settings, for messages; without credentials in the URL."""
        values = {
            "region": self.region,
            "profile": self.profile,
            "role_arn": self.role_arn,
            "endpoint_url": self.endpoint_url,
        }
        known = ", ".join(f"{name} {value}" for name, value in values.items() if value)
        return redact(known) or "boto3's defaults"


def is_aws_client(client: Any) -> bool:  # noqa: ANN401
    """Return whether a client calls AWS, not another service with the same protocol."""
    return is_aws_endpoint(str(client.meta.endpoint_url))


def is_aws_endpoint(endpoint: str) -> bool:
    """Return whether an endpoint belongs to AWS."""
    return endpoint.rstrip("/").endswith(_AWS)


def translate_error(error: Exception, access: AwsAccess, action: str) -> LedgerError:
    """Turn an error of AWS or the network into a LedgerError by what can be done about it.

    Args:
        error: raised by botocore.
        access: how the service is called.
        action: what failed, such as "list the schedulers".
    """
    answer = classify_error(error)
    error_class: type[LedgerError] = ConfigurationError
    reason, fix = answer.message, "correct the source in ledger.toml"
    match answer.kind:
        case ErrorKind.CREDENTIALS:
            profile = "AWS_PROFILE or profile in ledger.toml"
            return credentials_error(answer.message, f"{action}; {access}", profile=profile)
        case ErrorKind.FORBIDDEN | ErrorKind.KMS:
            error_class = PermissionsError
            fix = (
                "grant lookoutequipment:ListInferenceSchedulers, DescribeInferenceScheduler and"
                f" ListInferenceExecutions to this caller; after {SERVICE_END}, AWS may deny every request"
            )
        case ErrorKind.BUSY | ErrorKind.CONFLICT:
            error_class, fix = RetryLaterError, "run it again later; the executions read so far are recorded"
        case ErrorKind.UNREACHABLE if answer.is_about_proxy:
            error_class, fix = RetryLaterError, CHECK_PROXY
        case ErrorKind.UNREACHABLE if _AWS in answer.message:
            error_class, reason = ServiceEndedError, f"the endpoint cannot be reached: {answer.message}"
            fix = (
                f"check network and region. AWS ended the service on {SERVICE_END};"
                " saved responses can still be a source"
            )
        case ErrorKind.UNREACHABLE:
            error_class, reason = RetryLaterError, f"the endpoint cannot be reached: {answer.message}"
            fix = "start the endpoint, then run again"
        case ErrorKind.UNTRUSTED:
            reason, fix = f"the certificate of the endpoint is not trusted: {answer.message}", SET_CA_BUNDLE
        case ErrorKind.OTHER if answer.code.isdigit():
            fix = "check endpoint_url of the source, and proxies between here and the service"
        case ErrorKind.CONNECTION_LOST:
            error_class, reason = RetryLaterError, f"the connection was lost: {answer.message}"
            fix = "run it again later"
    return error_class(f"Cannot {action}: {reason}", where=str(access), next_step=fix)
