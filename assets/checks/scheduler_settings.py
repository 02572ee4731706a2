"""The latest frequency, delay and status of each scheduler, and its frequency on earlier days."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa

from assets.executions.statuses import STOPPED_STATUSES
from assets.framework.time_windows import get_day_window, parse_duration

_A_DAY = timedelta(days=1)

COLUMNS = ["scheduler_arn", "valid_from", "status", "data_upload_frequency", "data_delay_offset_minutes"]
"""The columns of `inference_schedulers` to read."""


@dataclass(frozen=True)
class SchedulerSettings:
    """The current settings of a scheduler; `frequency` None: not known."""

    frequency: timedelta | None = None
    delay: timedelta = timedelta(0)
    is_stopped: bool = False


def parse_scheduler_settings(schedulers: pa.Table) -> dict[str, SchedulerSettings]:
    """Return the settings by ARN. A null in the latest row is filled from earlier rows."""
    latest: dict[str, dict[str, object]] = {}
    for row in schedulers.sort_by("valid_from").to_pylist():
        values = latest.setdefault(row["scheduler_arn"], {})
        values |= {name: value for name, value in row.items() if value is not None}
    return {
        arn: SchedulerSettings(
            parse_duration(str(row.get("data_upload_frequency", ""))),
            timedelta(minutes=int(str(row.get("data_delay_offset_minutes", 0)))),
            row.get("status") in STOPPED_STATUSES,
        )
        for arn, row in latest.items()
    }


def compute_daily_grid(schedulers: pa.Table, days: Iterable[date]) -> dict[tuple[str, date], int]:
    """Return the number of executions that a frequency gives in a whole day, by ARN and day.

    It is the frequency at the start of the day, or the first known one after it. A scheduler without a known
    frequency has no entry.
    """
    starts = {day: get_day_window(day).start for day in days}
    counts: dict[str, dict[datetime, int]] = {}
    for row in schedulers.sort_by("valid_from").to_pylist():
        if frequency := parse_duration(row["data_upload_frequency"]):
            counts.setdefault(row["scheduler_arn"], {})[row["valid_from"]] = int(_A_DAY / frequency)
    grid: dict[tuple[str, date], int] = {}
    for arn, count_since in counts.items():
        since, values = list(count_since), list(count_since.values())
        for day, start in starts.items():
            grid[arn, day] = values[max(bisect_right(since, start) - 1, 0)]
    return grid
