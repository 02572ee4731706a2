"""The lake: tables as Hive-partitioned Parquet files with atomic updates, in a local folder or in S3.

A day is one file, `<lake>/<table>/data_date=YYYY-MM-DD/part-0.parquet`. An unpartitioned table is
`<lake>/<table>/part-0.parquet`. The names of all other files begin with a dot, so query engines skip them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.row_groups import MergeRowGroups, merge_row_groups, read_row_groups
from resources.lake.table_contract import (
    Footer,
    StoredTable,
    build_unreadable_file_error,
    check_rows,
    inspect_footer,
    parse_partition,
    read_conformed,
    read_conformed_batches,
    read_footer_length,
    read_table_version,
    refuse_foreign_columns,
    translate_read_errors,
    write_rows,
)
from resources.storage.base import OpenFile, WriteFile
from resources.storage.local import LocalStorage
from resources.storage.open import open_storage

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from resources.config.settings import Settings

PART = "part-0.parquet"
_DAY = "data_date"
_CHUNK_BYTES = 1 << 20
_FOOTER_BYTES = 1 << 16
"""The bytes of the first read of a footer; most footers have about ten thousand."""


T = TypeVar("T")


@dataclass(frozen=True)
class WriteResult:
    """The result of an update: the rows after and before it, whether it wrote the file, and the location."""

    rows: pa.Table
    before: pa.Table
    changed: bool
    path: Path | str


class Lake:
    """Tables below one folder or prefix; safe for concurrent use by threads and processes."""

    def __init__(self, uri: str, *, lock_timeout_seconds: float = 300, **s3_options: Any) -> None:  # noqa: ANN401
        """Open a lake; the first read or write accesses the storage.

        Args:
            uri: a local folder or `s3://bucket/prefix`.
            lock_timeout_seconds: how long an update waits for other writers of the same file.
            s3_options: the options of `S3Storage`, such as the KMS key; a local lake ignores them.

        Raises:
            ConfigurationError: the scheme of the URI is not supported.
        """
        self.uri = uri
        self._storage = open_storage(uri, timeout_seconds=lock_timeout_seconds, **s3_options)

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Lake":
        """Open the lake of the settings; raises what the constructor raises."""
        return cls(
            settings.lake.uri,
            kms_key_id=settings.lake.kms_key_id,
            owner=settings.lake.expected_bucket_owner,
            request_seconds=settings.limits.max_seconds_per_request,
        )

    @property
    def is_local(self) -> bool:
        """Whether the lake is a local folder."""
        return isinstance(self._storage, LocalStorage)

    @property
    def root(self) -> Path:
        """The folder of a local lake; other lakes raise AttributeError."""
        if not isinstance(self._storage, LocalStorage):
            raise AttributeError(f"a lake at {self.uri} is not a folder")  # noqa: TRY004 (a missing attribute)
        return self._storage.root

    def path(self, table: StoredTable, day: date | None = None) -> Path | str:
        """Return the local path or URI of a day, or of an unpartitioned table."""
        return self._storage.location(_name(table, day))

    def files(self, table: StoredTable) -> str:
        """Return the pattern of all files of a table, as query engines accept it."""
        return self._storage.pattern(f"{table.name}/{f'{_DAY}=*/' if table.partitioned else ''}{PART}")

    def days(self, table: StoredTable) -> list[date]:
        """List the stored days of a partitioned table, oldest first.

        Raises:
            LakeContractError: the name of a partition folder is not a day.
        """
        folder = f"{table.name}/{_DAY}="
        values = self._storage.list_values(folder, f"/{PART}")
        return sorted(parse_partition(value, self._storage.location(folder + value)) for value in values)

    def has(self, table: StoredTable, day: date | None = None) -> bool:
        """Whether the day (or the unpartitioned table) was ever written, with or without rows."""
        return self._storage.exists(_name(table, day))

    def read(self, table: StoredTable, day: date | None = None, columns: list[str] | None = None) -> pa.Table:
        """Read one day, or an unpartitioned table; without a file, return no rows.

        Columns that are newer than the file are null.

        Raises:
            LakeContractError: the file does not match the declaration of the table.
            ConfigurationError: the lake cannot be read.
        """
        name = _name(table, day)
        schema = (
            table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
        )
        rows = self._read_rows(partial(self._storage.open, name), name, table, schema)
        return schema.empty_table() if rows is None else rows

    def name(self, table: StoredTable, day: date | None = None) -> str:
        """Return the path of a file below the root of the lake, with slashes."""
        return _name(table, day)

    def digest(self, table: StoredTable, day: date | None = None) -> str | None:
        """Return the SHA-256 of a file as a hexadecimal number; None without a file.

        Raises:
            LedgerError: the lake cannot be read.
        """
        name = _name(table, day)
        digest = sha256()
        with translate_read_errors(self._storage.location(name)), suppress(FileNotFoundError):
            with self._storage.open(name) as file:
                while chunk := file.read_buffer(_CHUNK_BYTES):
                    digest.update(chunk)
            return digest.hexdigest()
        return None

    def read_with_digest(
        self, table: StoredTable, day: date | None, columns: list[str]
    ) -> tuple[pa.Table, str | None]:
        """Read a file that fits into memory, with the SHA-256 of the same bytes; without a file, no rows.

        Raises:
            LedgerError: the errors of `read`.
        """
        name = _name(table, day)
        schema = pa.schema([table.schema.field(column) for column in columns])
        with translate_read_errors(self._storage.location(name)), suppress(FileNotFoundError):
            with self._storage.open(name) as file:
                content = file.read_buffer()
            rows = self._read_rows(lambda: pa.BufferReader(content), name, table, schema)
            return schema.empty_table() if rows is None else rows, sha256(content).hexdigest()
        return schema.empty_table(), None

    def footer(self, table: StoredTable, day: date | None = None) -> Footer | None:
        """Check the footer of a file against the declaration; None without a file.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        try:
            with self._storage.open(_name(table, day)) as file, pq.ParquetFile(file) as stored:
                return inspect_footer(stored, table)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, ValueError) as problem:
            return Footer(table.version, 0, f"cannot be read: {problem}")

    def update(
        self,
        table: StoredTable,
        day: date | None,
        merge: Callable[[pa.Table], pa.Table],
        *,
        encoded: bool = False,
    ) -> WriteResult:
        """Replace the rows of a day (None: of an unpartitioned table) by the result of `merge`.

        `merge` takes the stored rows and returns the complete new rows. Equal rows are not written again. A
        day without rows is written as an empty file. After a conflict with another writer in S3, `merge` is
        called again with the current rows.

        With `encoded`, rows have the `encoded_schema` of the table, with texts as dictionaries. The file is
        the same: it has the plain types.

        Raises:
            RetryLaterError: other writers of the same file did not finish in time.
            ConfigurationError: the lake cannot be written.
            LakeContractError: stored or merged rows do not match the declaration.
        """
        name = _name(table, day)
        schema = table.encoded_schema if encoded else table.schema

        def change(open_file: OpenFile) -> tuple[WriteResult, WriteFile | None]:
            stored = self._read_to_replace(open_file, name, table, schema)
            existing = schema.empty_table() if stored is None else stored
            merged = merge(existing)
            location = self._storage.location(name)
            check_rows(merged, table.name, schema, location)
            if stored is not None and merged.equals(existing):
                return WriteResult(existing, existing, changed=False, path=location), None
            rows = pa.Table.from_arrays(merged.columns, schema=schema)  # adds the version and the comments
            return WriteResult(rows, existing, changed=True, path=location), partial(write_rows, rows, table)

        return self._storage.update(name, change)

    def read_row_groups(self, table: StoredTable, day: date | None = None) -> Iterator[pa.Table]:
        """Yield the row groups of a file, with the errors of `read`; memory does not grow with the file."""
        name = _name(table, day)
        return read_row_groups(partial(self._storage.open, name), table, self._storage.location(name))

    def read_batches(
        self, table: StoredTable, day: date | None, columns: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Yield columns of a file in small batches, with the errors of `read`; none without a file."""
        name, schema = _name(table, day), pa.schema([table.schema.field(name) for name in columns])
        location = self._storage.location(name)
        with (
            translate_read_errors(location),
            suppress(FileNotFoundError),
            self._storage.open(name) as file,
            pq.ParquetFile(file) as stored,
        ):
            yield from read_conformed_batches(stored, schema, table.version, location)

    def update_row_groups(self, table: StoredTable, day: date | None, merge: MergeRowGroups) -> None:
        """Replace rows as `update` does, one row group at a time, for files that do not fit into memory.

        `merge` takes the stored row groups and yields the complete new ones. The file is always written, so
        call this only if rows changed.
        """
        name = _name(table, day)
        self._storage.update(name, merge_row_groups(table, self._storage.location(name), merge))

    def read_version(self, table: StoredTable, day: date | None) -> int | None:
        """Return the version of the table that wrote a file, from its footer; None without a file.

        Raises:
            LakeContractError: the file cannot be read.
            LedgerError: the lake cannot be read.
        """
        name = _name(table, day)
        return self._read(partial(self._open_footer, name), name, read_table_version)

    def rewrite(self, table: StoredTable, day: date | None) -> bool:
        """Write the rows of an older file in the current version; return whether the file was older.

        Raises:
            LedgerError: the errors of `update`.
        """
        name = _name(table, day)

        def change(open_file: OpenFile) -> tuple[bool, WriteFile | None]:
            version = self._read(open_file, name, read_table_version)
            if version is None or version >= table.version:
                return False, None
            rows = self._read_to_replace(open_file, name, table, table.schema)
            return True, partial(write_rows, rows, table)

        return self._storage.update(name, change)

    def dataset(
        self, table: StoredTable, first: date | None = None, stop: date | None = None
    ) -> "ds.Dataset":
        """Return the files of a table as a dataset, for an engine that cannot access the storage itself.

        Each file has its day as a partition expression, so an engine with filter pushdown skips other days.

        Args:
            table: the table.
            first: the first day; None: no bound.
            stop: the day after the last day; None: no bound.

        Raises:
            LedgerError: the lake cannot be read.
        """
        import pyarrow.dataset as ds  # noqa: PLC0415 (few commands need it)

        stored_days = self.days(table) if table.partitioned else []
        days = [day for day in stored_days if (not first or first <= day) and (not stop or day < stop)]
        names = [_name(table, day) for day in days]
        if not table.partitioned and self.has(table):
            names = [_name(table, None)]
        filesystem, root = self._storage.filesystem()
        return ds.FileSystemDataset.from_paths(
            [root + name for name in names],
            schema=table.schema.append(pa.field(_DAY, pa.date32())) if table.partitioned else table.schema,
            format=ds.ParquetFileFormat(),
            filesystem=filesystem,
            partitions=[ds.field(_DAY) == pa.scalar(day, pa.date32()) for day in days] or None,
        )

    def _open_footer(self, name: str) -> pa.NativeFile:
        end = self._storage.open_end(name, _FOOTER_BYTES)
        length = read_footer_length(end)
        return end if length <= end.size() else self._storage.open_end(name, length)

    def scan(
        self,
        table: StoredTable,
        first: date | None = None,
        stop: date | None = None,
        *,
        columns: list[str] | None = None,
        rows: "ds.Expression | None" = None,
    ) -> pa.Table:
        """Read several days, oldest first, without opening the files of other days.

        Args:
            table: the table.
            first: the first day; None: no bound.
            stop: the day after the last day; None: no bound.
            columns: the columns in this order; None: all, with `data_date` if the table is partitioned.
            rows: a filter; None: all rows.

        Raises:
            LedgerError: a file or the lake cannot be read.
        """
        try:
            return self.dataset(table, first, stop).to_table(columns, rows).replace_schema_metadata()
        except (pa.ArrowException, OSError) as problem:
            raise build_unreadable_file_error(problem, f"{table.name} in the lake at {self.uri}") from problem

    def _read_rows(
        self, open_file: OpenFile, name: str, table: StoredTable, schema: pa.Schema
    ) -> pa.Table | None:
        location = self._storage.location(name)
        return self._read(
            open_file,
            name,
            lambda stored: read_conformed(stored, schema, table.version, location),
            _list_encoded(schema),
        )

    def _read_to_replace(
        self, open_file: OpenFile, name: str, table: StoredTable, schema: pa.Schema
    ) -> pa.Table | None:
        location = self._storage.location(name)

        def read(stored: pq.ParquetFile) -> pa.Table:
            rows = read_conformed(stored, schema, table.version, location)
            refuse_foreign_columns(stored, table, location)
            return rows

        return self._read(open_file, name, read, _list_encoded(schema))

    def _read(
        self,
        open_file: OpenFile,
        name: str,
        read: Callable[[pq.ParquetFile], T],
        encoded: Sequence[str] = (),
    ) -> T | None:
        location = self._storage.location(name)
        with (
            translate_read_errors(location),
            suppress(FileNotFoundError),
            open_file() as file,
            pq.ParquetFile(file, read_dictionary=encoded) as stored,
        ):
            return read(stored)
        return None


def _list_encoded(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_dictionary(field.type)]


def _name(table: StoredTable, day: date | None) -> str:
    if table.partitioned is (day is None):
        raise ValueError(f"{table.name}: a day is required for a partitioned table, and for no other")
    return f"{table.name}/{PART}" if day is None else f"{table.name}/{_DAY}={day.isoformat()}/{PART}"
