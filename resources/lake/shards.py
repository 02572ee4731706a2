"""Shards: the parts of a day that is too large for one file, and the footer entries that record them.

A scheduler belongs to one shard: the first 8 bytes of the SHA-256 of its ARN (UTF-8), read as a big-endian
number, modulo the number of shards. This rule never changes, because files depend on it.

The footer of each file records the number of shards of its day, and during a change the number that follows.
A file without these entries belongs to a day with one shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import gcd

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from resources.encoded_texts import encode_texts, get_chunk, has_encoded_texts
from resources.row_order import sort_rows

COLUMN = "scheduler_arn"
"""The column that decides the shard of a row."""

MAX_SHARDS = 1024

_ENTRIES = (
    b"lookout_ledger.shards",
    b"lookout_ledger.shards_change",
    b"lookout_ledger.following_shards",
    b"lookout_ledger.following_shards_change",
)
_HASH_BYTES = 8


@dataclass(frozen=True, order=True)
class Shard:
    """The schedulers whose hash modulo `count` is `number`; by default all."""

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: there is no such shard.
        """
        if not 0 <= self.number < self.count <= MAX_SHARDS:
            raise ValueError(f"there is no shard {self.number} of {self.count}")

    def list_files(self, shards: int) -> range:
        """Return the numbers of the files that can have rows of this shard, in a day with some shards."""
        step = gcd(self.count, shards)
        return range(self.number % step, shards, step)

    def has_scheduler(self, arn: str) -> bool:
        """Whether a scheduler belongs to this shard."""
        return hash_scheduler(arn) % self.count == self.number

    def has_whole_files(self, shards: int) -> bool:
        """Whether the files of `list_files` have no rows of other shards."""
        return shards % self.count == 0


WHOLE = Shard()
"""All schedulers of a day."""


def list_shards(count: int) -> list[Shard]:
    """Return the shards of a day that is split into `count`."""
    return [Shard(number, count) for number in range(count)]


@dataclass(frozen=True)
class FileLayout:
    """What the footer of a file says of its day; the layout of `part-0.parquet` is the one of the day.

    Attributes:
        shards: the number of shards of the day when the file was written.
        change_id: identifies the change to this number; None: the day began with it, or it is one.
        following: the number of shards to which the day is being changed; None: it is not.
        following_id: identifies this change.
    """

    shards: int = 1
    change_id: str | None = None
    following: int | None = None
    following_id: str | None = None

    @classmethod
    def read(cls, stored: pq.ParquetFile) -> "FileLayout":
        """Read the entries of a footer.

        Raises:
            ValueError: an entry is not a number of shards.
        """
        entries = stored.metadata.metadata or {}
        shards, change_id, following, following_id = (
            entries[name].decode() if name in entries else None for name in _ENTRIES
        )
        layout = cls(int(shards or 1), change_id, int(following) if following else None, following_id)
        for count in (layout.shards, layout.following or 1):
            Shard(0, count)
        return layout

    @property
    def entries(self) -> dict[bytes, bytes]:
        """The entries of the footer; none for a day with one shard."""
        if self == FileLayout():
            return {}
        values = (self.shards, self.change_id, self.following, self.following_id)
        return {
            name: str(value).encode()
            for name, value in zip(_ENTRIES, values, strict=True)
            if value is not None
        }

    @property
    def is_changing(self) -> bool:
        """Whether the file can have rows of other shards, and the day can be about to change."""
        return self.following is not None

    def is_readable(self, number: int, day: "FileLayout") -> bool:
        """Whether a file has all rows of its shard, if the day had a layout before the file was read.

        The ids exclude files of a change that is not committed, also if the day had this number before.
        """
        if number == 0:
            return self == day
        if self.shards == day.shards:
            return self.change_id in (None, day.change_id)
        return self._is_left_by(day)

    def is_replaceable(self, number: int, day: "FileLayout") -> bool:
        """Whether an update of the day may replace a file that it read after the layout of the day."""
        if number == 0:
            return self.shards == day.shards and not self.is_changing
        return self.is_readable(number, day) and (self._is_left_by(day) or not self.is_changing)

    def _is_left_by(self, day: "FileLayout") -> bool:
        """Whether the committed change to the layout of the day has not reached this file yet."""
        return self.following == day.shards and self.following_id == day.change_id


class LayoutChangedError(Exception):
    """A file belongs to another number of shards than its day had when the operation began."""

    def __init__(self, layout: FileLayout) -> None:
        """Keep the layout of the file."""
        super().__init__(f"the day has {layout.shards} shards, and then {layout.following}")
        self.layout = layout


@lru_cache(maxsize=1 << 17)
def hash_scheduler(arn: str) -> int:
    """Return the number whose remainder is the shard of a scheduler."""
    return int.from_bytes(sha256(arn.encode()).digest()[:_HASH_BYTES], "big")


def find_shards(rows: pa.Table, count: int) -> NDArray[np.int64]:
    """Return the number of the shard of each row."""
    if count == 1:
        return np.zeros(rows.num_rows, np.int64)
    column = get_chunk(rows[COLUMN])
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    numbers = np.array([hash_scheduler(arn) % count for arn in column.dictionary.to_pylist()], np.int64)
    return numbers[column.indices.to_numpy()] if len(numbers) else np.zeros(0, np.int64)


def select_shard(rows: pa.Table, shard: Shard) -> pa.Table:
    """Return the rows of a shard, in their order."""
    return select_rows(rows, find_shards(rows, shard.count) == shard.number)


def select_rows(rows: pa.Table, is_selected: NDArray[np.bool_]) -> pa.Table:
    """Return the marked rows, in their order; all of them without a copy."""
    return rows if is_selected.all() else rows.filter(pa.array(is_selected))


def join_rows(parts: Sequence[pa.Table], key: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Return the rows of several files or shards with a schema, sorted by key."""
    if len(parts) == 1:
        return conform_texts(parts[0], schema)
    return conform_texts(sort_rows(pa.concat_tables([schema.empty_table(), *parts]), key), schema)


def conform_texts(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows whose dictionaries are canonical, if the schema has dictionaries."""
    return encode_texts(rows, schema) if has_encoded_texts(schema) else rows
