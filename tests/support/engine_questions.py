"""The questions that every engine answers, and the answers of plain Python.

An answer consists of plain values: None, bool, int, float, str, date, aware datetime in UTC, lists of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol

import pyarrow as pa

from assets.tables import ANOMALY_EVENTS, ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, PARTITION, Table
from resources.lake.lake import Lake
from tests.support.engine_world import EMPTY_DAY, NO_DAY, Row, World

Answer = list[tuple[Any, ...]]

Days = tuple[date, date]
"""The first and the last day of a range."""

Span = tuple[str, datetime, datetime]
"""A timestamp column, and the start and end of a time window."""

WINDOWS = {
    "across midnight": (
        datetime(2026, 10, 24, 22, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    ),
    "clocks go forward in Berlin": (
        datetime(2026, 3, 29, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 2, tzinfo=UTC),
    ),
    "clocks go back in Berlin": (
        datetime(2026, 10, 25, 0, tzinfo=UTC),
        datetime(2026, 10, 25, 2, tzinfo=UTC),
    ),
    "clocks go back in New York": (
        datetime(2026, 11, 1, 5, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
    ),
    "one millisecond": (
        datetime(2026, 10, 25, 5, tzinfo=UTC),
        datetime(2026, 10, 25, 5, 0, 0, 1000, tzinfo=UTC),
    ),
}
RANGES = {
    "one day": (date(2026, 10, 25), date(2026, 10, 25)),
    "days on both sides of a gap": (date(2026, 10, 24), date(2026, 11, 1)),
    "a day without rows": (EMPTY_DAY, EMPTY_DAY),
    "a day that was never written": (NO_DAY, NO_DAY),
}


class Engine(Protocol):
    """The questions that an engine must answer, in the way that its users would ask them."""

    def schema(self, table: Table) -> dict[str, str]:
        """Return the kind of each column: text, integer, float, flag, instant, date or dates."""

    def rows(self, table: Table) -> Answer:
        """Return all rows, in any order."""

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        """Count the rows of each range of days, including the last day."""

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        """Count the rows with an instant in each span, excluding its end."""

    def nulls(self, table: Table) -> dict[str, int]:
        """Count the null values of each column."""

    def joined(self, day: date) -> Answer:
        """Return, for each event, the number and score sum of the predictions of one day in it."""


Open = Callable[[Lake, list[Table]], Engine]
"""Opens tables of a lake in an engine."""


@dataclass
class Plain:
    """The answers of plain Python, from the rows that were written."""

    world: World

    def schema(self, table: Table) -> dict[str, str]:
        return {name: KINDS[kind] for name, kind in _get_types(table).items()}

    def rows(self, table: Table) -> Answer:
        return [tuple(row[name] for name in _get_types(table)) for row in self._all(table)]

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        return [sum(first <= row[PARTITION] <= last for row in self._all(table)) for first, last in ranges]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        return [
            sum(row[column] is not None and start <= row[column] < end for row in self._all(table))
            for column, start, end in spans
        ]

    def nulls(self, table: Table) -> dict[str, int]:
        return {name: sum(row[name] is None for row in self._all(table)) for name in _get_types(table)}

    def joined(self, day: date) -> Answer:
        executions = {
            (row["scheduler_arn"], row["data_start_time"])
            for row in self._all(INFERENCE_EXECUTIONS)
            if row[PARTITION] == day
        }
        rows = []
        for event in self._all(ANOMALY_EVENTS):
            scores = [
                row["anomaly_score"]
                for row in self._all(ANOMALY_PREDICTIONS)
                if row[PARTITION] == day
                and (row["scheduler_arn"], row["data_start_time"]) in executions
                and row["scheduler_arn"] == event["scheduler_arn"]
                and event["start_time"] <= row["timestamp"] < event["end_time"]
            ]
            scores_not_null = [score for score in scores if score is not None]
            if scores:
                rows.append(
                    (event["event_id"], len(scores), sum(scores_not_null) if scores_not_null else None)
                )
        return rows

    def _all(self, table: Table) -> list[Row]:
        return self.world.truth.get(table.name, [])


@dataclass(frozen=True)
class QuestionScope:
    """The days and times of the questions."""

    ranges: Mapping[str, Days]
    windows: Mapping[str, tuple[datetime, datetime]]
    day: date


GENERATED_SCOPE = QuestionScope(RANGES, WINDOWS, date(2026, 10, 25))
"""The scope of the lake with generated rows."""


def collect_answers(
    engine: Engine, tables: Iterable[Table], scope: QuestionScope = GENERATED_SCOPE
) -> dict[str, Any]:
    """Return the answers of an engine to all questions, by the name of the question."""
    answers: dict[str, Any] = {}
    for table in tables:
        answers[f"{table.name}: schema"] = engine.schema(table)
        answers[f"{table.name}: rows"] = sort_rows(engine.rows(table))
        answers[f"{table.name}: nulls"] = engine.nulls(table)
        ranges = {f"{table.name}: {name}": days for name, days in scope.ranges.items() if table.partitioned}
        if ranges:
            answers |= zip(ranges, engine.between_days(table, list(ranges.values())), strict=True)
        spans = {
            f"{table.name}.{column.name}: {name}": (column.name, *window)
            for column in table.columns
            if pa.types.is_timestamp(column.type)
            for name, window in scope.windows.items()
        }
        answers |= zip(spans, engine.between_instants(table, list(spans.values())), strict=True)
    answers["a join of three tables"] = sort_rows(engine.joined(scope.day))
    return answers


def sort_rows(answer: Answer) -> Answer:
    """Sort rows, because engines guarantee no order."""
    return sorted(answer, key=repr)


KINDS = {
    pa.string(): "text",
    pa.int64(): "integer",
    pa.float64(): "float",
    pa.bool_(): "flag",
    pa.timestamp("ms", tz="UTC"): "instant",
    pa.date32(): "date",
    pa.list_(pa.date32()): "dates",
}


def _get_types(table: Table) -> dict[str, pa.DataType]:
    days = {PARTITION: pa.date32()} if table.partitioned else {}
    return {column.name: column.type for column in table.columns} | days
