"""Lists the folders and keys of an output bucket: live in S3, or in a local copy of it."""

import os
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resources.aws.access import AwsAccess
from resources.errors import ConfigurationError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.sources.bucket_keys import RESULT_NAMES, TIME_LENGTH, is_time_folder, split_result_key
from resources.sources.key_files import UNREADABLE_FIX, KeyFiles
from resources.storage.local_files import escape_name, find_special_kind, get_reason

_PAGE = 1_000
_MAX_PAGES_PER_FOLDER = 10
"""A folder with more pages of plain files, such as the input data, is not searched further."""
_MAX_FOLDERS = 2_000
"""A search stops after this many folders, such as those of a lake in the same bucket."""
_MAX_DEPTH = 12
_LAST_DAY = date(2100, 1, 1)
_BEFORE_TIMES, _AFTER_TIMES = "0", ":"
"""Names of times begin with a digit: they sort between these two."""


@dataclass(frozen=True)
class ResultReader:
    """Who lists buckets and reads results: the section `[results]`; `owner` must own the buckets."""

    access: AwsAccess = field(default_factory=AwsAccess)
    owner: str | None = None


@dataclass
class PrefixSearch:
    """The output prefixes below a location, sorted, and the folders that were not searched completely."""

    prefixes: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)


class KeyListing(Protocol):
    """The keys of one bucket below one prefix."""

    bucket: str
    root: str
    requests: int
    skipped: Counter[str]
    """Numbers of keys that are no result and that `list_keys` does not return, by kind."""
    unreadable: dict[str, str]
    """Why folders and files could not be read since `start_reading`, by their path; all others were."""
    unreadable_fix: str
    """How to fix that."""

    def start_reading(self) -> None:
        """Forget what could not be read, except of what is read only once."""

    def find_prefixes(self) -> PrefixSearch:
        """Find the prefixes whose folders are named after times."""

    def list_keys(self, prefix: str, first: str, end: str) -> Iterator[list[str]]:
        """Yield the sorted keys of an output prefix whose folder is in [first, end), in pages."""

    def find_edge_folder(self, prefix: str, *, last: bool) -> str | None:
        """Return the first or the last folder of an output prefix that is named after a time."""


class S3Keys:
    """Keys that S3 lists; `requests` counts the requests. Only the requested days are listed."""

    unreadable_fix = ""

    def __init__(
        self, bucket: str, root: str, reader: ResultReader, limits: ReadLimits = DEFAULT_LIMITS
    ) -> None:
        """Make no request yet; `reader` lists with the permissions that read the results."""
        from resources.aws.s3_bucket import Bucket  # noqa: PLC0415 (imports boto3)

        self.bucket, self.root = bucket, root
        self.requests, self.skipped, self.unreadable = 0, Counter[str](), dict[str, str]()
        self._client = Bucket(
            self.bucket, "sources.uri", access=reader.access, owner=reader.owner, limits=limits
        )

    def start_reading(self) -> None:
        """Do nothing: all keys can be read, or none."""

    def find_prefixes(self) -> PrefixSearch:
        """Search the folders level by level; a folder of times is not entered."""
        search, pending, searched = PrefixSearch(), deque([(self.root, 0)]), 0
        while pending:
            folder, depth = pending.popleft()
            searched += 1
            if depth > _MAX_DEPTH or searched > _MAX_FOLDERS:
                search.unsearched.append(folder)
                continue
            is_output, folders = self._list_folders(folder, search)
            if is_output:
                search.prefixes.append(folder)
            pending += [(name, depth + 1) for name in folders]
        search.prefixes.sort()
        return search

    def _list_folders(self, folder: str, search: PrefixSearch) -> tuple[bool, list[str]]:
        start_after, is_output, folders = "", False, list[str]()
        for _ in range(_MAX_PAGES_PER_FOLDER):
            self.requests += 1
            page = self._client.list_page(folder, start_after=start_after, delimiter="/")
            names = [name[len(folder) : -1] for name in page.folders]
            times = [name for name in names if is_time_folder(name)]
            folders += [f"{folder}{name}/" for name in names if not is_time_folder(name)]
            is_output = is_output or bool(times)
            if not page.last:
                return is_output, folders
            start_after = page.last
            if times and start_after.startswith(f"{folder}{times[-1][:2]}"):
                start_after = f"{folder}{times[-1][:2]}{_AFTER_TIMES}"  # no other times need to be listed
        search.unsearched.append(folder)
        return is_output, folders

    def list_keys(self, prefix: str, first: str, end: str) -> Iterator[list[str]]:
        """List from the first folder to the end, 1,000 keys a request."""
        start_after = prefix + first
        while True:
            self.requests += 1
            page = self._client.list_page(prefix, start_after=start_after)
            keys = [key for key in page.keys if key < prefix + end]
            if keys:
                yield keys
            if not page.last or len(keys) < len(page.keys):
                return
            start_after = page.last

    def find_edge_folder(self, prefix: str, *, last: bool) -> str | None:
        """Find the first folder with one request, the last one by bisection of the days."""
        first = self._find_next_folder(prefix, _BEFORE_TIMES)
        if not last or first is None:
            return first
        return self._bisect_last_folder(prefix, first)

    def _find_next_folder(self, prefix: str, after: str) -> str | None:
        start_after, end = prefix + after, prefix + _AFTER_TIMES
        while True:
            self.requests += 1
            page = self._client.list_page(prefix, start_after=start_after)
            for key in page.keys:
                if key > end:
                    return None
                folder = key[len(prefix) :].partition("/")[0]
                if is_time_folder(folder):
                    return folder
            if not page.last:
                return None
            start_after = page.last

    def _bisect_last_folder(self, prefix: str, first: str) -> str:
        known, low, high = first, date.fromisoformat(first[:10]), _LAST_DAY
        while low < high - timedelta(days=1):
            middle = low + (high - low) / 2
            folder = self._find_next_folder(prefix, middle.isoformat())
            if folder is None:
                high = middle
            else:
                known, low = folder, max(middle, date.fromisoformat(folder[:10]))
        return self._find_last_of_day(prefix, known)

    def _find_last_of_day(self, prefix: str, known: str) -> str:
        day = known[:10]
        for keys in self.list_keys(prefix, day, f"{day}~"):
            folders = (key[len(prefix) :].partition("/")[0] for key in keys)
            known = max([known, *filter(is_time_folder, folders)])
        return known


