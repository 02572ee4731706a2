"""Buffer of candidate rows between the sources and the lake, by day, with bounded memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import date
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.executions.bucket_identity import has_bucket_rows
from assets.executions.flatten import ROWS, FlattenedPages
from assets.executions.merge import reduce_candidates
from assets.executions.provenance import ReturnedKeysBuffer
from assets.framework.time_windows import split_by_day
from resources.encoded_texts import decode_texts, encode_texts, join_tables
from resources.lake.shards import select_rows

PENDING_ROWS, PENDING_ROWS_OF_DAY = 250_000, 500
"""Number of added rows, at least, after which they are packed: in all, and for each requested day."""

MOST_PENDING_ROWS_OF_DAY = 50_000
"""With few requested days, fewer rows than `PENDING_ROWS` wait: a large fleet has many rows a day."""

_MOST_PIECES = 16
"""A day with more packed pieces is merged, so that memory does not grow with overlapping responses."""


PartNumbers = NDArray[np.int64]
"""The number of the part to which each row belongs."""


class PackedRows:
    """Compressed rows of one schema with dictionaries: about 20 bytes each."""

    def __init__(self, schema: pa.Schema) -> None:
        """Start without rows."""
        self._schema = schema
        self._pieces: list[pa.Buffer] = []
        self.num_rows = 0

    def add(self, rows: pa.Table) -> None:
        """Add rows, without the texts that none of them has."""
        if rows.num_rows:
            self._pieces.append(_pack(encode_texts(rows, self._schema)))
            self.num_rows += rows.num_rows

    def read(self) -> pa.Table:
        """Return all rows, in any order."""
        return _join(map(_unpack, self._pieces), self._schema)


def distribute_rows(rows: pa.Table, numbers: PartNumbers, parts: list[PackedRows]) -> None:
    """Add each row to the part with its number."""
    for number in np.unique(numbers).tolist():
        parts[number].add(select_rows(rows, numbers == number))


class CandidateBuffer:
    """Candidates of the requested days, and the rejected summaries.

    A row needs 200 bytes in memory and about 20 bytes packed. Most rows are packed, so memory allows to read
    files of many days at once.
    """

    def __init__(self, days: frozenset[date]) -> None:
        """Create an empty buffer for some days."""
        self.rejected: list[pa.Table] = []
        self._days = days
        self.returned_keys = ReturnedKeysBuffer(days)
        self._tables: dict[date, list[pa.Table]] = {}
        self._packed: dict[date, list[pa.Buffer]] = {}
        self._pending = 0
        most_pending = min(PENDING_ROWS, MOST_PENDING_ROWS_OF_DAY * len(days))
        self._most_pending = max(most_pending, PENDING_ROWS_OF_DAY * len(days))
        self._rows = Counter[date]()

    @property
    def days(self) -> AbstractSet[date]:
        """The days with candidates."""
        return self._tables.keys() | self._packed.keys()

    def add(self, page: FlattenedPages, source: str | None = None) -> None:
        """Add pages that a source returned; rows of other days are dropped.

        Args:
            page: the pages.
            source: the URI of the source; None: the origin of each page.
        """
        self.returned_keys.add(page.origins if source is None else [(source, page.rows.num_rows)], page.rows)
        if page.rejected.num_rows:
            self.rejected.append(page.rejected)
        for day, rows in split_by_day(page.rows):
            if day in self._days:
                self._tables.setdefault(day, []).append(rows)
                self._pending += rows.num_rows
                self._rows[day] += rows.num_rows
        if self._pending > self._most_pending:
            self.pack()

    def pack(self) -> None:
        """Compress the rows that are not packed yet."""
        for day in [*self._tables]:  # one by one, so that the memory of a packed day is free for the next
            pieces = self._packed.setdefault(day, [])
            if len(pieces) >= _MOST_PIECES:
                self._tables[day] += map(_unpack, pieces)
                pieces.clear()
            pieces.append(_pack(reduce_candidates(_join(self._tables.pop(day), ROWS))))
        self.returned_keys.compact()
        self._pending = 0

    def count_rows(self, day: date) -> int:
        """Return at least the number of candidates of a day; repeated ones count."""
        return self._rows[day]

    def read(self, day: date) -> pa.Table:
        """Return the candidates of a day, in any number and order."""
        return _join(self.read_pieces(day), ROWS)

    def split(self, day: date, find_parts: Callable[[pa.Table], PartNumbers], count: int) -> list[PackedRows]:
        """Return the candidates of a day in parts; each packed piece is unpacked once."""
        parts = [PackedRows(ROWS) for _ in range(count)]
        for rows in self.read_pieces(day):
            distribute_rows(rows, find_parts(rows), parts)
        return parts

    def discard(self, day: date) -> None:
        """Remove the candidates of a day."""
        self._tables.pop(day, None)
        self._packed.pop(day, None)
        self._rows.pop(day, None)

    def has_bucket_rows(self, day: date) -> bool:
        """Return whether any candidate of a day comes from a bucket."""
        return any(map(has_bucket_rows, self.read_pieces(day)))

    def read_pieces(self, day: date) -> Iterator[pa.Table]:
        """Yield the candidates of a day; one packed piece is in memory at a time."""
        yield from self._tables.get(day, ())
        yield from map(_unpack, self._packed.get(day, ()))

    def get_names(self) -> dict[str, str | None]:
        """Return the names of the schedulers of all candidates, by ARN."""
        columns = ["scheduler_arn", "scheduler_name"]
        names: dict[str, str | None] = {}
        for rows in self.read_identities(columns):
            names |= zip(*(column.to_pylist() for column in rows.columns), strict=True)
        return names

    def read_identities(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield the distinct values of some columns of the candidates, in several tables with plain texts."""
        pending = (rows for tables in self._tables.values() for rows in tables)
        packed = (_unpack(piece) for pieces in self._packed.values() for piece in pieces)
        for rows in chain(pending, packed):
            yield decode_texts(rows.select(columns)).group_by(columns).aggregate([])


def _join(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    used = [rows for rows in tables if rows.num_rows]
    # rows of different schedulers are then already sorted, and the merge need not copy them
    used.sort(key=lambda rows: str(rows["scheduler_arn"][0].as_py()))
    return join_tables(used) if used else schema.empty_table()


def _pack(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _unpack(piece: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(piece).read_all()
