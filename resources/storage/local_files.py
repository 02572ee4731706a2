"""Local files of a source: links are followed, and entries that are no files are named."""

import os
import re
from collections.abc import Iterator
from io import FileIO
from itertools import islice
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from typing import BinaryIO

from resources.errors import ConfigurationError, DataError, UnreadableArchiveError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.storage.base import NAME_NOT_UTF8, StoredFile

_BLOCK_BYTES = 1 << 20
_SPECIAL_FILES = (
    (S_ISDIR, "folder"),
    (S_ISFIFO, "named pipe"),
    (S_ISSOCK, "socket"),
    (S_ISCHR, "device"),
    (S_ISBLK, "device"),
)
_FILE_SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt", ".warc", ".gz")
_ESCAPED_BYTE = re.compile(rb"\\x([0-9a-f]{2})")
_REMOVE_FILE = "make it readable for this user, or remove it from the source's folder"


class LocalFiles:
    """Local files of a source; the etag is the modification time in nanoseconds."""

    def __init__(self, limits: ReadLimits = DEFAULT_LIMITS) -> None:
        """Set the limits of each file."""
        self._limits = limits

    def list_files(self, uri: str) -> list[StoredFile]:
        """List one file, or a folder with its subfolders; symbolic links are followed.

        An entry that cannot be read, such as a broken link or a pipe, is listed with its problem.

        Raises:
            ConfigurationError: the path does not exist or cannot be read.
            DataError: the folder has more entries than the limit.
        """
        try:
            if not Path(uri).is_dir():
                return [_describe_file(uri, os.stat(uri))]  # noqa: PTH116 (keeps the path as it is written)
            files = list(islice(_walk(uri), self._limits.entries + 1))
        except (OSError, ValueError) as problem:
            place = getattr(problem, "filename", None) or uri
            raise ConfigurationError(
                f"Cannot read a source: {get_reason(problem)}",
                where=f"sources.uri = {escape_name(place)}",
                next_step="correct the uri in ledger.toml, or put the saved responses there",
            ) from None
        if len(files) > self._limits.entries:
            raise DataError(
                f"Cannot list a folder: it has {self._limits.too_many_entries}",
                where=f"sources.uri = {uri}",
                next_step="name a folder with fewer files, or raise the limit",
            )
        return sorted(files, key=lambda file: file.uri)

    def read(self, file: StoredFile) -> bytes:
        """Return the content of a file.

        Raises:
            UnreadableArchiveError: the file no longer exists or cannot be read.
        """
        with self.open(file) as content:
            data = bytearray()
            while block := content.read(_BLOCK_BYTES):
                data += block
                if len(data) > self._limits.size_bytes:  # it has grown since it was listed
                    raise UnreadableArchiveError(
                        f"Cannot read a file: it is {self._limits.too_large}",
                        where=file.uri,
                        next_step="split the file, or raise the limit",
                    )
        return bytes(data)

    def open(self, file: StoredFile) -> BinaryIO:
        """Open a file to read it in blocks.

        Raises:
            UnreadableArchiveError: the file no longer exists or cannot be read; reading raises it, too.
        """
        if file.problem:
            raise UnreadableArchiveError(file.problem, where=file.uri, next_step=_REMOVE_FILE)
        try:
            # without O_NONBLOCK, a pipe that replaced the file would block for ever
            descriptor = os.open(file.uri, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            if problem := _find_problem(file.uri, os.fstat(descriptor)):
                os.close(descriptor)
                raise UnreadableArchiveError(problem, where=file.uri, next_step=_REMOVE_FILE)
            return _SourceFile(descriptor, file)
        except (OSError, ValueError) as problem:
            raise _build_source_error(problem, file) from None


class _SourceFile(FileIO):
    """A file of a source, unbuffered."""

    def __init__(self, descriptor: int, file: StoredFile) -> None:
        super().__init__(descriptor)
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except (OSError, ValueError) as problem:
            raise _build_source_error(problem, self._file) from None


def _build_source_error(problem: OSError | ValueError, file: StoredFile) -> UnreadableArchiveError:
    return UnreadableArchiveError(
        f"Cannot open a file: {get_reason(problem)}", where=file.uri, next_step=_REMOVE_FILE
    )


def find_special_kind(mode: int) -> str | None:
    """Return the kind of an entry that is no file: folder, named pipe, socket or device."""
    return next((name for is_kind, name in _SPECIAL_FILES if is_kind(mode)), None)


def escape_name(path: str) -> str:
    r"""Return a path as valid text: bytes that are not UTF-8 become `\xfc`."""
    if path.isascii():
        return path
    try:
        return os.fsencode(path).decode(errors="backslashreplace")
    except UnicodeEncodeError:  # it names no file of any file system
        return ascii(path)[1:-1]


def may_exist(path: str) -> bool:
    """Return False only if no entry has a path that `escape_name` returned; a broken link is an entry."""
    written = os.fsencode(path)
    unescaped = _ESCAPED_BYTE.sub(lambda match: bytes.fromhex(match[1].decode()), written)
    return not all(_is_removed(name) for name in {written, unescaped})


def _is_removed(path: bytes) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # for example a folder that this user may not read
        return False
    return False


def _walk(top: str) -> Iterator[StoredFile]:
    visited: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 (a Path would normalize the URI)
            if (status.st_dev, status.st_ino) in visited:  # links can form a cycle
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not _is_hidden(entry.name)]
        except OSError as problem:
            if folder == top:
                raise
            if not isinstance(problem, FileNotFoundError):  # deleted meanwhile
                yield _describe_unreadable(f"{folder}/", problem)
            continue
        if not visible and folder != top and folder.lower().endswith(_FILE_SUFFIXES):
            yield StoredFile(f"{folder}/", 0, "", problem="Cannot open a file: it is an empty folder")
        for entry in visible:
            if _is_folder(entry):
                pending.append(entry.path)
            else:
                yield from _describe_entry(entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and escape_name(entry.path) == entry.path
    except OSError:
        return False


def _describe_entry(entry: os.DirEntry[str]) -> Iterator[StoredFile]:
    try:
        yield _describe_file(entry.path, os.stat(entry.path))  # noqa: PTH116
    except OSError as problem:
        if os.path.lexists(entry.path):  # else it was deleted meanwhile
            yield _describe_unreadable(entry.path, problem)


def _describe_file(path: str, status: os.stat_result) -> StoredFile:
    problem = _find_problem(path, status)
    return StoredFile(escape_name(path), status.st_size, str(status.st_mtime_ns), status.st_mtime, problem)


def _describe_unreadable(path: str, problem: OSError) -> StoredFile:
    reason = get_reason(problem)
    if os.path.islink(path):  # noqa: PTH114
        reason = f"it is a link to {escape_name(os.readlink(path))}: {reason}"  # noqa: PTH115
    return StoredFile(escape_name(path), 0, "", problem=f"Cannot open a file: {reason}")


def _find_problem(path: str, status: os.stat_result) -> str | None:
    if escape_name(path) != path:
        return NAME_NOT_UTF8
    if S_ISREG(status.st_mode):
        return None
    kind = find_special_kind(status.st_mode)
    return f"Cannot open a file: it is a {kind}, not a file" if kind else None


def get_reason(problem: Exception) -> str:
    """Return the reason of an error of the file system, without its number and path."""
    return getattr(problem, "strerror", None) or str(problem)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))
