"""A lake with generated rows of every table, and the same rows as plain values, as the expected result.

The rows are not realistic. They contain the values in which engines could differ: nulls in every nullable
column, instants in milliseconds around midnight and clock changes, non-ASCII text, a day without rows, and a
gap between days.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.framework.row_content import sort_by_key
from assets.tables import PARTITION, TABLES, Table
from resources.lake.lake import Lake

Row = dict[str, Any]

DAYS = (date(2026, 3, 29), date(2026, 10, 24), date(2026, 10, 25), date(2026, 11, 1))
"""Clocks change in Europe on the first and third day, and in America on the last day."""

EMPTY_DAY = date(2026, 10, 26)
NO_DAY = date(2026, 10, 27)

SCHEDULERS = ("pump-1", "pümp 2", "it's-3")
EVENTS = ("e1", "e2", "e3")
TEXTS = ("SUCCESS", "FAILED", "it's 20 °C", "", "a\\b\nc")
HOURS = (0, 1, 2, 5, 6, 23)


@dataclass
class World:
    """A lake, and its rows by table."""

    lake: Lake
    truth: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return self.lake.uri


def write_world(folder: Path, shards: Sequence[int] = (1,)) -> World:
    """Write a lake with rows of every table; the days have these numbers of shards in turn."""
    world = World(Lake(str(folder)))
    lakes = cycle([Lake(str(folder), shards=number) for number in shards])
    for table in TABLES:
        world.truth[table.name] = []
        if table.partitioned:
            for day in DAYS:
                write_rows(replace(world, lake=next(lakes)), table, day, build_rows(table, day))
            write_rows(replace(world, lake=next(lakes)), table, EMPTY_DAY, [])
        else:
            write_rows(world, table, None, [row for day in DAYS for row in build_rows(table, day)])
    return world


def write_rows(world: World, table: Table, day: date | None, rows: list[Row]) -> None:
    """Write the rows of one day to the lake, and add them to the expected rows."""
    sorted_rows = sort_by_key(table, pa.Table.from_pylist(rows, schema=table.schema))
    world.lake.update(table, day, lambda _: sorted_rows)
    days = {} if day is None else {PARTITION: day}
    world.truth.setdefault(table.name, []).extend(row | days for row in rows)


def build_rows(table: Table, day: date) -> list[Row]:
    """Build the rows of one day: each scheduler at each of `HOURS`; every third row has nulls."""
    rows = []
    offset = day.toordinal() % 50 * 1000
    for number, name in enumerate(SCHEDULERS):
        for position, hour in enumerate(HOURS):
            start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
            row_number = number * len(HOURS) + position
            row = {
                column.name: _build_value(
                    column.name, column.type, name, start, offset + row_number + column_number
                )
                for column_number, column in enumerate(table.columns)
            }
            nullable = [column.name for column in table.columns if not column.required]
            rows.append(row | {name: None for name in nullable if (row_number + len(name)) % 3 == 0})
    return rows


def _build_value(column: str, kind: pa.DataType, scheduler: str, start: datetime, number: int) -> Any:
    special: dict[str, Any] = {
        "scheduler_arn": f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{scheduler}",
        "scheduler_name": scheduler,
        "data_start_time": start,
        "data_end_time": start + timedelta(minutes=5),
        "timestamp": start + timedelta(minutes=1, milliseconds=number % 1000),  # may be on the next day
        "start_time": start - timedelta(minutes=1),
        "end_time": start + timedelta(minutes=30),
    }
    if column in special:
        return special[column]
    if pa.types.is_string(kind):
        return f"{TEXTS[number % len(TEXTS)]}{number if 'id' in column or 'uri' in column else ''}"
    if pa.types.is_timestamp(kind):
        return start + timedelta(milliseconds=number * 37)
    values = {
        pa.int64(): 2**53 + 1 if number % 7 == 0 else number,
        pa.float64(): number / 8,
        pa.bool_(): number % 2 == 0,
        pa.list_(pa.date32()): [start.date()] * (number % 3),
    }
    return values[kind]
