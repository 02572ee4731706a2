"""The executions of a day that have a result object, and the stored rows of each.

Result tables are sorted by scheduler and start, so the rows of one execution are adjacent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.executions.statuses import have_results
from resources.encoded_texts import get_chunk, get_comparable

KEY = ("scheduler_arn", "data_start_time")
COLUMNS = [
    *KEY,
    "scheduler_name",
    "model_version",
    "status",
    "result_s3_bucket",
    "result_s3_key",
    "outcome_source",
]

ExecutionKey = tuple[str, datetime]
"""Scheduler ARN and start of the data window."""
ObjectLocation = tuple[str, str]
"""Bucket and key."""


@dataclass(frozen=True)
class ExecutionRows:
    """A slice of a table: the adjacent rows that belong to one execution."""

    key: ExecutionKey
    offset: int
    length: int


@dataclass(frozen=True)
class ExecutionIndex:
    """Executions that have a result object, sorted by key; the number of one is its position in `rows`.

    `other_buckets` are buckets that the service named for other executions of the day.
    """

    rows: pa.Table
    other_buckets: frozenset[str] = frozenset()

    @classmethod
    def from_executions(cls, executions: pa.Table, other_buckets: Collection[str] = ()) -> "ExecutionIndex":
        """Select the executions that have a result object."""
        selected = executions.select(COLUMNS).filter(have_results(executions))
        rows = selected.sort_by([(name, "ascending") for name in KEY]).combine_chunks()
        return cls(rows, frozenset(other_buckets))

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @cached_property
    def keys(self) -> list[ExecutionKey]:
        """The key of each execution, by number."""
        return list(zip(*(self.rows[name].to_pylist() for name in KEY), strict=True))

    @cached_property
    def numbers(self) -> dict[ExecutionKey, int]:
        """The number of each execution, by key."""
        return {key: number for number, key in enumerate(self.keys)}

    @cached_property
    def locations(self) -> list[ObjectLocation]:
        """The location of each execution's result object, by number."""
        return list(
            zip(*(self.rows[name].to_pylist() for name in ("result_s3_bucket", "result_s3_key")), strict=True)
        )

    @cached_property
    def buckets_of_service(self) -> frozenset[str]:
        """The buckets that the service itself named, not a file."""
        is_named = pc.equal(self.rows["outcome_source"], "api")
        return self.other_buckets | set(self.rows["result_s3_bucket"].filter(is_named).unique().to_pylist())

    @cached_property
    def executions_by_object(self) -> dict[ObjectLocation, list[int]]:
        """The numbers of the executions of each object: several only where schedulers share a prefix."""
        numbers: dict[ObjectLocation, list[int]] = defaultdict(list)
        for number, location in enumerate(self.locations):
            numbers[location].append(number)
        return dict(numbers)

    def find_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the number of the execution of each row, by key; -1: it has none."""
        if not len(self) or not rows.num_rows:
            return np.full(rows.num_rows, -1, np.int64)
        arns = self.rows["scheduler_arn"].unique()
        starts = self.rows["data_start_time"].cast(pa.int64()).to_numpy()
        first, last = int(starts.min()), int(starts.max())

        def combine(table: pa.Table) -> NDArray[np.int64]:
            """Return a number for each key, in the order of the keys."""
            code = pc.index_in(table["scheduler_arn"], arns).fill_null(-1).to_numpy().astype(np.int64)
            start = table["data_start_time"].cast(pa.int64()).to_numpy()
            is_in_range = (code >= 0) & (first <= start) & (start <= last)
            return np.where(is_in_range, code * (last - first + 1) + (start - first), -1)

        own, wanted = combine(self.rows), combine(rows)
        numbers = np.searchsorted(own, wanted).clip(max=len(own) - 1)
        return np.where(own[numbers] == wanted, numbers, -1)

    def assign_executions(self, parsed: pa.Table) -> pa.Table:
        """Replace the column `object` by `execution`, and repeat rows of objects that executions share.

        The number of an object is its position in `executions_by_object`.
        """
        owners = list(self.executions_by_object.values())
        objects = parsed["object"].combine_chunks().to_numpy()
        row_parts, execution_parts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for rank in range(max(map(len, owners), default=0)):
            # the rank-th execution of each object; -1: the object has fewer
            ranked = np.array([numbers[rank] if rank < len(numbers) else -1 for numbers in owners], np.int64)
            executions = ranked[objects]
            row_parts.append(np.flatnonzero(executions >= 0))
            execution_parts.append(executions[row_parts[-1]])
        is_shared = len(row_parts) > 2  # noqa: PLR2004 (the empty part and one owner of each object)
        assigned = parsed.take(pa.array(np.concatenate(row_parts))) if is_shared else parsed
        position = assigned.schema.get_field_index("object")
        return assigned.set_column(position, "execution", pa.array(np.concatenate(execution_parts)))


def find_execution_rows(rows: pa.Table) -> Iterator[ExecutionRows]:
    """Find the slice of each execution in rows that are sorted by scheduler and start."""
    if not rows.num_rows:
        return
    is_first = np.zeros(rows.num_rows, bool)
    is_first[0] = True
    for name in KEY:
        is_first[1:] |= _differs_from_previous(rows[name])
    offsets = np.flatnonzero(is_first)
    lengths = np.diff(np.append(offsets, rows.num_rows))
    first_rows = rows.select(KEY).take(pa.array(offsets))
    keys = zip(*(first_rows[name].to_pylist() for name in KEY), strict=True)
    for key, offset, length in zip(keys, offsets.tolist(), lengths.tolist(), strict=True):
        yield ExecutionRows(key, offset, length)


def _differs_from_previous(column: pa.ChunkedArray) -> Any:  # noqa: ANN401 (a numpy array of booleans)
    values = get_comparable(get_chunk(column))
    return pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
