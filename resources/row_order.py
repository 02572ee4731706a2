"""The order of rows by key."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from resources.encoded_texts import combine_chunks, get_chunk, get_sortable, has_encoded_texts


def sort_rows(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the rows in ascending order of a key."""
    columns = [get_sortable(get_chunk(rows[name])) for name in key]
    if _is_sorted(columns):
        return rows
    names = [str(number) for number in range(len(columns))]
    order = pc.sort_indices(pa.table(columns, names), [(name, "ascending") for name in names])
    return (combine_chunks(rows) if has_encoded_texts(rows.schema) else rows).take(order)


def _is_sorted(key: Sequence[pa.Array]) -> bool:
    """Whether rows are in ascending order already, which is much cheaper to see than to sort."""
    in_order, is_equal = False, True
    for column in key:
        if column.null_count:
            return False
        previous, current = column[:-1], column[1:]
        in_order = pc.or_(in_order, pc.and_(is_equal, pc.less(previous, current)))
        is_equal = pc.and_(is_equal, pc.equal(previous, current))
    return bool(pc.all(pc.or_(in_order, is_equal), min_count=0).as_py())
