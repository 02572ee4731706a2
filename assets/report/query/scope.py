"""The days and machines of a report, and their conditions in SQL."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from assets.framework.time_windows import Days

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ReportScope:
    """A range of whole UTC days, `last` included.

    Attributes:
        first: the first day.
        last: the last day.
        zone: the time zone of printed times.
        schedulers: ARNs of the schedulers to include; None: all.
        equipment: names of the machines to include, as in `equipment_health`; None: all.
        bins: the number of bins of a score chart.
        gap_steps: a gap is more than this many usual steps without a point.
        min_event_seconds: shorter events are not recorded.
        as_of: the time of the page; nothing later can be known. None: the end of the last day.
        history: the days that can be extracted; None: all.
    """

    first: date
    last: date
    zone: tzinfo = UTC
    schedulers: tuple[str, ...] | None = None
    equipment: tuple[str, ...] | None = None
    bins: int = 672
    gap_steps: float = 2.0
    min_event_seconds: float = 0.0
    as_of: datetime | None = None
    history: Days | None = None

    @property
    def start(self) -> datetime:
        """Midnight UTC at the start of the first day."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Midnight UTC at the end of the last day, exclusive."""
        return self.start + self.length

    @property
    def known_end(self) -> datetime:
        """The end of the range, or the time of the page if that is earlier."""
        return min(self.end, self.as_of or self.end)

    @property
    def last_begun(self) -> date:
        """The last day that has begun at the time of the page; at least the first day."""
        return max(self.first, (self.known_end - timedelta(microseconds=1)).astimezone(UTC).date())

    @property
    def last_day(self) -> datetime:
        """Midnight UTC at the start of the last day."""
        return self.end - _ONE_DAY

    @property
    def length(self) -> timedelta:
        """The duration of all days."""
        return self.last - self.first + _ONE_DAY

    @property
    def bin_seconds(self) -> int:
        """The length of a bin in whole seconds, rounded up so that the bins cover the range."""
        return -(-int(self.length.total_seconds()) // self.bins)

    @property
    def days(self) -> list[date]:
        """The days, oldest first."""
        return [self.first + number * _ONE_DAY for number in range(self.length.days)]

    @property
    def sql_days(self) -> str:
        """SQL condition: the partition is one of the days."""
        return f"data_date BETWEEN DATE '{self.first}' AND DATE '{self.last}'"

    @property
    def sql_days_and_previous(self) -> str:
        """SQL condition: the partition is one of the days, or of the same number of days before them."""
        return f"data_date BETWEEN DATE '{self.first - self.length}' AND DATE '{self.last}'"

    @property
    def sql_schedulers(self) -> str:
        """SQL condition: the scheduler is included."""
        return _build_in_condition("scheduler_arn", self.schedulers)

    @property
    def sql_equipment(self) -> str:
        """SQL condition: the machine is included."""
        return _build_in_condition("equipment", self.equipment)


def sql_timestamp(at: datetime) -> str:
    """Return a SQL literal, in UTC and to the second."""
    return f"TIMESTAMPTZ '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00'"


def _build_in_condition(column: str, values: tuple[str, ...] | None) -> str:
    if values is None:
        return "true"
    literals = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({literals})" if values else "false"
