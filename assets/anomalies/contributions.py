"""Contributions of sensors that were just read, held small until they are written.

A day of a large fleet has millions. So 24 bytes each are held, in the order of the key; ARNs, components and
sensors are spelled out for a few rows at a time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assets.anomalies.execution_index import ExecutionIndex
from assets.anomalies.parse import split_diagnostic_names
from assets.tables import INSTANT, SENSOR_CONTRIBUTIONS

_SCHEMA = SENSOR_CONTRIBUTIONS.schema
_VALUES = pa.schema([_SCHEMA.field(name) for name in ("timestamp", "diagnostic_name", "contribution")])


class ContributionBuffer:
    """What was read, by the number of its execution."""

    VALUES: ClassVar = _VALUES.names

    def __init__(self) -> None:
        """Begin with nothing."""
        self._slices: dict[int, pa.Table] = {}
        self._parts: dict[int, tuple[pa.Array, pa.Array]] = {}

    @property
    def numbers(self) -> set[int]:
        """The executions with any."""
        return set(self._slices)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(rows.num_rows for rows in self._slices.values())

    def add(self, owned: pa.Table) -> None:
        """Take in contributions as `parse` has them, given to their executions; of one all at once."""
        if not owned.num_rows:
            return
        rows = owned.combine_chunks()
        names = rows["diagnostic_name"].chunk(0)
        ranks = np.empty(len(names.dictionary), np.int32)
        ranks[pa.compute.sort_indices(names.dictionary).to_numpy()] = np.arange(len(ranks))
        executions = rows["execution"].chunk(0).to_numpy()
        moments = rows["timestamp"].chunk(0).cast(pa.int64()).to_numpy()
        order = np.lexsort((ranks[names.indices.to_numpy()], moments, executions))
        ordered = rows.select(self.VALUES).take(pa.array(order)).combine_chunks()
        parts = split_diagnostic_names(names.dictionary)
        found, offsets, lengths = np.unique(executions[order], return_index=True, return_counts=True)
        for number, offset, length in zip(found.tolist(), offsets.tolist(), lengths.tolist(), strict=True):
            self._slices[number], self._parts[number] = ordered.slice(offset, length), parts

    def holds(self, number: int, stored: Sequence[pa.Table]) -> bool:
        """Tell whether stored rows of an execution say the same as what was read of it."""
        mine = self._slices.get(number)
        theirs = pa.concat_tables([_VALUES.empty_table(), *stored])
        if mine is None or mine.num_rows != theirs.num_rows:
            return mine is None and not theirs.num_rows
        return bool(mine.cast(_VALUES).equals(theirs))

    def rows(self, number: int, named: ExecutionIndex, now: datetime) -> pa.Table:
        """Return the rows of an execution as they are stored."""
        held = self._slices[number]
        names = held["diagnostic_name"].combine_chunks()
        components, sensors = self._parts[number]
        arn, start = named.keys[number]
        columns = {
            "scheduler_arn": pa.repeat(pa.scalar(arn, pa.string()), held.num_rows),
            "data_start_time": pa.repeat(pa.scalar(start, INSTANT), held.num_rows),
            "timestamp": held["timestamp"],
            "diagnostic_name": names.cast(pa.string()),
            "component": components.take(names.indices),
            "sensor": sensors.take(names.indices),
            "contribution": held["contribution"],
            "recorded_at": pa.repeat(pa.scalar(now, INSTANT), held.num_rows),
        }
        return pa.table([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)
