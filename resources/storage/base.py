"""The two protocols of file storage: `Storage` for the lake, `FileStore` for the files of a source."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import pyarrow as pa
from pyarrow.fs import FileSystem

OpenFile = Callable[[], pa.NativeFile]
"""Opens the current file for reading; raises FileNotFoundError if it does not exist."""

WriteFile = Callable[[BinaryIO], None]
"""Writes the complete new file."""

T = TypeVar("T")


class Storage(Protocol):
    """Files of a lake. A name is a path below the root of the lake, with slashes."""

    def location(self, name: str) -> Path | str:
        """Return a local path or a URI."""

    def pattern(self, name: str) -> str:
        """Return the full form of a name with wildcards, as query engines accept it."""

    def list_values(self, before: str, after: str) -> list[str]:
        """List every VALUE without a slash for which the file `<before>VALUE<after>` exists."""

    def list_names(self, before: str) -> list[str]:
        """List the names of the files in all folders whose names begin with `before`."""

    def exists(self, name: str) -> bool:
        """Whether the file exists."""

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading; raise FileNotFoundError if it does not exist."""

    def open_end(self, name: str, size_bytes: int) -> pa.NativeFile:
        """Open at least the last bytes of a file; raise FileNotFoundError if it does not exist."""

    def update(self, name: str, change: Callable[[OpenFile], tuple[T, WriteFile | None]]) -> T:
        """Replace a file atomically and return the result of `change`. No concurrent update is lost.

        `change` may open the current file. It returns a result and the writer of the new file, or None to
        keep the file. After a conflict with another writer it is called again; the last result counts.
        """

    def filesystem(self) -> tuple[FileSystem, str]:
        """Return a pyarrow file system and the prefix of all names in it."""


NAME_NOT_UTF8 = "Cannot open a file: its name is not UTF-8 (it is shown escaped)"
"""The problem of a file whose name no table can hold."""


@dataclass(frozen=True)
class StoredFile:
    r"""A listed file.

    Attributes:
        uri: the path or URI; bytes of a name that are not UTF-8 are escaped, such as `\xfc`.
        size_bytes: the size.
        etag: changes whenever the content may have changed.
        modified_at: seconds since 1970; None: the store lists a file only after it is complete.
        problem: why the entry cannot be read, such as a broken link; None: it looks readable.
    """

    uri: str
    size_bytes: int
    etag: str
    modified_at: float | None = field(default=None, compare=False)
    problem: str | None = None


class FileStore(Protocol):
    """Files of a source, read-only."""

    def list_files(self, uri: str) -> list[StoredFile]:
        """List the files at or below a URI, sorted, without hidden names (`.` and `_`).

        An entry that cannot be read is listed with its problem.
        """

    def read(self, file: StoredFile) -> bytes:
        """Return the content of a file."""

    def open(self, file: StoredFile) -> BinaryIO:
        """Open a file to read it in blocks."""
