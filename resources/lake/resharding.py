"""Changes of the number of shards of a day, while other programs read and update it.

An object store replaces one object at a time, so a change has five phases, and `part-0.parquet` decides:

1. Mark: each file is replaced by one with the same rows and the new number in its footer. Updates of the day
   wait from now on, so the rows cannot change.
2. Prepare: the new files are written to a temporary folder.
3. Add: new rows are added to the files, so that a row is in its old file and in its new one.
4. Commit: `part-0.parquet` gets the new number. From now on, reads and updates of this project use it.
5. Remove: the files lose the rows that belong to other files now.

Each phase can be repeated, also by another program. A program that stops at any point loses no row, and the
next one continues. No file is ever deleted: a writer that was paused could create it again.

Reads by `DayFiles` return each row once at any time. Programs that read all files of the folder can see a row
twice from phase 3 to 5, and never miss one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pyarrow as pa

from resources.clock import sleep_up_to, unique_id
from resources.lake.day_files import DayFiles
from resources.lake.row_groups import write_encoded, write_split
from resources.lake.shards import FileLayout, LayoutChangedError, join_rows
from resources.storage.base import OpenFile, WriteFile

_MAX_PAUSE_SECONDS = 0.1


def reshard(files: DayFiles, shards: int) -> bool:
    """Change the number of shards of a day; return whether a file was written. A missing day stays missing.

    Memory is that of the largest new file, and the new files need space in the temporary folder.

    Raises:
        LedgerError: the lake cannot be read or written.
    """
    has_written = False
    while day := files.read_layout():
        try:
            if day.following is None:
                has_written |= _remove_other_rows(files, day, {})
                if day.shards == shards:
                    break
                day = replace(day, following=_find_next_step(day.shards, shards), following_id=unique_id())
            _change(files, day)  # or continue the change that another program began
            has_written = True
        except LayoutChangedError:  # another program does the same
            sleep_up_to(_MAX_PAUSE_SECONDS)
    return has_written


def _find_next_step(shards: int, following: int) -> int:
    """Return the following number, or a common divisor on the way: a step only splits or only joins files."""
    return following if following % shards == 0 else gcd(shards, following)


def _change(files: DayFiles, marked: FileLayout) -> None:
    marked = _mark_first(files, marked)
    for number in range(1, marked.shards):
        _mark(files, number, marked)
    final = _get_final_layout(marked)
    with TemporaryDirectory(prefix="ledger-shards-") as folder:
        new = _prepare(files, marked, final, Path(folder))
        for number in range(marked.shards if final.shards > marked.shards else 1, final.shards):
            _add(files, number, marked, new[number])
        _commit(files, marked, new[0])
        _remove_other_rows(files, final, new)


def _get_final_layout(marked: FileLayout) -> FileLayout:
    """Return the layout after the change; a day with one shard has no entries in its footer."""
    shards = marked.following or 1
    return FileLayout(shards, marked.following_id if shards > 1 else None)


@dataclass(frozen=True)
class _NewFile:
    """A prepared file, and the same rows with the footer for phase 3."""

    final: Path
    added: Path


def _mark_first(files: DayFiles, marked: FileLayout) -> FileLayout:
    """Mark `part-0.parquet`; return the mark that it has, which another program may have set."""

    def change(open_file: OpenFile) -> tuple[FileLayout, WriteFile | None]:
        layout = files.read_layout_of(open_file, 0)
        if layout and replace(layout, following_id=None) == replace(marked, following_id=None):
            return layout, None
        if layout is None or replace(marked, following=None, following_id=None) != layout:
            raise LayoutChangedError(marked)
        return marked, _rewrite(files, open_file, 0, marked)

    return files.storage.update(files.name(0), change)


def _mark(files: DayFiles, number: int, marked: FileLayout) -> None:
    def change(open_file: OpenFile) -> tuple[None, WriteFile | None]:
        layout = files.read_layout_of(open_file, number)
        _check_marked(files, marked)
        if layout == marked:
            return None, None
        if layout is None:  # the file must exist, so that no paused writer can create it later
            return None, files.write(files.table.schema.empty_table(), marked)
        files.check_replaceable(layout, number, marked)
        return None, _rewrite(files, open_file, number, marked)

    files.storage.update(files.name(number), change)


def _check_marked(files: DayFiles, marked: FileLayout) -> None:
    """Check that the change is not committed.

    This follows the read of the file to replace. After a commit, an update can change that file, but then the
    write fails, because the file is not the one that was read.
    """
    if files.read_layout() != marked:
        raise LayoutChangedError(marked)


def _rewrite(files: DayFiles, open_file: OpenFile, number: int, layout: FileLayout) -> WriteFile:
    rows = partial(files.read_encoded, open_file, number, layout.shards)
    return lambda sink: write_encoded(files.table, rows(), sink, layout)


def _prepare(files: DayFiles, marked: FileLayout, final: FileLayout, folder: Path) -> dict[int, _NewFile]:
    """Write the new files; the rows of the day are frozen."""
    paths = [folder / f"{number}.parquet" for number in range(final.shards)]
    if final.shards > marked.shards:
        for number in range(marked.shards):
            targets = {target: paths[target] for target in range(number, final.shards, marked.shards)}
            write_split(files.table, _read_marked(files, number, marked), final.shards, targets, final)
        return {number: _NewFile(path, path) for number, path in enumerate(paths)}
    new = {number: _NewFile(path, path.with_suffix(".added")) for number, path in enumerate(paths)}
    for target, file in new.items():
        parts = [
            rows
            for number in range(target, marked.shards, final.shards)
            for rows in _read_marked(files, number, marked)
        ]
        joined = join_rows(parts, files.table.key, files.table.encoded_schema)
        for path, layout in ((file.final, final), (file.added, marked)):
            with path.open("wb") as sink:
                files.write(joined, layout)(sink)
    return new


def _read_marked(files: DayFiles, number: int, marked: FileLayout) -> Iterator[pa.Table]:
    open_file = partial(files.storage.open, files.name(number))
    if files.read_layout_of(open_file, number) != marked:
        raise LayoutChangedError(marked)
    return files.read_encoded(open_file, number, marked.shards)


def _add(files: DayFiles, number: int, marked: FileLayout, new: _NewFile) -> None:
    def change(open_file: OpenFile) -> tuple[None, WriteFile]:
        layout = files.read_layout_of(open_file, number)
        _check_marked(files, marked)
        if number < marked.shards and layout != marked:
            raise LayoutChangedError(marked)
        return None, partial(_copy, new.added)

    files.storage.update(files.name(number), change)


def _commit(files: DayFiles, marked: FileLayout, new: _NewFile) -> None:
    def change(open_file: OpenFile) -> tuple[None, WriteFile]:
        if files.read_layout_of(open_file, 0) != marked:
            raise LayoutChangedError(marked)
        return None, partial(_copy, new.final)

    files.storage.update(files.name(0), change)


def _remove_other_rows(files: DayFiles, day: FileLayout, new: Mapping[int, _NewFile]) -> bool:
    """Complete phase 5 of the change to the layout of the day; return whether a file was written."""

    def change(number: int, open_file: OpenFile) -> tuple[bool, WriteFile | None]:
        layout = files.read_layout_of(open_file, number)
        current = files.read_layout()  # after the read of the file, as in `_check_marked`
        if layout is None or layout.following != day.shards or current != day:
            return False, None
        if number >= day.shards:
            return True, files.write(files.table.schema.empty_table(), FileLayout(day.shards))
        if number in new:
            return True, partial(_copy, new[number].final)
        return True, _rewrite(files, open_file, number, day)

    has_written = False
    for number in files.list_numbers():
        layout = files.read_layout(number) if number else None
        if layout and layout.following == day.shards:
            has_written |= files.storage.update(files.name(number), partial(change, number))
    return has_written


def _copy(path: Path, sink: BinaryIO) -> None:
    with path.open("rb") as file:
        copyfileobj(file, sink)
