"""The lake: tables as Hive-partitioned Parquet files with atomic updates, in a local folder or in S3.

A day is one file, `<lake>/<table>/data_date=YYYY-MM-DD/part-0.parquet`. An unpartitioned table is
`<lake>/<table>/part-0.parquet`. A day with shards has further files, `part-1.parquet` and so on. The names of
all other files begin with a dot, so query engines skip them.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.day_files import DayFiles
from resources.lake.resharding import reshard
from resources.lake.row_groups import MergeRowGroups
from resources.lake.shards import WHOLE, Shard
from resources.lake.table_contract import (
    Footer,
    StoredTable,
    build_unreadable_file_error,
    inspect_footer,
    parse_partition,
    read_conformed_batches,
    translate_read_errors,
)
from resources.row_order import sort_rows
from resources.storage.local import LocalStorage
from resources.storage.open import open_storage

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from resources.config.settings import Settings

PART = "part-0.parquet"
_ANY_PART = "part-*.parquet"
_DAY = "data_date"
_SHARD_FILE = re.compile(rf"(?P<folder>[^/]+/{_DAY}=[^/]+)/part-(?P<number>[0-9]+)\.parquet")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class WriteResult:
    """The result of an update: the rows after and before it, whether it wrote the file, and the location."""

    rows: pa.Table
    before: pa.Table
    changed: bool
    path: Path | str


class Lake:
    """Tables below one folder or prefix; safe for concurrent use by threads and processes."""

    def __init__(
        self,
        uri: str,
        *,
        lock_timeout_seconds: float = 300,
        shards: int = 1,
        **s3_options: Any,  # noqa: ANN401
    ) -> None:
        """Open a lake; the first read or write accesses the storage.

        Args:
            uri: a local folder or `s3://bucket/prefix`.
            lock_timeout_seconds: how long an update waits for other writers of the same file.
            shards: the number of files of a new day, for tables with shards. An existing day keeps its own.
            s3_options: the options of `S3Storage`, such as the KMS key; a local lake ignores them.

        Raises:
            ConfigurationError: the scheme of the URI is not supported.
        """
        self.uri = uri
        self._storage = open_storage(uri, timeout_seconds=lock_timeout_seconds, **s3_options)
        self._timeout_seconds = lock_timeout_seconds
        self._shards = shards

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Lake":
        """Open the lake of the settings; raises what the constructor raises."""
        return cls(
            settings.lake.uri,
            shards=settings.lake.shards,
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

    @property
    def temporary_folder(self) -> Path:
        """Where large temporary files belong: the folder that `TMPDIR` names, or that of a local lake.

        The system's folder of temporary files is often in memory.
        """
        has_own_folder = self.is_local and "TMPDIR" not in os.environ and self.root.is_dir()
        return self.root if has_own_folder else Path(gettempdir())

    def path(self, table: StoredTable, day: date | None = None) -> Path | str:
        """Return the local path or URI of a day, or of an unpartitioned table."""
        return self._storage.location(_name(table, day))

    def files(self, table: StoredTable) -> str:
        """Return the pattern of all files of a table, as query engines accept it."""
        folder = f"{table.name}/{_DAY}=*" if table.partitioned else table.name
        return self._storage.pattern(f"{folder}/{_ANY_PART if table.has_shards else PART}")

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

    def shards(self, table: StoredTable, day: date) -> int:
        """Return the number of shards of a day; of a new day, the number that it will have.

        Raises:
            LedgerError: the lake cannot be read.
        """
        return self._open_day(table, day).count() if table.has_shards else 1

    def read(
        self,
        table: StoredTable,
        day: date | None = None,
        columns: list[str] | None = None,
        shard: Shard = WHOLE,
    ) -> pa.Table:
        """Read one day or one shard of it, or an unpartitioned table; without a file, return no rows.

        Columns that are newer than the file are null.

        Raises:
            LakeContractError: the file does not match the declaration of the table.
            ConfigurationError: the lake cannot be read.
        """
        return self._open_day(table, day).read(_select_fields(table, columns), shard)

    def digests(self, table: StoredTable, day: date | None = None) -> dict[str, str]:
        """Return the SHA-256 of each file as a hexadecimal number, by its path below the root of the lake.

        Raises:
            LedgerError: the lake cannot be read.
        """
        names = [_name(table, day)]
        if table.has_shards:
            files = self._open_day(table, day)
            names = [files.name(number) for number in range(files.count())]
        digests = ((name, self._compute_digest(name)) for name in names)
        return {name: digest for name, digest in digests if digest}

    def _compute_digest(self, name: str) -> str | None:
        digest = sha256()
        with translate_read_errors(self._storage.location(name)), suppress(FileNotFoundError):
            with self._storage.open(name) as file:
                while chunk := file.read_buffer(_CHUNK_BYTES):
                    digest.update(chunk)
            return digest.hexdigest()
        return None

    def read_with_digests(
        self, table: StoredTable, day: date | None, columns: list[str]
    ) -> tuple[pa.Table, dict[str, str]]:
        """Read files that fit into memory, with the SHA-256 of the same bytes by path; without a file, none.

        Texts that repeat are dictionaries, as in the `encoded_schema` of the table.

        Raises:
            LedgerError: the errors of `read`.
        """
        digests: dict[str, str] = {}

        def open_name(name: str) -> pa.NativeFile:
            with self._storage.open(name) as file:
                content = file.read_buffer()
            digests[name] = sha256(content).hexdigest()
            return pa.BufferReader(content)

        schema = pa.schema([table.encoded_schema.field(name) for name in columns])
        return self._open_day(table, day).read(schema, open_name=open_name), digests

    def footers(self, table: StoredTable, day: date | None = None, shard: Shard = WHOLE) -> list[Footer]:
        """Check the footer of each file of a shard against the declaration; without a file, there is none.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        files = self._open_day(table, day)
        first = self._inspect(files.name(0), table)
        footers = [
            first if number == 0 else self._inspect(files.name(number), table)
            for number in shard.list_files(first.shards if first else 1)
        ]
        return [footer for footer in footers if footer]

    def _inspect(self, name: str, table: StoredTable) -> Footer | None:
        try:
            with self._storage.open(name) as file, pq.ParquetFile(file) as stored:
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
        shard: Shard = WHOLE,
    ) -> WriteResult:
        """Replace the rows of a day (None: of an unpartitioned table) by the result of `merge`.

        `merge` takes the stored rows and returns the complete new rows. Equal rows are not written again. A
        day without rows is written as an empty file. After a conflict with another writer in S3, `merge` is
        called again with the current rows.

        With `encoded`, rows have the `encoded_schema` of the table, with texts as dictionaries. The file is
        the same: it has the plain types.

        With `shard`, `merge` takes and returns the rows of this shard, and the other rows of the day stay.
        Shards that are several files are replaced one file after the other.

        Raises:
            RetryLaterError: other writers of the same file did not finish in time.
            ConfigurationError: the lake cannot be written.
            LakeContractError: stored or merged rows do not match the declaration.
        """
        files = self._open_day(table, day)
        updated = files.update(merge, table.encoded_schema if encoded else table.schema, shard)
        path = files.location(0) if updated.shards == 1 else self._storage.location(files.folder)
        return WriteResult(updated.rows, updated.before, updated.changed, path)

    def read_row_groups(
        self,
        table: StoredTable,
        day: date | None = None,
        shard: Shard = WHOLE,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the row groups of the files of a day, file by file, with the errors of `read`.

        Memory does not grow with the files. `columns` has the scheduler.
        """
        schema = None if columns is None else _select_fields(table, columns)
        return self._open_day(table, day).read_row_groups(shard, schema)

    def read_files(self, table: StoredTable, day: date, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of each file of a day, with the errors of `read`; memory is that of one shard.

        Rows of days with shards have the columns of the key too.
        """
        return self._open_day(table, day).read_files(_select_fields(table, columns))

    def read_batches(
        self, table: StoredTable, day: date | None, columns: Sequence[str], number: int = 0
    ) -> Iterator[pa.Table]:
        """Yield columns of one file in small batches, with the errors of `read`; none without a file.

        These are all rows of the file, as other programs read them.
        """
        files, schema = self._open_day(table, day), _select_fields(table, columns)
        location = files.location(number)
        with (
            translate_read_errors(location),
            suppress(FileNotFoundError),
            self._storage.open(files.name(number)) as file,
            pq.ParquetFile(file) as stored,
        ):
            yield from read_conformed_batches(stored, schema, table.version, location)

    def update_row_groups(
        self, table: StoredTable, day: date | None, merge: MergeRowGroups, shard: Shard = WHOLE
    ) -> None:
        """Replace rows as `update` does, one row group at a time, for files that do not fit into memory.

        `merge` takes the stored row groups and yields the complete new ones. The file is always written, so
        call this only if rows changed. A shard that is not one whole file is merged in memory.
        """
        self._open_day(table, day).update_row_groups(merge, shard)

    def read_version(self, table: StoredTable, day: date | None) -> int | None:
        """Return the version of the table that wrote the oldest file, from the footers; None without a file.

        Raises:
            LakeContractError: a file cannot be read.
            LedgerError: the lake cannot be read.
        """
        return self._open_day(table, day).read_version()

    def reshard(self, table: StoredTable, day: date, shards: int) -> bool:
        """Change the number of shards of a day; return whether a file was written.

        Updates of the day wait meanwhile, and reads of one day return each row once. Programs that read all
        files can see rows twice until it ends. After a stop at any point, call it again.

        Raises:
            ValueError: the table has no shards, or the number is not between 1 and 1,024.
            LedgerError: the lake cannot be read or written.
        """
        if not table.has_shards:
            raise ValueError(f"{table.name} has no shards")
        return reshard(self._open_day(table, day), Shard(0, shards).count)

    def rewrite(self, table: StoredTable, day: date | None) -> bool:
        """Write the rows of older files in the current version; return whether any file was older.

        Raises:
            LedgerError: the errors of `update`.
        """
        return self._open_day(table, day).rewrite()

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

        files = self._list_files(table, first, stop)
        filesystem, root = self._storage.filesystem()
        return ds.FileSystemDataset.from_paths(
            [root + name for name, _ in files],
            schema=table.schema.append(pa.field(_DAY, pa.date32())) if table.partitioned else table.schema,
            format=ds.ParquetFileFormat(),
            filesystem=filesystem,
            partitions=[ds.field(_DAY) == pa.scalar(day, pa.date32()) for _, day in files if day] or None,
        )

    def _list_files(
        self, table: StoredTable, first: date | None, stop: date | None
    ) -> list[tuple[str, date | None]]:
        """Return the names of the files of a table with their days, oldest first."""
        if not table.partitioned:
            return [(_name(table, None), None)] if self.has(table) else []
        if table.has_shards:
            names = self._storage.list_names(f"{table.name}/{_DAY}=")
            parts = sorted(self._parse_file(match) for match in map(_SHARD_FILE.fullmatch, names) if match)
        else:
            parts = [(day, 0, _name(table, day)) for day in self.days(table)]
        return [
            (name, day) for day, _, name in parts if (not first or first <= day) and (not stop or day < stop)
        ]

    def _parse_file(self, match: re.Match[str]) -> tuple[date, int, str]:
        folder = match["folder"]
        day = parse_partition(folder.rpartition("=")[2], self._storage.location(folder))
        return day, int(match["number"]), match[0]

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
            dataset = self.dataset(table, first, stop)
            names = columns or dataset.schema.names
            has_several_files = any(not name.endswith(f"/{PART}") for name in dataset.files)
            order = [_DAY, *table.key] if has_several_files else []
            found = dataset.to_table(list(dict.fromkeys([*names, *order])), rows).replace_schema_metadata()
        except (pa.ArrowException, OSError) as problem:
            raise build_unreadable_file_error(problem, f"{table.name} in the lake at {self.uri}") from problem
        return sort_rows(found, order).select(names) if order else found

    def _open_day(self, table: StoredTable, day: date | None) -> DayFiles:
        folder = _name(table, day).removesuffix(f"/{PART}")
        shards = self._shards if table.has_shards else 1
        return DayFiles(self._storage, folder, table, shards, self._timeout_seconds, reshard)


def _select_fields(table: StoredTable, columns: Sequence[str] | None) -> pa.Schema:
    return table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])


def _name(table: StoredTable, day: date | None) -> str:
    if table.partitioned is (day is None):
        raise ValueError(f"{table.name}: a day is required for a partitioned table, and for no other")
    return f"{table.name}/{PART}" if day is None else f"{table.name}/{_DAY}={day.isoformat()}/{PART}"
