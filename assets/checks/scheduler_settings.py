"""The latest frequency, delay and status of each scheduler."""

from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from assets.executions.statuses import STOPPED_STATUSES
from assets.framework.time_windows import parse_duration

_A_DAY = timedelta(days=1)

COLUMNS = ["scheduler_arn", "valid_from", "status", "data_upload_frequency", "data_delay_offset_minutes"]
"""The columns of `inference_schedulers` to read."""


@dataclass(frozen=True)
class SchedulerSettings:
    """The current settings of a scheduler; `frequency` None: not known."""

    frequency: timedelta | None = None
    delay: timedelta = timedelta(0)
    is_stopped: bool = False

    @property
    def executions_a_day(self) -> int | None:
        """Number of executions in a whole day; None: the frequency is not known."""
        return None if self.frequency is None else int(_A_DAY / self.frequency)


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
