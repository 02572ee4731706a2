"""Dates that the tests of the checks share."""

from datetime import UTC, date, datetime, timedelta

DAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SETTLE = timedelta(hours=3)


def days_back(*numbers: int) -> list[date]:
    """Return the days this many days before `DAY`."""
    return [DAY - timedelta(days=number) for number in numbers]
