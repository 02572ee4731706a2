"""Days and schedulers as people type them, held against what there is."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta

from assets.framework.time_windows import Days
from resources.config.validation_errors import format_value, suggest
from resources.errors import ConfigurationError
from resources.name_patterns import matches, matches_any
from resources.sources.base import ListedScheduler

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_A_DAY = timedelta(days=1)
_NAMES_TOLD = 20


def parse_day(text: str, option: str, today: date) -> date:
    """Return the day of a text: YYYY-MM-DD, `today` or `yesterday`, all in UTC.

    Raises:
        ConfigurationError: it is no day.
    """
    words = {"today": today, "yesterday": today - _A_DAY}
    if text in words:
        return words[text]
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        problem = "is no day"
    except ValueError as error:
        problem = f"is no day of the calendar ({error})"
    raise ConfigurationError(
        f"{option} {format_value(text)} {problem}",
        where="the command line",
        next_step=f"write it as YYYY-MM-DD, such as {option} {today}, or today or yesterday (UTC)",
    )


def parse_range(first: str, last: str, history: Days, today: date) -> list[date]:
    """Return the days from one text to another, both included.

    Raises:
        ConfigurationError: they are no days, in the wrong order, or not days of the history.
    """
    begin, end = parse_day(first, "--from", today), parse_day(last, "--to", today)
    if begin > end:
        raise ConfigurationError(
            f"--from {begin} is later than --to {end}",
            where="the command line",
            next_step=f"turn them round: --from {end} --to {begin}",
        )
    latest = last_day(history, today)
    if begin < history.first:
        raise ConfigurationError(
            f"--from {begin} is before the history, which starts on {history.first}",
            where="history.start_date in ledger.toml",
            next_step=f'set [history] start_date = "{begin}", or begin later: --from {history.first}',
        )
    if end > latest:
        mend = f"end sooner: --to {latest}"
        if history.end and end <= today:
            mend = f'set [history] end_date = "{end + _A_DAY}", or {mend}'
        reason = "ends before that" if history.end and history.end <= today else "goes as far as today (UTC)"
        raise ConfigurationError(
            f"--to {end} is after {latest}: the history {reason}",
            where="history.end_date in ledger.toml" if history.end else "the command line",
            next_step=mend,
        )
    return days_between(begin, end)


def days_between(first: date, last: date) -> list[date]:
    """Return all days from the first to the last, both included."""
    return [first + n * _A_DAY for n in range((last - first).days + 1)]


def last_day(history: Days, today: date) -> date:
    """Return the last day that is a partition today."""
    return min(today, history.end - _A_DAY) if history.end else today


def select_schedulers(patterns: Sequence[str], there: Collection[ListedScheduler]) -> set[str] | None:
    """Return the ARNs of the schedulers that are meant; None: all, as no pattern was given.

    Raises:
        ConfigurationError: a pattern is the name of none; the message has what could be meant.
    """
    for pattern in patterns:
        if not any(matches(pattern, one.name, one.arn) for one in there):
            raise no_scheduler_error(pattern, (one.name for one in there))
    if not patterns:
        return None
    return {one.arn for one in there if matches_any(patterns, one.name, one.arn)}


def no_scheduler_error(pattern: str, names: Iterable[str]) -> ConfigurationError:
    """Say that no scheduler is called so, and what could be meant."""
    there = sorted(set(names))
    some = ", ".join(there[:_NAMES_TOLD]) + (", ..." if len(there) > _NAMES_TOLD else "")
    return ConfigurationError(
        f"no scheduler is named {format_value(pattern)}{suggest(pattern, there)}",
        where="--scheduler",
        next_step=f"use a name, a pattern with * and ?, or an ARN; there are {some or 'none'}",
    )
