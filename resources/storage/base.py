"""Where the files of a lake are kept: one protocol, and the folders of this machine.

A file is replaced under a lock that the kernel frees when its holder dies. The new one is written beside the
old one under a hidden name, flushed to disk and renamed: a reader sees the old one or the new one, and a kill
at any point leaves one of both. Locks and renames need a local file system. One that says that it cannot lock
is refused; one that only pretends to, as some network file systems do, is not supported and cannot be told
apart.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, ENOLCK, ENOSPC, ENOSYS, EOPNOTSUPP
from functools import partial
from glob import escape
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import filelock
import pyarrow as pa
from pyarrow.fs import FileSystem, LocalFileSystem

from resources.clock import unique_id
from resources.errors import ConfigurationError, RetryLaterError

OpenFile = Callable[[], pa.NativeFile]
"""Opens what is there to be read; raises FileNotFoundError where nothing is."""

WriteFile = Callable[[BinaryIO], None]
"""Writes a whole file."""

T = TypeVar("T")

_TEMPORARY = ".part-0.*.tmp"
_NO_LOCKS = {ENOLCK, ENOSYS, EOPNOTSUPP}
_NO_ROOM = {EDQUOT, EFBIG, ENOSPC}


class Storage(Protocol):
    """Where files are kept. Names are of the lake's making, with slashes, and say where below its root."""

    def location(self, name: str) -> Path | str:
        """Say where a file is: a path on this machine, a uri elsewhere."""

    def pattern(self, name: str) -> str:
        """Return a name with wildcards as query engines take it."""

    def list_values(self, before: str, after: str) -> list[str]:
        """Return what stands between both in the names of the files that are there, if it has no slash."""

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""

    def open(self, name: str) -> pa.NativeFile:
        """Open a file to be read; FileNotFoundError where there is none."""

    def open_end(self, name: str, size_bytes: int) -> pa.NativeFile:
        """Open at least the last bytes of a file; FileNotFoundError where there is none."""

    def update(self, name: str, change: Callable[[OpenFile], tuple[T, WriteFile | None]]) -> T:
        """Replace a file by what `change` makes of it, such that no other writer's work is lost.

        `change` may open what is there, and returns an answer and what writes the new file (None: it stays as
        it is). Where others write at the same time it may be called again, and the last answer counts.
        """

    def filesystem(self) -> tuple[FileSystem, str]:
        """Return what pyarrow reads these files with, and what stands before their names there."""


def open_storage(uri: str, *, timeout_seconds: float, kms_key_id: str | None) -> Storage:
    """Return the storage that the uri of a lake names.

    Raises:
        ConfigurationError: no storage knows this scheme.
    """
    if uri.startswith("s3://"):
        from resources.storage.s3 import S3Storage  # noqa: PLC0415 (imports boto3)

        return S3Storage(uri, timeout_seconds=timeout_seconds, kms_key_id=kms_key_id)
    if "://" in uri:
        raise ConfigurationError(
            f"a lake at {uri} is not supported, only a local folder or an s3:// prefix is",
            where="lake.uri",
            next_step='set it to one, such as [lake] uri = "data/lake"',
        )
    return LocalStorage(Path(uri), timeout_seconds=timeout_seconds)


class LocalStorage:
    """Files below a folder of this machine."""

    def __init__(self, root: Path, *, timeout_seconds: float) -> None:
        """Name the folder, and how long to wait for another writer of the same file."""
        self.root = root
        self._timeout_seconds = timeout_seconds

    def location(self, name: str) -> Path:
        """Say where a file is."""
        return self.root / name

    def pattern(self, name: str) -> str:
        """Return a name with wildcards as query engines take it."""
        return str(Path(escape(str(self.root)), name))

    def list_values(self, before: str, after: str) -> list[str]:
        """Return what stands between both in the names of the files that are there."""
        names = [path.relative_to(self.root).as_posix() for path in self.root.glob(f"{before}*{after}")]
        return [name.removeprefix(before).removesuffix(after) for name in names]

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return self.location(name).is_file()

    def open(self, name: str) -> pa.NativeFile:
        """Open a file to be read.

        Raises:
            FileNotFoundError: there is none.
            ConfigurationError: the lake cannot be looked into.
        """
        path = self.location(name)
        try:
            return pa.OSFile(str(path))
        except (PermissionError, NotADirectoryError) as problem:
            raise ConfigurationError(
                f"the lake cannot be looked into: {os.strerror(problem.errno or EACCES)}",
                where=f"lake.uri = {self.root} ({path})",
                next_step="make it readable for this user, or set lake.uri to a folder that is",
            ) from None

    def open_end(self, name: str, size_bytes: int) -> pa.NativeFile:  # noqa: ARG002 (the rest costs nothing)
        """Open the end of a file, which here is all of it; raises what `open` does."""
        return self.open(name)

    def filesystem(self) -> tuple[FileSystem, str]:
        """Return what pyarrow reads these files with, and what stands before their names there."""
        return LocalFileSystem(), f"{self.root.as_posix()}/"

    def update(self, name: str, change: Callable[[OpenFile], tuple[T, WriteFile | None]]) -> T:
        """Replace a file by what `change` makes of it, while no other writer is at it.

        Raises:
            RetryLaterError: another writer held the lock for too long.
            ConfigurationError: the lake cannot be written to.
        """
        path = self.location(name)
        with self._locked(path):
            answer, write = change(partial(self.open, name))
            if write is not None:
                with self._writing():
                    _replace(path, write)
            return answer

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = filelock.FileLock(
            path.parent / ".lock",
            timeout=self._timeout_seconds,
            fallback_to_soft=False,  # a file as the lock would outlive its owner
        )
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise RetryLaterError(
                    f"another writer has held the lock for {self._timeout_seconds:.0f} s",
                    where=lock.lock_file,
                    next_step="wait for the other run to end; the lock goes with its process,"
                    " do not delete it",
                ) from None
        try:
            with self._writing():
                _sweep(path.parent)
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            reason = problem.strerror or str(problem)
            where = f"lake.uri = {self.root}" + (f" ({problem.filename})" if problem.filename else "")
            if problem.errno in _NO_LOCKS:
                reason += "; without locks two writers would lose each other's rows"
                mend = "set lake.uri to a folder on a local disk"
            elif problem.errno in _NO_ROOM:
                mend = "make room there and run again; what was there before is unharmed"
            else:
                mend = "make that folder writable for this user, or set lake.uri to one that is"
            raise ConfigurationError(
                f"the lake cannot be written to: {reason}", where=where, next_step=mend
            ) from None


def _replace(path: Path, write: WriteFile) -> None:
    temporary = path.with_name(f".part-0.{unique_id()}.tmp")
    try:
        with temporary.open("xb") as sink:
            write(sink)
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # a rename is only durable once its folder is; Windows has no such thing
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left; under the lock no other writer can be at it."""
    for orphan in folder.glob(_TEMPORARY):
        orphan.unlink(missing_ok=True)
