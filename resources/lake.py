"""The lake: tables as Hive-partitioned Parquet that is read, merged and replaced, never half seen.

Belongs here: paths, locks, the atomic replacement of a file, the contract between a file and its declaration.
Does not belong here: what rows mean, which of two rows wins (a rule is handed in), and Dagster.

A day is one file, `<lake>/<table>/data_date=YYYY-MM-DD/part-0.parquet`; an unpartitioned table is
`<lake>/<table>/part-0.parquet`. Whatever else stands there has a name that begins with a dot, which every
engine passes over.

`update` reads, merges and replaces under a lock that the kernel frees when its holder dies. The new file is
written beside the old one under a hidden name, flushed to disk and renamed: a reader sees the old rows or
the new ones, and a kill at any point leaves one of both. Locks and renames need a local file system; network
file systems without working locks are not supported.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import ConfigurationError, LakeContractError, RetryLaterError

PART = "part-0.parquet"
_TEMPORARY = ".part-0.*.tmp"
_VERSION = b"lookout_ledger.version"


class StoredColumn(Protocol):
    """How one column is stored: with a dictionary, as differences, or plain."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> pa.DataType: ...  # noqa: D102


class StoredTable(Protocol):
    """What the lake must know of a table; declarations stand in `assets.tables`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def schema(self) -> pa.Schema: ...  # noqa: D102
    @property
    def partitioned(self) -> bool: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102
    def encoded(self, encoding: str) -> Iterable[StoredColumn]: ...  # noqa: D102


@dataclass(frozen=True)
class Written:
    """What an update left: the rows that are there now and were before, and whether it had to write."""

    rows: pa.Table
    before: pa.Table
    changed: bool
    path: Path


class Lake:
    """Tables below one folder. Safe to use from several threads and processes at once."""

    def __init__(self, uri: str, *, lock_timeout_seconds: float = 300) -> None:
        """Open a lake; nothing is created before the first write.

        Args:
            uri: a folder of the local file system.
            lock_timeout_seconds: how long to wait for another writer of the same day.
        """
        if "://" in uri:
            raise ConfigurationError(
                f"a lake at {uri} is not supported yet, only a local folder is",
                where="lake.uri",
                next_step='set it to a folder, such as [lake] uri = "data/lake"',
            )
        self.root = Path(uri)
        self._lock_timeout_seconds = lock_timeout_seconds

    def path(self, table: StoredTable, day: date | None = None) -> Path:
        """Where the rows of a table, and a day where it is partitioned, are stored."""
        if table.partitioned is (day is None):
            raise ValueError(f"{table.name}: a day goes with a partitioned table, and with no other")
        folder = self.root / table.name
        return folder / PART if day is None else folder / f"data_date={day.isoformat()}" / PART

    def files(self, table: StoredTable) -> str:
        """Pattern of the files of a table, as query engines take it."""
        return str(self.root / table.name / ("data_date=*/" if table.partitioned else "") / PART)

    def days(self, table: StoredTable) -> list[date]:
        """The days of a partitioned table that are there, oldest first."""
        found = (self.root / table.name).glob(f"data_date=*/{PART}")
        return sorted(date.fromisoformat(path.parent.name.removeprefix("data_date=")) for path in found)

    def has(self, table: StoredTable, day: date | None = None) -> bool:
        """Tell whether the day (or the unpartitioned table) was ever written, be it with no rows."""
        return self.path(table, day).is_file()

    def read(self, table: StoredTable, day: date | None = None, columns: list[str] | None = None) -> pa.Table:
        """Read one day, or an unpartitioned table: no rows where nothing was written yet.

        A file of an older version gives null for columns that came later.

        Raises:
            LakeContractError: the file does not hold what the table declares.
        """
        path = self.path(table, day)
        schema = (
            table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
        )
        try:
            stored = pq.ParquetFile(path)
        except FileNotFoundError:
            return schema.empty_table()
        except (pa.ArrowInvalid, OSError) as problem:
            raise _broken(path, str(problem)) from problem
        with stored:
            return _conformed(stored, schema, table.version, path)

    def update(self, table: StoredTable, day: date | None, merge: Callable[[pa.Table], pa.Table]) -> Written:
        """Replace the rows of a day (None: of an unpartitioned table) by what `merge` makes of them.

        `merge` gets the stored rows and returns all rows that shall be there. Where these are the stored
        ones nothing is written. A day without rows is written too: it was looked at.

        Raises:
            RetryLaterError: another writer held the lock for too long.
            ConfigurationError: the lake cannot be written to.
            LakeContractError: stored or merged rows do not fit the declaration.
        """
        path = self.path(table, day)
        with self._writing(path):
            _sweep(path.parent)
            existing = self.read(table, day)
            merged = merge(existing)
            if not merged.schema.equals(table.schema):
                raise LakeContractError(
                    f"rows that do not fit {table.name}: {_difference(merged.schema, table.schema)}",
                    where=str(path),
                    next_step="nothing was written; this is a defect of the rule that made them",
                )
            if path.is_file() and merged.equals(existing):
                return Written(existing, existing, changed=False, path=path)
            _replace(path, merged, table)
            return Written(merged, existing, changed=True, path=path)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        lock = path.parent / ".lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(lock, timeout=self._lock_timeout_seconds):
                yield
        except filelock.Timeout:
            raise RetryLaterError(
                f"another writer has held the lock for {self._lock_timeout_seconds:.0f} s",
                where=str(lock),
                next_step="wait for the other run to end; the lock goes with its process, do not delete it",
            ) from None
        except NotImplementedError:
            raise ConfigurationError(
                "this file system has no working locks, so two writers could lose each other's rows",
                where=str(self.root),
                next_step="set lake.uri to a folder on a local disk",
            ) from None
        except OSError as problem:
            raise ConfigurationError(
                f"the lake cannot be written to: {problem.strerror}",
                where=f"lake.uri = {self.root} ({problem.filename})",
                next_step="make that folder writable for this user, or set lake.uri to one that is",
            ) from None


def _replace(path: Path, rows: pa.Table, table: StoredTable) -> None:
    temporary = path.with_name(f".part-0.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as sink:
            pq.write_table(rows, sink, **_storage(table))
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _storage(table: StoredTable) -> dict[str, Any]:
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [column.name for column in table.encoded("dictionary")],
        "column_encoding": {
            column.name: "DELTA_BYTE_ARRAY" if pa.types.is_string(column.type) else "DELTA_BINARY_PACKED"
            for column in table.encoded("delta")
        },
    }


def _flush_folder(folder: Path) -> None:
    # a rename is only durable once its folder is; Windows has no such thing
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left; under the lock no other writer can be at it."""
    for orphan in folder.glob(_TEMPORARY):
        orphan.unlink(missing_ok=True)


