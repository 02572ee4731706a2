"""A bucket in S3: get, put and list objects; errors are translated.

Credentials, profile, region and endpoint come from boto3's default chain, `AWS_ENDPOINT_URL_S3` and
`AWS_ENDPOINT_URL`. boto3 finds the region of a bucket. botocore retries (`AWS_MAX_ATTEMPTS` times, default
three); no layer above it retries again.

The import of boto3 takes a fifth of a second: import this module only for an s3:// URI.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import boto3
import botocore.exceptions as refusals
from pyarrow.fs import FileSystem, S3FileSystem

from resources.aws.access import AwsAccess
from resources.aws.clients import find_proxy
from resources.aws.error_codes import ErrorKind, classify_error
from resources.aws.limited_session import read_body
from resources.aws.s3_client import open_s3_client
from resources.aws.s3_errors import S3Request, translate_error
from resources.aws.s3_objects import ListedObject
from resources.aws.session import default_session, open_session
from resources.errors import DataError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits

_BODY_ATTEMPTS = 3
_BROKEN_BODY = (
    refusals.FlexibleChecksumError,
    refusals.IncompleteReadError,
    refusals.ReadTimeoutError,
    refusals.ResponseStreamingError,
)


@dataclass(frozen=True)
class ObjectContent:
    """The content of an object, the ETag of this content, and the user-defined metadata."""

    data: bytes
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectPart:
    """Some bytes of an object, and the ETag and the size of the whole object."""

    data: bytes
    etag: str
    size_bytes: int


@dataclass(frozen=True)
class ListedPage:
    """One page of a listing: keys, folders, and the name to continue after ("": there is no next page)."""

    keys: list[str]
    folders: list[str]
    last: str


def ca_bundle(session: boto3.Session) -> str | None:
    """Return the file of certificate authorities that boto3 uses; None: the system's.

    It comes from `AWS_CA_BUNDLE`, `ca_bundle` of the profile, or `REQUESTS_CA_BUNDLE`.
    """
    configured = session._session.get_config_variable("ca_bundle")  # noqa: SLF001 (no public access)
    return configured or os.environ.get("REQUESTS_CA_BUNDLE")


def uses_virtual_addressing(client: Any) -> bool:  # noqa: ANN401 (boto3 has no types)
    """Whether the AWS configuration demands the bucket in the host name (`addressing_style = virtual`)."""
    return (client.meta.config.s3 or {}).get("addressing_style") == "virtual"


class Bucket:
    """A bucket that a setting names. The first request opens the client."""

    def __init__(
        self,
        name: str,
        setting: str,
        *,
        more_actions: Sequence[str] = (),
        access: AwsAccess | None = None,
        owner: str | None = None,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        """Make no request yet.

        Args:
            name: the name of the bucket.
            setting: the key of the settings that names it, for messages.
            more_actions: permissions needed besides those of S3, for messages.
            access: profile and role of `[results]`; None: boto3's defaults.
            owner: the account that must own the bucket; None: any.
            limits: limits of each object, of each listing and of each request.
        """
        self.name = name
        self._setting = setting
        self._owner = owner
        section = "results" if access else setting.partition(".")[0]
        name_of_owner = (
            "--expected-bucket-owner" if setting.startswith("--") else f"{section}.expected_bucket_owner"
        )
        self._owner_in_messages = f"{owner} ({name_of_owner})" if owner else ""
        self._limits = limits
        self._more_actions = tuple(more_actions)
        self._access = access or AwsAccess()

    def uri(self, key: str) -> str:
        """Return the URI of an object or prefix."""
        return f"s3://{self.name}/{key}"

    def get(self, key: str, *, last_bytes: int | None = None) -> ObjectContent | None:
        """Return the content of an object; None: it does not exist.

        Args:
            key: its key.
            last_bytes: read at most this many bytes, from its end; None: all of it.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached.
        """
        response = self._get(key, {} if last_bytes is None else {"Range": f"bytes=-{last_bytes}"})
        if response is None:
            return None
        return ObjectContent(response["Body"], response["ETag"], response["Metadata"])

    def get_part(self, key: str, start: int, size_bytes: int) -> ObjectPart | None:
        """Return at most so many bytes of an object from a position on; None: it does not exist.

        A store that does not support ranges returns all bytes.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached.
        """
        response = self._get(key, {"Range": f"bytes={start}-{start + size_bytes - 1}"})
        if response is None:
            return None
        data, content_range = response["Body"], response.get("ContentRange")
        if content_range is None:
            return ObjectPart(data[start:], response["ETag"], len(data))
        return ObjectPart(data, response["ETag"], int(content_range.rpartition("/")[2]))

    def _get(self, key: str, byte_range: Mapping[str, str]) -> dict[str, Any] | None:
        """Return a response with its complete body; None: the object does not exist."""
        with self._translate_errors(key, "s3:GetObject", "s3:ListBucket"):
            for attempt in range(1, _BODY_ATTEMPTS + 1):
                try:
                    response: dict[str, Any] = self._client.get_object(
                        Bucket=self.name, Key=key, **byte_range
                    )
                    return response | {"Body": read_body(response["Body"], self._limits, self.uri(key))}
                except _BROKEN_BODY:  # which botocore does not retry
                    if attempt == _BODY_ATTEMPTS:
                        raise
                except refusals.ClientError as error:
                    kind = classify_error(error).kind
                    if kind is ErrorKind.NO_OBJECT:
                        return None
                    if kind is ErrorKind.EMPTY_RANGE:  # the object is empty
                        return {"Body": b"", "ETag": "", "Metadata": {}}
                    raise
        return None

    def exists(self, key: str) -> bool:
        """Return whether an object exists.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached.
        """
        with self._translate_errors(key, "s3:GetObject", "s3:ListBucket"):
            try:
                self._client.head_object(Bucket=self.name, Key=key)
            except refusals.ClientError as error:
                if classify_error(error).kind is ErrorKind.NO_OBJECT:
                    return False
                get = partial(self._client.get_object, Bucket=self.name, Key=key, Range="bytes=0-0")
                raise _find_reason(error, get) from None
        return True

    def put(
        self,
        key: str,
        data: bytes,
        *,
        replacing: str | None,
        metadata: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> bool:
        """Write an object in one conditional request.

        Args:
            key: its key.
            data: its content.
            replacing: the ETag of the content to replace; None: the object must not exist.
            metadata: the user-defined metadata of the object.
            options: more arguments of `PutObject`, such as encryption.

        Returns:
            Whether it was written; False: another writer wrote it first.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached; then the object may have been written.
        """
        more = options or {}
        condition = {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": replacing}
        with self._translate_errors(key, "s3:PutObject"):
            try:
                self._client.put_object(
                    Bucket=self.name, Key=key, Body=data, Metadata=metadata or {}, **condition, **more
                )
            except refusals.ClientError as error:
                kind = classify_error(error).kind
                is_deleted = replacing is not None and kind is ErrorKind.NO_OBJECT
                if is_deleted or kind is ErrorKind.CONFLICT:
                    return False
                raise
        return True

    def delete(self, key: str) -> None:
        """Delete an object, if it exists.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached.
        """
        with self._translate_errors(key, "s3:DeleteObject"):
            self._client.delete_object(Bucket=self.name, Key=key)

    def list_objects(self, prefix: str, most: int | None = None) -> Iterator[ListedObject]:
        """List the objects under a prefix, at most `most` of them.

        Raises:
            DataError: the listing has more entries or pages than the limits.
            LedgerError: S3 returned an error, or cannot be reached.
        """
        with self._translate_errors(prefix, "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, PaginationConfig={"MaxItems": most, "PageSize": most}
            )
            count, limits = 0, self._limits
            for number, page in enumerate(pages, 1):
                entries = page.get("Contents", ())
                count += len(entries)
                if count > limits.entries or number > max(limits.pages, count):  # a page can be empty
                    reason = limits.too_many_entries if count > limits.entries else limits.too_many_pages
                    raise DataError(
                        f"Cannot list a bucket: it has {reason}",
                        where=f"{self._setting}: {self.uri(prefix)}",
                        next_step="name a longer prefix, or raise the limit",
                    )
                for entry in entries:
                    yield ListedObject(entry["Key"], entry["Size"], entry["ETag"].strip('"'))

    def list_page(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", most: int = 1_000
    ) -> ListedPage:
        """List up to 1,000 keys under a prefix that follow `start_after`, with one request.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached.
        """
        with self._translate_errors(prefix, "s3:ListBucket"):
            options = {"StartAfter": start_after} if start_after else {}
            options |= {"Delimiter": delimiter} if delimiter else {}
            page = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=most, **options)
            keys = [entry["Key"] for entry in page.get("Contents", ())]
            folders = [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
            # S3 skips a whole folder only if the name to start after is behind all of its keys
            names = keys + [f"{folder}\U0010ffff" for folder in folders]
            return ListedPage(keys, folders, max(names, default="") if page.get("IsTruncated") else "")

    def filesystem(self) -> FileSystem:
        """Return pyarrow's filesystem for S3, with the current credentials and endpoint.

        Engines that read from many threads need it: a filesystem in Python can deadlock them.

        Raises:
            LedgerError: S3 returned an error, or cannot be reached.
        """
        with self._translate_errors("", "s3:ListBucket"):
            client = self._client
            try:
                headers = client.head_bucket(Bucket=self.name)["ResponseMetadata"]["HTTPHeaders"]
            except refusals.ClientError as error:
                list_one = partial(client.list_objects_v2, Bucket=self.name, MaxKeys=1)
                raise _find_reason(error, list_one) from None
            region = headers.get("x-amz-bucket-region", client.meta.region_name)
            if region != client.meta.region_name:  # boto3 follows redirects; pyarrow does not
                client = self._open_client(region)
            credentials = default_session().get_credentials().get_frozen_credentials()
            return S3FileSystem(
                access_key=credentials.access_key,
                secret_key=credentials.secret_key,
                session_token=credentials.token,
                region=region,
                endpoint_override=client.meta.endpoint_url,
                force_virtual_addressing=uses_virtual_addressing(client),
                proxy_options=find_proxy(client.meta.endpoint_url),
                tls_ca_file_path=ca_bundle(default_session()),
            )

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 (boto3 has no types)
        return self._open_client()

    def _open_client(self, region: str | None = None) -> Any:  # noqa: ANN401 (boto3 has no types)
        has_access = self._access != AwsAccess()
        session = open_session(self._access, "results") if has_access else default_session()
        return open_s3_client(session, region, self._owner, self._limits)

    @contextmanager
    def _translate_errors(self, key: str, *actions: str) -> Iterator[None]:
        endpoint = ""
        try:
            endpoint = self._client.meta.endpoint_url
            yield
        except (refusals.BotoCoreError, refusals.ClientError, ValueError) as error:
            actions = (*actions, *self._more_actions)
            request = S3Request(self._setting, self.uri(key), endpoint, actions, self._owner_in_messages)
            raise translate_error(error, request) from error


def _find_reason(error: refusals.ClientError, get: Callable[[], object]) -> refusals.ClientError:
    """Return the error of a GET, if the response to a HEAD was refused without a reason.

    Only the body of a response distinguishes a missing permission, an expired token and a wrong clock.
    """
    if error.response.get("Error", {}).get("Code") in {"400", "403"}:
        try:
            get()
        except refusals.ClientError as explained:
            if classify_error(explained).kind in {ErrorKind.CREDENTIALS, ErrorKind.FORBIDDEN, ErrorKind.KMS}:
                return explained
    return error
