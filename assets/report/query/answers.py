"""The lake's answers to a page's questions, and the figures that are taken from them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

import pyarrow as pa

from assets.report.formatting import format_value
from assets.report.query import Question, questions
from assets.report.query.scope import ReportScope

RunQuery = Callable[[str], pa.Table]
"""Answers a statement in SQL over the lake's tables."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A number as it is read on a page, and the cell that it comes from.

    Attributes:
        text: the number with its unit.
        question: the name of the question.
        row: the number of the row, from 1; 0: the answer has no such row.
        column: the column.
        value: the number itself; None where the lake has none.
    """

    text: str
    question: str
    row: int
    column: str
    value: Any = None

    def __bool__(self) -> bool:
        """Tell whether there is anything: not nothing known, and not zero."""
        return bool(self.value)


StatementValue = tuple[str | Figure, ...]
"""A sentence: words and figures."""


class Answers:
    """Every question with its answer."""

    def __init__(self, asked: Mapping[str, Question], tables: Mapping[str, pa.Table], zone: tzinfo) -> None:
        """Take the answers by the names of their questions; times are written in `zone`."""
        self.asked = asked
        self.tables = tables
        self._zone = zone
        self._rows = {
            name: {cell(row[asked[name].key]): row for row in table.to_pylist()}
            for name, table in tables.items()
            if name != "strips"  # which is drawn, not read: its rows are many
        }
        self._numbers = {
            name: {key: number for number, key in enumerate(rows, start=1)}
            for name, rows in self._rows.items()
        }

    def rows(self, name: str) -> Mapping[str, Row]:
        """Return the rows of an answer by their keys, in order."""
        return self._rows[name]

    def __getitem__(self, place: tuple[str, str, str]) -> Figure:
        """Return the figure at (question, row, column); a dash where there is no such row."""
        name, row, column = place
        value = self._rows[name].get(row, {}).get(column)
        text = format_value(value, self.asked[name].kinds[column], self._zone)
        return Figure(text, name, self._numbers[name].get(row, 0), column, value)

    def figures(self, name: str, row: str, *columns: str) -> Iterator[Figure]:
        """Return several figures of a row."""
        return (self[name, row, column] for column in columns)


def run_questions(scope: ReportScope, ask: RunQuery) -> Answers:
    """Ask everything about a scope."""
    asked = questions(scope)
    return Answers(asked, {name: ask(question.sql) for name, question in asked.items()}, scope.zone)


def cell(value: object) -> str:
    """Write the value of a key, so that it can be found again in the answer."""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
