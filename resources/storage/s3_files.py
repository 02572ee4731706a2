"""Objects of a source in S3. Large objects are read in parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO, RawIOBase
from typing import TYPE_CHECKING, BinaryIO

from resources.aws.error_codes import ErrorKind, classify_error
from resources.aws.s3_bucket import Bucket
from resources.aws.s3_objects import split_uri
from resources.errors import ConfigurationError, DataError, PermissionsError, UnreadableArchiveError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.storage.base import StoredFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SINGLE_OBJECT_ERRORS = {ErrorKind.FORBIDDEN, ErrorKind.ARCHIVED, ErrorKind.KMS}
"""Errors that can concern one object only."""

_PART_BYTES = 8 << 20
"""Larger objects of a source are read in parts, so that none is held whole."""


class S3Files:
    """Objects of a source in one bucket; the etag is the ETag of S3.

    `s3://bucket/dumps` and `s3://bucket/dumps/` name all objects below `dumps/`. The first also names the
    object `dumps`, if it exists. Keys are literal: `:`, `?` and `%` have no special meaning.
    """

    def __init__(self, uri: str, limits: ReadLimits = DEFAULT_LIMITS, owner: str | None = None) -> None:
        """Set the bucket, from any URI in it, the limits of each file, and the expected owner."""
        self._bucket = Bucket(split_uri(uri)[0], "sources.uri", owner=owner, limits=limits)

    def list_files(self, uri: str) -> list[StoredFile]:
        """List one object, or the objects below a prefix.

        Raises:
            ConfigurationError: nothing exists there, or the bucket does not exist.
            LedgerError: S3 refuses or cannot be reached.
        """
        _, key = split_uri(uri)
        folder = f"{key.removesuffix('/')}/" if key else ""
        below = list(self._bucket.list_objects(folder))
        visible = [file for file in below if not _is_hidden(file.key.removeprefix(folder))]
        if key != folder:
            exact = [file for file in self._bucket.list_objects(key, most=1) if file.key == key]
            below, visible = exact + below, exact + visible
        if key and not below:
            raise ConfigurationError(
                "Cannot read a source: no object exists there",
                where=f"sources.uri = {uri}",
                next_step="correct the uri in ledger.toml, or put the saved responses there",
            )
        files = [StoredFile(self._bucket.uri(file.key), file.size_bytes, file.etag) for file in visible]
        return sorted(files, key=lambda file: file.uri)

    def read(self, file: StoredFile) -> bytes:
        """Return the content of an object.

        Raises:
            UnreadableArchiveError: the object no longer exists or cannot be read.
            LedgerError: no object of this bucket can be read now.
        """
        with _translate_read_errors(file):
            content = self._bucket.get(split_uri(file.uri)[1])
        if content is None:
            raise _build_missing_error(file)
        return content.data

    def open(self, file: StoredFile) -> BinaryIO:
        """Open an object to read it in blocks; a large one is fetched in parts.

        Opening and reading raise what `read` raises.
        """
        if file.size_bytes <= _PART_BYTES:
            return BytesIO(self.read(file))
        return BufferedReader(_SourceObject(self._bucket, file))


class _SourceObject(RawIOBase):
    """An object of a source, fetched in parts."""

    def __init__(self, bucket: Bucket, file: StoredFile) -> None:
        super().__init__()
        self._bucket = bucket
        self._file = file
        self._position = 0
        self._etag: str | None = None
        self._part = memoryview(b"")
        self._size_bytes: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        if not self._part and (self._size_bytes is None or self._position < self._size_bytes):
            self._part = memoryview(self._fetch())
        target = memoryview(buffer)
        count = min(len(target), len(self._part))
        target[:count], self._part = self._part[:count], self._part[count:]
        return count

    def _fetch(self) -> bytes:
        with _translate_read_errors(self._file):
            part = self._bucket.get_part(split_uri(self._file.uri)[1], self._position, _PART_BYTES)
        if part is None:
            raise _build_missing_error(self._file)
        if self._etag not in {None, part.etag}:
            raise UnreadableArchiveError(
                "Cannot read a file: it was replaced while it was read",
                where=self._file.uri,
                next_step="run again when nothing writes to it",
            )
        self._etag, self._size_bytes = part.etag, part.size_bytes
        self._position += len(part.data)
        return part.data


@contextmanager
def _translate_read_errors(file: StoredFile) -> Iterator[None]:
    """Translate the errors that concern one object only.

    Raises:
        UnreadableArchiveError: the object cannot be read.
    """
    try:
        yield
    except DataError as problem:
        raise UnreadableArchiveError(problem.what, where=file.uri, next_step=problem.next_step) from None
    except (ConfigurationError, PermissionsError) as problem:
        if classify_error(problem.__cause__).kind not in _SINGLE_OBJECT_ERRORS:
            raise
        raise UnreadableArchiveError(problem.what, where=file.uri, next_step=problem.next_step) from None


def _build_missing_error(file: StoredFile) -> UnreadableArchiveError:
    return UnreadableArchiveError(
        "Cannot open a file: it no longer exists",
        where=file.uri,
        next_step="nothing, if the file was deleted on purpose; its rows stay in the lake",
    )


def _is_hidden(name: str) -> bool:
    """Whether a key is a folder marker or has a part that begins with a dot or an underscore."""
    return name.endswith("/") or not name or any(part.startswith((".", "_")) for part in name.split("/"))
