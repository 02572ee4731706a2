"""The classes that declare tables, and short constructors for columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa

INSTANT = pa.timestamp("ms", tz="UTC")
"""The only timestamp type of the lake. Athena and Spark read milliseconds without conversion."""

TEXTS = pa.dictionary(pa.int32(), pa.string())
"""The type of texts that repeat, in memory: each distinct text once, and a number for each row."""

PARTITION = "data_date"
"""Hive partition key: the UTC date of the execution's DataStartTime, in the path and not in the file."""

Encoding = Literal["dictionary", "delta", "plain"]

Lineage = tuple[tuple[str, str], ...]
"""Upstream columns as pairs of table name and column name."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Name in every engine.
        type: Arrow type.
        meaning: One sentence without a final period. Catalogs and documentation show it.
        unit: Unit of the values; None for text and flags.
        source: Member outside the lake that the value is copied from, as a dotted path; None if the value is
            computed or copied from another table. `flatten` reads the paths of `inference_executions`.
        required: Whether the column is never null.
        encoding: Parquet encoding.
        lineage: Columns of other tables that the value is copied or computed from.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str | None = None
    source: str | None = None
    required: bool = False
    encoding: Encoding = "dictionary"
    lineage: Lineage = ()

    @property
    def comment(self) -> str:
        """Meaning and unit in one line, for files and catalogs that have no field for the unit."""
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning

    @property
    def field(self) -> pa.Field:
        """The Arrow field. Its metadata is the comment, short because each file of a lake stores it."""
        return pa.field(self.name, self.type, nullable=not self.required, metadata={"comment": self.comment})


@dataclass(frozen=True)
class Table:
    """One table. Rows are unique by `key` and stored in its order.

    Attributes:
        name: Name of the table and of its folder in the lake.
        meaning: One sentence that says what the table holds.
        grain: What one row is, as a noun that follows "one row per".
        key: Primary key.
        columns: All columns, in the order of the files.
        partitioned: Whether the table has one file per day.
        version: Schema version; it rises with every change of the columns.
        volatile: Columns that describe the recording and are not part of a row's content.
        columns_without_statistics: Columns whose least and greatest values files do not have, because their
            values are mostly the same every day; a filter for a value that no file has reads all files.
    """

    name: str
    meaning: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partitioned: bool = False
    version: int = 1
    volatile: frozenset[str] = frozenset({"recorded_at"})
    columns_without_statistics: frozenset[str] = frozenset()

    @property
    def description(self) -> str:
        """Meaning and grain as two sentences."""
        return f"{self.meaning} One row per {self.grain}."

    @property
    def has_shards(self) -> bool:
        """Whether a day can have several files, by scheduler: the day has a row per execution or more."""
        return self.partitioned and self.key[:2] == ("scheduler_arn", "data_start_time")

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of every file of this table, with name and version as metadata of the footer."""
        identity = {"lookout_ledger.table": self.name, "lookout_ledger.version": str(self.version)}
        return pa.schema([column.field for column in self.columns], metadata=identity)

    @cached_property
    def encoded_schema(self) -> pa.Schema:
        """The schema in memory if texts that repeat are Arrow dictionaries; files have the plain types."""
        encoded = {column.name for column in self.columns_with_encoding("dictionary")}
        return pa.schema(
            [
                field.with_type(TEXTS) if field.name in encoded and field.type == pa.string() else field
                for field in self.schema
            ],
            metadata=self.schema.metadata,
        )

    @cached_property
    def content_columns(self) -> tuple[str, ...]:
        """Names of the columns that decide whether two rows are equal."""
        return tuple(column.name for column in self.columns if column.name not in self.volatile)

    @cached_property
    def content_schema(self) -> pa.Schema:
        """The schema without the volatile columns."""
        return pa.schema([self.schema.field(name) for name in self.content_columns])

    def columns_with_encoding(self, encoding: str) -> Iterable[Column]:
        """Return the columns that are stored with an encoding."""
        return (column for column in self.columns if column.encoding == encoding)


def build_lineage(table: str, *columns: str) -> Lineage:
    """Return the lineage of a column that depends on columns of one upstream table."""
    return tuple((table, column) for column in columns)


def text_column(
    name: str,
    meaning: str,
    source: str | None = None,
    *,
    required: bool = False,
    encoding: Encoding = "dictionary",
    lineage: Lineage = (),
) -> Column:
    """Declare a text column."""
    return Column(
        name, pa.string(), meaning, source=source, required=required, encoding=encoding, lineage=lineage
    )


def timestamp_column(
    name: str, meaning: str, source: str | None = None, *, required: bool = False, lineage: Lineage = ()
) -> Column:
    """Declare a timestamp column."""
    return Column(name, INSTANT, meaning, "UTC", source, required=required, encoding="delta", lineage=lineage)


def count_column(name: str, meaning: str, unit: str, *, lineage: Lineage = ()) -> Column:
    """Declare a required integer column that counts something."""
    return Column(name, pa.int64(), meaning, unit, required=True, lineage=lineage)


def number_column(
    name: str,
    meaning: str,
    unit: str,
    source: str | None = None,
    *,
    required: bool = False,
    lineage: Lineage = (),
) -> Column:
    """Declare a floating-point column."""
    return Column(name, pa.float64(), meaning, unit, source, required=required, lineage=lineage)


RECORDED_AT = timestamp_column(
    "recorded_at", "Time at which the content of this row last changed", required=True
)
