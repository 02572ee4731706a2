"""The lake: tables as Hive-partitioned Parquet that is read, merged and replaced, never half seen.

Belongs here: paths, locks, the atomic replacement of a file.
Does not belong here: what a file must hold (see `contract`), what rows mean, which of two rows wins (a rule
is handed in), and Dagster.

A day is one file, `<lake>/<table>/data_date=YYYY-MM-DD/part-0.parquet`; an unpartitioned table is
`<lake>/<table>/part-0.parquet`. Whatever else stands there has a name that begins with a dot, which every
engine passes over.

`update` reads, merges and replaces under a lock that the kernel frees when its holder dies. The new file is
written beside the old one under a hidden name, flushed to disk and renamed: a reader sees the old rows or
the new ones, and a kill at any point leaves one of both. Locks and renames need a local file system. One that
says that it cannot lock is refused; one that only pretends to, as some network file systems do, is not
supported and cannot be told apart.
"""

import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from errno import EACCES, EDQUOT, EFBIG, ENOLCK, ENOSPC, ENOSYS, EOPNOTSUPP
from pathlib import Path
from uuid import uuid4

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from resources.contract import StoredTable, conformed, misfit, storage
from resources.errors import ConfigurationError, LakeContractError, RetryLaterError

PART = "part-0.parquet"
_TEMPORARY = ".part-0.*.tmp"
_NO_LOCKS = {ENOLCK, ENOSYS, EOPNOTSUPP}
_NO_ROOM = {EDQUOT, EFBIG, ENOSPC}


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
        folder = Path(glob.escape(str(self.root)), table.name)
        return str(folder / ("data_date=*/" if table.partitioned else "") / PART)

    def days(self, table: StoredTable) -> list[date]:
        """The days of a partitioned table that are there, oldest first.

        Raises:
            LakeContractError: a folder among them is of no day.
        """
        return sorted(_day_of(path) for path in (self.root / table.name).glob(f"data_date=*/{PART}"))

    def has(self, table: StoredTable, day: date | None = None) -> bool:
        """Tell whether the day (or the unpartitioned table) was ever written, be it with no rows."""
        return self.path(table, day).is_file()

    def read(self, table: StoredTable, day: date | None = None, columns: list[str] | None = None) -> pa.Table:
        """Read one day, or an unpartitioned table: no rows where nothing was written yet.

        A file of an older version gives null for columns that came later.

        Raises:
            LakeContractError: the file does not hold what the table declares.
            ConfigurationError: the lake cannot be looked into.
        """
        path = self.path(table, day)
        schema = (
            table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
        )
        try:
            with pq.ParquetFile(path) as stored:
                return conformed(stored, schema, table.version, path)
        except FileNotFoundError:
            return schema.empty_table()
        except (PermissionError, NotADirectoryError) as problem:
            raise ConfigurationError(
                f"the lake cannot be looked into: {os.strerror(problem.errno or EACCES)}",
                where=f"lake.uri = {self.root} ({path})",
                next_step="make it readable for this user, or set lake.uri to a folder that is",
            ) from None
        except (pa.ArrowException, OSError, ValueError) as problem:
            raise LakeContractError(
                f"a file of the lake cannot be read: {problem}",
                where=str(path),
                next_step="move it away and materialize that day again, or restore it from a backup",
            ) from problem

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
        with self._locked(path):
            existing = self.read(table, day)
            merged = merge(existing)
            problem = misfit(merged, table.schema)
            if problem:
                raise LakeContractError(
                    f"rows that do not fit {table.name}: {problem}",
                    where=str(path),
                    next_step="nothing was written; this is a defect of the rule that made them",
                )
            if path.is_file() and merged.equals(existing):
                return Written(existing, existing, changed=False, path=path)
            rows = pa.Table.from_arrays(merged.columns, schema=table.schema)  # with its version and comments
            with self._writing():
                _replace(path, rows, table)
            return Written(rows, existing, changed=True, path=path)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = filelock.FileLock(
            path.parent / ".lock",
            timeout=self._lock_timeout_seconds,
            fallback_to_soft=False,  # a file as the lock would outlive its owner
        )
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise RetryLaterError(
                    f"another writer has held the lock for {self._lock_timeout_seconds:.0f} s",
                    where=lock.lock_file,
                    next_step="wait for the other run to end; the lock goes with its process,"
                    " do not delete it",
                ) from None
        try:
            with self._writing():
                _sweep(path.parent)
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            reason = problem.strerror or str(problem)
            where = f"lake.uri = {self.root}" + (f" ({problem.filename})" if problem.filename else "")
            if problem.errno in _NO_LOCKS:
                reason += "; without locks two writers would lose each other's rows"
                mend = "set lake.uri to a folder on a local disk"
            elif problem.errno in _NO_ROOM:
                mend = "make room there and run again; what was there before is unharmed"
            else:
                mend = "make that folder writable for this user, or set lake.uri to one that is"
            raise ConfigurationError(
                f"the lake cannot be written to: {reason}", where=where, next_step=mend
            ) from None


def _replace(path: Path, rows: pa.Table, table: StoredTable) -> None:
    temporary = path.with_name(f".part-0.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as sink:
            pq.write_table(rows, sink, **storage(table))
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


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


def _day_of(path: Path) -> date:
    text = path.parent.name.removeprefix("data_date=")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise LakeContractError(
            f"a folder of the lake is of no day: {text}",
            where=str(path.parent),
            next_step="move it out of the lake: query engines would read it too",
        )
    return day
