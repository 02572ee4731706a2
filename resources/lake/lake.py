"""The lake: tables as Hive-partitioned Parquet that is read, merged and replaced, never half seen.

A day is one file, `<lake>/<table>/data_date=YYYY-MM-DD/part-0.parquet`; an unpartitioned table is
`<lake>/<table>/part-0.parquet`. Whatever else stands there has a name that begins with a dot, which every
engine passes over. That is the same in a folder and in S3.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.row_groups import MergeRowGroups, merge_row_groups, read_row_groups
from resources.lake.table_contract import (
    Footer,
    StoredTable,
    build_unreadable_file_error,
    check_rows,
    inspect_footer,
    parquet_options,
    parse_partition,
    read_conformed,
    read_footer_length,
    read_table_version,
    translate_read_errors,
)
from resources.storage.base import OpenFile, WriteFile
from resources.storage.local import LocalStorage
from resources.storage.open import open_storage

if TYPE_CHECKING:
    import pyarrow.dataset as ds

PART = "part-0.parquet"
_DAY = "data_date"
_FOOTER_BYTES = 1 << 16
"""Footers of ours are some ten thousand bytes long; those of very many rows can be longer."""


T = TypeVar("T")


@dataclass(frozen=True)
class WriteResult:
    """What an update left: the rows that are there now and were before, and whether it had to write.

    `path` says where: a path on this machine, or a uri.
    """

    rows: pa.Table
    before: pa.Table
    changed: bool
    path: Path | str


class Lake:
    """Tables below one folder or prefix. Safe to use from several threads and processes at once."""

    def __init__(self, uri: str, *, lock_timeout_seconds: float = 300, kms_key_id: str | None = None) -> None:
        """Open a lake; nothing is created or asked before the first read or write.

        Args:
            uri: a folder of the local file system, or `s3://bucket/prefix`.
            lock_timeout_seconds: how long to wait for, or to compete with, other writers of the same day.
            kms_key_id: the KMS key that objects in S3 are encrypted with; None: as the bucket has it.

        Raises:
            ConfigurationError: it is neither.
        """
        self.uri = uri
        self._storage = open_storage(uri, timeout_seconds=lock_timeout_seconds, kms_key_id=kms_key_id)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self._storage, LocalStorage)

    @property
    def root(self) -> Path:
        """The folder of a lake on this machine; no other lake has one."""
        if not isinstance(self._storage, LocalStorage):
            raise AttributeError(f"a lake at {self.uri} is no folder")  # noqa: TRY004 (none of its type)
        return self._storage.root

    def path(self, table: StoredTable, day: date | None = None) -> Path | str:
        """Where the rows of a table, and a day where it is partitioned, are stored: a path, or a uri."""
        return self._storage.location(_name(table, day))

    def files(self, table: StoredTable) -> str:
        """Pattern of the files of a table, as query engines take it."""
        return self._storage.pattern(f"{table.name}/{f'{_DAY}=*/' if table.partitioned else ''}{PART}")

    def days(self, table: StoredTable) -> list[date]:
        """The days of a partitioned table that are there, oldest first.

        Raises:
            LakeContractError: a folder among them is of no day.
        """
        folder = f"{table.name}/{_DAY}="
        found = self._storage.list_values(folder, f"/{PART}")
        return sorted(parse_partition(text, self._storage.location(folder + text)) for text in found)

    def has(self, table: StoredTable, day: date | None = None) -> bool:
        """Tell whether the day (or the unpartitioned table) was ever written, be it with no rows."""
        return self._storage.exists(_name(table, day))

    def read(self, table: StoredTable, day: date | None = None, columns: list[str] | None = None) -> pa.Table:
        """Read one day, or an unpartitioned table: no rows where nothing was written yet.

        A file of an older version gives null for columns that came later.

        Raises:
            LakeContractError: the file does not hold what the table declares.
            ConfigurationError: the lake cannot be looked into.
        """
        name = _name(table, day)
        schema = (
            table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
        )
        rows = self._stored(partial(self._storage.open, name), name, table, schema)
        return schema.empty_table() if rows is None else rows

    def footer(self, table: StoredTable, day: date | None = None) -> Footer | None:
        """Look at what a file says of itself, without its rows; None where nothing was written yet.

        Raises:
            ConfigurationError: the lake cannot be looked into.
        """
        try:
            with self._storage.open(_name(table, day)) as file, pq.ParquetFile(file) as stored:
                return inspect_footer(stored, table)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, ValueError) as problem:
            return Footer(table.version, 0, f"it cannot be read: {problem}")

    def update(
        self, table: StoredTable, day: date | None, merge: Callable[[pa.Table], pa.Table]
    ) -> WriteResult:
        """Replace the rows of a day (None: of an unpartitioned table) by what `merge` makes of them.

        `merge` gets the stored rows and returns all rows that shall be there. Where these are the stored
        ones nothing is written. A day without rows is written too: it was looked at. In S3 `merge` is asked
        again, with the rows that are there then, where another writer came in between.

        Raises:
            RetryLaterError: other writers were at it for too long.
            ConfigurationError: the lake cannot be written to.
            LakeContractError: stored or merged rows do not fit the declaration.
        """
        name = _name(table, day)

        def change(opened: OpenFile) -> tuple[WriteResult, WriteFile | None]:
            stored = self._stored(opened, name, table, table.schema)
            existing = table.schema.empty_table() if stored is None else stored
            merged = merge(existing)
            place = self._storage.location(name)
            check_rows(merged, table, place)
            if stored is not None and merged.equals(existing):
                return WriteResult(existing, existing, changed=False, path=place), None
            rows = pa.Table.from_arrays(merged.columns, schema=table.schema)  # with its version and comments
            return WriteResult(rows, existing, changed=True, path=place), partial(
                pq.write_table, rows, **parquet_options(table)
            )

        return self._storage.update(name, change)

    def read_row_groups(self, table: StoredTable, day: date | None = None) -> Iterator[pa.Table]:
        """Read and raise as `read` does, a row group at a time: memory does not grow with the file."""
        name = _name(table, day)
        return read_row_groups(partial(self._storage.open, name), table, self._storage.location(name))

    def update_row_groups(self, table: StoredTable, day: date | None, merge: MergeRowGroups) -> None:
        """Replace rows and raise as `update` does, a piece at a time, where they are too many to be held.

        `merge` gets the stored rows in pieces and returns those of all rows that shall be there; each becomes
        a row group. It is for those who know that something changed: the file is always written.
        """
        name = _name(table, day)
        self._storage.update(name, merge_row_groups(table, self._storage.location(name), merge))

    def read_version(self, table: StoredTable, day: date | None) -> int | None:
        """Tell which version of the table wrote a day (or the unpartitioned table), from the footer alone.

        None where nothing was written yet.

        Raises:
            LakeContractError: the file cannot be read.
            LedgerError: the lake cannot be looked into.
        """
        name = _name(table, day)
        return self._read(partial(self._open_footer, name), name, read_table_version)

    def rewrite(self, table: StoredTable, day: date | None) -> bool:
        """Write the same rows again in the table's present version; tell whether an older one had.

        Raises:
            LedgerError: as `update` does.
        """
        name = _name(table, day)

        def change(opened: OpenFile) -> tuple[bool, WriteFile | None]:
            version = self._read(opened, name, read_table_version)
            if version is None or version >= table.version:
                return False, None
            rows = self._stored(opened, name, table, table.schema)
            return True, partial(pq.write_table, rows, **parquet_options(table))

        return self._storage.update(name, change)

    def dataset(
        self, table: StoredTable, first: date | None = None, stop: date | None = None
    ) -> "ds.Dataset":
        """Hand over what is there of a table, for an engine that cannot reach it by itself.

        Each file comes with its day; an engine that hands its filters down reads no others.

        Args:
            table: what to hand over.
            first: the first day of it; None is no bound.
            stop: the day after the last of it.

        Raises:
            LedgerError: the lake cannot be looked into.
        """
        import pyarrow.dataset as ds  # noqa: PLC0415 (which few need)

        there = self.days(table) if table.partitioned else []
        days = [day for day in there if (not first or first <= day) and (not stop or day < stop)]
        whole = [_name(table, None)] if not table.partitioned and self.has(table) else []
        names = [_name(table, day) for day in days] or whole
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
        """Read many days at once, oldest first; of other days no file is opened.

        Args:
            table: what to read.
            first: as `dataset` takes it.
            stop: as `dataset` takes it.
            columns: those to read, in this order; None: all of them, and `data_date` where it has days.
            rows: those to read; None: all.

        Raises:
            LedgerError: a file cannot be read, or the lake cannot be looked into.
        """
        try:
            return self.dataset(table, first, stop).to_table(columns, rows).replace_schema_metadata()
        except (pa.ArrowException, OSError) as problem:
            raise build_unreadable_file_error(problem, f"{table.name} in the lake at {self.uri}") from problem

    def _stored(self, opened: OpenFile, name: str, table: StoredTable, schema: pa.Schema) -> pa.Table | None:
        place = self._storage.location(name)
        return self._read(opened, name, lambda stored: read_conformed(stored, schema, table.version, place))

    def _read(self, opened: OpenFile, name: str, read: Callable[[pq.ParquetFile], T]) -> T | None:
        place = self._storage.location(name)
        with (
            translate_read_errors(place),
            suppress(FileNotFoundError),
            opened() as file,
            pq.ParquetFile(file) as stored,
        ):
            return read(stored)
        return None


def _name(table: StoredTable, day: date | None) -> str:
    if table.partitioned is (day is None):
        raise ValueError(f"{table.name}: a day goes with a partitioned table, and with no other")
    return f"{table.name}/{PART}" if day is None else f"{table.name}/{_DAY}={day.isoformat()}/{PART}"
