"""A lake with rows of every table, and the same rows as plain values: what every engine is held against.

The rows are made by rule and say nothing true of machines. They hold what engines could differ in: nulls in
every column that may be null, instants to the millisecond at and around midnight and where clocks change,
text that is no ASCII, a day without rows, one day apart from the others.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.framework.row_content import sort_by_key
from assets.tables import PARTITION, TABLES, Table
from resources.lake.lake import Lake

Row = dict[str, Any]

DAYS = (date(2026, 3, 29), date(2026, 10, 24), date(2026, 10, 25), date(2026, 11, 1))
"""Clocks change in Europe on the first and third of them, in America on the last."""

EMPTY_DAY = date(2026, 10, 26)
NO_DAY = date(2026, 10, 27)

SCHEDULERS = ("pump-1", "pümp 2", "it's-3")
EVENTS = ("e1", "e2", "e3")
TEXTS = ("SUCCESS", "FAILED", "it's 20 °C", "", "a\\b\nc")
HOURS = (0, 1, 2, 5, 6, 23)


@dataclass
class World:
    """A lake, and what is in it by table."""

    lake: Lake
    truth: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return self.lake.uri


def build(folder: Path) -> World:
    """Write a lake that has rows of every table."""
    world = World(Lake(str(folder)))
    for table in TABLES:
        world.truth[table.name] = []
        if table.partitioned:
            for day in DAYS:
                write(world, table, day, made(table, day))
            write(world, table, EMPTY_DAY, [])
        else:
            write(world, table, None, [row for day in DAYS for row in made(table, day)])
    return world


def write(world: World, table: Table, day: date | None, rows: list[Row]) -> None:
    """Write one day through the lake, and note it as the truth."""
    ordered = sort_by_key(table, pa.Table.from_pylist(rows, schema=table.schema))
    world.lake.update(table, day, lambda _: ordered)
    days = {} if day is None else {PARTITION: day}
    world.truth.setdefault(table.name, []).extend(row | days for row in rows)


def made(table: Table, day: date) -> list[Row]:
    """Rows of a table for one day: each scheduler at some hours; each third has nulls where it may."""
    rows = []
    of_day = day.toordinal() % 50 * 1000
    for number, name in enumerate(SCHEDULERS):
        for turn, hour in enumerate(HOURS):
            start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
            place = number * len(HOURS) + turn
            row = {
                column.name: _value(column.name, column.type, name, start, of_day + place + at)
                for at, column in enumerate(table.columns)
            }
            nullable = [column.name for column in table.columns if not column.required]
            rows.append(row | {name: None for name in nullable if (place + len(name)) % 3 == 0})
    return rows


def _value(column: str, kind: pa.DataType, scheduler: str, start: datetime, number: int) -> Any:
    special: dict[str, Any] = {
        "scheduler_arn": f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{scheduler}",
        "scheduler_name": scheduler,
        "data_start_time": start,
        "data_end_time": start + timedelta(minutes=5),
        "timestamp": start + timedelta(minutes=1, milliseconds=number % 1000),  # may be of the day after
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
