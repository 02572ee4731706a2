"""Opens clients of S3 whose requests name the expected owner of the bucket and end within limits."""

from dataclasses import replace
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config

from resources.aws.clients import create_client
from resources.aws.limited_session import LimitedSession
from resources.read_limits import ReadLimits

CONNECTIONS = 16
_MAX_LISTING_BYTES = 10_000_000
"""More than a page of a listing has; a limit for files must not reject it."""

_creation_lock = Lock()


def open_s3_client(session: boto3.Session, region: str | None, owner: str | None, limits: ReadLimits) -> Any:  # noqa: ANN401 (boto3 has no types)
    """Open a client of S3.

    Args:
        session: the credentials and the endpoint.
        region: the region of the bucket; None: that of the session.
        owner: the account that must own the buckets; S3 denies all requests to others. None: any account.
        limits: limits of each response. Bodies of objects are limited by their reader.

    Raises:
        ConfigurationError: endpoint or proxy are not valid.
    """
    config = Config(retries={"mode": "standard"}, connect_timeout=10, max_pool_connections=CONNECTIONS)
    with _creation_lock:  # clients are thread-safe, but their creation is not
        client = create_client(session, "s3", region_name=region, config=config)
    if owner:

        def name_owner(params: dict[str, Any], **_: object) -> None:
            params["ExpectedBucketOwner"] = owner

        client.meta.events.register("provide-client-params.s3", name_owner)
    endpoint = client._endpoint  # noqa: SLF001 (no public access)
    sizes = replace(limits, size_bytes=max(limits.size_bytes, _MAX_LISTING_BYTES))
    endpoint.http_session = LimitedSession(endpoint.http_session, sizes)
    return client
