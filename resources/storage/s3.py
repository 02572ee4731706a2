"""S3 storage: the files of a lake, replaced by conditional requests.

A lake object is read with its ETag and written only if it still has that ETag, or still does not exist. After
a conflict with another writer, the update is repeated with the current content. Nothing is ever deleted and
no upload has several parts, so readers see either the old or the new object.

The store must support `If-Match` and `If-None-Match: *` on PutObject and strong read-after-write consistency.
S3 does since 2024; current versions of MinIO, Cloudflare R2 and Ceph do too. A store that rejects these
headers is refused. A store that ignores them cannot be detected and loses rows.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from glob import escape
from io import BytesIO
from typing import TypeVar

import pyarrow as pa
from pyarrow.fs import FileSystem

from resources.aws.s3_bucket import Bucket, ObjectContent
from resources.aws.s3_objects import MAX_OBJECT_BYTES, split_uri
from resources.clock import monotonic, sleep_up_to, unique_id
from resources.errors import (
    ConfigurationError,
    RetryLaterError,
)
from resources.read_limits import DEFAULT_LIMITS
from resources.storage.base import OpenFile, WriteFile

_MAX_PAUSE_SECONDS = 1.0
_UPDATE_IDS = "ledger-updates"
"""The metadata of an object with the ids of its last updates. After a lost response, a writer recognizes by
its id that its update was stored, also if another writer has replaced the object since."""

_MAX_UPDATE_IDS = 16
T = TypeVar("T")


class S3Storage:
    """Files of a lake below a prefix of a bucket."""

    def __init__(
        self,
        uri: str,
        *,
        timeout_seconds: float,
        kms_key_id: str | None = None,
        owner: str | None = None,
        request_seconds: float = DEFAULT_LIMITS.seconds,
    ) -> None:
        """Set the prefix; no request is sent yet.

        Args:
            uri: a bucket, or a prefix in it, with or without a slash at the end.
            timeout_seconds: how long an update retries while other writers change the same file.
            kms_key_id: the KMS key for encryption; None: the default of the bucket.
            owner: the account that must own the bucket; None: any.
            request_seconds: the longest duration of one request.
        """
        name, key = split_uri(uri)
        self._prefix = f"{key.removesuffix('/')}/" if key else ""
        kms = ("kms:GenerateDataKey", "kms:Decrypt") if kms_key_id else ()
        limits = replace(DEFAULT_LIMITS, size_bytes=MAX_OBJECT_BYTES, seconds=request_seconds)
        self._bucket = Bucket(name, "lake.uri", more_actions=kms, owner=owner, limits=limits)
        self._timeout_seconds = timeout_seconds
        self._options = {"ContentType": "application/vnd.apache.parquet"}
        if kms_key_id:
            self._options |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id}

    def location(self, name: str) -> str:
        """Return the URI of a file."""
        return self._bucket.uri(self._prefix + name)

    def pattern(self, name: str) -> str:
        """Return the URI of a name with wildcards; wildcards in the prefix are escaped."""
        return self._bucket.uri(escape(self._prefix) + name)

    def list_values(self, before: str, after: str) -> list[str]:
        """List every VALUE without a slash for which the file `<before>VALUE<after>` exists."""
        start = self._prefix + before
        values = (
            file.key.removeprefix(start).removesuffix(after)
            for file in self._bucket.list_objects(start)
            if file.key.endswith(after)
        )
        return [value for value in values if "/" not in value]

    def list_names(self, before: str) -> list[str]:
        """List the names of the files in all folders whose names begin with `before`."""
        files = self._bucket.list_objects(self._prefix + before)
        return [file.key.removeprefix(self._prefix) for file in files]

    def exists(self, name: str) -> bool:
        """Whether the file exists."""
        return self._bucket.exists(self._prefix + name)

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading, with one request.

        Raises:
            FileNotFoundError: the file does not exist.
            LedgerError: S3 refuses or cannot be reached.
        """
        return _open_content(self._bucket.get(self._prefix + name))

    def open_end(self, name: str, size_bytes: int) -> pa.NativeFile:
        """Open the last bytes of a file, with one request; raises what `open` raises."""
        return _open_content(self._bucket.get(self._prefix + name, last_bytes=size_bytes))

    def filesystem(self) -> tuple[FileSystem, str]:
        """Return a pyarrow file system and the prefix of all names in it."""
        return self._bucket.filesystem(), f"{self._bucket.name}/{self._prefix}"

    def update(self, name: str, change: Callable[[OpenFile], tuple[T, WriteFile | None]]) -> T:
        """Replace a file and return the result of `change`; repeat both after a conflict.

        Raises:
            RetryLaterError: conflicts continued until the timeout, or S3 is busy.
            LedgerError: S3 refuses, or the file is too large.
        """
        key = self._prefix + name
        deadline = monotonic() + self._timeout_seconds
        conflicts = 0
        update_id = unique_id()
        previous: list[T] = []
        while True:
            stored = self._bucket.get(key)
            updates = _read_update_ids(stored)
            if update_id in updates:
                return previous[-1]  # our own write: its response was lost, so botocore sent it twice
            result, write = change(partial(_open_content, stored))
            if write is None:
                return result
            data = _collect_bytes(write)
            self._check_size(key, len(data))
            metadata = {_UPDATE_IDS: ",".join([*updates, update_id][-_MAX_UPDATE_IDS:])}
            replaced = stored.etag if stored else None
            if self._bucket.put(key, data, replacing=replaced, metadata=metadata, options=self._options):
                return result
            previous.append(result)
            conflicts += 1
            if monotonic() > deadline and conflicts > 1:  # also an update that is slow itself is repeated
                raise RetryLaterError(
                    f"Cannot update a file of the lake: {conflicts} conflicts with other writers in"
                    f" {self._timeout_seconds:.0f} s",
                    where=f"lake.uri: {self._bucket.uri(key)}",
                    next_step="wait for the other runs to end, and run again; no rows were lost",
                )
            longest = min(_MAX_PAUSE_SECONDS, 0.01 * 2 ** min(conflicts, 10))
            sleep_up_to(longest)  # a random pause avoids repeated conflicts of two writers

    def _check_size(self, key: str, size_bytes: int) -> None:
        if size_bytes > MAX_OBJECT_BYTES:
            raise ConfigurationError(
                f"Cannot write a file of {size_bytes / 1024**3:.1f} GiB: S3 accepts at most"
                f" {MAX_OBJECT_BYTES / 1024**3:.1f} GiB in one request",
                where=f"lake.uri: {self._bucket.uri(key)}",
                next_step="keep this lake in a local folder, which has no such limit:"
                ' [lake] uri = "data/lake"; nothing was written',
            )


def _open_content(stored: ObjectContent | None) -> pa.NativeFile:
    if stored is None:
        raise FileNotFoundError
    return pa.BufferReader(stored.data)


def _read_update_ids(stored: ObjectContent | None) -> list[str]:
    ids = stored.metadata.get(_UPDATE_IDS, "") if stored else ""
    return ids.split(",") if ids else []


def _collect_bytes(write: WriteFile) -> bytes:
    sink = BytesIO()
    write(sink)
    return sink.getvalue()
