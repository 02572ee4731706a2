"""The sandbox from the command line: `python -m sandbox --help`.

Belongs here: arguments, messages, exit codes.
Does not belong here: anything that a test would want to call.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.dumps import Manifest, write_history
from sandbox.fleet import Fleet, History, fleet

_UNTIL = "2026-10-08T00:00:00Z"  # the first moment without the service
_YEARS = (2000, 2100)
_DUMPED_AFTER = timedelta(hours=2)  # the slowest execution has settled by then

_EPILOG = """\
example:
  python -m sandbox dump --to dumps/
      writes four weeks of a made-up fleet's executions as saved responses of the service, in every form
      that the AWS CLI, the SDKs and people have saved them in, mistakes included

The same arguments write the same bytes.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake in its arguments ends with exit code 2 and a sentence."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        told = _dump(options)
    except OSError as error:
        parser.exit(2, f"sandbox: cannot write to {options.to}: {error.strerror or error}\n")
    print(told)  # noqa: T201 - this is the command line
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="The service in a box: a made-up fleet that misbehaves as real ones do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    dump = commands.add_parser(
        "dump",
        help="write the fleet's history as saved responses",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dump.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder to write into; same names are replaced",
    )
    dump.add_argument("--seed", type=int, default=1, metavar="N", help="which fleet (default: %(default)s)")
    dump.add_argument(
        "--until",
        type=_instant,
        default=_UNTIL,
        metavar="TIME",
        help="the end of the history, with its zone (default: %(default)s)",
    )
    dump.add_argument(
        "--days", type=_days, default=28, metavar="N", help="its length in days (default: %(default)s)"
    )
    return parser


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it like {_UNTIL}") from None
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone; write it like {_UNTIL}")
    if not _YEARS[0] <= instant.year <= _YEARS[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not between {_YEARS[0]} and {_YEARS[1]}")
    return instant.astimezone(UTC)


def _days(text: str) -> int:
    longest = 366  # twelve thousand executions a week are held in memory at the end
    if not text.isdecimal() or not 1 <= int(text) <= longest:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to {longest}")
    return int(text)


def _dump(options: argparse.Namespace) -> str:
    history = History(options.until - timedelta(days=options.days), options.until)
    plants = fleet(options.seed, history)
    return _told(plants, write_history(plants, options.to, options.until + _DUMPED_AFTER), options.to)


def _told(plants: Fleet, manifest: Manifest, folder: Path) -> str:
    def named(paths: Sequence[Path]) -> str:
        return ", ".join(str(path.relative_to(folder)) for path in paths)

    history = plants.history
    return "\n".join(
        (
            f"{len(manifest.files)} files in {folder}",
            f"{len(manifest.executions):,} executions of {len(plants.schedulers)} schedulers",
            f"{history.start:%Y-%m-%d %H:%M}Z to {history.end:%Y-%m-%d %H:%M}Z",
            "",
            "What is odd about the fleet:",
            *(
                f"  {scheduler.name:<13} {scheduler.region:<15} {scheduler.remark}"
                for scheduler in plants.schedulers
                if scheduler.remark
            ),
            "",
            "What is odd about the files:",
            f"  incomplete    {named(manifest.incomplete)}",
            f"  unreadable    {named(manifest.unreadable)}",
            f"  with a summary that nobody can use    {named(manifest.unusable)}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
