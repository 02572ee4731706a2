"""Rules on stored files: unique primary keys, and schemas that match the declaration.

The lake enforces schemas when it writes, and the merge makes keys unique. These rules detect files from other
origins: a restored backup, a broken copy, a defect of the merge. Duplicate keys would multiply downstream
counts, so both checks block downstream assets.
"""

from collections.abc import Iterable
from datetime import date
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.checks.result import EXAMPLES, CheckOutcome, summarize
from assets.framework.time_windows import get_day_window
from assets.tables import Table
from resources.lake.table_contract import Footer

_START = "data_start_time"
TablePartition = tuple[Table, date | None]
"""A table and its day; None: the table is unpartitioned."""


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


def evaluate_keys_unique(key_rows: Iterable[tuple[TablePartition, pa.Table]]) -> CheckOutcome:
    """Check the primary keys of some tables and days.

    Args:
        key_rows: Each partition with its key columns. Only one of them is in memory at a time.
    """
    row_count, partition_count = 0, 0
    affected, examples = list[str](), list[dict[str, object]]()
    repeated_count = misplaced_count = 0
    for (table, day), rows in key_rows:
        row_count, partition_count = row_count + rows.num_rows, partition_count + 1
        repeated = find_repeated_keys(table, rows)
        misplaced = 0 if day is None else count_rows_of_other_days(rows, day)
        repeated_count, misplaced_count = repeated_count + repeated.num_rows, misplaced_count + misplaced
        if repeated.num_rows or misplaced:
            affected.append(_format_partition((table, day)))
            free = max(0, EXAMPLES - len(examples))
            examples += [{"partition": affected[-1], **row} for row in islice(repeated.to_pylist(), free)]
    message = f"{row_count} rows in {partition_count} files examined: each key occurs once, in its own day."
    if affected:
        message = (
            f"{repeated_count} keys occur more than once, and {misplaced_count} rows are in the file of"
            f" another day: {summarize(affected)}. "
            "Restore each file from a backup, or move it away and materialize its day again."
        )
    metadata = {"rows": row_count, "repeated_keys": repeated_count, "rows_of_other_days": misplaced_count}
    return CheckOutcome(not affected, message, metadata, examples, problem_ids=affected)


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
