"""The machine behind a scheduler: when its data does not arrive, and what the service then says.

The service's texts have quirks that readers meet in the wild and that are kept here: "sensor" names the
component, and the s3:// address holds the prefix twice and the bucket never.
"""

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sandbox import chance

OUTAGES_PER_DAY = 1 / 8
OUTAGE_HOURS = (4.0, 10.0)  # long enough to lose at least three windows of an hour in a row
DROPPED_WINDOWS = 0.004  # lone failures, beside the outages

_STRFTIME = {"yyyyMMddHHmmss": "%Y%m%d%H%M%S", "yyyy-MM-dd-HH-mm-ss": "%Y-%m-%d-%H-%M-%S"}


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of data that one execution looks at."""

    start: datetime
    end: datetime

    @property
    def before(self) -> "Window":
        """The window of the same length that ends where this one starts."""
        return Window(self.start - (self.end - self.start), self.start)


@dataclass(frozen=True)
class Plant:
    """A machine that uploads one file a window for its component, most of the time.

    Attributes:
        seed: What its fate is drawn from, together with the ARN of its scheduler.
        scheduler_arn: The scheduler that reads its data.
        component: What the service calls a sensor in its texts: the part of the machine with a file.
        bucket: Where it uploads to.
        prefix: And under which prefix.
        zone: The zone of the times in the names of its files.
        delimiter: What separates component and time in the name of a file.
        timestamp_format: How that time is written.
        sensors: How many the component has.
        sampling: The time from row to row.
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

    def is_silent(self, window: Window) -> bool:
        """Whether no usable row of this window ever arrives."""
        return self._is_dropped(window) or self._is_out(window)

    def is_out(self, at: datetime) -> bool:
        """Whether a row of this time falls into an outage; one at its very start does not."""
        return any(outage.start < at <= outage.end for outage in self._outages(at))

    def why_failed(self, window: Window, *, in_the_old_words: bool = False) -> str:
        """The FailedReason of a window without data.

        The first empty window still finds the file of its neighbour, so the service misses rows in it; the
        following ones find no file at all.

        Args:
            window: The window without data.
            in_the_old_words: As the service spoke in its first year, before it told the two cases apart.
        """
        if in_the_old_words:
            return self._no_file_in_the_old_words(window)
        return self._no_file(window) if self.is_silent(window.before) else self._no_rows(window)

    def _is_dropped(self, window: Window) -> bool:
        (luck,) = chance.fractions(
            self.seed, self.scheduler_arn, "dropped", int(window.start.timestamp()), count=1
        )
        return luck < DROPPED_WINDOWS

    def _is_out(self, window: Window) -> bool:
        # A window that is covered in part still has rows, and succeeds.
        return any(
            outage.start <= window.start and window.end <= outage.end
            for outage in self._outages(window.start)
        )

    def _outages(self, at: datetime) -> list[Window]:
        # An outage is shorter than a day, so only one that began today or yesterday can last until now.
        days = (at.date(), at.date() - timedelta(days=1))
        outages = (_outage(self.seed, self.scheduler_arn, day) for day in days)
        return [outage for outage in outages if outage is not None]

    def _no_file_in_the_old_words(self, window: Window) -> str:
        hour = f"{window.start + self.zone:%Y%m%d%H}"
        return f"{self._misses_file(window)} {self.prefix}{self.component}{self.delimiter}{hour}"

    def _no_file(self, window: Window) -> str:
        # The service looks one window further on both sides for a file before it gives up.
        length = window.end - window.start
        first, last = self._file(window.start - length), self._file(window.end + length)
        return f"{self._misses_file(window)} '{first}' ~ '{last}'"

    def _misses_file(self, window: Window) -> str:
        return (
            f"Could not find data file for sensor {self.component} within expected range of "
            f"({_second(window.start)}, {_second(window.end)}]. Please ensure data is present for all "
            "sensors of the machine under prefix"
        )

    def _no_rows(self, window: Window) -> str:
        before = window.before
        return (
            f"Could not find data for sensor {self.component} within expected time range of "
            f"({_second(window.start)}, {_second(window.end)}] while searching in the given data range of "
            f"({_minute(before.start)}, {_minute(before.end - timedelta(minutes=1))}). Please ensure data is "
            "present for all sensors of the machine and ensure there is data within the expected time range."
        )

    def _file(self, at: datetime) -> str:
        local_time = (at + self.zone).strftime(_STRFTIME[self.timestamp_format])
        return f"s3://{self.prefix}{self.prefix}{self.component}{self.delimiter}{local_time}"


@functools.lru_cache(maxsize=65_536)
def _outage(seed: int, scheduler_arn: str, day: date) -> Window | None:
    """The outage that begins on this UTC day, if one does."""
    luck, minute, length = chance.fractions(seed, scheduler_arn, "outage", day.isoformat(), count=3)
    if luck >= OUTAGES_PER_DAY:
        return None
    shortest, longest = OUTAGE_HOURS
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    start = midnight + timedelta(minutes=int(minute * 24 * 60))
    return Window(start, start + timedelta(minutes=int(60 * (shortest + length * (longest - shortest)))))


def _second(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"
