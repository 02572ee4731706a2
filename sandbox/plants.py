"""The machine of a scheduler: when its data is missing, and the failure reason that the service gives.

The texts copy the defects of the real ones: "sensor" names the component, and the s3:// address has the
prefix twice and no bucket.
"""

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sandbox import chance

OUTAGES_PER_DAY = 1 / 8
OUTAGE_HOURS = (4.0, 10.0)  # long enough to lose at least three windows of an hour in a row
DROPPED_WINDOWS = 0.004  # single failures, in addition to the outages

_STRFTIME = {"yyyyMMddHHmmss": "%Y%m%d%H%M%S", "yyyy-MM-dd-HH-mm-ss": "%Y-%m-%d-%H-%M-%S"}


@dataclass(frozen=True, slots=True)
class Window:
    """The period of data of one execution."""

    start: datetime
    end: datetime

    @property
    def previous(self) -> "Window":
        """The previous window of the same length."""
        return Window(self.start - (self.end - self.start), self.start)


@dataclass(frozen=True)
class Plant:
    """A machine that uploads one file per window, with outages.

    Attributes:
        seed: The seed of its random draws, together with the ARN of its scheduler.
        scheduler_arn: The scheduler that reads its data.
        component: The part of the machine with one file. The service calls it a sensor.
        bucket: The bucket of its uploads.
        prefix: The prefix of its uploads.
        zone: The UTC offset of the times in file names.
        delimiter: The text between component and time in file names.
        timestamp_format: The format of that time.
        sensors: The number of sensors of the component.
        sampling: The time between rows.
    """

    seed: int
    scheduler_arn: str
    component: str
    bucket: str
    prefix: str
    zone: timedelta = timedelta(0)
    delimiter: str = "_"
    timestamp_format: str = "yyyyMMddHHmmss"
    sensors: int = 30
    sampling: timedelta = timedelta(minutes=1)

    def has_no_data(self, window: Window) -> bool:
        """Whether no row of a window arrives."""
        return self._is_dropped(window) or self._is_in_outage(window)

    def is_in_outage(self, at: datetime) -> bool:
        """Whether a time is in an outage, excluding its start."""
        return any(outage.start < at <= outage.end for outage in self._list_outages(at))

    def get_failed_reason(self, window: Window, *, use_legacy_text: bool = False) -> str:
        """Return the FailedReason of a window without data.

        The first empty window still has the file of the previous window, so rows are missing. The next
        windows have no file.

        Args:
            window: The window without data.
            use_legacy_text: Use the text of the first year, which did not distinguish the two cases.
        """
        if use_legacy_text:
            return self._format_legacy_reason(window)
        return (
            self._format_no_file_reason(window)
            if self.has_no_data(window.previous)
            else self._format_no_rows_reason(window)
        )

    def _is_dropped(self, window: Window) -> bool:
        (fraction,) = chance.draw_fractions(
            self.seed, self.scheduler_arn, "dropped", int(window.start.timestamp()), count=1
        )
        return fraction < DROPPED_WINDOWS

    def _is_in_outage(self, window: Window) -> bool:
        # a window that is only partly in an outage has rows and succeeds
        return any(
            outage.start <= window.start and window.end <= outage.end
            for outage in self._list_outages(window.start)
        )

    def _list_outages(self, at: datetime) -> list[Window]:
        # an outage is shorter than a day, so it began today or yesterday
        days = (at.date(), at.date() - timedelta(days=1))
        outages = (_draw_outage(self.seed, self.scheduler_arn, day) for day in days)
        return [outage for outage in outages if outage is not None]

    def _format_legacy_reason(self, window: Window) -> str:
        hour = f"{window.start + self.zone:%Y%m%d%H}"
        return f"{self._format_missing_file(window)} {self.prefix}{self.component}{self.delimiter}{hour}"

    def _format_no_file_reason(self, window: Window) -> str:
        # the service also searches one window before and after
        length = window.end - window.start
        first, last = self._format_file_uri(window.start - length), self._format_file_uri(window.end + length)
        return f"{self._format_missing_file(window)} '{first}' ~ '{last}'"

    def _format_missing_file(self, window: Window) -> str:
        return (
            f"Could not find data file for sensor {self.component} within expected range of "
            f"{_format_interval(window)}. Please ensure data is present for all "
            "sensors of the machine under prefix"
        )

    def _format_no_rows_reason(self, window: Window) -> str:
        previous = window.previous
        return (
            f"Could not find data for sensor {self.component} within expected time range of "
            f"{_format_interval(window)} while searching in the given data range of "
            f"({_format_minute(previous.start)}, {_format_minute(previous.end - timedelta(minutes=1))}). "
            "Please ensure data is present for all sensors of the machine "
            "and ensure there is data within the expected time range."
        )

    def _format_file_uri(self, at: datetime) -> str:
        local_time = (at + self.zone).strftime(_STRFTIME[self.timestamp_format])
        return f"s3://{self.prefix}{self.prefix}{self.component}{self.delimiter}{local_time}"


@functools.lru_cache(maxsize=65_536)
def _draw_outage(seed: int, scheduler_arn: str, day: date) -> Window | None:
    """Return the outage that begins on a UTC day, or None."""
    fraction, minute, length = chance.draw_fractions(seed, scheduler_arn, "outage", day.isoformat(), count=3)
    if fraction >= OUTAGES_PER_DAY:
        return None
    shortest, longest = OUTAGE_HOURS
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    start = midnight + timedelta(minutes=int(minute * 24 * 60))
    return Window(start, start + timedelta(minutes=int(60 * (shortest + length * (longest - shortest)))))


def _format_second(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _format_interval(window: Window) -> str:
    return f"({_format_second(window.start)}, {_format_second(window.end)}]"


def _format_minute(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"