def _conformed(stored: pq.ParquetFile, schema: pa.Schema, version: int, path: Path) -> pa.Table:
    written_by = int((stored.schema_arrow.metadata or {}).get(_VERSION, b"1"))
    if written_by > version:
        raise LakeContractError(
            f"written by a newer version of the table ({written_by}; this software knows {version})",
            where=str(path),
            next_step="run the version of the software that wrote it, or a newer one",
        )
    there = set(stored.schema_arrow.names)
    try:
        rows = stored.read(columns=[name for name in schema.names if name in there])
        columns = [
            rows[field.name].cast(field.type) if field.name in there else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ]
        return pa.table(columns, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as problem:
        raise _broken(path, str(problem)) from problem


def _broken(path: Path, problem: str) -> LakeContractError:
    return LakeContractError(
        f"a file of the lake cannot be read: {problem}",
        where=str(path),
        next_step="move it away and materialize that day again, or restore it from a backup",
    )


def _difference(found: pa.Schema, declared: pa.Schema) -> str:
    return "; ".join(
        f"{name}: {found.field(name).type if name in found.names else 'missing'}"
        f" where {declared.field(name).type if name in declared.names else 'nothing'} is declared"
        for name in dict.fromkeys([*declared.names, *found.names])
        if name not in found.names or name not in declared.names or found.field(name) != declared.field(name)
    )
