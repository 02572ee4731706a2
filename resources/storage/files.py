"""Files that a source reads from: found under a uri, read whole, told apart by size and tag.

Another scheme is another class with these two methods, as `files_s3` has it; `open_store` chooses.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from resources.errors import ConfigurationError, UnreadableArchiveError


@dataclass(frozen=True)
class StoredFile:
    """A file as its store lists it; `etag` changes whenever the content may have."""

    uri: str
    size_bytes: int
    etag: str


class FileStore(Protocol):
    """Where files are kept."""

    def find(self, uri: str) -> list[StoredFile]:
        """List what lies under a uri (or at it), sorted; hidden names (`.` and `_`) are passed over."""

    def read(self, file: StoredFile) -> bytes:
        """Return a file's bytes."""


class LocalFiles:
    """Files and folders of this machine; the tag is the modification time in nanoseconds."""

    def find(self, uri: str) -> list[StoredFile]:
        """List a folder with its subfolders, linked ones too, or one file.

        Raises:
            ConfigurationError: there is nothing at this path, or it may not be looked into.
        """
        top = Path(uri)
        try:
            if not top.is_dir():
                return [_listed(uri, top.stat())]
            return sorted(_below(top), key=lambda file: file.uri)
        except OSError as problem:
            raise ConfigurationError(
                f"a source cannot be looked into: {problem.strerror}",
                where=f"sources.uri = {problem.filename or uri}",
                next_step="correct the uri in ledger.toml, or put the saved responses there",
            ) from None

    def read(self, file: StoredFile) -> bytes:
        """Return a file's bytes.

        Raises:
            UnreadableArchiveError: it is gone, or may not be read.
        """
        try:
            return Path(file.uri).read_bytes()
        except OSError as problem:
            raise UnreadableArchiveError(
                f"a file cannot be opened: {problem.strerror}",
                where=file.uri,
                next_step="make it readable for this user, or take it out of the source's folder",
            ) from None


def open_store(uri: str) -> FileStore:
    """Return the store that a uri lies in.

    Raises:
        ConfigurationError: no store knows this scheme.
    """
    scheme, found, _ = uri.partition("://")
    if not found:
        return LocalFiles()
    if scheme == "s3":
        from resources.storage.files_s3 import S3Files  # noqa: PLC0415 (imports boto3)

        return S3Files(uri)
    raise ConfigurationError(
        f"archives at {scheme}:// are not supported, only local files and folders and s3:// are",
        where=f"sources.uri = {uri}",
        next_step="copy them to a folder here first, and name that",
    )


def _below(top: Path) -> Iterator[StoredFile]:
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(top, onerror=_raise, followlinks=True):
        here = Path(folder).stat()
        if (here.st_dev, here.st_ino) in seen:  # links can lead in a circle
            subfolders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not _hidden(name))
        for name in names:
            with suppress(FileNotFoundError):  # it vanished meanwhile, or is a link to nothing
                facts = Path(folder, name).stat()
                if not _hidden(name) and S_ISREG(facts.st_mode):
                    yield _listed(str(Path(folder, name)), facts)


def _raise(problem: OSError) -> None:
    if not isinstance(problem, FileNotFoundError):
        raise problem


def _listed(uri: str, facts: os.stat_result) -> StoredFile:
    return StoredFile(uri, facts.st_size, str(facts.st_mtime_ns))


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))
