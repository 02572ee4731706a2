"""Windows of time: half-open, in UTC, a day for each partition.

An execution belongs to the UTC day of its DataStartTime, whatever its end or its results say. So the union of
any split of a range is the range, each execution exactly once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DAY_MS = 86_400_000
_A_DAY = timedelta(days=1)
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Window:
    """From `start` on, up to but without `end`; both aware and in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Days:
    """From the day `first` on, up to but without the day `end` (None: without an end)."""

    first: date
    end: date | None = None

    def __contains__(self, day: date) -> bool:
        """Tell whether a day lies within."""
        return self.first <= day and (self.end is None or day < self.end)


def get_day_window(day: date) -> Window:
    """Return the window of one day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Window(start, start + _A_DAY)


def filter_window(rows: pa.Table, window: Window) -> pa.Table:
    """Keep the executions that start within a window."""
    starts = rows["data_start_time"]
    inside = pc.and_(
        pc.greater_equal(starts, pa.scalar(window.start, starts.type)),
        pc.less(starts, pa.scalar(window.end, starts.type)),
    )
    return rows.filter(inside)


def split_by_day(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """Split executions by their day, oldest day first; within a day they keep their order."""
    if not rows.num_rows:
        return
    days = pc.floor_temporal(rows["data_start_time"], unit="day").cast(pa.int64()).to_numpy() // DAY_MS
    order = np.argsort(days, kind="stable")
    in_days = rows.take(pa.array(order))
    numbers, starts = np.unique(days[order], return_index=True)
    for number, start, end in zip(numbers, starts, [*starts[1:], len(days)], strict=True):
        yield _EPOCH + timedelta(days=int(number)), in_days.slice(start, end - start)
