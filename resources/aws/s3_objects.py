"""URIs and listings of S3 objects, for modules that make no request and so do not import boto3."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_OBJECT_BYTES = 5 * 1024**3
"""The limit of S3 for one PutObject request."""

ReserveBytes = Callable[[int], None]
"""Called with a number of bytes before they are held in memory; it blocks until there is room."""


@dataclass(frozen=True)
class ListedObject:
    """An object in a listing."""

    key: str
    size_bytes: int
    etag: str


def split_uri(uri: str) -> tuple[str, str]:
    """Split a URI into bucket and key. The key is not decoded: any character is allowed."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
