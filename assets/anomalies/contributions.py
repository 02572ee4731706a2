"""Sensor contributions of a day between parsing and writing.

A large fleet has millions of them a day. They are held at 20 bytes each, in the order of the primary key, and
are moved to temporary files without names when there are many. ARNs, components and sensors are expanded for
one execution at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import ClassVar
from weakref import finalize

import numpy as np
import pyarrow as pa

from assets.anomalies.execution_index import ExecutionIndex
from assets.anomalies.parse import split_diagnostic_names
from assets.tables import INSTANT, SENSOR_CONTRIBUTIONS
from resources.errors import RetryLaterError

_SCHEMA = SENSOR_CONTRIBUTIONS.schema
_VALUES = pa.schema([_SCHEMA.field(name) for name in ("timestamp", "diagnostic_name", "contribution")])
_STORED = pa.schema([_VALUES.field(0), pa.field("name", pa.int32()), _VALUES.field(2)])
_WRITE_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")

_ROWS_IN_MEMORY = 4_194_304
"""Contributions that are in memory before they are moved to a temporary file: 84 MB."""


@dataclass(frozen=True)
class _Names:
    """The distinct diagnostic names of a batch, and their parts."""

    names: pa.Array
    components: pa.Array
    sensors: pa.Array


class ContributionBuffer:
    """Contributions by execution number; memory is bounded."""

    VALUES: ClassVar = _VALUES.names

    def __init__(self, folder: Path | None = None) -> None:
        """Create an empty buffer.

        Args:
            folder: the folder of temporary files; None: that of the system, which `TMPDIR` names.
        """
        self._folder = folder or Path(gettempdir())
        self._names: dict[int, _Names] = {}
        self._in_memory: dict[int, pa.RecordBatch] = {}
        self._in_files: dict[int, tuple[pa.ipc.RecordBatchFileReader, int]] = {}
        self._rows_in_memory = 0

    @property
    def executions(self) -> set[int]:
        """The numbers of the executions that have contributions."""
        return set(self._names)

    def add(self, contributions: pa.Table) -> None:
        """Add parsed contributions after `ExecutionIndex.assign_executions`.

        All contributions of an execution must come in the same call.

        Raises:
            RetryLaterError: a temporary file cannot be written.
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
        columns = [rows["timestamp"].chunk(0), names.indices, rows["contribution"].chunk(0)]
        ordered = pa.record_batch([column.take(pa.array(order)) for column in columns], schema=_STORED)
        shared = _Names(names.dictionary, *split_diagnostic_names(names.dictionary))
        numbers, offsets, lengths = np.unique(executions[order], return_index=True, return_counts=True)
        for number, offset, length in zip(numbers.tolist(), offsets.tolist(), lengths.tolist(), strict=True):
            self._in_memory[number], self._names[number] = ordered.slice(offset, length), shared
        self._rows_in_memory += ordered.num_rows
        if self._rows_in_memory > _ROWS_IN_MEMORY:
            self._move_to_file()

    def _move_to_file(self) -> None:
        """Move all contributions to a file without a name, which the system deletes with this process."""
        try:
            file = TemporaryFile(dir=self._folder)  # noqa: SIM115 (it is open as long as the buffer)
            finalize(self, file.close)
            with pa.ipc.new_file(file, _STORED, options=_WRITE_OPTIONS) as writer:
                for batch in self._in_memory.values():
                    writer.write_batch(batch)
            file.seek(0)
            reader = pa.ipc.open_file(file)
        except OSError as error:
            raise RetryLaterError(
                f"Cannot write temporary data: {error.strerror or error}",
                where=str(self._folder),
                next_step="free space, or set TMPDIR to a folder with more",
            ) from None
        self._in_files |= {number: (reader, position) for position, number in enumerate(self._in_memory)}
        self._in_memory, self._rows_in_memory = {}, 0

    def _get_values(self, number: int) -> pa.RecordBatch | None:
        """Return the contributions of an execution; None: it has none."""
        if number in self._in_files:
            reader, position = self._in_files[number]
            return reader.get_batch(position)
        return self._in_memory.get(number)

    def equals_stored(self, number: int, stored: Sequence[pa.Table]) -> bool:
        """Compare an execution's contributions with its rows in the lake (`VALUES` columns)."""
        new = self._get_values(number)
        old = pa.concat_tables([_VALUES.empty_table(), *stored])
        if new is None or new.num_rows != old.num_rows:
            return new is None and not old.num_rows
        names = self._names[number].names.take(new["name"])
        return bool(pa.table([new["timestamp"], names, new["contribution"]], schema=_VALUES).equals(old))

    def build_rows(self, number: int, index: ExecutionIndex, now: datetime) -> pa.Table:
        """Build the rows of `sensor_contributions` for one of `executions`."""
        values = self._get_values(number)
        if values is None:
            raise KeyError(number)
        names, (arn, start) = self._names[number], index.keys[number]
        columns = {
            "scheduler_arn": pa.repeat(pa.scalar(arn, pa.string()), values.num_rows),
            "data_start_time": pa.repeat(pa.scalar(start, INSTANT), values.num_rows),
            "timestamp": values["timestamp"],
            "diagnostic_name": names.names.take(values["name"]),
            "component": names.components.take(values["name"]),
            "sensor": names.sensors.take(values["name"]),
            "contribution": values["contribution"],
            "recorded_at": pa.repeat(pa.scalar(now, INSTANT), values.num_rows),
        }
        return pa.table([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)
