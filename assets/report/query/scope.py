"""What a page is about: which days, of which machines, shown in which zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ReportScope:
    """Whole UTC days, `last` included.

    Attributes:
        first: the first day.
        last: the last day.
        zone: times are shown in it.
        schedulers: ARNs of the schedulers to show; None: all.
        equipment: names of the machines to show, as `equipment_health` has them; None: all.
        bins: how many steps a strip has.
        gap_steps: a stretch of more than so many usual steps without a point is a gap.
    """

    first: date
    last: date
    zone: tzinfo = UTC
    schedulers: tuple[str, ...] | None = None
    equipment: tuple[str, ...] | None = None
    bins: int = 672
    gap_steps: float = 2.0

    @property
    def start(self) -> datetime:
        """The first instant."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after the last day."""
        return self.start + self.length

    @property
    def last_day(self) -> datetime:
        """The first instant of the last day."""
        return self.end - _A_DAY

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.last - self.first + _A_DAY

    @property
    def bin_seconds(self) -> int:
        """How long a step of a strip is; whole seconds, and the steps cover the range."""
        return -(-int(self.length.total_seconds()) // self.bins)

    @property
    def days(self) -> list[date]:
        """The days, oldest first."""
        return [self.first + number * _A_DAY for number in range(self.length.days)]

    @property
    def in_days(self) -> str:
        """SQL: the partition lies within."""
        return f"data_date BETWEEN DATE '{self.first}' AND DATE '{self.last}'"

    @property
    def with_before(self) -> str:
        """SQL: the partition lies within, or within as many days right before."""
        return f"data_date BETWEEN DATE '{self.first - self.length}' AND DATE '{self.last}'"

    @property
    def of_schedulers(self) -> str:
        """SQL: the scheduler is one of those shown."""
        return _among("scheduler_arn", self.schedulers)

    @property
    def of_equipment(self) -> str:
        """SQL: the machine is one of those shown."""
        return _among("equipment", self.equipment)


def sql_timestamp(at: datetime) -> str:
    """Write an instant in SQL."""
    return f"TIMESTAMPTZ '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00'"


def sql_string(text: str) -> str:
    """Write text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _among(column: str, names: tuple[str, ...] | None) -> str:
    if names is None:
        return "true"
    return f"{column} IN ({', '.join(map(sql_string, names))})" if names else "false"
