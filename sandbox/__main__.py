"""The sandbox from the command line: `python -m sandbox --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sandbox import serve
from sandbox.arguments import add_fleet, chosen_fleet
from sandbox.dumps import Manifest, write_history
from sandbox.fleet import Fleet

_DUMPED_AFTER = timedelta(hours=2)  # the slowest execution has settled by then

_EPILOG = """\
examples:
  python -m sandbox serve
      runs the service on this machine; `python -m sandbox serve --help` tells what it can do

  python -m sandbox dump --to dumps/
      writes four weeks of a made-up fleet's executions as saved responses of the service, in every form
      that the AWS CLI, the SDKs and people have saved them in, mistakes included

The same arguments make the same fleet.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake in its arguments ends with exit code 2 and a sentence."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has read enough. Python flushes it once more at the end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        parser.exit(2, f"sandbox: {error}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="The service in a box: a made-up fleet that misbehaves as real ones do.",
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
        help="the folder to write into; same names are replaced",
    )
    add_fleet(dump)
    dump.set_defaults(run=_dump)
    return parser


def _dump(options: argparse.Namespace) -> None:
    plants = chosen_fleet(options)
    try:
        manifest = write_history(plants, options.to, options.until + _DUMPED_AFTER)
    except OSError as error:
        raise OSError(f"cannot write to {options.to}: {error.strerror or error}") from error
    print(_told(plants, manifest, options.to))  # noqa: T201 - this is the command line


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
