"""What the sub-commands' arguments have in common."""

import argparse
from datetime import UTC, datetime, timedelta

from sandbox.fleet import Fleet, History, fleet

UNTIL = "2026-10-08T00:00:00Z"  # the first moment without the service

_YEARS = (2000, 2100)
_LONGEST = 366  # days; twelve thousand executions a week are held in memory at the end


def add_fleet(command: argparse.ArgumentParser) -> None:
    """Adds what decides which fleet it is."""
    command.add_argument(
        "--seed", type=int, default=1, metavar="N", help="which fleet (default: %(default)s)"
    )
    command.add_argument(
        "--until",
        type=instant,
        default=UNTIL,
        metavar="TIME",
        help="the end of the history, with its zone (default: %(default)s)",
    )
    command.add_argument(
        "--days", type=days, default=28, metavar="N", help="its length in days (default: %(default)s)"
    )


def chosen_fleet(options: argparse.Namespace) -> Fleet:
    """The fleet that the arguments name."""
    return fleet(options.seed, History(options.until - timedelta(days=options.days), options.until))


def instant(text: str) -> datetime:
    """A time with its zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it like {UNTIL}") from None
    if read.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone; write it like {UNTIL}")
    if not _YEARS[0] <= read.year <= _YEARS[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not between {_YEARS[0]} and {_YEARS[1]}")
    return read.astimezone(UTC)


def days(text: str) -> int:
    """A length of a history."""
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to {_LONGEST}")
    return int(text)
