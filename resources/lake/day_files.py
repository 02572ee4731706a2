"""The files of a day of a table with shards: `part-0.parquet`, `part-1.parquet` and so on.

The footer of `part-0.parquet` alone decides the number of shards of a day. A missing file is a shard without
rows. While `resharding` changes the number, a file can also have rows of other shards; its footer says so,
and reads and updates leave these rows out.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as count_from_zero
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.clock import monotonic, sleep_up_to
from resources.errors import RetryLaterError
from resources.lake.row_groups import MergeRowGroups, write_row_groups
from resources.lake.row_moves import find_missing, order_writes
from resources.lake.shards import (
    WHOLE,
    FileLayout,
    LayoutChangedError,
    Shard,
    find_shards,
    join_rows,
    select_rows,
    select_shard,
)
from resources.lake.table_contract import (
    StoredTable,
    build_empty_table,
    check_rows,
    list_encoded,
    open_encoded,
    open_footer,
    read_conformed,
    read_conformed_batches,
    read_conformed_row_groups,
    read_stored,
    read_table_version,
    refuse_foreign_columns,
    translate_read_errors,
    write_rows,
)
from resources.storage.base import OpenFile, Storage, WriteFile

T = TypeVar("T")
Merge = Callable[[pa.Table], pa.Table]
OpenName = Callable[[str], pa.NativeFile]

_MAX_PAUSE_SECONDS = 0.5
_STALLED_AFTER = 0.1
"""Share of the timeout after which an unchanged mark belongs to a program that was probably stopped."""

_FILE = re.compile(r"(?P<folder>.+)/part-(?P<number>[0-9]+)\.parquet")


class ShardConflictError(Exception):
    """Another writer changed a file between the read and the write of an update of several files."""

    def __init__(self, *, has_written: bool) -> None:
        """Keep whether the update has replaced another file before."""
        super().__init__()
        self.has_written = has_written


@dataclass(frozen=True)
class StoredRows:
    """The rows of one file that belong to its shard, and the layout in its footer."""

    rows: pa.Table
    layout: FileLayout


@dataclass(frozen=True)
class UpdatedRows:
    """The rows of a shard after and before an update, and whether a file was written."""

    rows: pa.Table
    before: pa.Table
    changed: bool
    shards: int


@dataclass(frozen=True)
class DayFiles:
    """The files of one day.

    Attributes:
        storage: the files of the lake.
        folder: the folder of the day, as a name of the storage.
        table: the table.
        new_shards: the number of shards if the day does not exist yet.
        timeout_seconds: how long an operation waits for other writers.
        complete_change: continues a change of the number of shards, up to a number; a change that makes no
            progress was probably stopped.
    """

    storage: Storage
    folder: str
    table: StoredTable
    new_shards: int
    timeout_seconds: float
    complete_change: Callable[["DayFiles", int], object]

    def name(self, number: int) -> str:
        """Return the name of a file."""
        return f"{self.folder}/part-{number}.parquet"

    def location(self, number: int) -> Path | str:
        """Return the path or URI of a file."""
        return self.storage.location(self.name(number))

    def read_layout(self, number: int = 0) -> FileLayout | None:
        """Return the layout in the footer of a file; that of file 0 holds for the day. None: no file.

        Raises:
            LakeContractError: the file cannot be read.
        """
        return self.read_layout_of(partial(open_footer, self.storage, self.name(number)), number)

    def read_layout_of(self, open_file: OpenFile, number: int) -> FileLayout | None:
        """Return the layout in the footer of an open file, as `read_layout` does."""
        return read_stored(open_file, self.location(number), FileLayout.read)

    def count(self) -> int:
        """Return the number of shards of the day; of a new day, the number that it will have."""
        layout = self.read_layout()
        return layout.shards if layout else self.new_shards

    def list_numbers(self) -> list[int]:
        """List the numbers of the files that exist, in ascending order."""
        names = map(_FILE.fullmatch, self.storage.list_names(self.folder))
        return sorted(int(match["number"]) for match in names if match and match["folder"] == self.folder)

    # --- Reading -------------------------------------------------------------------------------------------

    def read(self, schema: pa.Schema, shard: Shard = WHOLE, open_name: OpenName | None = None) -> pa.Table:
        """Return columns of a shard, sorted by key; without files, no rows.

        Args:
            schema: the columns.
            shard: the shard.
            open_name: opens a file; None: from the storage.
        """
        return self.retry(lambda _: self._read_shard(schema, shard, open_name or self.storage.open))

    def read_row_groups(self, shard: Shard = WHOLE, schema: pa.Schema | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a shard by row group, file by file; memory does not grow with the files.

        `schema` selects columns; those that decide the shard must be among them.

        Raises:
            RetryLaterError: the number of shards changed meanwhile.
        """
        open_first = partial(self.storage.open, self.name(0))
        try:
            if shard == WHOLE:
                day = yield from self._read_file_row_groups(open_first, 0, None, schema=schema)
                numbers = range(1, day.shards)
            else:
                day = self.read_layout() or FileLayout(self.new_shards)
                numbers = shard.list_files(day.shards)
            for number in numbers:
                open_file = partial(self.storage.open, self.name(number))
                yield from self._read_file_row_groups(open_file, number, day, shard, schema)
        except LayoutChangedError as error:
            raise self._build_timeout_error(error.layout) from None

    def _read_file_row_groups(
        self,
        open_file: OpenFile,
        number: int,
        day: FileLayout | None,
        shard: Shard = WHOLE,
        schema: pa.Schema | None = None,
    ) -> Generator[pa.Table, None, FileLayout]:
        """Yield the rows of one file that belong to its shard and to another one; return the layout.

        Args:
            open_file: opens the file.
            number: the number of the file.
            day: the layout of the day; None: that of this file.
            shard: the other shard.
            schema: the columns; None: all.
        """
        location, schema = self.location(number), schema or self.table.schema
        try:
            file = open_file()
        except FileNotFoundError:
            return day or FileLayout()
        with translate_read_errors(location), file, pq.ParquetFile(file) as stored:
            layout = FileLayout.read(stored)
            self._check_readable(layout, number, day or layout)
            own = Shard(number, (day or layout).shards)
            row_groups = read_conformed_row_groups(stored, schema, self.table.version, location)
            # a loop would hold the row group while the next one is read
            yield from map(lambda rows: self._select(rows, layout, own, shard), row_groups)  # noqa: C417
            return layout

    def read_encoded(self, open_file: OpenFile, number: int, shards: int) -> Iterator[pa.Table]:
        """Yield the rows of a file that belong to its shard, in small batches with the `encoded_schema`."""
        schema, location, own = self.table.encoded_schema, self.location(number), Shard(number, shards)
        with (
            translate_read_errors(location),
            open_file() as file,
            open_encoded(file, list_encoded(schema)) as stored,
        ):
            layout = FileLayout.read(stored)
            for rows in read_conformed_batches(stored, schema, self.table.version, location):
                yield conform(self._select(rows, layout, own, WHOLE), schema)

    def _read_shard(self, schema: pa.Schema, shard: Shard, open_name: OpenName) -> pa.Table:
        parts: list[pa.Table] = []
        if shard == WHOLE:
            first = self._read_file(partial(open_name, self.name(0)), 0, None, schema, shard)
            if first is None:
                return build_empty_table(schema)
            if first.layout.shards == 1:
                return _narrow(first.rows, schema)
            day, numbers = first.layout, range(1, first.layout.shards)
            parts.append(first.rows)
        else:
            layout = self.read_layout()
            if layout is None:
                return build_empty_table(schema)
            day, numbers = layout, shard.list_files(layout.shards)
        for number in numbers:
            open_file = partial(open_name, self.name(number))
            if stored := self._read_file(open_file, number, day, schema, shard):
                parts.append(stored.rows)
        return _narrow(join_rows(parts, self.table.key, self._with_key(schema)), schema)

    def read_files(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield columns of each file, and the key; memory is that of one shard.

        Raises:
            RetryLaterError: the number of shards changed meanwhile.
        """
        day: FileLayout | None = None
        try:
            for number in count_from_zero():
                open_file = partial(self.storage.open, self.name(number))
                stored = self._read_file(open_file, number, day, schema, WHOLE)
                day = day or (stored.layout if stored else FileLayout())
                if stored:
                    yield stored.rows
                if number + 1 == day.shards:
                    return
        except LayoutChangedError as error:
            raise self._build_timeout_error(error.layout) from None

    def _read_file(
        self,
        open_file: OpenFile,
        number: int,
        day: FileLayout | None,
        schema: pa.Schema,
        shard: Shard,
    ) -> StoredRows | None:
        """Read a file as `_read_file_row_groups` does; its rows have the key if it is needed."""
        location, wide = self.location(number), self._with_key(schema)

        def read(stored: pq.ParquetFile) -> StoredRows:
            layout = FileLayout.read(stored)
            self._check_readable(layout, number, day or layout)
            used = schema if layout.shards == 1 and shard == WHOLE else wide
            rows = read_conformed(stored, used, self.table.version, location)
            own = Shard(number, (day or layout).shards)
            return StoredRows(self._select(rows, layout, own, shard), layout)

        return read_stored(open_file, location, read, list_encoded(wide))

    def _with_key(self, schema: pa.Schema) -> pa.Schema:
        missing = [name for name in self.table.key if name not in schema.names]
        for name in missing:
            schema = schema.append(self.table.schema.field(name))
        return schema

    def _check_readable(self, layout: FileLayout, number: int, day: FileLayout) -> None:
        if not layout.is_readable(number, day):
            raise LayoutChangedError(layout)

    def _select(self, rows: pa.Table, layout: FileLayout, own: Shard, shard: Shard) -> pa.Table:
        if layout.is_changing and own != WHOLE:
            rows = select_shard(rows, own)
        return rows if shard.has_whole_files(own.count) else select_shard(rows, shard)

    # --- Updates -------------------------------------------------------------------------------------------

    def update(self, merge: Merge, schema: pa.Schema, shard: Shard = WHOLE) -> UpdatedRows:
        """Replace the rows of a shard by the result of `merge`; the rows of other shards stay.

        A shard in one file is replaced atomically. If it has several files, they are replaced one after the
        other; after a conflict, `merge` is called again with the current rows.
        """
        has_written = False

        def attempt(known: FileLayout | None) -> UpdatedRows:
            nonlocal has_written
            stored, day = self._find_layout(known)
            numbers = list(shard.list_files(day.shards))
            if len(numbers) == 1 and (stored or numbers == [0]):
                return self._update_file(merge, schema, shard, numbers[0], day)
            try:
                return self._update_files(merge, schema, shard, day, is_new=stored is None)
            except ShardConflictError as conflict:
                has_written = has_written or conflict.has_written
                raise

        updated = self.retry(attempt)
        return replace(updated, changed=updated.changed or has_written)

    def _find_layout(self, known: FileLayout | None) -> tuple[FileLayout | None, FileLayout]:
        """Return the layout of the day, None if it does not exist, and the one for an update.

        Most days have one shard. To save a request, that is assumed until a file says something else.
        """
        if known is None and self.new_shards == 1:
            return None, FileLayout()
        stored = known or self.read_layout()
        if stored and stored.is_changing:
            raise LayoutChangedError(stored)
        return stored, stored or FileLayout(self.new_shards)

    def update_row_groups(self, merge: MergeRowGroups, shard: Shard = WHOLE) -> None:
        """Replace the rows of a shard, one row group at a time if the shard is one whole file."""

        def attempt(known: FileLayout | None) -> None:
            stored, day = self._find_layout(known)
            numbers = list(shard.list_files(day.shards))
            if len(numbers) == 1 and shard.has_whole_files(day.shards) and (stored or numbers == [0]):
                self._update_file_row_groups(merge, numbers[0], day)
                return
            self.update(
                lambda rows: join_rows(list(merge(iter([rows]))), self.table.key, self.table.schema),
                self.table.schema,
                shard,
            )

        self.retry(attempt)

    def read_version(self) -> int | None:
        """Return the lowest table version of the files; None without a file."""

        def read(stored: pq.ParquetFile) -> tuple[int, int]:
            return read_table_version(stored), FileLayout.read(stored).shards

        versions = []
        numbers = [0]
        for number in numbers:
            open_file = partial(open_footer, self.storage, self.name(number))
            if found := read_stored(open_file, self.location(number), read):
                versions.append(found[0])
                numbers += range(1, found[1]) if number == 0 else ()
        return min(versions, default=None)

    def rewrite(self) -> bool:
        """Write the rows of older files in the current version; return whether any file was older."""

        def attempt(_: FileLayout | None) -> bool:
            day = self.read_layout() or FileLayout()
            return sum(self._rewrite_file(number, day) for number in range(day.shards)) > 0

        return self.retry(attempt)

    def _update_file(
        self, merge: Merge, schema: pa.Schema, shard: Shard, number: int, day: FileLayout
    ) -> UpdatedRows:
        own, is_whole = Shard(number, day.shards), shard.has_whole_files(day.shards)

        def change(open_file: OpenFile) -> tuple[UpdatedRows, WriteFile | None]:
            stored = self.read_to_replace(open_file, number, day, schema)
            rows = build_empty_table(schema) if stored is None else stored.rows
            others: list[pa.Table] = []
            if not is_whole:
                is_selected = find_shards(rows, shard.count) == shard.number
                others = [select_rows(rows, ~is_selected)]
                rows = conform(select_rows(rows, is_selected), schema)
            merged = merge(rows)
            self._check(merged, schema, own if is_whole else shard, number)
            is_same = merged is rows or merged.equals(rows)
            if stored is not None and not stored.layout.is_changing and is_same:
                return UpdatedRows(rows, rows, changed=False, shards=day.shards), None
            merged = pa.Table.from_arrays(merged.columns, schema=schema)  # adds the version and the comments
            complete = join_rows([*others, merged], self.table.key, schema) if others else merged
            updated = UpdatedRows(merged, rows, changed=True, shards=day.shards)
            return updated, self.write(complete, _get_written_layout(stored, day))

        return self.storage.update(self.name(number), change)

    def _update_files(
        self, merge: Merge, schema: pa.Schema, shard: Shard, day: FileLayout, *, is_new: bool
    ) -> UpdatedRows:
        files = {
            number: self.read_to_replace(partial(self.storage.open, self.name(number)), number, day, schema)
            for number in shard.list_files(day.shards)
        }
        current = {number: file.rows if file else schema.empty_table() for number, file in files.items()}
        is_whole = shard.has_whole_files(day.shards)
        selected = current
        if not is_whole:
            selected = {
                number: conform(select_shard(rows, shard), schema) for number, rows in current.items()
            }
        before = join_rows(list(selected.values()), self.table.key, schema)
        merged = merge(before)
        self._check(merged, schema, shard, min(files))
        merged = pa.Table.from_arrays(merged.columns, schema=schema)
        owners = find_shards(merged, day.shards)
        new = {number: conform(select_rows(merged, owners == number), schema) for number in files}
        changed = [
            number
            for number, rows in new.items()
            if not rows.equals(selected[number]) or (is_new and number == 0)
        ]
        if not is_whole:
            for number in changed:
                is_other = find_shards(current[number], shard.count) != shard.number
                others = select_rows(current[number], is_other)
                new[number] = join_rows([others, new[number]], self.table.key, schema)
        if is_new and 0 not in changed:
            self._create_first_file(day)
        changed.sort(key=lambda number: is_new and number > 0)
        self._replace_all(changed, current, new, day, schema)
        return UpdatedRows(merged, before, changed=bool(changed) or is_new, shards=day.shards)

    def _replace_all(
        self,
        numbers: Sequence[int],
        current: Mapping[int, pa.Table],
        new: Mapping[int, pa.Table],
        day: FileLayout,
        schema: pa.Schema,
    ) -> None:
        """Replace files in an order such that a stop in between loses no row that moves to another file."""
        key = self.table.key
        leaving = [find_missing(key, current[number], new[number]) for number in numbers]
        is_gaining = [find_missing(key, new[number], current[number]).num_rows > 0 for number in numbers]
        kept, final = order_writes([rows.num_rows > 0 for rows in leaving], is_gaining)
        before, has_written = dict(current), False
        try:
            for position in kept:
                number = numbers[position]
                complete = join_rows([new[number], leaving[position]], key, schema)
                self._replace(number, before[number], complete, day, schema)
                before[number], has_written = complete, True
            for number in (numbers[position] for position in final):
                self._replace(number, before[number], new[number], day, schema)
                has_written = True
        except ShardConflictError:
            raise ShardConflictError(has_written=has_written) from None

    def _create_first_file(self, day: FileLayout) -> None:
        """Create file 0, which decides the number of shards of a new day."""

        def change(open_file: OpenFile) -> tuple[None, WriteFile | None]:
            stored = self.read_to_replace(open_file, 0, day, self.table.schema)
            return None, None if stored else self.write(self.table.schema.empty_table(), day)

        self.storage.update(self.name(0), change)

    def _replace(
        self, number: int, current: pa.Table, new: pa.Table, day: FileLayout, schema: pa.Schema
    ) -> None:
        def change(open_file: OpenFile) -> tuple[None, WriteFile | None]:
            stored = self.read_to_replace(open_file, number, day, schema)
            rows = build_empty_table(schema) if stored is None else stored.rows
            if stored is not None and not stored.layout.is_changing and rows.equals(new):
                return None, None
            if not rows.equals(current):
                raise ShardConflictError(has_written=False)
            return None, self.write(new, _get_written_layout(stored, day))

        self.storage.update(self.name(number), change)

    def _update_file_row_groups(self, merge: MergeRowGroups, number: int, day: FileLayout) -> None:
        location = self.location(number)

        def change(open_file: OpenFile) -> tuple[None, WriteFile]:
            def check(stored: pq.ParquetFile) -> FileLayout:
                layout = FileLayout.read(stored)
                self.check_replaceable(layout, number, day)
                refuse_foreign_columns(stored, self.table, location)
                return layout

            layout = read_stored(open_file, location, check)
            groups = partial(self._read_file_row_groups, open_file, number, layout if number == 0 else day)
            written = layout if number == 0 and layout else FileLayout(day.shards)
            return None, lambda sink: write_row_groups(self.table, location, merge(groups()), sink, written)

        self.storage.update(self.name(number), change)

    def _rewrite_file(self, number: int, day: FileLayout) -> bool:
        def change(open_file: OpenFile) -> tuple[bool, WriteFile | None]:
            version = read_stored(open_file, self.location(number), read_table_version)
            if version is None or version >= self.table.version:
                return False, None
            stored = self.read_to_replace(open_file, number, day, self.table.schema)
            return True, self.write(stored.rows, _get_written_layout(stored, day)) if stored else None

        return self.storage.update(self.name(number), change)

    def read_to_replace(
        self, open_file: OpenFile, number: int, day: FileLayout, schema: pa.Schema
    ) -> StoredRows | None:
        """Read the rows of a file that belong to its shard, to replace the file; None without a file.

        Raises:
            LayoutChangedError: the day has another number of shards, or is being changed.
        """
        location = self.location(number)

        def read(stored: pq.ParquetFile) -> StoredRows:
            layout = FileLayout.read(stored)
            self.check_replaceable(layout, number, day)
            rows = read_conformed(stored, schema, self.table.version, location)
            refuse_foreign_columns(stored, self.table, location)
            if layout.is_changing:
                rows = conform(select_shard(rows, Shard(number, day.shards)), schema)
            return StoredRows(rows, layout)

        return read_stored(open_file, location, read, list_encoded(schema))

    def write(self, rows: pa.Table, layout: FileLayout) -> WriteFile:
        """Return the writer of a file."""
        return lambda sink: write_rows(rows, self.table, sink, layout)

    def check_replaceable(self, layout: FileLayout, number: int, day: FileLayout) -> None:
        """Check that an update of the day may replace a file.

        Raises:
            LayoutChangedError: the day has another number of shards, or is being changed.
        """
        if not layout.is_replaceable(number, day):
            raise LayoutChangedError(layout)

    def _check(self, merged: pa.Table, schema: pa.Schema, shard: Shard, number: int) -> None:
        check_rows(merged, self.table.name, schema, self.location(number))
        if not np.all(find_shards(merged, shard.count) == shard.number):
            raise ValueError(f"{self.table.name}: rows of other shards than {shard}")

    def retry(self, action: Callable[[FileLayout | None], T]) -> T:
        """Repeat an action while other programs change the files; it gets the layout of the day, if known.

        Raises:
            RetryLaterError: the changes did not end in time.
        """
        now = monotonic()
        deadline, stalled_at = now + self.timeout_seconds, now + self.timeout_seconds * _STALLED_AFTER
        layout: FileLayout | None = None
        for conflicts in count_from_zero():
            try:
                return action(layout)
            except (LayoutChangedError, ShardConflictError):
                before, layout = layout, self.read_layout()
            is_waiting = layout is not None and layout.is_changing
            if not is_waiting or layout != before:
                stalled_at = monotonic() + self.timeout_seconds * _STALLED_AFTER
            if layout and layout.following and monotonic() >= stalled_at:
                self.complete_change(self, layout.following)
                layout = self.read_layout()
                continue
            if monotonic() > deadline and (conflicts or is_waiting):
                raise self._build_timeout_error(layout) from None
            sleep_up_to(min(_MAX_PAUSE_SECONDS, 0.01 * 2 ** min(conflicts, 10)) if conflicts else 0)
        raise AssertionError  # count has no end

    def _build_timeout_error(self, layout: FileLayout | None) -> RetryLaterError:
        if layout and layout.following:
            day = self.folder.rpartition("=")[2]
            return RetryLaterError(
                "Cannot use a day of the lake: a change of its number of shards is not complete",
                where=str(self.location(0)),
                next_step="wait for `ledger migrate` to end; if it was stopped, run `ledger migrate"
                f" {self.table.name} --shards {layout.following} --from {day} --to {day}`",
            )
        return RetryLaterError(
            f"Cannot update a day of the lake: conflicts with other writers in {self.timeout_seconds:.0f} s",
            where=str(self.location(0)),
            next_step="wait for the other runs to end, and run again; no rows were lost",
        )


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return selected rows in the form in which a file gives them."""
    return join_rows([rows], (), schema)


def _get_written_layout(stored: StoredRows | None, day: FileLayout) -> FileLayout:
    """Return the layout of a file after an update; only that of file 0 keeps the change to this number."""
    is_first = stored is not None and not stored.layout.is_changing
    return stored.layout if is_first and stored else FileLayout(day.shards)


def _narrow(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    if rows.schema.names == schema.names:
        return rows
    return pa.table([rows[name] for name in schema.names], schema=schema)
