"""The one partition dimension: days in UTC.

UTC, because elsewhere a day has 23 or 25 hours twice a year. Today is a partition from its first minute on.
Schedulers are a column and no second dimension: they come, go and are re-created under one name.
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from assets.framework.time_windows import Days

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""Tags of a run over a range: its first and its last day."""


def daily_partitions(history: Days) -> dg.DailyPartitionsDefinition:
    """Return the daily partitions of a history, today included."""
    return dg.DailyPartitionsDefinition(
        start_date=history.first.isoformat(),
        end_date=history.end.isoformat() if history.end else None,
        timezone="UTC",
        end_offset=1,
    )


def parse_days(partition_keys: Sequence[str]) -> list[date]:
    """Return the dates of partition keys."""
    return [date.fromisoformat(key) for key in partition_keys]
