"""Files that list the keys of a bucket: output of `aws s3 ls --recursive`, and reports of S3 Inventory.

A listing is a snapshot: results that are newer than it are not known.
"""

import csv
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from io import BytesIO, StringIO
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import ConfigurationError, UnreadableArchiveError
from resources.gzip_data import GZIP, TOO_LARGE, unpack_gzip
from resources.read_limits import ReadLimits
from resources.storage.base import FileStore, StoredFile

UNREADABLE_FIX = "list the bucket again, in several files if it is large; or remove the setting listing"

_SUFFIXES = (".txt", ".csv", ".parquet", ".ls", ".log")
_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(?:\d+|[\d.]+ (?:Bytes|[KMGT]iB)) (.+)")
_SUMMARY = re.compile(r"\s*(Total Objects: *\d+|Total Size: .*)?\s*")
_PARQUET = b"PAR1"
_ORC = b"ORC"
_UTF16 = (BOM_UTF16_LE, BOM_UTF16_BE)  # `>` of Windows PowerShell writes it
_IS_LATEST, _IS_DELETE_MARKER = 3, 4
"""The fields of an inventory of all versions, after bucket, key and version."""


class KeyFiles:
    """The keys in one file, or in all files of a folder.

    Attributes:
        uri: the file or folder.
        invalid_lines: the number of lines without a key.
        unreadable: why files could not be read, by their URI.
    """

    def __init__(self, uri: str, store: FileStore, limits: ReadLimits) -> None:
        """Read nothing yet.

        Args:
            uri: a file or folder, locally or in S3.
            store: reads the files.
            limits: limits of each file.
        """
        self.uri = uri
        self.invalid_lines = 0
        self.unreadable: dict[str, str] = {}
        self._store = store
        self._limits = limits

    def read_keys(self, bucket: str) -> Iterator[str]:
        """Yield the keys of a bucket, in any order, perhaps repeated; an unreadable file stops no other.

        Raises:
            LedgerError: there is no file, or none can be read.
        """
        files = self._store.list_files(self.uri)
        if [file.uri for file in files] != [self.uri]:
            files = [file for file in files if file.uri.lower().removesuffix(".gz").endswith(_SUFFIXES)]
        if not files:
            raise ConfigurationError(
                "Cannot read a listing: there is no *.csv, *.txt or *.parquet file",
                where=f"sources.listing = {self.uri}",
                next_step="set listing to output of aws s3 ls --recursive, or to the data of S3 Inventory",
            )
        for file in files:
            try:
                yield from self._read_file(file, bucket)
            except UnreadableArchiveError as error:
                self.unreadable[file.uri] = error.what.partition(": ")[2] or error.what
                if len(self.unreadable) == len(files):
                    raise

    def _read_file(self, file: StoredFile, bucket: str) -> Iterator[str]:
        data = self._store.read(file)
        problem: str | None = None
        if data.startswith(GZIP):
            data, problem = unpack_gzip(data, self._limits.size_bytes)
        if len(data) > self._limits.size_bytes or problem == TOO_LARGE:
            problem = f"it is {self._limits.too_large}"
        if data.startswith(_ORC):
            problem = "it has the format ORC; configure S3 Inventory for CSV or Parquet"
        if problem:
            raise _unreadable_error(file, problem)
        try:
            if data.startswith(_PARQUET):
                yield from _read_parquet(data, bucket)
            else:
                encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
                yield from self._read_text(data.decode(encoding, errors="replace"), bucket)
        except (pa.ArrowException, csv.Error, KeyError) as error:
            reason = f"it has no column {error}" if isinstance(error, KeyError) else str(error)
            raise _unreadable_error(file, reason) from None

    def _read_text(self, text: str, bucket: str) -> Iterator[str]:
        if text.startswith('"'):
            yield from self._read_csv(text, bucket)
            return
        for line in text.splitlines():
            if match := _LINE.fullmatch(line):
                yield match[1]
            elif not _SUMMARY.fullmatch(line):
                self.invalid_lines += 1

    def _read_csv(self, text: str, bucket: str) -> Iterator[str]:
        for row in csv.reader(StringIO(text)):
            if len(row) < 2:  # noqa: PLR2004 (bucket and key)
                self.invalid_lines += bool(row)
                continue
            if row[0] == bucket and _is_current(row):
                yield unquote_plus(row[1])


def _is_current(row: list[str]) -> bool:
    """Return whether a row of an inventory is the current version; one without versions has no other rows."""
    flags = row[_IS_LATEST : _IS_DELETE_MARKER + 1]
    has_versions = len(flags) > 1 and {*flags} <= {"true", "false"}
    return not has_versions or flags == ["true", "false"]


def _unreadable_error(file: StoredFile, reason: str) -> UnreadableArchiveError:
    return UnreadableArchiveError(
        f"Cannot read a listing: {reason}",
        where=file.uri,
        next_step=UNREADABLE_FIX,
    )


def _read_parquet(data: bytes, bucket: str) -> Iterator[str]:
    file = pq.ParquetFile(BytesIO(data))
    names = file.schema_arrow.names
    for column in ("bucket", "key"):
        if column not in names:
            raise KeyError(column)
    flags = [name for name in ("is_latest", "is_delete_marker") if name in names]
    for batch in file.iter_batches(columns=["bucket", "key", *flags]):
        for row in batch.to_pylist():
            is_current = row.get("is_latest", True) and not row.get("is_delete_marker", False)
            if row["bucket"] == bucket and is_current:
                yield row["key"]
