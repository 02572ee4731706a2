"""The order of writes in which a stop loses no row that moves from one file of a day to another.

First, each file that gets rows is written with these rows, and keeps the rows that leave it. Then these rows
are removed. A stop in between leaves a row in two files; the next update of the day sees both.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from resources.encoded_texts import decode_texts

_POSITION = "position"


def find_missing(key: Sequence[str], rows: pa.Table, others: pa.Table) -> pa.Table:
    """Return the rows whose key `others` has not, in their order."""
    if rows.equals(others) or not rows.num_rows:
        return rows.slice(0, 0)
    if not others.num_rows:
        return rows
    columns = list(key)
    keys, other_keys = decode_texts(rows.select(columns)), decode_texts(others.select(columns))
    numbered = keys.append_column(_POSITION, pa.array(np.arange(rows.num_rows)))
    missing = numbered.join(other_keys, keys=columns, join_type="left anti", use_threads=False)
    return rows.take(missing[_POSITION].combine_chunks().sort())


def order_writes(is_losing: Sequence[bool], is_gaining: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Return the files to write first, with all their rows before and after, and those to write then.

    Args:
        is_losing: whether each file loses rows.
        is_gaining: whether each file gets rows.
    """
    both = zip(is_losing, is_gaining, strict=True)
    kept = [number for number, (loses, gains) in enumerate(both) if loses and gains]
    return kept, sorted(range(len(is_losing)), key=lambda number: is_losing[number])
