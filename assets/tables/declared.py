"""What a declaration of a table is: the words that the declarations are written in.

In `Column.source`, a dotted path names the member of the service's answer that the column holds, or the table
and column that it is taken from. For `inference_executions`, `flatten` follows these paths, so the
declaration is also the code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa

INSTANT = pa.timestamp("ms", tz="UTC")
"""The one timestamp type of the lake: Athena and Spark read milliseconds as they are."""

PARTITION = "data_date"
"""The Hive key: the UTC date of the execution's DataStartTime. It stands in the path, not in the file."""

Encoding = Literal["dictionary", "delta", "plain"]


@dataclass(frozen=True)
class Column:
    """One column: `unit` is None for text and flags; `source` is a member path, or None if made here."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str | None = None
    source: str | None = None
    required: bool = False
    encoding: Encoding = "dictionary"

    @property
    def comment(self) -> str:
        """Meaning and unit in one line, for catalogs that know nothing else."""
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with meaning, unit and source member as its metadata."""
        notes = {"comment": self.meaning, "unit": self.unit, "source": self.source}
        return pa.field(
            self.name,
            self.type,
            nullable=not self.required,
            metadata={key: value for key, value in notes.items() if value},
        )


@dataclass(frozen=True)
class Table:
    """One table: rows are unique by `key` and stored sorted by it; `version` rises with each change."""

    name: str
    meaning: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partitioned: bool = False
    version: int = 1
    volatile: frozenset[str] = frozenset({"recorded_at"})
    """Columns that tell about the recording and are no part of a row's content."""

    @cached_property
    def schema(self) -> pa.Schema:
        """What a file of this table holds; name and version travel in the Parquet footer."""
        identity = {"lookout_ledger.table": self.name, "lookout_ledger.version": str(self.version)}
        return pa.schema([column.field for column in self.columns], metadata=identity)

    @cached_property
    def content(self) -> tuple[str, ...]:
        """Names of the columns that make two rows the same."""
        return tuple(column.name for column in self.columns if column.name not in self.volatile)

    def encoded(self, encoding: str) -> Iterable[Column]:
        """Columns stored with one encoding."""
        return (column for column in self.columns if column.encoding == encoding)


def text_column(
    name: str,
    meaning: str,
    source: str | None = None,
    *,
    required: bool = False,
    encoding: Encoding = "dictionary",
) -> Column:
    """Declare a column of text."""
    return Column(name, pa.string(), meaning, source=source, required=required, encoding=encoding)


def timestamp_column(name: str, meaning: str, source: str | None = None, *, required: bool = False) -> Column:
    """Declare a column of instants."""
    return Column(name, INSTANT, meaning, "UTC", source, required=required, encoding="delta")


def count_column(name: str, meaning: str, unit: str) -> Column:
    """Declare a column that counts something, always known."""
    return Column(name, pa.int64(), meaning, unit=unit, required=True)


def number_column(
    name: str, meaning: str, unit: str, source: str | None = None, *, required: bool = False
) -> Column:
    """Declare a column of measurements; null where nothing was measured."""
    return Column(name, pa.float64(), meaning, unit, source, required=required)


RECORDED_AT = timestamp_column("recorded_at", "when this row last changed its content", required=True)
