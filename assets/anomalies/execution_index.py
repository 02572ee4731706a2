"""The executions of a day that name a result object, and which rows of the lake are whose.

Rows of results are stored by scheduler and start, so those of one execution stand together: a run.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEY = ("scheduler_arn", "data_start_time")
COLUMNS = [*KEY, "scheduler_name", "model_version", "status", "result_s3_bucket", "result_s3_key"]

ExecutionKey = tuple[str, datetime]
ObjectLocation = tuple[str, str]
"""Bucket and key."""


@dataclass(frozen=True)
class ExecutionRows:
    """Rows that stand together and belong to one execution."""

    key: ExecutionKey
    offset: int
    length: int


@dataclass(frozen=True)
class ExecutionIndex:
    """Executions that name a result object, by their key; the number of one is its place in this order."""

    rows: pa.Table

    @classmethod
    def of(cls, executions: pa.Table) -> "ExecutionIndex":
        """Choose from the executions of a day those that succeeded and say where their result is.

        One that is known by its result alone has no status, and succeeded.
        """
        named = pc.and_(
            pc.equal(pc.fill_null(executions["status"], "SUCCESS"), "SUCCESS"),
            pc.and_(pc.is_valid(executions["result_s3_bucket"]), pc.is_valid(executions["result_s3_key"])),
        )
        chosen = executions.select(COLUMNS).filter(named)
        return cls(chosen.sort_by([(name, "ascending") for name in KEY]).combine_chunks())

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @cached_property
    def keys(self) -> list[ExecutionKey]:
        """The keys, in order."""
        return list(zip(*(self.rows[name].to_pylist() for name in KEY), strict=True))

    @cached_property
    def numbers(self) -> dict[ExecutionKey, int]:
        """The number of each execution."""
        return {key: number for number, key in enumerate(self.keys)}

    @cached_property
    def places(self) -> list[ObjectLocation]:
        """Where the result of each execution lies."""
        return list(
            zip(*(self.rows[name].to_pylist() for name in ("result_s3_bucket", "result_s3_key")), strict=True)
        )

    @cached_property
    def objects(self) -> dict[ObjectLocation, list[int]]:
        """The objects, each with the executions that name it: one, unless schedulers share a prefix."""
        found: dict[ObjectLocation, list[int]] = defaultdict(list)
        for number, place in enumerate(self.places):
            found[place].append(number)
        return dict(found)

    def owned(self, parsed: pa.Table) -> pa.Table:
        """Give rows of objects to their executions: column `object` becomes `execution`.

        The number of an object is its place in `objects`. An object that several executions name gives rows
        to each of them.
        """
        owners = list(self.objects.values())
        objects = parsed["object"].combine_chunks().to_numpy()
        rows, executions = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for turn in range(max(map(len, owners), default=0)):
            turns = np.array([numbers[turn] if turn < len(numbers) else -1 for numbers in owners], np.int64)
            found = turns[objects]
            rows.append(np.flatnonzero(found >= 0))
            executions.append(found[rows[-1]])
        owned = parsed.take(pa.array(np.concatenate(rows))) if len(rows) > 2 else parsed  # noqa: PLR2004
        at = owned.schema.get_field_index("object")
        return owned.set_column(at, "execution", pa.array(np.concatenate(executions)))


def find_execution_rows(rows: pa.Table) -> Iterator[ExecutionRows]:
    """Find the runs of rows that are sorted by scheduler and start."""
    if not rows.num_rows:
        return
    begins = np.zeros(rows.num_rows, bool)
    begins[0] = True
    for name in KEY:
        begins[1:] |= _differs(rows[name])
    offsets = np.flatnonzero(begins)
    lengths = np.diff(np.append(offsets, rows.num_rows))
    first = rows.select(KEY).take(pa.array(offsets))
    keys = zip(*(first[name].to_pylist() for name in KEY), strict=True)
    for key, offset, length in zip(keys, offsets.tolist(), lengths.tolist(), strict=True):
        yield ExecutionRows(key, offset, length)


def _differs(column: pa.ChunkedArray) -> Any:  # noqa: ANN401 (a numpy array of booleans)
    whole = column.combine_chunks()
    return pc.not_equal(whole[1:], whole[:-1]).to_numpy(zero_copy_only=False)
