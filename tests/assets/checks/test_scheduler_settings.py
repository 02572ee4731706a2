"""The latest settings of each scheduler."""

from datetime import timedelta

import pyarrow as pa

from assets.checks.scheduler_settings import SchedulerSettings, parse_scheduler_settings
from assets.tables import (
    INFERENCE_SCHEDULERS,
)
from tests.support.check_days import NOW

HOUR = timedelta(hours=1)


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
    assert parse_scheduler_settings(rows)["a"].executions_a_day == 288
