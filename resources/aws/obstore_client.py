"""Objects of a bucket by obstore: a tenth of boto3's CPU for an object of some kilobytes."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, UnauthenticatedError
from obstore.store import S3Store

from resources.aws.error_codes import AwsError, ErrorKind, classify_response
from resources.aws.s3_bucket import ca_bundle

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig

OBSTORE_ERRORS = (BaseError, FileNotFoundError)
ReserveBytes = Callable[[int], None]

_TIMES = re.compile(r" in [\d.]+(?:ns|µs|ms|s)\b")  # with them the same refusal is another one each time
_STATUS = re.compile(r"non-2xx status code: (\d+)")
_CODE, _MESSAGE = (re.compile(f"<{name}>(.*?)</{name}>", re.DOTALL) for name in ("Code", "Message"))


def open_store(bucket: str, session: boto3.Session, endpoint: str, region: str) -> S3Store:
    """Open a bucket at the endpoint that boto3 found, with the credentials of a session.

    The authorities that boto3 was told to trust are trusted here beside those that everybody knows.
    """
    client_options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "timeout": timedelta(minutes=10),
    }
    bundle = ca_bundle(session)
    if bundle and endpoint.startswith("https://"):
        client_options["root_certificate"] = Path(bundle).read_bytes()
    return S3Store(
        bucket,
        endpoint=endpoint,
        region=region,
        virtual_hosted_style_request=False,
        credential_provider=Boto3CredentialProvider(session, ttl=timedelta(minutes=5)),
        client_options=client_options,
        retry_config={"max_retries": 5, "retry_timeout": timedelta(minutes=2)},
    )


def read_object(
    store: S3Store, key: str, unless: str | None, take: ReserveBytes
) -> tuple[bytes, str | None, datetime]:
    """Fetch an object, unless it still has a tag: its content, its tag, and when it was written.

    `take` is told how many bytes are about to be held, and may wait until there is room for them.

    Raises:
        REFUSALS: `parse_error` reads them.
    """
    condition: GetOptions = {"if_none_match": f'"{unless}"'} if unless else {}
    answer = obstore.get(store, key, options=condition)
    facts = answer.meta
    take(facts["size"])
    data = bytes(answer.bytes())
    tag = (facts["e_tag"] or "").strip('"') or None
    return data, tag, facts["last_modified"]


def parse_error(problem: Exception) -> AwsError:
    """Read the answer of S3 out of what obstore makes of it."""
    if isinstance(problem, UnauthenticatedError):
        return AwsError(ErrorKind.CREDENTIALS, _first_line(problem))
    text = str(problem).partition("\n\nDebug source:")[0]
    status, code, message = (
        found[1] if (found := seek.search(text)) else "" for seek in (_STATUS, _CODE, _MESSAGE)
    )
    if not status:
        return AwsError(ErrorKind.BROKEN, _first_line(problem))
    return classify_response(code or status, int(status), message)


def _first_line(problem: Exception) -> str:
    return _TIMES.sub("", str(problem).partition("\n")[0])
