"""Parsing and validation of days and scheduler names on the command line."""

import re
from collections.abc import Collection, Sequence
from datetime import date, timedelta

from assets.framework.time_windows import FIRST_YEAR, LAST_YEAR, Days
from resources.config.sections import HistorySettings
from resources.errors import ConfigurationError, format_value
from resources.name_patterns import matches, matches_any, no_scheduler_error
from resources.sources.base import ListedScheduler

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_A_DAY = timedelta(days=1)


def parse_day(text: str, option: str, today: date) -> date:
    """Parse YYYY-MM-DD, `today` or `yesterday` (UTC).

    Raises:
        ConfigurationError: the text is not a day of this century.
    """
    words = {"today": today, "yesterday": today - _A_DAY}
    if text in words:
        return words[text]
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
        if day and FIRST_YEAR <= day.year <= LAST_YEAR:
            return day
        reason = f"it is not between {FIRST_YEAR} and {LAST_YEAR}" if day else "the format is YYYY-MM-DD"
    except ValueError as error:
        reason = str(error)
    raise ConfigurationError(
        f"Cannot read {option} {format_value(text)} as a day: {reason}",
        where="the command line",
        next_step=f"use YYYY-MM-DD, today or yesterday (UTC), such as {option} {today}",
    )


def parse_range(first: str, last: str, history: Days, today: date) -> list[date]:
    """Parse a range and return its days, both ends included.

    Raises:
        ConfigurationError: an end is not a day, the order is wrong, or the range exceeds the history.
    """
    begin, end = parse_day(first, "--from", today), parse_day(last, "--to", today)
    check_order(begin, end)
    latest = last_day(history, today)
    if begin < history.first:
        raise ConfigurationError(
            f"Cannot use --from {begin}: it is before the first day of the history, {history.first}",
            where="history.start_date in ledger.toml",
            next_step=f'set [history] start_date = "{begin}", or use --from {history.first}',
        )
    if end > latest:
        fix = f"use --to {latest}"
        if history.end and end <= today:
            fix = f'set [history] end_date = "{end + _A_DAY}", or {fix}'
        name = "the last day of the history" if history.end and history.end <= today else "today (UTC)"
        raise ConfigurationError(
            f"Cannot use --to {end}: it is after {latest}, {name}",
            where="history.end_date in ledger.toml" if history.end else "the command line",
            next_step=fix,
        )
    return [begin + n * _A_DAY for n in range((end - begin).days + 1)]


def parse_range_of_history(
    first: str | None, last: str | None, history: HistorySettings, today: date
) -> list[date]:
    """Parse a range whose ends default to those of the history, and return its days.

    Raises:
        ConfigurationError: as `parse_range`; or an end is missing that the settings do not have either.
    """
    days = Days(history.start_date, history.end_date)
    latest = last_day(days, today)
    if first is None and "start_date" not in history.model_fields_set:
        raise ConfigurationError(
            "Cannot choose the days: neither --from nor history.start_date is set",
            where="the command line, and ledger.toml",
            next_step="add --from DAY, or set [history] start_date",
        )
    begin = days.first if first is None else parse_day(first, "--from", today)
    if last is None and begin > latest:
        raise ConfigurationError(
            f"Cannot start at {begin}: the last day is {latest}",
            where="--from on the command line",
            next_step=f"use --from {latest}, or an earlier day",
        )
    return parse_range(str(begin), last or str(latest), days, today)


def check_order(first: date, last: date) -> None:
    """Check that a range does not end before it starts.

    Raises:
        ConfigurationError: it does.
    """
    if first > last:
        raise ConfigurationError(
            f"Cannot select the days: --from {first} is later than --to {last}",
            where="the command line",
            next_step=f"swap them: --from {last} --to {first}",
        )


def last_day(history: Days, today: date) -> date:
    """Return the last day that has a partition today."""
    return min(today, history.end - _A_DAY) if history.end else today


def select_schedulers(patterns: Sequence[str], listed: Collection[ListedScheduler]) -> set[str] | None:
    """Return the ARNs of the schedulers that match a pattern; None without patterns: all schedulers.

    Raises:
        ConfigurationError: a pattern matches no scheduler; the message suggests similar names.
    """
    for pattern in patterns:
        if not any(matches(pattern, scheduler.name, scheduler.arn) for scheduler in listed):
            raise no_scheduler_error(pattern, (scheduler.name for scheduler in listed), "--scheduler")
    if not patterns:
        return None
    return {scheduler.arn for scheduler in listed if matches_any(patterns, scheduler.name, scheduler.arn)}
