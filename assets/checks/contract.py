"""Whether what is stored is what is declared: unique keys, and files that fit their table.

The lake enforces the schema of whatever it writes, and the rules make keys unique. These checks see what
came in beside them: a file restored from elsewhere, a copy that went wrong, a defect of a rule. Downstream
each execution would count twice and each join would multiply, and the numbers would look right. So both
block: nothing is computed from such a day until it is mended.
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
Place = tuple[Table, date | None]
"""A table and its day; None: it has no days."""


def repeated_keys(table: Table, rows: pa.Table) -> pa.Table:
    """Return the keys that stand more than once, with how often.

    Rows are stored sorted by their key, so one pass over neighbours tells; rows in no order are counted.
    """
    keys = list(table.key)
    if rows.num_rows < 2 or _rises(rows.select(keys)):  # noqa: PLR2004 (one row has no neighbour)
        return rows.select(keys).slice(0, 0).append_column("rows", pa.array([], pa.int64()))
    counted = rows.group_by(keys, use_threads=False).aggregate([([], "count_all")])
    often = counted.filter(pc.greater(counted["count_all"], 1))
    return often.rename_columns([*keys, "rows"])


def undeclared_files(rows: pa.Table, day: date) -> int:
    """Count the rows whose window starts on another day: their key may stand in its own day too."""
    if _START not in rows.schema.names:
        return 0
    window, starts = get_day_window(day), rows[_START]
    outside = pc.or_(
        pc.less(starts, pa.scalar(window.start, starts.type)),
        pc.greater_equal(starts, pa.scalar(window.end, starts.type)),
    )
    return int(pc.sum(outside).as_py() or 0)


def keys_unique(read: Iterable[tuple[Place, pa.Table]]) -> CheckOutcome:
    """Judge the keys of some tables and days, each read by its key columns.

    Args:
        read: the places with their rows, one at a time: only one of them is in memory.
    """
    rows_seen, wrong, examples = 0, list[str](), list[dict[str, object]]()
    twice = astray = 0
    for (table, day), rows in read:
        rows_seen += rows.num_rows
        found, foreign = repeated_keys(table, rows), 0 if day is None else undeclared_files(rows, day)
        twice, astray = twice + found.num_rows, astray + foreign
        if found.num_rows or foreign:
            wrong.append(_name((table, day)))
            room = max(0, EXAMPLES - len(examples))
            examples += [{"place": wrong[-1], **row} for row in islice(found.to_pylist(), room)]
    said = f"Each of {rows_seen} keys stands once, in its own day."
    if wrong:
        said = (
            f"{twice} keys stand more than once, and {astray} rows stand in another day's file: "
            f"{summarize(wrong)}. Move the file away and materialize its day again, or restore it."
        )
    numbers = {"rows": rows_seen, "repeated_keys": twice, "rows_of_other_days": astray}
    return CheckOutcome(not wrong, said, numbers, examples, causes=wrong)


def schema_matches_declaration(footers: Iterable[tuple[Place, Footer]]) -> CheckOutcome:
    """Judge files by their footers. A file of an older version is a fact and no fault."""
    files, older, wrong = 0, list[str](), list[tuple[str, str]]()
    for place, footer in footers:
        files += 1
        if footer.problem:
            wrong.append((_name(place), footer.problem))
        elif footer.version < place[0].version:
            older.append(_name(place))
    said = f"{files} files hold what their tables declare."
    if older:
        said += f" {len(older)} of them were written by an older version, and are read as before: "
        said += f"{summarize(older)}."
    if wrong:
        names = summarize(name for name, _ in wrong)
        said = (
            f"{len(wrong)} of {files} files do not hold what their tables declare: {names}. "
            "Move them away and materialize their days again, or restore them from a backup."
        )
    return CheckOutcome(
        not wrong,
        said,
        {"files": files, "of_older_versions": len(older), "misfits": len(wrong)},
        [{"place": name, "problem": problem} for name, problem in wrong[:EXAMPLES]],
        causes=[name for name, _ in wrong],
    )


def _rises(keys: pa.Table) -> bool:
    """Tell whether each row's key is greater than the one before it."""
    undecided: NDArray[np.bool_] = np.ones(keys.num_rows - 1, dtype=bool)
    for column in keys.columns:
        whole = column.combine_chunks()
        left, right = whole[:-1], whole[1:]
        falls = pc.greater(left, right).to_numpy(zero_copy_only=False)
        if (undecided & falls).any():
            return False
        undecided &= pc.equal(left, right).to_numpy(zero_copy_only=False)
    return not undecided.any()


def _name(place: Place) -> str:
    table, day = place
    return table.name if day is None else f"{table.name} of {day}"
