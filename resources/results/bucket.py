"""One bucket with result objects: whose it is, what is in it, and what each object holds.

obstore fetches (see `object_store`). boto3 finds credentials, region and endpoint, lists, and verifies the
owner of the bucket once: a header that obstore adds would not be signed, and S3 refuses those. It also
fetches the few keys that obstore cannot spell, as with empty segments.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import inf
from threading import Lock
from typing import Any

import boto3
import botocore.exceptions as refusals
from botocore.config import Config

from resources.aws.error_codes import AwsError, ErrorKind, classify_error
from resources.aws.obstore_client import OBSTORE_ERRORS, ReserveBytes, open_store, parse_error, read_object
from resources.aws.s3_bucket import ListedObject
from resources.clock import monotonic
from resources.errors import PermissionsError

CONNECTIONS = 16
_LISTED_AT_MOST = 10
"""A listing that shows so many times what is looked for is not worth going on with."""

_LOOK_AGAIN_SECONDS = 60
"""So long a bucket that could not be reached counts as such, and is not tried for each of its objects."""

_PAGE = 1_000
_NOT_MODIFIED = 304
_making_clients = Lock()
_SPELLABLE = re.compile(r"(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f]+(/(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f]+)*")


class ObjectState(StrEnum):
    """What became of reading an object."""

    READ = "read"
    UNCHANGED = "unchanged"
    MISSING = "missing"
    FORBIDDEN = "forbidden"
    KEY_MISSING = "key_missing"
    WRONG_OWNER = "wrong_owner"
    ARCHIVED = "archived"
    UNREACHABLE = "unreachable"

    @property
    def is_unavailable(self) -> bool:
        """Whether what the object holds is not to be had."""
        return self not in {ObjectState.READ, ObjectState.UNCHANGED}


@dataclass(frozen=True)
class ResultRequest:
    """An object to be read, and the tag that it had when it was read before."""

    bucket: str
    key: str
    etag: str | None = None


@dataclass(frozen=True)
class FetchedResult:
    """What came of an object: its bytes where it was read, else the words of whoever refused them."""

    request: ResultRequest
    state: ObjectState
    data: bytes | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    error: str | None = None

    @property
    def size_in_memory(self) -> int:
        """How much it holds in memory."""
        return len(self.data or b"")


_STATES = {
    ErrorKind.MISSING: ObjectState.MISSING,
    ErrorKind.NO_BUCKET: ObjectState.MISSING,
    ErrorKind.KMS: ObjectState.KEY_MISSING,
    ErrorKind.ARCHIVED: ObjectState.ARCHIVED,
    ErrorKind.LATER: ObjectState.UNREACHABLE,
    ErrorKind.UNREACHABLE: ObjectState.UNREACHABLE,
    ErrorKind.BROKEN: ObjectState.UNREACHABLE,
    ErrorKind.UNTRUSTED: ObjectState.UNREACHABLE,
}
"""What each kind of answer makes of an object; the others make it forbidden."""


@dataclass(frozen=True)
class _View:
    """A bucket that was looked at: the ways in, or what keeps everybody out of it."""

    client: Any = None
    store: Any = None
    state: ObjectState | None = None
    error: str | None = None


class ResultBucket:
    """One bucket, as one caller sees it. Safe to use from several threads at once."""

    def __init__(self, name: str, session: boto3.Session, owner: str | None) -> None:
        """Name the bucket; nothing is asked before the first request.

        Args:
            name: its name.
            session: who asks.
            owner: the account that it must belong to; None: to whomever.
        """
        self.name = name
        self._session = session
        self._owned_by = {"ExpectedBucketOwner": owner} if owner else {}
        self._looking = Lock()
        self._view: _View | None = None
        self._look_again_at = inf

    def get(self, wanted: ResultRequest, unless: str | None, take: ReserveBytes) -> FetchedResult:
        """Read an object.

        Args:
            wanted: what is asked for.
            unless: the tag of a content that need not be sent.
            take: is told how many bytes are about to be held, and may wait until there is room for them.

        Raises:
            PermissionsError: there are no usable credentials.
        """
        view = self._looked_at(wanted.key)
        if view.state:
            return FetchedResult(wanted, view.state, error=view.error)
        try:
            if _SPELLABLE.fullmatch(wanted.key):
                return FetchedResult(
                    wanted, ObjectState.READ, *read_object(view.store, wanted.key, unless, take)
                )
            return self._by_boto3(view.client, wanted, unless, take)
        except (refusals.BotoCoreError, refusals.ClientError) as problem:
            return self._told(wanted, classify_error(problem))
        except OBSTORE_ERRORS as problem:
            return self._told(wanted, parse_error(problem))

    def list_objects(self, keys: Sequence[str]) -> dict[str, ListedObject | None]:
        """Look objects up in a listing: None for one that is not there; nothing where listing is forbidden.

        Raises:
            PermissionsError: there are no usable credentials.
        """
        view = self._looked_at(keys[0])
        if view.state:
            return {}
        prefix, last = _beginning(keys), max(keys)
        found: dict[str, ListedObject | None] = dict.fromkeys(keys)
        seen = 0
        try:
            for page in view.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, **self._owned_by
            ):
                entries = page.get("Contents", ())
                for entry in entries:
                    if entry["Key"] in found:
                        tag = entry["ETag"].strip('"')
                        found[entry["Key"]] = ListedObject(entry["Key"], entry["Size"], tag)
                seen += len(entries)
                if not entries or entries[-1]["Key"] >= last:
                    break
                if seen > _LISTED_AT_MOST * len(keys) + _PAGE:
                    return {}
        except (refusals.BotoCoreError, refusals.ClientError) as problem:
            if classify_error(problem).kind is ErrorKind.CREDENTIALS:
                raise self._unknown(classify_error(problem).said) from problem
            return {}
        return found

    def _by_boto3(
        self,
        client: Any,  # noqa: ANN401
        wanted: ResultRequest,
        unless: str | None,
        take: ReserveBytes,
    ) -> FetchedResult:
        condition = {"IfNoneMatch": f'"{unless}"'} if unless else {}
        answer = client.get_object(Bucket=self.name, Key=wanted.key, **condition, **self._owned_by)
        take(answer["ContentLength"])
        tag = answer["ETag"].strip('"')
        return FetchedResult(wanted, ObjectState.READ, answer["Body"].read(), tag, answer["LastModified"])

    def _looked_at(self, key: str) -> _View:
        """Find region and owner of the bucket, unless they are known."""
        with self._looking:
            if self._view is None or monotonic() > self._look_again_at:
                try:
                    self._view, self._look_again_at = self._look(key), inf
                except (refusals.BotoCoreError, refusals.ClientError, ValueError) as problem:
                    self._view = self._refusing(classify_error(problem))
                    later = self._view.state is ObjectState.UNREACHABLE
                    self._look_again_at = monotonic() + _LOOK_AGAIN_SECONDS if later else inf
            return self._view

    def _refusing(self, answer: AwsError) -> _View:
        if answer.kind is ErrorKind.CREDENTIALS:
            raise self._unknown(answer.said)
        state = _STATES.get(answer.kind, ObjectState.FORBIDDEN)
        missing = state is ObjectState.MISSING
        return _View(state=state, error=f"there is no bucket {self.name}" if missing else self._words(answer))

    def _look(self, key: str) -> _View:
        client = self._open_client(None)
        refused = None
        try:
            answer = client.head_bucket(Bucket=self.name, **self._owned_by)
        except refusals.ClientError as problem:
            if classify_error(problem).kind is not ErrorKind.FORBIDDEN:
                raise
            # the region is told all the same; and who may not list may still read
            answer = problem.response
            refused = self._refusal_of_owner(client, key)
        if refused:
            return _View(state=ObjectState.WRONG_OWNER, error=refused)
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", client.meta.region_name)
        if region != client.meta.region_name:
            client = self._open_client(region)
        return _View(client, open_store(self.name, self._session, client.meta.endpoint_url, region))

    def _refusal_of_owner(self, client: Any, key: str) -> str | None:  # noqa: ANN401
        """Find out by an object whether the owner is as expected, where the bucket may not be seen."""
        if not self._owned_by:
            return None
        try:
            client.head_object(Bucket=self.name, Key=key, **self._owned_by)
        except refusals.ClientError as problem:
            if classify_error(problem).kind is not ErrorKind.FORBIDDEN:
                return None
        else:
            return None
        owner = self._owned_by["ExpectedBucketOwner"]
        return (
            f"{self.name} does not belong to account {owner} (results.expected_bucket_owner), or this caller"
            " may neither list nor read it"
        )

    def _open_client(self, region: str | None) -> Any:  # noqa: ANN401 (boto3 has no types)
        config = Config(retries={"mode": "standard"}, connect_timeout=10, max_pool_connections=CONNECTIONS)
        with _making_clients:  # which several threads must not do with one session; using them they may
            return self._session.client("s3", region_name=region, config=config)

    def _told(self, wanted: ResultRequest, answer: AwsError) -> FetchedResult:
        if answer.status == _NOT_MODIFIED:
            return FetchedResult(wanted, ObjectState.UNCHANGED)
        if answer.kind is ErrorKind.CREDENTIALS:
            raise self._unknown(answer.said)
        return FetchedResult(
            wanted, _STATES.get(answer.kind, ObjectState.FORBIDDEN), error=self._words(answer)
        )

    def _words(self, answer: AwsError) -> str:
        if answer.kind is ErrorKind.KMS and answer.kms_key:
            return f"its KMS key {answer.kms_key} cannot be used: {answer.said}"
        if answer.kind is ErrorKind.UNTRUSTED:
            return f"its certificate is not trusted (AWS_CA_BUNDLE names what is): {answer.said}"
        return answer.said

    def _unknown(self, said: str) -> PermissionsError:
        return PermissionsError(
            f"no usable AWS credentials: {said}",
            where=f"results: s3://{self.name}/",
            next_step="log in (aws sso login), or set AWS_PROFILE or [results] profile in ledger.toml;"
            " `aws sts get-caller-identity` shows whether that worked",
        )


def _beginning(keys: Sequence[str]) -> str:
    """Return what all keys begin with, to the letter: it can end within a date."""
    first, last = min(keys), max(keys)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first if same is None else first[:same]
