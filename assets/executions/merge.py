"""What is true of an execution when several sources tell of it.

A row has three groups of columns: identity with configuration, times, outcome. Each group is taken whole from
the candidate that ranks highest in a total order, so the merge is commutative, associative and idempotent:
any order, grouping and repetition of answers, dumps and buckets gives the same table. Nothing that is
recorded is ever dropped.

The order of a group: for the outcome, final over anything else over IN_PROGRESS over none; then `api` over
`archive` over `bucket`; then more members known; then by value. `source` tells whence identity and times
come (both follow the same order of sources, so it is always one), `outcome_source` whence the outcome.
"""

from datetime import datetime
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.framework.row_content import deduplicate, sort_by_key, stamp_changes
from assets.tables import INFERENCE_EXECUTIONS

FINAL = ("SUCCESS", "FAILED")
"""Statuses that the service never changes again."""

_KEY = list(INFERENCE_EXECUTIONS.key)
_TIMES = ("scheduled_start_time", "data_end_time", "source")
_OUTCOME = ("status", "failed_reason", "result_s3_bucket", "result_s3_key", "outcome_source")
_IDENTITY = tuple(
    name for name in INFERENCE_EXECUTIONS.content_columns if name not in (*_KEY, *_TIMES, *_OUTCOME)
)  # with `unrecognized`: members that nobody knows belong to no group in particular

_SOURCES = pa.array(["bucket", "archive", "api"])
_STATUSES = pa.array(["", "IN_PROGRESS", "something new", *FINAL])


def merge_executions(existing: pa.Table, candidates: pa.Table, now: datetime) -> pa.Table:
    """Merge candidate rows into the rows that are there.

    Args:
        existing: rows of `inference_executions`, as recorded.
        candidates: rows of the same columns in any number and order, `recorded_at` null.
        now: becomes `recorded_at` of every row whose content changes.

    Returns:
        One row a key, sorted by it: every key of either side.
    """
    pool = pa.concat_tables([existing, candidates], promote_options="permissive")
    return stamp_changes(INFERENCE_EXECUTIONS, reduce_candidates(pool), existing, now)


def reduce_candidates(rows: pa.Table) -> pa.Table:
    """Reduce any number of candidates a key to the one row that is true of it, sorted by key."""
    pool = sort_by_key(INFERENCE_EXECUTIONS, deduplicate(INFERENCE_EXECUTIONS, rows))
    contested = _contested(pool)
    if not contested.any():
        return pool
    disputed = pool.filter(pa.array(contested))
    settled = _settle(disputed)
    uncontested = pool.filter(pa.array(~contested))
    return sort_by_key(INFERENCE_EXECUTIONS, pa.concat_tables([uncontested, settled]))


def _contested(in_key_order: pa.Table) -> NDArray[np.bool_]:
    """Mark the rows whose key stands in a neighbouring row too."""
    marks = np.zeros(in_key_order.num_rows, dtype=bool)
    repeats = _repeats(in_key_order)
    marks[1:] |= repeats
    marks[:-1] |= repeats
    return marks


def _repeats(in_key_order: pa.Table) -> NDArray[np.bool_]:
    """Tell for each row but the first whether it has the key of the row before it."""
    if in_key_order.num_rows < 2:  # noqa: PLR2004
        return np.zeros(0, dtype=bool)
    same = (pc.equal(in_key_order[name][1:], in_key_order[name][:-1]).to_numpy() for name in _KEY)
    repeats: NDArray[np.bool_] = reduce(np.logical_and, same).astype(bool)
    return repeats


def _settle(rows: pa.Table) -> pa.Table:
    authority, outcome_authority = (
        pc.index_in(rows[name], _SOURCES) for name in ("source", "outcome_source")
    )
    winners = {
        _IDENTITY: _highest(rows, [authority], _IDENTITY),
        _TIMES: _highest(rows, [authority], _TIMES),
        _OUTCOME: _highest(rows, [outcome_rank(rows["status"]), outcome_authority], _OUTCOME),
    }
    columns = {name: winners[_IDENTITY][name] for name in _KEY}
    columns |= {name: winner[name] for group, winner in winners.items() for name in group}
    columns["recorded_at"] = pa.nulls(len(columns[_KEY[0]]), rows.schema.field("recorded_at").type)
    return pa.table([columns[name] for name in rows.schema.names], schema=rows.schema)


def outcome_rank(status: pa.ChunkedArray) -> pa.ChunkedArray:
    """Rank a status: 0 none, 1 IN_PROGRESS, 2 one that is new to us, 3 final."""
    named = pc.fill_null(status, "")
    rank = pc.fill_null(pc.index_in(named, _STATUSES), 2)
    return pc.min_element_wise(rank, 3)


def _highest(rows: pa.Table, ranks: list[pa.ChunkedArray], group: tuple[str, ...]) -> pa.Table:
    """Return the row that ranks highest for each key, in key order: by rank, members known, value."""
    known = reduce(pc.add, (pc.is_valid(rows[name]).cast(pa.int8()) for name in group))
    columns = {f"rank_{number}": rank for number, rank in enumerate([*ranks, known])}
    table = rows.select([*_KEY, *group])
    for name, column in columns.items():
        table = table.append_column(name, column)
    table = table.sort_by([(name, "ascending") for name in [*_KEY, *columns, *group]])
    last = np.ones(table.num_rows, dtype=bool)
    last[:-1] = ~_repeats(table)
    return table.filter(pa.array(last))
