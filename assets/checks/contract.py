"""Rules on stored files: unique primary keys, and schemas that match the declaration.

The lake enforces schemas when it writes, and the merge makes keys unique. These rules detect files from other
origins: a restored backup, a broken copy, a defect of the merge. Duplicate keys would multiply downstream
counts, so both checks block downstream assets.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.checks.result import EXAMPLES, CheckOutcome, summarize
from assets.framework.time_windows import get_day_window
from assets.tables import Table
from resources.lake.shards import WHOLE, Shard, find_shards
from resources.lake.table_contract import Footer

_START = "data_start_time"
TablePartition = tuple[Table, date | None]
"""A table and its day; None: the table is unpartitioned."""

ReadKeys = Callable[[], Iterable[pa.Table]]
"""Reads the primary key columns of a file, batch by batch."""


@dataclass(frozen=True)
class KeyFile:
    """The keys of one file: its table and day, a function that reads them, and its shard of the day."""

    partition: TablePartition
    read_keys: ReadKeys
    shard: Shard = WHOLE


def find_repeated_keys(table: Table, rows: pa.Table) -> pa.Table:
    """Return the keys that occur more than once, with their counts.

    Stored rows are sorted by key, so comparing neighbors is enough. Unsorted rows are grouped and counted.
    """
    keys = list(table.key)
    if rows.num_rows < 2 or _is_strictly_increasing(rows.select(keys)):  # noqa: PLR2004 (no neighbor)
        return rows.select(keys).slice(0, 0).append_column("rows", pa.array([], pa.int64()))
    counts = rows.group_by(keys, use_threads=False).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    return repeated.rename_columns([*keys, "rows"])


def _list_repeated_keys(table: Table, batches: Iterable[pa.Table]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = find_repeated_keys(table, pa.concat_tables(batches)).to_pylist()
    return rows


def count_rows_of_other_days(rows: pa.Table, day: date) -> int:
    """Count the rows that start on another day; their key can also occur in the file of that day."""
    if _START not in rows.schema.names:
        return 0
    window, starts = get_day_window(day), rows[_START]
    outside = pc.or_(
        pc.less(starts, pa.scalar(window.start, starts.type)),
        pc.greater_equal(starts, pa.scalar(window.end, starts.type)),
    )
    return int(pc.sum(outside).as_py() or 0)


@dataclass(frozen=True)
class _KeyScan:
    """The rows of a file, those of other days and shards, and whether the keys increase from row to row."""

    rows: int
    of_other_days: int
    of_other_shards: int
    is_increasing: bool


def _scan_keys(file: KeyFile) -> _KeyScan:
    """Compare neighbors, also across batches; one batch is in memory at a time."""
    table, day = file.partition
    row_count = of_other_days = of_other_shards = 0
    is_increasing = True
    last: pa.Table | None = None
    for rows in file.read_keys():
        keys = rows.select(list(table.key))
        row_count += rows.num_rows
        of_other_days += 0 if day is None else count_rows_of_other_days(rows, day)
        of_other_shards += int((find_shards(rows, file.shard.count) != file.shard.number).sum())
        joined = keys if last is None else pa.concat_tables([last, keys])
        is_increasing = is_increasing and (joined.num_rows < 2 or _is_strictly_increasing(joined))  # noqa: PLR2004
        last = joined.slice(max(0, joined.num_rows - 1))
    return _KeyScan(row_count, of_other_days, of_other_shards, is_increasing)


def evaluate_keys_unique(files: Iterable[KeyFile]) -> CheckOutcome:
    """Check the primary keys of some files, batch by batch.

    Only a file that is not sorted by key, which the lake did not write, is read whole. A key in the file of
    its own day and shard cannot be in another file too.
    """
    counts = dict.fromkeys(("rows", "repeated_keys", "rows_of_other_days", "rows_of_other_shards"), 0)
    affected, examples = dict[str, None](), list[dict[str, object]]()
    file_count = 0
    for file in files:
        scan = _scan_keys(file)
        repeated = [] if scan.is_increasing else _list_repeated_keys(file.partition[0], file.read_keys())
        found = (scan.rows, len(repeated), scan.of_other_days, scan.of_other_shards)
        counts = {name: counts[name] + count for name, count in zip(counts, found, strict=True)}
        file_count += 1
        if any(found[1:]):
            partition = _format_partition(file.partition)
            affected[partition] = None
            free = max(0, EXAMPLES - len(examples))
            examples += [{"partition": partition, **row} for row in repeated[:free]]
    message = f"{counts['rows']} rows in {file_count} files examined: each key occurs once, in its own day."
    if affected:
        message = (
            f"{counts['repeated_keys']} keys occur more than once, {counts['rows_of_other_days']} rows are in"
            f" the file of another day, and {counts['rows_of_other_shards']} in that of another shard:"
            f" {summarize(affected)}. If `ledger migrate --shards` was stopped, run it again."
            " Otherwise restore each file from a backup, or move it away and materialize its day again."
        )
    return CheckOutcome(not affected, message, counts, examples, problem_ids=list(affected))


def evaluate_schema_matches_declaration(footers: Iterable[tuple[TablePartition, Footer]]) -> CheckOutcome:
    """Check the schemas of files by their footers. Files of an older table version pass."""
    files, older, problems = 0, list[str](), list[tuple[str, str]]()
    for partition, footer in footers:
        files += 1
        if footer.problem:
            problems.append((_format_partition(partition), footer.problem))
        elif footer.version < partition[0].version:
            older.append(_format_partition(partition))
    message = f"{files} files have the declared schema."
    if older:
        message += f" {len(older)} of them have an older table version and stay readable: {summarize(older)}."
    if problems:
        names = summarize(name for name, _ in problems)
        message = (
            f"{len(problems)} of {files} files do not have the declared schema: {names}. "
            "Restore each file from a backup, or move it away and materialize its day again."
        )
    return CheckOutcome(
        not problems,
        message,
        {"files": files, "older_versions": len(older), "mismatches": len(problems)},
        [{"partition": name, "problem": problem} for name, problem in problems[:EXAMPLES]],
        problem_ids=[name for name, _ in problems],
    )


def _is_strictly_increasing(keys: pa.Table) -> bool:
    undecided: NDArray[np.bool_] = np.ones(keys.num_rows - 1, dtype=bool)
    for column in keys.columns:
        values = column.combine_chunks()
        left, right = values[:-1], values[1:]
        decreases = pc.greater(left, right).to_numpy(zero_copy_only=False)
        if (undecided & decreases).any():
            return False
        undecided &= pc.equal(left, right).to_numpy(zero_copy_only=False)
    return not undecided.any()


def _format_partition(partition: TablePartition) -> str:
    table, day = partition
    return table.name if day is None else f"{table.name} of {day}"
