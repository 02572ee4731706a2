"""The cursor of the sensor for new saved responses.

It holds only what the table `archive_files` does not: the days of files that are not extracted yet, and files
without such days. So a lost cursor or a killed process repeats work but loses no file.
"""

from datetime import date, datetime, timedelta

import msgspec

from assets.framework.time_windows import Days


class TrackedFile(msgspec.Struct):
    """A file with days that are not in the lake.

    Attributes:
        state: The size and the ETag; another state is another file.
        ranges: First and last day of each contiguous range of the days in the file.
        attempts: How many runs were requested since the last progress.
        remaining: How many of its days were missing at the last request.
        retry_at: When another run may be requested for the same days.
    """

    state: str
    ranges: list[tuple[date, date]]
    attempts: int = 0
    remaining: int = 0
    retry_at: datetime | None = None

    def list_days(self, history: Days) -> set[date]:
        """Return the days of the file that are partitions."""
        days: set[date] = set()
        for first, last in self.ranges:
            start = max(first, history.first)
            end = min(last, (history.end or date.max) - timedelta(days=1))  # `last` can be in the year 9999
            days.update(start + timedelta(days=number) for number in range((end - start).days + 1))
        return days


class DeferredFile(msgspec.Struct):
    """A file that needs no run now: it is unreadable, outside of the history, or completely merged."""

    retry_at: datetime
    message: str = ""


class ArchiveCursor(msgspec.Struct):
    """The state of the sensor between ticks.

    Attributes:
        sequence: The number of ticks that requested runs; part of the run keys.
        history: The partitions for which `deferred` was determined.
        tracked: Files with days that are not in the lake, by URI.
        deferred: Files without such days, by the fingerprint of URI and state.
        waiting: The states of files that may still be in the process of being written, by URI.
        messages: Problems for the next skip reason.
        idle: The fingerprint of a listing without anything to do.
        idle_until: When the table is compared again although the listing is the same.
    """

    sequence: int = 0
    history: str = ""
    tracked: dict[str, TrackedFile] = {}
    deferred: dict[str, DeferredFile] = {}
    waiting: dict[str, str] = {}
    messages: list[str] = []
    idle: str = ""
    idle_until: datetime | None = None

    @classmethod
    def from_json(cls, text: str | None) -> "ArchiveCursor":
        """Parse a cursor; an invalid one counts as empty."""
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return cls()

    def to_json(self) -> str:
        """Return the text that Dagster stores."""
        return msgspec.json.encode(self).decode()