class LocalKeys:
    """Files of a local copy, such as one made by `aws s3 sync`, with the keys that they had in S3."""

    unreadable_fix = "make them readable for this user, or copy the bucket again"

    def __init__(self, folder: str, bucket: str, root: str) -> None:
        """Read nothing yet.

        Args:
            folder: the folder.
            bucket: the bucket that it is a copy of; `LOCAL_BUCKET`: unknown.
            root: the prefix of the keys of all files in the folder.
        """
        self.folder, self.bucket, self.root = Path(folder), bucket, root
        self.requests, self.skipped, self.unreadable = 0, Counter[str](), dict[str, str]()

    def start_reading(self) -> None:
        """Forget what could not be read before."""
        self.unreadable.clear()

    def find_prefixes(self) -> PrefixSearch:
        """Search the folders; a folder of times is not entered."""
        if not self.folder.is_dir():
            raise ConfigurationError(
                "Cannot read a source: the folder does not exist",
                where=f"sources.uri = {self.folder}",
                next_step="correct the uri in ledger.toml; it is a folder or an s3:// prefix",
            )
        search, pending = PrefixSearch(), [(self.folder, 0)]
        while pending:
            folder, depth = pending.pop()
            try:
                entries = _list_entries(folder)
            except OSError:
                search.unsearched.append(str(folder))
                continue
            names = entries.folders
            search.unsearched += [escape_name(str(folder / name)) for name in entries.unreadable]
            others = [folder / name for name in names if not is_time_folder(name)]
            if len(others) < len(names):
                search.prefixes.append(self._get_prefix(folder))
            for other in others:
                if (name := escape_name(str(other))) != str(other):  # not UTF-8, so no key has this name
                    search.unsearched.append(name)
                elif depth < _MAX_DEPTH and not self._is_found_elsewhere(other):
                    pending.append((other, depth + 1))
        search.prefixes.sort()
        return search

    def _is_found_elsewhere(self, folder: Path) -> bool:
        """Return whether it is a link to another folder of the copy, perhaps to one above it."""
        return folder.is_symlink() and folder.resolve().is_relative_to(self.folder.resolve())

    def _get_prefix(self, folder: Path) -> str:
        below = folder.relative_to(self.folder).as_posix()
        return self.root if below == "." else f"{self.root}{below}/"

    def _get_folder(self, prefix: str) -> Path:
        return self.folder / prefix[len(self.root) :]

    def list_keys(self, prefix: str, first: str, end: str) -> Iterator[list[str]]:
        """List the folders once, and the files of those in the range; an unreadable one stops no other."""
        folder = self._get_folder(prefix)
        page: list[str] = []
        entries = self._list_readable(folder)
        for name, reason in entries.unreadable.items():
            if is_time_folder(name) and first <= name < end:
                self.unreadable[str(folder / name)] = reason
        for name in entries.folders:
            if first <= name < end:
                page += [f"{prefix}{name}/{file}" for file in self._list_files(folder / name)]
                if len(page) >= _PAGE:
                    yield page
                    page = []
        if page:
            yield page

    def find_edge_folder(self, prefix: str, *, last: bool) -> str | None:
        """Return the first or the last folder that is named after a time."""
        entries = self._list_readable(self._get_folder(prefix))
        names = [name for name in entries.folders if is_time_folder(name)]
        return names[-1 if last else 0] if names else None

    def _list_files(self, folder: Path) -> list[str]:
        """List the files in the folder of a time, and note results that are no files."""
        entries = self._list_readable(folder)
        no_files = (
            dict.fromkeys(entries.folders, "it is a folder, not a file")
            | entries.special
            | entries.unreadable
        )
        for name in RESULT_NAMES:
            if name in no_files:
                self.unreadable[str(folder / name)] = no_files[name]
        return entries.files

    def _list_readable(self, folder: Path) -> "_Entries":
        try:
            return _list_entries(folder)
        except OSError as problem:
            self.unreadable[escape_name(str(folder))] = get_reason(problem)
            return _Entries()


