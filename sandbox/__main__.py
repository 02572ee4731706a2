"""The sandbox from the command line: `python -m sandbox --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sandbox import serve
from sandbox.arguments import add_fleet_options, build_chosen_fleet, parse_time
from sandbox.dumps import Manifest, write_history
from sandbox.fleet import Fleet

_DUMPED_AFTER = timedelta(hours=2)  # the slowest execution has settled by then

_EPILOG = """\
examples:
  python -m sandbox serve
      run the service on this machine; see `python -m sandbox serve --help`

  python -m sandbox dump --to dumps/
      write four weeks of a generated fleet's executions as saved responses, in every format of the
      AWS CLI and the SDKs, with typical defects

The same arguments build the same fleet.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Invalid arguments end with a message and exit code 2."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. Python flushes stdout again at exit, so point it to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        parser.exit(2, f"sandbox: {error}\n")
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A local Amazon Lookout for Equipment with a generated fleet that has typical defects.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve.add_command(commands)
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
        help="the folder to write to; existing files are replaced",
    )
    add_fleet_options(dump)
    dump.add_argument(
        "--clock",
        type=parse_time,
        metavar="TIME",
        help="the time of the last responses, with a time zone (default: two hours after the history)",
    )
    dump.add_argument(
        "--without-defects",
        action="store_true",
        help="write no truncated, incomplete or edited files; the others have all executions",
    )
    dump.set_defaults(run=_run_dump)
    return parser


def _run_dump(options: argparse.Namespace) -> None:
    plants = build_chosen_fleet(options)
    try:
        clock = options.clock or options.until + _DUMPED_AFTER
        manifest = write_history(plants, options.to, clock, has_defects=not options.without_defects)
    except OSError as error:
        raise OSError(f"cannot write to {options.to}: {error.strerror or error}") from error
    print(_format_summary(plants, manifest, options.to, clock))  # noqa: T201 - this is the command line


def _format_summary(plants: Fleet, manifest: Manifest, folder: Path, clock: datetime) -> str:
    history = plants.history
    return "\n".join(
        (
            f"{len(manifest.files)} files in {folder}",
            f"{len(manifest.executions):,} executions of {len(plants.schedulers)} schedulers",
            f"{history.start:%Y-%m-%d %H:%M}Z to {min(history.end, clock):%Y-%m-%d %H:%M}Z",
            "",
            "Peculiarities of the fleet:",
            *(
                f"  {scheduler.name:<13} {scheduler.region:<15} {scheduler.remark}"
                for scheduler in plants.schedulers
                if scheduler.remark
            ),
            *_list_defects(manifest, folder),
        )
    )


def _list_defects(manifest: Manifest, folder: Path) -> list[str]:
    defects = {
        "incomplete": manifest.incomplete,
        "unreadable": manifest.unreadable,
        "with an unusable summary": manifest.unusable,
    }
    if not any(defects.values()):
        return []
    lines = [
        f"  {title}    {', '.join(str(path.relative_to(folder)) for path in paths)}"
        for title, paths in defects.items()
    ]
    return ["", "Defects of the files:", *lines]


if __name__ == "__main__":
    sys.exit(main())
