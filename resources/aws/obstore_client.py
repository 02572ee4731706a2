"""Reads objects of a bucket with obstore, at a tenth of boto3's CPU for an object of some kilobytes."""

import os

# Its threads only move bytes. With one for each processor, they wake each other for each small object.
os.environ.setdefault("TOKIO_WORKER_THREADS", "1")

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, UnauthenticatedError
from obstore.store import S3Store

from resources.aws.error_codes import AwsError, ErrorKind, classify_response
from resources.aws.s3_bucket import ca_bundle, uses_virtual_addressing
from resources.aws.s3_objects import ReserveBytes

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig

OBSTORE_ERRORS = (BaseError, FileNotFoundError)

_DURATIONS = re.compile(r" in [\d.]+(?:ns|µs|ms|s)\b")  # they would make equal errors differ
_STATUS = re.compile(r"non-2xx status code: (\d+)")
_CODE, _MESSAGE = (re.compile(f"<{name}>(.*?)</{name}>", re.DOTALL) for name in ("Code", "Message"))


def open_store(
    bucket: str,
    session: boto3.Session,
    client: Any,  # noqa: ANN401 (boto3 has no types)
    *,
    seconds: float = 600,
) -> S3Store:
    """Open a bucket with the credentials of a session, and with the endpoint and region of a boto3 client.

    A request with its whole response takes at most `seconds`. The certificate authorities of boto3 are
    trusted in addition to the system's. Proxies come from the environment, as those of boto3.
    """
    endpoint = client.meta.endpoint_url
    is_virtual = uses_virtual_addressing(client)
    if is_virtual:  # obstore expects the bucket in the endpoint
        parts = urlsplit(endpoint)
        endpoint = parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()
    client_options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "timeout": timedelta(seconds=seconds),
    }
    bundle = ca_bundle(session)
    if bundle and endpoint.startswith("https://"):
        client_options["root_certificate"] = Path(bundle).read_bytes()
    return S3Store(
        bucket,
        aws_endpoint_url_s3=endpoint,  # `endpoint` would yield to AWS_ENDPOINT_URL_S3, which boto3 may ignore
        region=client.meta.region_name,
        virtual_hosted_style_request=is_virtual,
        # obstore requests the credentials of each session again in the last five minutes of this time
        credential_provider=Boto3CredentialProvider(session, ttl=timedelta(minutes=10)),
        client_options=client_options,
        retry_config={"max_retries": 5, "retry_timeout": timedelta(minutes=2)},
    )


def read_object(
    store: S3Store, key: str, known_etag: str | None, reserve: ReserveBytes
) -> tuple[bytes, str | None, datetime]:
    """Return content, ETag and modification time of an object, unless it still has a known ETag.

    Raises:
        OBSTORE_ERRORS: the object was not read; `parse_error` classifies the error.
    """
    condition: GetOptions = {"if_none_match": f'"{known_etag}"'} if known_etag else {}
    response = obstore.get(store, key, options=condition)
    metadata = response.meta
    reserve(metadata["size"])
    data = bytes(response.bytes())
    etag = (metadata["e_tag"] or "").strip('"') or None
    return data, etag, metadata["last_modified"]


def parse_error(error: Exception) -> AwsError:
    """Find the response of S3 in the text of an obstore error, and classify it."""
    if isinstance(error, UnauthenticatedError):
        return AwsError(ErrorKind.CREDENTIALS, _first_line(error))
    text = str(error).partition("\n\nDebug source:")[0]
    status, code, message = (
        match[1] if (match := pattern.search(text)) else "" for pattern in (_STATUS, _CODE, _MESSAGE)
    )
    if not status:
        return AwsError(ErrorKind.CONNECTION_LOST, _first_line(error))
    return classify_response(code or status, int(status), message)


def _first_line(error: Exception) -> str:
    return _DURATIONS.sub("", str(error).partition("\n")[0])
