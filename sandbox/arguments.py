"""Arguments that the subcommands share."""

import argparse
from datetime import UTC, datetime, timedelta

from sandbox.fleet import Fleet, History, build_fleet

UNTIL = "2026-10-08T00:00:00Z"  # the end of the service

_YEARS = (2000, 2100)
_LONGEST = 366  # days; a week has twelve thousand executions, all of them in memory


def add_fleet_options(command: argparse.ArgumentParser) -> None:
    """Add the options that select the fleet."""
    command.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the seed of the fleet (default: %(default)s)"
    )
    command.add_argument(
        "--until",
        type=parse_time,
        default=UNTIL,
        metavar="TIME",
        help="the end of the history, with a time zone (default: %(default)s)",
    )
    command.add_argument(
        "--days",
        type=parse_days,
        default=28,
        metavar="N",
        help="the length of the history in days (default: %(default)s)",
    )


def build_chosen_fleet(options: argparse.Namespace) -> Fleet:
    """Build the fleet that the options select."""
    return build_fleet(options.seed, History(options.until - timedelta(days=options.days), options.until))


def parse_time(text: str) -> datetime:
    """Parse a time with a time zone and return it in UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write it like {UNTIL}") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; write it like {UNTIL}")
    if not _YEARS[0] <= time.year <= _YEARS[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not between {_YEARS[0]} and {_YEARS[1]}")
    return time.astimezone(UTC)


def parse_days(text: str) -> int:
    """Parse the length of a history in days."""
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {_LONGEST}")
    return int(text)
