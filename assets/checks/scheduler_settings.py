"""How often a scheduler runs, as its latest settings say."""

import re
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

_STOPPED = ("STOPPED", "STOPPING")
_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?")
_A_DAY = timedelta(days=1)

COLUMNS = ["scheduler_arn", "valid_from", "status", "data_upload_frequency", "data_delay_offset_minutes"]
"""The columns of `inference_schedulers` that the rule reads."""


@dataclass(frozen=True)
class SchedulerSettings:
    """How a scheduler is set now; `frequency` None: nobody knows."""

    frequency: timedelta | None = None
    delay: timedelta = timedelta(0)
    is_stopped: bool = False

    @property
    def executions_a_day(self) -> int | None:
        """How many executions a whole day has."""
        return None if self.frequency is None else int(_A_DAY / self.frequency)


def parse_scheduler_settings(schedulers: pa.Table) -> dict[str, SchedulerSettings]:
    """Return the rhythm of each scheduler by ARN; what its last row does not tell stands in earlier ones."""
    latest: dict[str, dict[str, object]] = {}
    for row in schedulers.sort_by("valid_from").to_pylist():
        known = latest.setdefault(row["scheduler_arn"], {})
        known |= {name: value for name, value in row.items() if value is not None}
    return {
        arn: SchedulerSettings(
            parse_duration(str(row.get("data_upload_frequency", ""))),
            timedelta(minutes=int(str(row.get("data_delay_offset_minutes", 0)))),
            row.get("status") in _STOPPED,
        )
        for arn, row in latest.items()
    }


def parse_duration(text: str) -> timedelta | None:
    """Read a frequency as the service spells it, such as PT5M; None: it is none."""
    found = _DURATION.fullmatch(text)
    hours, minutes = found.groups(default="0") if found else ("0", "0")
    return timedelta(hours=int(hours), minutes=int(minutes)) or None
