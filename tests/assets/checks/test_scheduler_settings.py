"""The settings of each scheduler: the latest ones, and the frequency on each day."""

from datetime import timedelta

import pyarrow as pa

from assets.checks.scheduler_settings import SchedulerSettings, compute_daily_grid, parse_scheduler_settings
from assets.tables import (
    INFERENCE_SCHEDULERS,
)
from tests.support.check_days import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_scheduler_settings_are_the_latest_value_of_each_column() -> None:
    rows = pa.Table.from_pylist(
        [
            {
                "scheduler_arn": "a",
                "valid_from": NOW,
                "data_upload_frequency": "PT5M",
                "data_delay_offset_minutes": 3,
            },
            {"scheduler_arn": "a", "valid_from": NOW + HOUR, "status": "STOPPED"},
        ],
        schema=pa.schema(
            [
                INFERENCE_SCHEDULERS.schema.field(name).with_nullable(True)
                for name in (
                    "scheduler_arn",
                    "valid_from",
                    "status",
                    "data_upload_frequency",
                    "data_delay_offset_minutes",
                )
            ]
        ),
    )

    assert parse_scheduler_settings(rows) == {
        "a": SchedulerSettings(timedelta(minutes=5), timedelta(minutes=3), True)
    }


def test_the_grid_of_a_day_is_that_of_the_frequency_at_its_start() -> None:
    changes = [(NOW, "PT15M"), (NOW + DAY, "PT5M"), (NOW + 2 * DAY, None)]
    rows = pa.Table.from_pylist(
        [{"scheduler_arn": "a", "valid_from": at, "data_upload_frequency": value} for at, value in changes]
        + [{"scheduler_arn": "b", "valid_from": NOW, "data_upload_frequency": None}],
    )
    days = [(NOW + number * DAY).date() for number in range(-1, 4)]

    assert compute_daily_grid(rows, days) == {
        ("a", day): n for day, n in zip(days, (96, 96, 96, 288, 288), strict=True)
    }
