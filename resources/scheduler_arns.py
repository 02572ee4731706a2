"""ARNs of schedulers, and placeholders for schedulers that are known by their output prefix only.

A placeholder is `arn:aws:lookoutequipment:::output-prefix/<bucket>/<prefix>`. It has neither a region nor an
account, so no ARN of the service can equal it.
"""

PLACEHOLDER = "arn:aws:lookoutequipment:::output-prefix/"

LOCAL_BUCKET = "file:"
"""The bucket of the results in a local folder that is not known to be a copy; keys are paths then."""

_ARN = "arn:"


def build_placeholder_arn(bucket: str, prefix: str) -> str:
    """Return the placeholder ARN of the scheduler that writes to a prefix."""
    return f"{PLACEHOLDER}{bucket}/{prefix}"


def name_prefix(bucket: str, prefix: str) -> str:
    """Return the name of a scheduler that is known by its output prefix only."""
    path = prefix.rstrip("/")
    if bucket == LOCAL_BUCKET:
        path = "/".join(path.split("/")[-2:])
    return path or bucket


def extract_name(arn: str) -> str:
    """Return the name in the ARN of a scheduler or in a placeholder; return other text unchanged."""
    if arn.startswith(PLACEHOLDER):
        bucket, _, prefix = arn.removeprefix(PLACEHOLDER).partition("/")
        return name_prefix(bucket, prefix)
    parts = arn.split("/")
    return parts[1] if arn.startswith(_ARN) and len(parts) > 1 else arn


def describe_location(arn: str) -> str:
    """Return region and account in an ARN, or the bucket in a placeholder; "": neither is known."""
    if arn.startswith(PLACEHOLDER):
        bucket = arn.removeprefix(PLACEHOLDER).partition("/")[0]
        return "local folder" if bucket == LOCAL_BUCKET else f"bucket {bucket}"
    parts = arn.split(":")
    return " · ".join(parts[3:5]) if len(parts) > 4 else ""  # noqa: PLR2004 (region and account)
