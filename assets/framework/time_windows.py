"""Half-open time windows in UTC, splitting executions by day, and ISO 8601 durations.

An execution belongs to the UTC day of its DataStartTime. The union over any split of a range is therefore the
range, with each execution exactly once. The windows have no padding; API queries add it
(`resources.sources.messages.QUERY_PADDING`), and `filter_window` cuts the responses.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DAY_MS = 86_400_000
FIRST_YEAR, LAST_YEAR = 2000, 2099
"""Days of other years are mistyped; the days and weeks before and after them may not exist."""

_A_DAY = timedelta(days=1)
_EPOCH = date(1970, 1, 1)
_EPOCH_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HOURS_AND_MINUTES = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?")


@dataclass(frozen=True)
class Window:
    """The times from `start` to before `end`, both in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Days:
    """The days from `first` to before `end`; no end if None."""

    first: date
    end: date | None = None

    def __contains__(self, day: date) -> bool:
        return self.first <= day and (self.end is None or day < self.end)


@lru_cache(maxsize=4096)  # rules compute it for each row of a fleet
def get_day_window(day: date) -> Window:
    """Return the window of a UTC day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Window(start, start + _A_DAY)


def to_milliseconds(moment: datetime) -> int:
    """Return the whole milliseconds since 1970."""
    return (moment - _EPOCH_INSTANT) // _MILLISECOND


def to_instant(milliseconds: int) -> datetime:
    """Return the time in UTC for milliseconds since 1970."""
    return _EPOCH_INSTANT + timedelta(milliseconds=milliseconds)


def filter_window(rows: pa.Table, window: Window) -> pa.Table:
    """Return the executions whose data starts in a window."""
    starts = rows["data_start_time"]
    inside = pc.and_(
        pc.greater_equal(starts, pa.scalar(window.start, starts.type)),
        pc.less(starts, pa.scalar(window.end, starts.type)),
    )
    positions = pc.indices_nonzero(inside).to_numpy()
    if not len(positions):
        return rows.slice(0, 0)
    if positions[-1] - positions[0] + 1 == len(positions):  # a slice shares the memory of its columns
        return rows.slice(positions[0], len(positions))
    return rows.filter(inside)


def filter_days(rows: pa.Table, days: Collection[date]) -> pa.Table:
    """Return the executions whose data starts on one of some days."""
    inside = pc.is_in(rows["data_start_time"].cast(pa.date32()), pa.array(days, pa.date32()))
    positions = pc.indices_nonzero(inside).to_numpy()
    if not len(positions):
        return rows.slice(0, 0)
    if positions[-1] - positions[0] + 1 == len(positions):  # a slice shares the memory of its columns
        return rows.slice(positions[0], len(positions))
    return rows.filter(inside)


def split_by_day(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """Yield each UTC day with its executions, oldest day first; the order within a day is kept."""
    if not rows.num_rows:
        return
    days = rows["data_start_time"].cast(pa.int64()).to_numpy() // DAY_MS
    is_sorted = (days[1:] >= days[:-1]).all()
    order = None if is_sorted else np.argsort(days, kind="stable")
    sorted_rows = rows if order is None else rows.take(pa.array(order))
    numbers, starts = np.unique(days if order is None else days[order], return_index=True)
    for number, start, end in zip(numbers, starts, [*starts[1:], len(days)], strict=True):
        yield _EPOCH + timedelta(days=int(number)), sorted_rows.slice(start, end - start)


@lru_cache(maxsize=1024)  # a handful of frequencies, for each scheduler and day
def parse_duration(text: str | None) -> timedelta | None:
    """Parse an ISO 8601 duration of hours and minutes, such as PT5M; None if it is not one or is zero."""
    match = _HOURS_AND_MINUTES.fullmatch(text or "")
    hours, minutes = match.groups(default="0") if match else ("0", "0")
    return timedelta(hours=int(hours), minutes=int(minutes)) or None
