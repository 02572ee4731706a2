"""Files of a recording, written once: a local folder or a prefix in S3.

A file is never replaced. Two processes that record to the same place therefore cannot damage each other: the
second writer of a name is refused.
"""

import glob
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from resources.aws.s3_objects import MAX_OBJECT_BYTES, split_uri
from resources.errors import ConfigurationError, PermissionsError
from resources.read_limits import DEFAULT_LIMITS
from resources.storage.local import make_folders, write_atomically
from resources.storage.open import is_s3

SETTING = "--to"


class RecordingStore(Protocol):
    """Files below one folder or prefix. A name is a relative path with slashes."""

    @property
    def uri(self) -> str:
        """The folder or prefix."""

    def list_names(self) -> list[str]:
        """List all names, sorted."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None: it does not exist."""

    def create(self, name: str, data: bytes) -> None:
        """Write a new file durably.

        Raises:
            ConfigurationError: the file exists, or cannot be written.
        """

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, as far as that is permitted."""


def open_recording_store(uri: str, owner: str | None = None) -> RecordingStore:
    """Open the place of a recording.

    Args:
        uri: a folder or `s3://bucket/prefix`.
        owner: the account that must own the bucket; None: any.

    Raises:
        ConfigurationError: the scheme of the URI is not supported.
    """
    if is_s3(uri, SETTING):
        return _S3Recording(uri, owner)
    return _LocalRecording(Path(uri))


def _build_conflict_error(location: str) -> ConfigurationError:
    return ConfigurationError(
        "Cannot write a recording: another process has written this file",
        where=location,
        next_step="let only one command record to this place at a time, and run it again",
    )


class _LocalRecording:
    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        self.uri = str(self._root)

    def list_names(self) -> list[str]:
        if not self._root.exists():
            return []
        try:
            return sorted(
                Path(folder, name).relative_to(self._root).as_posix()
                for folder, _, names in os.walk(self._root, onerror=_raise)
                for name in names
                if not name.startswith(".")  # an unfinished write of a killed process
            )
        except OSError as problem:
            raise self._build_error("read", problem) from None

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise self._build_error("read", problem) from None

    def create(self, name: str, data: bytes) -> None:
        path = self._root / name
        try:
            make_folders(path.parent)
            with write_atomically(path, overwrite=False) as temporary:
                temporary.write_bytes(data)
        except OSError as problem:
            if isinstance(problem, FileExistsError) and path.exists():
                raise _build_conflict_error(str(path)) from None
            raise self._build_error("write", problem) from None

    def delete(self, names: Iterable[str]) -> None:
        try:
            for name in names:
                path = self._root / name
                path.unlink(missing_ok=True)
                for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*"):  # of a killed process
                    unfinished.unlink(missing_ok=True)
                for folder in path.relative_to(self._root).parents[:-1]:
                    if any((self._root / folder).iterdir()):
                        break
                    (self._root / folder).rmdir()
        except OSError as problem:
            raise self._build_error("delete", problem) from None

    def _build_error(self, action: str, problem: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"Cannot {action} a recording: {problem.strerror or problem}",
            where=f"{SETTING} {problem.filename or self._root}",
            next_step="free disk space or make that folder accessible, and run the command again",
        )


def _raise(problem: OSError) -> None:
    raise problem


class _S3Recording:
    def __init__(self, uri: str, owner: str | None) -> None:
        from resources.aws.s3_bucket import Bucket  # noqa: PLC0415 (imports boto3)

        name, key = split_uri(uri)
        self._prefix = f"{key.removesuffix('/')}/" if key else ""
        limits = replace(DEFAULT_LIMITS, size_bytes=MAX_OBJECT_BYTES)
        self._bucket = Bucket(name, SETTING, owner=owner, limits=limits)
        self.uri = self._bucket.uri(self._prefix)

    def list_names(self) -> list[str]:
        return sorted(
            listed.key.removeprefix(self._prefix) for listed in self._bucket.list_objects(self._prefix)
        )

    def read(self, name: str) -> bytes | None:
        content = self._bucket.get(self._prefix + name)
        return None if content is None else content.data

    def create(self, name: str, data: bytes) -> None:
        if self._bucket.put(self._prefix + name, data, replacing=None):
            return
        # botocore repeats a request whose response was lost; the object is then our own
        if self.read(name) != data:
            raise _build_conflict_error(self._bucket.uri(self._prefix + name))

    def delete(self, names: Iterable[str]) -> None:
        try:
            for name in names:
                self._bucket.delete(self._prefix + name)
        except PermissionsError:
            return  # hidden names: no source reads them
