"""The files of a lake in S3: one object a file, replaced by one conditional request.

An object is read with its tag and put back on the condition that it still has that tag, or that there still
is none. Where another writer came in between, S3 refuses, and all is done again with what is there then.
Nothing is ever deleted and an upload has no parts, so a reader sees the old object or the new one.

The store must honour `If-Match` and `If-None-Match: *` on PutObject and read what was written last, as S3 has
done for all buckets since 2024 (MinIO, Cloudflare R2 and Ceph do in current versions). One that says that it
cannot is refused; one that ignores these headers cannot be told apart, and loses rows.
"""

from collections.abc import Callable
from functools import partial
from glob import escape
from io import BytesIO
from typing import TypeVar

import pyarrow as pa
from pyarrow.fs import FileSystem

from resources.aws.s3_bucket import Bucket, ObjectContent, split_uri
from resources.clock import monotonic, sleep_up_to
from resources.errors import ConfigurationError, RetryLaterError
from resources.storage.base import OpenFile, WriteFile

MAX_OBJECT_BYTES = 5 * 1024**3
"""What S3 takes in one request; more would need parts."""

_LONGEST_PAUSE_SECONDS = 1.0

T = TypeVar("T")


class S3Storage:
    """Files below a prefix of a bucket."""

    def __init__(self, uri: str, *, timeout_seconds: float, kms_key_id: str | None = None) -> None:
        """Name the prefix; nothing is asked yet.

        Args:
            uri: a bucket, or a prefix in it; the prefix is a folder, whether or not it ends with a slash.
            timeout_seconds: how long to try again while others write the same file.
            kms_key_id: the KMS key to encrypt with; None: as the bucket has it.
        """
        name, key = split_uri(uri)
        self._prefix = f"{key.removesuffix('/')}/" if key else ""
        kms = ("kms:GenerateDataKey", "kms:Decrypt") if kms_key_id else ()
        self._bucket = Bucket(name, "lake.uri", more_actions=kms)
        self._timeout_seconds = timeout_seconds
        self._options = {"ContentType": "application/vnd.apache.parquet"}
        if kms_key_id:
            self._options |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id}

    def location(self, name: str) -> str:
        """Say where a file is."""
        return self._bucket.uri(self._prefix + name)

    def pattern(self, name: str) -> str:
        """Return a name with wildcards as query engines take it."""
        return self._bucket.uri(escape(self._prefix) + name)

    def list_values(self, before: str, after: str) -> list[str]:
        """Return what stands between both in the names of the files that are there."""
        start = self._prefix + before
        found = (
            file.key.removeprefix(start).removesuffix(after)
            for file in self._bucket.list_objects(start)
            if file.key.endswith(after)
        )
        return [name for name in found if "/" not in name]

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return self._bucket.exists(self._prefix + name)

    def open(self, name: str) -> pa.NativeFile:
        """Open a file to be read, with one request.

        Raises:
            FileNotFoundError: there is none.
            LedgerError: S3 refuses, or cannot be reached.
        """
        return _opened(self._bucket.get(self._prefix + name))

    def open_end(self, name: str, size_bytes: int) -> pa.NativeFile:
        """Open the end of a file, with one request; raises what `open` does."""
        return _opened(self._bucket.get(self._prefix + name, last_bytes=size_bytes))

    def filesystem(self) -> tuple[FileSystem, str]:
        """Return what pyarrow reads these files with, and what stands before their names there."""
        return self._bucket.filesystem(), f"{self._bucket.name}/{self._prefix}"

    def update(self, name: str, change: Callable[[OpenFile], tuple[T, WriteFile | None]]) -> T:
        """Replace a file by what `change` makes of it; again, where another writer came in between.

        Raises:
            RetryLaterError: others wrote it again and again, or S3 is busy.
            LedgerError: S3 refuses, or the file is too large.
        """
        key = self._prefix + name
        give_up_at = monotonic() + self._timeout_seconds
        attempts = 0
        last: tuple[T, bytes] | None = None
        while True:
            stored = self._bucket.get(key)
            if stored and last and stored.data == last[1]:
                return last[0]  # our own: S3 took it, its answer was lost, and botocore asked again
            answer, write = change(partial(_opened, stored))
            if write is None:
                return answer
            data = _bytes_of(write)
            self._check_size(key, len(data))
            if self._bucket.put(key, data, replacing=stored.etag if stored else None, **self._options):
                return answer
            last = answer, data
            attempts += 1
            if monotonic() > give_up_at:
                raise RetryLaterError(
                    f"other writers came in between {attempts} times in {self._timeout_seconds:.0f} s",
                    where=f"lake.uri: {self._bucket.uri(key)}",
                    next_step="wait for the other runs to end, and run again; nobody's rows were lost",
                )
            longest = min(_LONGEST_PAUSE_SECONDS, 0.01 * 2 ** min(attempts, 10))
            sleep_up_to(longest)

    def _check_size(self, key: str, size_bytes: int) -> None:
        if size_bytes > MAX_OBJECT_BYTES:
            raise ConfigurationError(
                f"a file of {size_bytes / 1024**3:.1f} GiB is more than S3 takes in one request"
                f" ({MAX_OBJECT_BYTES / 1024**3:.1f} GiB)",
                where=f"lake.uri: {self._bucket.uri(key)}",
                next_step="nothing was written; keep this lake in a local folder, which has no such limit:"
                ' [lake] uri = "data/lake"',
            )


def _opened(stored: ObjectContent | None) -> pa.NativeFile:
    if stored is None:
        raise FileNotFoundError
    return pa.BufferReader(stored.data)


def _bytes_of(write: WriteFile) -> bytes:
    sink = BytesIO()
    write(sink)
    return sink.getvalue()
