"""A query of the report and the typed rows of its result.

A row type is a dataclass whose fields are named like the columns of the SQL. A field declared as `Count`,
`Share` and so on becomes a `Figure`; any other field holds the plain value. Other columns are ignored.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import pyarrow as pa

from assets.report.formatting import Kind, format_value

RowT = TypeVar("RowT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Figure(Generic[ValueT]):
    """A number as the page prints it, and the cell of the query result that it comes from.

    Attributes:
        text: the number with its unit.
        query: the name of the query.
        row: the number of the row, from 1; 0 if the result has no such row.
        column: the column.
        value: the number itself; None if the lake has none.
    """

    text: str
    query: str
    row: int
    column: str
    value: ValueT | None = None

    def __bool__(self) -> bool:
        """Return False if the value is None or zero."""
        return bool(self.value)

    def get_value(self) -> ValueT:
        """Return the value of a required column.

        Raises:
            LookupError: the value is None.
        """
        if self.value is None:
            raise LookupError(f"{self.query}.{self.column} has no value in row {self.row}")
        return self.value


Statement = tuple[str | Figure[Any], ...]
"""A sentence: text and figures, in order."""

Count = Annotated[Figure[int], "count"]
Share = Annotated[Figure[float], "share"]
Minutes = Annotated[Figure[float], "minutes"]
Seconds = Annotated[Figure[float], "seconds"]
Score = Annotated[Figure[float], "score"]
Version = Annotated[Figure[int], "version"]
Instant = Annotated[Figure[datetime], "instant"]
Day = Annotated[Figure[date], "day"]


@dataclass(frozen=True)
class Query(Generic[RowT]):
    """One SQL query of the report.

    Attributes:
        name: identifies the query on the page.
        title: what it returns, as the page's heading above the SQL.
        row_type: the dataclass of a row of its result.
        body: the statement, in DuckDB's SQL over the tables of the lake and the named results.
        named_results: the SQL of each result that the body reads by name.
    """

    name: str
    title: str
    row_type: type[RowT]
    body: str
    named_results: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def sql(self) -> str:
        """The complete statement, which the page prints: the body with its named results."""
        if not self.named_results:
            return self.body
        results = ", ".join(f"{name} AS (\n{sql}\n)" for name, sql in self.named_results.items())
        rest = self.body.removeprefix("WITH ")
        return f"WITH {results}{', ' if rest != self.body else chr(10)}{rest}"

    @functools.cached_property
    def kinds(self) -> Mapping[str, Kind | None]:
        """How to format each column of the row type; None: the plain value is used."""
        hints = get_type_hints(self.row_type, include_extras=True)
        return {
            column: get_args(hint)[1] if get_origin(hint) is Annotated else None
            for column, hint in hints.items()
        }

    def read_rows(self, table: pa.Table, zone: tzinfo) -> tuple[RowT, ...]:
        """Return the rows of a result in its order; `zone` is the time zone of printed times."""
        rows = enumerate(table.to_pylist(), start=1)
        return tuple(self.build_row(row, number, zone) for number, row in rows)

    def build_row(self, values: Mapping[str, object], number: int, zone: tzinfo) -> RowT:
        """Return one row; a column without a value is None, or a figure printed as a dash."""
        fields: dict[str, Any] = {}
        for column, kind in self.kinds.items():
            value = values.get(column)
            if kind is None:
                fields[column] = value
            else:
                fields[column] = Figure(format_value(value, kind, zone), self.name, number, column, value)
        return self.row_type(**fields)
