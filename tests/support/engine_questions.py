"""The questions that every engine is asked, and their answers in plain Python.

An answer is made of plain values: None, bool, int, float, str, date, aware datetime in UTC, lists of them.
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
"""The first and the last of some days."""

Span = tuple[str, datetime, datetime]
"""A column of instants, and the window that they are looked for in."""

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
    """What an engine must answer; each does it as its users would."""

    def schema(self, table: Table) -> dict[str, str]:
        """Columns and their kinds: text, integer, float, flag, instant, date, dates."""

    def rows(self, table: Table) -> Answer:
        """All rows, in any order."""

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        """How many rows are of these days, the last one included; for each range."""

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        """How many rows have an instant in a span, its end excluded; for each span."""

    def nulls(self, table: Table) -> dict[str, int]:
        """How many values are null, by column."""

    def joined(self, day: date) -> Answer:
        """By event: predictions of that day's executions in it, and the sum of their scores."""


Open = Callable[[Lake, list[Table]], Engine]
"""Opens some tables of a lake in an engine."""


@dataclass
class Plain:
    """The answers in plain Python, from the rows that were written."""

    world: World

    def schema(self, table: Table) -> dict[str, str]:
        return {name: KINDS[kind] for name, kind in _types(table).items()}

    def rows(self, table: Table) -> Answer:
        return [tuple(row[name] for name in _types(table)) for row in self._all(table)]

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        return [sum(first <= row[PARTITION] <= last for row in self._all(table)) for first, last in ranges]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        return [
            sum(row[column] is not None and start <= row[column] < end for row in self._all(table))
            for column, start, end in spans
        ]

    def nulls(self, table: Table) -> dict[str, int]:
        return {name: sum(row[name] is None for row in self._all(table)) for name in _types(table)}

    def joined(self, day: date) -> Answer:
        ran = {
            (row["scheduler_arn"], row["data_start_time"])
            for row in self._all(INFERENCE_EXECUTIONS)
            if row[PARTITION] == day
        }
        found = []
        for event in self._all(ANOMALY_EVENTS):
            scores = [
                row["anomaly_score"]
                for row in self._all(ANOMALY_PREDICTIONS)
                if row[PARTITION] == day
                and (row["scheduler_arn"], row["data_start_time"]) in ran
                and row["scheduler_arn"] == event["scheduler_arn"]
                and event["start_time"] <= row["timestamp"] < event["end_time"]
            ]
            known = [score for score in scores if score is not None]
            if scores:
                found.append((event["event_id"], len(scores), sum(known) if known else None))
        return found

    def _all(self, table: Table) -> list[Row]:
        return self.world.truth.get(table.name, [])


@dataclass(frozen=True)
class Asked:
    """The days and times that questions are about."""

    ranges: Mapping[str, Days]
    windows: Mapping[str, tuple[datetime, datetime]]
    day: date


MADE_UP = Asked(RANGES, WINDOWS, date(2026, 10, 25))
"""Those of the lake that tests make by rule."""


def asked(engine: Engine, tables: Iterable[Table], about: Asked = MADE_UP) -> dict[str, Any]:
    """Ask an engine everything; questions by name, so that a difference tells where it is."""
    found: dict[str, Any] = {}
    for table in tables:
        found[f"{table.name}: schema"] = engine.schema(table)
        found[f"{table.name}: rows"] = ordered(engine.rows(table))
        found[f"{table.name}: nulls"] = engine.nulls(table)
        ranges = {f"{table.name}: {name}": days for name, days in about.ranges.items() if table.partitioned}
        if ranges:
            found |= zip(ranges, engine.between_days(table, list(ranges.values())), strict=True)
        spans = {
            f"{table.name}.{column.name}: {name}": (column.name, *window)
            for column in table.columns
            if pa.types.is_timestamp(column.type)
            for name, window in about.windows.items()
        }
        found |= zip(spans, engine.between_instants(table, list(spans.values())), strict=True)
    found["a join of three tables"] = ordered(engine.joined(about.day))
    return found


def ordered(answer: Answer) -> Answer:
    """Rows in an order of their own: engines promise none."""
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


def _types(table: Table) -> dict[str, pa.DataType]:
    days = {PARTITION: pa.date32()} if table.partitioned else {}
    return {column.name: column.type for column in table.columns} | days
