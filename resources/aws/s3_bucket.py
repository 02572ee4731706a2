"""One bucket of S3: get, put, list, each answered in our words.

Credentials, profile, region and endpoint are boto3's to find: its default chain, `AWS_ENDPOINT_URL_S3`,
`AWS_ENDPOINT_URL`, and all that it reads besides. It finds a bucket's region by itself. botocore repeats what
is worth repeating (`AWS_MAX_ATTEMPTS` times, or three); no layer above does so again.

boto3 takes a fifth of a second to import: only what is given an s3:// uri imports this module.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import Any

import boto3
import botocore.exceptions as refusals
from botocore.config import Config
from pyarrow.fs import FileSystem, S3FileSystem

from resources.aws.error_codes import error_code, http_status
from resources.aws.s3_errors import S3Request, translate_error

CONNECTIONS = 16
_BODY_ATTEMPTS = 3
_BROKEN_BODY = (
    refusals.FlexibleChecksumError,
    refusals.IncompleteReadError,
    refusals.ReadTimeoutError,
    refusals.ResponseStreamingError,
)
_MISSING = {"404", "NoSuchKey", "NotFound"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "PreconditionFailed"}
_PRECONDITION_FAILED = 412
_making_clients = Lock()


@dataclass(frozen=True)
class ObjectContent:
    """What an object holds, and the tag of exactly that content."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class ListedObject:
    """An object as a listing has it."""

    key: str
    size_bytes: int
    etag: str


def split_uri(uri: str) -> tuple[str, str]:
    """Split a uri into bucket and key; a key is anything, and never decoded."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def ca_bundle(session: boto3.Session) -> str | None:
    """Return the file of the authorities that boto3 trusts instead of those that everybody knows.

    It stands in `AWS_CA_BUNDLE`, in `ca_bundle` of the profile, or in `REQUESTS_CA_BUNDLE`.
    """
    told = session._session.get_config_variable("ca_bundle")  # noqa: SLF001 (boto3 tells it nowhere else)
    return told or os.environ.get("REQUESTS_CA_BUNDLE")


class Bucket:
    """A bucket, for one setting that names it. Nothing is asked before the first request."""

    def __init__(self, name: str, setting: str, *, more_actions: Sequence[str] = ()) -> None:
        """Name the bucket.

        Args:
            name: its name.
            setting: the key of the settings that names it, for messages.
            more_actions: what a caller must be allowed besides what S3 itself asks for.
        """
        self.name = name
        self._setting = setting
        self._more_actions = tuple(more_actions)

    def uri(self, key: str) -> str:
        """Name an object, or a prefix."""
        return f"s3://{self.name}/{key}"

    def get(self, key: str, *, last_bytes: int | None = None) -> ObjectContent | None:
        """Return what an object holds, or its end; None where there is none.

        Args:
            key: its name.
            last_bytes: so much of its end at most; None: all of it.

        Raises:
            LedgerError: S3 refuses, or cannot be reached.
        """
        part = {} if last_bytes is None else {"Range": f"bytes=-{last_bytes}"}
        with self._asking(key, "s3:GetObject", "s3:ListBucket"):
            for attempt in range(1, _BODY_ATTEMPTS + 1):
                try:
                    answer = self._client.get_object(Bucket=self.name, Key=key, **part)
                    return ObjectContent(answer["Body"].read(), answer["ETag"])
                except _BROKEN_BODY:  # which comes after botocore's own repetitions
                    if attempt == _BODY_ATTEMPTS:
                        raise
                except refusals.ClientError as problem:
                    if error_code(problem) in _MISSING:
                        return None
                    if error_code(problem) == "InvalidRange":  # an empty object has no end
                        return ObjectContent(b"", "")
                    raise
        return None

    def exists(self, key: str) -> bool:
        """Tell whether there is an object.

        Raises:
            LedgerError: S3 refuses, or cannot be reached.
        """
        with self._asking(key, "s3:GetObject", "s3:ListBucket"):
            try:
                self._client.head_object(Bucket=self.name, Key=key)
            except refusals.ClientError as problem:
                if error_code(problem) in _MISSING:
                    return False
                raise
        return True

    def put(self, key: str, data: bytes, *, replacing: str | None, **options: str) -> bool:
        """Write an object in one request, on the condition that it still is what it was.

        Args:
            key: its name.
            data: its content.
            replacing: the tag of the content that may be replaced; None: there must be none.
            options: more of `PutObject`, such as its encryption.

        Returns:
            Whether it was written; False: someone else wrote it meanwhile.

        Raises:
            LedgerError: S3 refuses, or cannot be reached; in the latter case it may be written or not.
        """
        condition = {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": replacing}
        with self._asking(key, "s3:PutObject"):
            try:
                self._client.put_object(Bucket=self.name, Key=key, Body=data, **condition, **options)
            except refusals.ClientError as problem:
                code = error_code(problem)
                gone = replacing is not None and code in _MISSING
                if gone or code in _CONFLICT or http_status(problem) == _PRECONDITION_FAILED:
                    return False
                raise
        return True

    def list_objects(self, prefix: str, most: int | None = None) -> Iterator[ListedObject]:
        """List the objects whose names begin with a prefix, or the first few of them.

        Raises:
            LedgerError: S3 refuses, or cannot be reached.
        """
        with self._asking(prefix, "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, PaginationConfig={"MaxItems": most, "PageSize": most}
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield ListedObject(entry["Key"], entry["Size"], entry["ETag"].strip('"'))

    def filesystem(self) -> FileSystem:
        """Return pyarrow's own way to this bucket, with the credentials and the endpoint of this moment.

        It is for engines that read from many threads: Python's way can leave them waiting for each other.

        Raises:
            LedgerError: S3 refuses, or cannot be reached.
        """
        with self._asking("", "s3:ListBucket"):
            client = self._client
            answer = client.head_bucket(Bucket=self.name)["ResponseMetadata"]["HTTPHeaders"]
            region = answer.get("x-amz-bucket-region", client.meta.region_name)
            if region != client.meta.region_name:  # boto3 was led there; pyarrow would have to be told
                client = _client(region)
            credentials = _session().get_credentials().get_frozen_credentials()
            return S3FileSystem(
                access_key=credentials.access_key,
                secret_key=credentials.secret_key,
                session_token=credentials.token,
                region=region,
                endpoint_override=client.meta.endpoint_url,
                tls_ca_file_path=ca_bundle(_session()),
            )

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 (boto3 has no types)
        return _client()

    @contextmanager
    def _asking(self, key: str, *actions: str) -> Iterator[None]:
        endpoint = ""
        try:
            endpoint = self._client.meta.endpoint_url
            yield
        except (refusals.BotoCoreError, refusals.ClientError, ValueError) as problem:
            asked = S3Request(self._setting, self.uri(key), endpoint, (*actions, *self._more_actions))
            raise translate_error(problem, asked) from problem


@cache
def _session() -> boto3.Session:
    """One for all buckets: it knows the credentials, and what took long to load for the first client."""
    return boto3.Session()


def _client(region: str | None = None) -> Any:  # noqa: ANN401 (boto3 has no types)
    config = Config(retries={"mode": "standard"}, connect_timeout=10, max_pool_connections=CONNECTIONS)
    with _making_clients:  # which several threads must not do with one session; using them they may
        return _session().client("s3", region_name=region, config=config)
