"""Local storage: the files of a lake, and the atomic replacement of one file.

A lake file is replaced under a lock that the kernel releases when its process ends. `write_atomically` then
gives readers either the old or the new file, also after a crash. Locks and renames need a local file system.
A file system that reports no locks is refused. Network file systems that only pretend to lock are not
supported and cannot be detected.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, ENOLCK, ENOSPC, ENOSYS, EOPNOTSUPP
from functools import partial
from glob import escape
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

import filelock
import pyarrow as pa
from pyarrow.fs import FileSystem, LocalFileSystem

from resources.clock import unique_id
from resources.errors import ConfigurationError, RetryLaterError
from resources.storage.base import OpenFile, WriteFile
from resources.storage.local_files import find_special_kind

T = TypeVar("T")

_ORPHANS = ".part-*.tmp"
_NO_LOCKS = {ENOLCK, ENOSYS, EOPNOTSUPP}
_NO_SPACE = {EDQUOT, EFBIG, ENOSPC}


@contextmanager
def write_atomically(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a hidden path in the same folder, and move what was written there to `path`.

    The data is flushed to disk before the move. After an exception, `path` is unchanged and the temporary
    file is deleted.

    Args:
        path: the file to create or replace.
        overwrite: replace an existing file; otherwise raise FileExistsError.
    """
    temporary = path.with_name(f".{path.name}.{unique_id()}.tmp")
    try:
        yield temporary
        _flush(temporary)
        if overwrite:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, a link never replaces a file
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def make_folders(folder: Path) -> None:
    """Create a folder and its missing parents; each new entry is flushed to disk.

    Without the flush, a power loss could remove a new folder together with the flushed files in it.
    """
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _flush_folder(new.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8; a link, a pipe or a device is written in place."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text(text, "utf-8")
        return
    with write_atomically(path) as temporary:
        temporary.write_text(text, "utf-8")


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    # a rename is durable only after its folder is flushed; Windows has no equivalent
    if os.name != "nt":
        _flush(folder)


class LocalStorage:
    """Files of a lake in a local folder."""

    def __init__(self, root: Path, *, timeout_seconds: float) -> None:
        """Set the folder.

        Args:
            root: the folder of the lake.
            timeout_seconds: how long an update waits for another writer of the same file.
        """
        self.root = root
        self._timeout_seconds = timeout_seconds
        self._was_present = False  # whether this process has written to the folder

    def location(self, name: str) -> Path:
        """Return the path of a file."""
        return self.root / name

    def pattern(self, name: str) -> str:
        """Return the full path of a name with wildcards; wildcards in the root are escaped."""
        return str(Path(escape(str(self.root)), name))

    def list_values(self, before: str, after: str) -> list[str]:
        """List every VALUE without a slash for which the file `<before>VALUE<after>` exists.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        suffix = after.partition("/")[0]
        folder, _, prefix = before.rpartition("/")
        values = [
            entry.removeprefix(prefix).removesuffix(suffix)
            for entry in self._list_entries(folder)
            if entry.startswith(prefix) and entry.endswith(suffix)
        ]
        return [value for value in values if self.exists(f"{before}{value}{after}")]

    def list_names(self, before: str) -> list[str]:
        """List the names of the files in all folders whose names begin with `before`.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        parent, _, prefix = before.rpartition("/")
        folders = [f"{parent}/{name}" for name in self._list_entries(parent) if name.startswith(prefix)]
        return [
            f"{folder}/{name}"
            for folder in folders
            if self.location(folder).is_dir()
            for name in self._list_entries(folder)
            if not name.startswith(".")
        ]

    def _list_entries(self, folder: str) -> list[str]:
        path = self.location(folder)
        try:  # not a glob, which skips folders that cannot be read
            return [entry.name for entry in path.iterdir()]
        except FileNotFoundError:
            self._check_present()
            return []
        except OSError as problem:
            raise self._build_read_error(problem, path) from None

    def exists(self, name: str) -> bool:
        """Whether the file exists.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        path = self.location(name)
        try:
            return S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            self._check_present()
            return False
        except OSError as problem:
            if isinstance(problem, NotADirectoryError) and self.root.is_dir():
                return False
            raise self._build_read_error(problem, path) from None

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading.

        Raises:
            FileNotFoundError: the file does not exist.
            OSError: it is not a file.
            ConfigurationError: the lake cannot be read.
        """
        path = self.location(name)
        try:
            if not S_ISREG(path.stat().st_mode):  # opening a named pipe would block for ever
                raise OSError(f"{path} is a folder or a special file, not a file")
            return pa.OSFile(str(path))
        except FileNotFoundError:
            self._check_present()
            raise
        except (PermissionError, NotADirectoryError) as problem:
            raise self._build_read_error(problem, path) from None

    def _check_present(self) -> None:
        """Raise an error if the folder was removed after this process wrote to it."""
        try:
            is_removed = self._was_present and not self.root.exists()
        except OSError:  # it cannot be looked up; the next access says why
            return
        if is_removed:
            raise self._build_removed_error()

    def _build_removed_error(self) -> ConfigurationError:
        return ConfigurationError(
            "Cannot use the lake: it, or a folder in it, was removed while this run used it",
            where=f"lake.uri = {self.root}",
            next_step="find out what removed it (or mount it again), restore it from a backup, and run again",
        )

    def _build_read_error(self, problem: OSError, path: Path) -> ConfigurationError:
        return ConfigurationError(
            f"Cannot read the lake: {os.strerror(problem.errno or EACCES)}",
            where=f"lake.uri = {self.root} ({path})",
            next_step="make it readable for this user, or set lake.uri to a readable folder",
        )

    def open_end(self, name: str, size_bytes: int) -> pa.NativeFile:  # noqa: ARG002 (local reads are lazy)
        """Open the whole file; raises what `open` raises."""
        return self.open(name)

    def filesystem(self) -> tuple[FileSystem, str]:
        """Return a pyarrow file system and the prefix of all names in it."""
        return LocalFileSystem(), f"{self.root.as_posix()}/"

    def update(self, name: str, change: Callable[[OpenFile], tuple[T, WriteFile | None]]) -> T:
        """Replace a file under its lock and return the result of `change`.

        Raises:
            RetryLaterError: another writer held the lock until the timeout.
            ConfigurationError: the lake cannot be written.
        """
        path = self.location(name)
        with self._lock(path):
            result, write = change(partial(self.open, name))
            if write is not None:
                with (
                    self._translate_write_errors(),
                    write_atomically(path) as temporary,
                    temporary.open("xb") as sink,
                ):
                    write(sink)
            return result

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        lock = filelock.FileLock(
            path.parent / ".lock",
            timeout=self._timeout_seconds,
            fallback_to_soft=False,  # a lock file without a kernel lock would outlive its process
        )
        self._check_present()
        with self._translate_write_errors():
            make_folders(path.parent)
            self._was_present = True
            self._check_lock_file(path.parent / ".lock")
            try:
                lock.acquire()
            except filelock.Timeout:
                raise RetryLaterError(
                    f"Cannot lock a file of the lake: another writer has held the lock for"
                    f" {self._timeout_seconds:.0f} s",
                    where=lock.lock_file,
                    next_step="wait for the other run to end; do not delete the lock file,"
                    " the lock ends with its process",
                ) from None
        try:
            with self._translate_write_errors():
                _delete_orphans(path.parent)
            yield
        finally:
            lock.release()

    def _check_lock_file(self, file: Path) -> None:
        """Name what is in the place of a lock file; a link would lock a file elsewhere."""
        try:
            mode = file.lstat().st_mode
        except FileNotFoundError:
            return
        if not S_ISREG(mode):
            kind = find_special_kind(mode) or "link"
            raise ConfigurationError(
                f"Cannot lock a file of the lake: a {kind} is in the place of the lock file",
                where=str(file),
                next_step=f"remove this {kind}; the software creates an empty file in its place",
            )

    @contextmanager
    def _translate_write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            if isinstance(problem, FileNotFoundError) and self._was_present:
                raise self._build_removed_error() from None
            reason = problem.strerror or str(problem)
            where = f"lake.uri = {self.root}" + (f" ({problem.filename})" if problem.filename else "")
            if problem.errno in _NO_LOCKS:
                reason += "; without locks, concurrent writers would lose rows"
                fix = "set lake.uri to a folder on a local disk"
            elif problem.errno in _NO_SPACE:
                fix = "free disk space and run again; the existing files are unchanged"
            else:
                fix = "make that folder writable for this user, or set lake.uri to a writable folder"
            raise ConfigurationError(
                f"Cannot write to the lake: {reason}", where=where, next_step=fix
            ) from None


def _delete_orphans(folder: Path) -> None:
    """Delete the temporary files of killed writers; the caller holds the lock."""
    for orphan in folder.glob(_ORPHANS):
        orphan.unlink(missing_ok=True)
