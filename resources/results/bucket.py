"""A bucket with result objects: verifies its owner, lists it, and reads objects.

obstore reads the objects. boto3 finds credentials, region and endpoint, lists, and verifies the owner every
minute: obstore cannot sign the header for the owner. boto3 also reads the few keys that obstore does not
support, such as those with empty segments.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Any

import boto3
import botocore.exceptions as refusals

from resources.aws.error_codes import AwsError, ErrorKind, classify_error, credentials_error
from resources.aws.limited_session import read_body
from resources.aws.obstore_client import OBSTORE_ERRORS, open_store, parse_error, read_object
from resources.aws.s3_client import open_s3_client
from resources.aws.s3_objects import ListedObject, ReserveBytes
from resources.clock import monotonic
from resources.errors import RetryLaterError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.results.base import FetchedResult, ObjectState, ResultRequest

_MAX_LISTED_PER_KEY = 10
"""A listing stops when it has returned this many times the wanted keys: single requests are cheaper then."""

_RECHECK_SECONDS = 60
"""How long a bucket counts as unreachable, or as that of the expected owner."""

_LISTING_PAGE = 1_000
_NOT_MODIFIED = 304
_BAD_REQUEST = 400
_OBSTORE_KEY = re.compile(r"(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f]+(/(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f]+)*")


class _ObjectTooLargeError(Exception):
    """The object is larger than the limit."""


_STATES = {
    ErrorKind.NO_OBJECT: ObjectState.MISSING,
    ErrorKind.NO_BUCKET: ObjectState.MISSING,
    ErrorKind.KMS: ObjectState.KEY_MISSING,
    ErrorKind.ARCHIVED: ObjectState.ARCHIVED,
    ErrorKind.BUSY: ObjectState.UNREACHABLE,
    ErrorKind.UNREACHABLE: ObjectState.UNREACHABLE,
    ErrorKind.CONFLICT: ObjectState.UNREACHABLE,
    ErrorKind.CONNECTION_LOST: ObjectState.UNREACHABLE,
    ErrorKind.UNTRUSTED: ObjectState.UNREACHABLE,
}
"""The state of an object after each kind of error; FORBIDDEN after any other."""


@dataclass(frozen=True)
class _BucketAccess:
    """How to read the bucket, or the state and error that all its objects share."""

    client: Any = None
    store: Any = None
    state: ObjectState | None = None
    error: str | None = None


class ResultBucket:
    """A bucket, with the permissions of one caller. It is thread-safe."""

    def __init__(
        self,
        name: str,
        session: boto3.Session,
        owner: str | None,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        """Make no request yet.

        Args:
            name: the name of the bucket.
            session: the credentials.
            owner: the account that must own the bucket; None: any.
            limits: limits of each object.
        """
        self._limits = limits
        self.name = name
        self._session = session
        self._owner = owner
        self._access_lock = Lock()
        self._access: _BucketAccess | None = None
        self._recheck_at = inf

    def get(self, request: ResultRequest, known_etag: str | None, reserve: ReserveBytes) -> FetchedResult:
        """Read an object.

        Args:
            request: the object.
            known_etag: the content with this ETag need not be sent.
            reserve: called with the number of bytes before they are held in memory; may block.

        Raises:
            PermissionsError: there are no usable credentials.
        """
        access = self._get_access(request.key)
        if access.state:
            return FetchedResult(request, access.state, error=access.error)

        def reserve_within_limit(size_bytes: int) -> None:
            if size_bytes > self._limits.size_bytes:
                raise _ObjectTooLargeError
            reserve(size_bytes)

        try:
            if _OBSTORE_KEY.fullmatch(request.key):
                content = read_object(access.store, request.key, known_etag, reserve_within_limit)
                return FetchedResult(request, ObjectState.READ, *content)
            return self._read_with_boto3(access.client, request, known_etag, reserve_within_limit)
        except _ObjectTooLargeError:
            # without its ETag, so that it is read once the limit is raised
            return FetchedResult(request, ObjectState.READ, b"", problem=self._limits.too_large)
        except (refusals.BotoCoreError, refusals.ClientError) as error:
            return self._build_failure(request, classify_error(error))
        except OBSTORE_ERRORS as error:
            return self._build_failure(request, parse_error(error))

    def list_objects(self, keys: Sequence[str]) -> dict[str, ListedObject | None]:
        """Look up objects in a listing.

        Returns:
            Each key with its object, None if the object does not exist. Empty if the bucket cannot be listed
            or has too many other objects.

        Raises:
            PermissionsError: there are no usable credentials.
        """
        access = self._get_access(keys[0])
        if access.state:
            return {}
        prefix, last = _common_prefix(keys), max(keys)
        objects: dict[str, ListedObject | None] = dict.fromkeys(keys)
        listed = 0
        try:
            for page in access.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix
            ):
                entries = page.get("Contents", ())
                for entry in entries:
                    if entry["Key"] in objects:
                        etag = entry["ETag"].strip('"')
                        objects[entry["Key"]] = ListedObject(entry["Key"], entry["Size"], etag)
                listed += len(entries)
                if not entries or entries[-1]["Key"] >= last:
                    break
                if listed > _MAX_LISTED_PER_KEY * len(keys) + _LISTING_PAGE:
                    return {}
        except (refusals.BotoCoreError, refusals.ClientError) as error:
            self._raise_without_credentials(classify_error(error))
            return {}
        return objects

    def _read_with_boto3(
        self,
        client: Any,  # noqa: ANN401 (boto3 has no types)
        request: ResultRequest,
        known_etag: str | None,
        reserve: ReserveBytes,
    ) -> FetchedResult:
        condition = {"IfNoneMatch": f'"{known_etag}"'} if known_etag else {}
        response = client.get_object(Bucket=self.name, Key=request.key, **condition)
        reserve(response["ContentLength"])
        etag = response["ETag"].strip('"')
        try:
            data = read_body(response["Body"], self._limits, f"s3://{self.name}/{request.key}")
        except RetryLaterError as error:
            return FetchedResult(request, ObjectState.UNREACHABLE, error=error.what)
        return FetchedResult(request, ObjectState.READ, data, etag, response["LastModified"])

    def _get_access(self, key: str) -> _BucketAccess:
        """Find region and owner of the bucket at the first call, and again after it was unreachable."""
        with self._access_lock:
            if self._access is None or monotonic() > self._recheck_at:
                try:
                    self._access, self._recheck_at = self._check_access(key), inf
                    if self._owner:  # obstore reads without the header
                        self._recheck_at = monotonic() + _RECHECK_SECONDS
                except (refusals.BotoCoreError, refusals.ClientError, ValueError) as error:
                    self._access = self._deny_access(classify_error(error))
                    is_unreachable = self._access.state is ObjectState.UNREACHABLE
                    self._recheck_at = monotonic() + _RECHECK_SECONDS if is_unreachable else inf
            return self._access

    def _deny_access(self, answer: AwsError) -> _BucketAccess:
        self._raise_without_credentials(answer)
        state = _STATES.get(answer.kind, ObjectState.FORBIDDEN)
        if state is ObjectState.MISSING:
            return _BucketAccess(state=state, error=f"there is no bucket {self.name}")
        return _BucketAccess(state=state, error=_format_error(answer))

    def _check_access(self, key: str) -> _BucketAccess:
        client = self._open_client(None)
        owner_error = None
        try:
            response = client.head_bucket(Bucket=self.name)
        except refusals.ClientError as error:
            answer = classify_error(error)
            if answer.kind is not ErrorKind.FORBIDDEN and answer.status != _BAD_REQUEST:
                raise
            # a response to HEAD has no reason, such as an expired token; the next request shows it. This
            # response has the region, and a caller that cannot list may still be able to read
            response = error.response
            owner_error = self._find_owner_error(client, key)
        if owner_error:
            return _BucketAccess(state=ObjectState.WRONG_OWNER, error=owner_error)
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", client.meta.region_name)
        if region != client.meta.region_name:
            client = self._open_client(region)
        store = open_store(self.name, self._session, client, seconds=self._limits.seconds)
        return _BucketAccess(client, store)

    def _find_owner_error(self, client: Any, key: str) -> str | None:  # noqa: ANN401
        """Verify the owner with a request for an object, if the caller cannot list the bucket."""
        if not self._owner:
            return None
        try:
            client.get_object(Bucket=self.name, Key=key, Range="bytes=0-0")
        except refusals.ClientError as error:
            answer = classify_error(error)
            self._raise_without_credentials(answer)
            if answer.kind is not ErrorKind.FORBIDDEN:
                return None
        else:
            return None
        return (
            f"{self.name} does not belong to account {self._owner} (results.expected_bucket_owner), or this"
            " caller can neither list nor read it"
        )

    def _open_client(self, region: str | None) -> Any:  # noqa: ANN401 (boto3 has no types)
        return open_s3_client(self._session, region, self._owner, self._limits)

    def _build_failure(self, request: ResultRequest, answer: AwsError) -> FetchedResult:
        if answer.status == _NOT_MODIFIED:
            return FetchedResult(request, ObjectState.UNCHANGED)
        self._raise_without_credentials(answer)
        state = _STATES.get(answer.kind, ObjectState.FORBIDDEN)
        return FetchedResult(request, state, error=_format_error(answer))

    def _raise_without_credentials(self, answer: AwsError) -> None:
        if answer.kind is ErrorKind.CREDENTIALS:
            profile = "AWS_PROFILE or [results] profile in ledger.toml"
            raise credentials_error(answer.message, f"results: s3://{self.name}/", profile=profile)


def _format_error(answer: AwsError) -> str:
    if answer.kind is ErrorKind.KMS and answer.kms_key:
        return f"its KMS key {answer.kms_key} cannot be used: {answer.message}"
    if answer.kind is ErrorKind.UNTRUSTED:
        return f"its certificate is not trusted (set AWS_CA_BUNDLE): {answer.message}"
    return answer.message


def _common_prefix(keys: Sequence[str]) -> str:
    """Return the longest common prefix of the keys; it can end within a date."""
    first, last = min(keys), max(keys)
    pairs = enumerate(zip(first, last, strict=False))
    difference = next((position for position, (left, right) in pairs if left != right), None)
    return first if difference is None else first[:difference]