@dataclass
class _Entries:
    """The names in a folder, sorted; why others are neither a folder nor a file, or cannot be read."""

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    special: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def _list_entries(folder: Path) -> _Entries:
    """List a folder; links are followed.

    Raises:
        OSError: the folder cannot be listed.
    """
    found = _Entries()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                if entry.is_dir():
                    found.folders.append(entry.name)
                elif entry.is_file():
                    found.files.append(entry.name)
                else:
                    found.special[entry.name] = (
                        f"it is a {find_special_kind(entry.stat().st_mode)}, not a file"
                    )
            except OSError as problem:  # a link to itself or to nothing, or into a closed folder
                found.unreadable[entry.name] = get_reason(problem)
    return found


class ListedKeys:
    """Keys from files that list a bucket. They are read once; a result takes 20 bytes of memory."""

    unreadable_fix = UNREADABLE_FIX

    def __init__(self, files: KeyFiles, bucket: str, root: str) -> None:
        """Read nothing yet.

        Args:
            files: the files.
            bucket: the bucket; keys of others are ignored.
            root: keys that do not begin with it are ignored.
        """
        self.bucket, self.root = bucket, root
        self.requests, self.skipped, self.unreadable = 0, Counter[str](), files.unreadable
        self._files = files

    @cached_property
    def _folders(self) -> dict[str, dict[str, NDArray[np.bytes_]]]:
        """The sorted folders of each output prefix, by the name of their result object."""
        texts: dict[str, dict[str, bytearray]] = {}
        for key in self._files.read_keys(self.bucket):
            if not key.startswith(self.root):
                continue
            prefix, folder, name = split_result_key(key)
            if name is None:
                self.skipped[folder] += 1
            else:
                by_name = texts.setdefault(prefix, {})
                by_name.setdefault(name, bytearray()).extend(folder.ljust(TIME_LENGTH).encode())
        if self._files.invalid_lines:
            self.skipped["unreadable lines of the listing"] += self._files.invalid_lines
        return {
            prefix: {
                name: np.unique(np.frombuffer(text, dtype=f"S{TIME_LENGTH}"))
                for name, text in sorted(by_name.items())
            }
            for prefix, by_name in texts.items()
        }

    def start_reading(self) -> None:
        """Do nothing: a file that could not be read concerns all days."""

    def find_prefixes(self) -> PrefixSearch:
        """Return the prefixes of all results in the files."""
        return PrefixSearch(sorted(self._folders))

    def list_keys(self, prefix: str, first: str, end: str) -> Iterator[list[str]]:
        """Return the keys of the range in one page."""
        keys = list[str]()
        for name, folders in self._folders[prefix].items():
            start, stop = np.searchsorted(folders, [first.encode(), end.encode()])
            keys += [f"{prefix}{folder.decode().rstrip()}/{name}" for folder in folders[start:stop].tolist()]
        if keys:
            yield sorted(keys)

    def find_edge_folder(self, prefix: str, *, last: bool) -> str | None:
        """Return the first or the last folder."""
        edges = [bytes(folders[-1 if last else 0]) for folders in self._folders[prefix].values()]
        edge: str = (max(edges) if last else min(edges)).decode().rstrip()
        return edge
