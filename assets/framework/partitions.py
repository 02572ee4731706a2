"""The only partition dimension: days in UTC.

In other time zones some days have 23 or 25 hours. Today is a partition from midnight on. The scheduler is a
column, not a second dimension, because schedulers are created, deleted and recreated under the same name.
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from assets.framework.time_windows import Days
from resources.errors import ConfigurationError

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""Tags of a run over a range of partitions: first and last day."""


def daily_partitions(history: Days) -> dg.DailyPartitionsDefinition:
    """Return one partition per day of the history, including today."""
    return dg.DailyPartitionsDefinition(
        start_date=history.first.isoformat(),
        end_date=history.end.isoformat() if history.end else None,
        timezone="UTC",
        end_offset=1,
    )


def list_partitions(context: dg.AssetExecutionContext) -> Sequence[str]:
    """Return the partitions of a run, oldest first.

    Raises:
        ConfigurationError: the range has no days, because its first day is after its last one.
    """
    keys: Sequence[str] = context.partition_keys
    if not keys:
        first, last = (context.run.tags.get(tag, "none") for tag in RANGE)
        raise ConfigurationError(
            f"Cannot materialize a range without days: {first} is after {last}",
            where="the partitions of the run",
            next_step=f"run it again from {last} to {first}",
        )
    return keys


def parse_days(partition_keys: Sequence[str]) -> list[date]:
    """Convert partition keys to dates."""
    return [date.fromisoformat(key) for key in partition_keys]
