"""Sensor contributions of a day between parsing and writing.

A large fleet has millions of them a day. They are held at 24 bytes each, in the order of the primary key.
ARNs, components and sensors are expanded for one execution at a time.
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
    """Contributions in memory, by execution number."""

    VALUES: ClassVar = _VALUES.names

    def __init__(self) -> None:
        """Create an empty buffer."""
        self._slices: dict[int, pa.Table] = {}
        self._name_parts: dict[int, tuple[pa.Array, pa.Array]] = {}

    @property
    def executions(self) -> set[int]:
        """The numbers of the executions that have contributions."""
        return set(self._slices)

    def add(self, contributions: pa.Table) -> None:
        """Add parsed contributions after `ExecutionIndex.assign_executions`.

        All contributions of an execution must come in the same call.
        """
        if not contributions.num_rows:
            return
        rows = contributions.combine_chunks()
        names = rows["diagnostic_name"].chunk(0)
        ranks = np.empty(len(names.dictionary), np.int32)
        ranks[pa.compute.sort_indices(names.dictionary).to_numpy()] = np.arange(len(ranks))
        executions = rows["execution"].chunk(0).to_numpy()
        times = rows["timestamp"].chunk(0).cast(pa.int64()).to_numpy()
        order = np.lexsort((ranks[names.indices.to_numpy()], times, executions))
        ordered = rows.select(self.VALUES).take(pa.array(order)).combine_chunks()
        name_parts = split_diagnostic_names(names.dictionary)
        numbers, offsets, lengths = np.unique(executions[order], return_index=True, return_counts=True)
        for number, offset, length in zip(numbers.tolist(), offsets.tolist(), lengths.tolist(), strict=True):
            self._slices[number], self._name_parts[number] = ordered.slice(offset, length), name_parts

    def equals_stored(self, number: int, stored: Sequence[pa.Table]) -> bool:
        """Compare an execution's contributions with its rows in the lake (`VALUES` columns)."""
        new = self._slices.get(number)
        old = pa.concat_tables([_VALUES.empty_table(), *stored])
        if new is None or new.num_rows != old.num_rows:
            return new is None and not old.num_rows
        return bool(new.cast(_VALUES).equals(old))

    def build_rows(self, number: int, index: ExecutionIndex, now: datetime) -> pa.Table:
        """Build the rows of `sensor_contributions` for an execution."""
        values = self._slices[number]
        names = values["diagnostic_name"].combine_chunks()
        components, sensors = self._name_parts[number]
        arn, start = index.keys[number]
        columns = {
            "scheduler_arn": pa.repeat(pa.scalar(arn, pa.string()), values.num_rows),
            "data_start_time": pa.repeat(pa.scalar(start, INSTANT), values.num_rows),
            "timestamp": values["timestamp"],
            "diagnostic_name": names.cast(pa.string()),
            "component": components.take(names.indices),
            "sensor": sensors.take(names.indices),
            "contribution": values["contribution"],
            "recorded_at": pa.repeat(pa.scalar(now, INSTANT), values.num_rows),
        }
        return pa.table([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)
