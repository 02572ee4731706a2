"""The `ledger` command: a group that imports the module of a command only when that command is called."""

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipelines.cli.options import format_examples
from pipelines.cli.output import PIPE_CLOSED, discard_output, open_console
from pipelines.runs import instance
from resources.errors import ConfigurationError, LedgerError
from resources.storage.permissions import restrict_new_files

START, EXTRACT, QUERY, INTEGRATE = "Get started", "Extract", "Query and report", "Integrate and maintain"
"""The panels of `ledger --help`."""


@dataclass(frozen=True)
class CommandEntry:
    """Where a command is defined, and its line in `ledger --help`.

    `target` is "module:attribute" below `pipelines.cli.commands`: a function, or a Typer app for a group.
    """

    target: str
    panel: str
    help: str


COMMANDS: Mapping[str, CommandEntry] = {
    "demo": CommandEntry("demo:demo", START, "Run the whole pipeline on generated data."),
    "dev": CommandEntry("dev:dev", START, "Start the Dagster UI and daemon on this machine."),
    "init": CommandEntry("init:init", START, "Write a commented ledger.toml for a new project."),
    "doctor": CommandEntry("doctor:doctor", START, "Check settings, credentials, sources, lake and Dagster."),
    "import": CommandEntry("import_files:import_", EXTRACT, "Add saved API responses to an archive source."),
    "record": CommandEntry(
        "record:record", EXTRACT, "Save all answers of the api sources, exactly as received."
    ),
    "plan": CommandEntry(
        "plan:plan",
        EXTRACT,
        "Estimate the API calls, requests, minutes, CPU time, memory and size of a backfill.",
    ),
    "backfill": CommandEntry(
        "backfill:backfill",
        EXTRACT,
        "Build all tables and the report for a range of days; default: the whole history.",
    ),
    "status": CommandEntry("status:status", EXTRACT, "Show the state of each day of each scheduler."),
    "forget": CommandEntry(
        "forget:forget", EXTRACT, "Remove what a source, a scheduler or some days brought into the lake."
    ),
    "sql": CommandEntry("sql:sql", QUERY, "Query the lake in SQL: one statement, a script or a shell."),
    "views": CommandEntry(
        "views:views", QUERY, "Write a view of each table for use in other DuckDB programs."
    ),
    "report": CommandEntry("report:report", QUERY, "Write the report page as HTML or Markdown."),
    "certify": CommandEntry(
        "certify:certify", QUERY, "Write or verify a sealed certificate of completeness."
    ),
    "ddl": CommandEntry("ddl:ddl", INTEGRATE, "Print CREATE TABLE statements for Athena or Spark."),
    "alerts": CommandEntry("alerts:app", INTEGRATE, "Test the targets of notifications."),
    "catalog": CommandEntry("catalog:app", INTEGRATE, "Manage the tables of the lake in AWS Glue."),
    "migrate": CommandEntry(
        "migrate:migrate",
        INTEGRATE,
        "Rewrite files of older table versions, or change the number of files of each day.",
    ),
}

HELP = """\
Record every Lookout for Equipment inference execution in a Parquet lake that you own.

Exit codes:

- **0**: success
- **1**: the command ran, and something needs action
- **2**: the command could not run; the message says how to fix it
- **130**: stopped by Ctrl-C
- **141**: the reader of the output closed the pipe
"""
EPILOG = (
    "Try it with generated data: **ledger demo**. With your own data: **ledger init**, **ledger import**,"
    " **ledger plan**, **ledger backfill** and **ledger status**."
    " Each command has examples: **ledger plan --help**."
)


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import the module of a command and build the command."""
    module_name, _, attribute = COMMANDS[name].target.partition(":")
    module = import_module(f"pipelines.cli.commands.{module_name}")
    target = getattr(module, attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        single.command(name, epilog=format_examples(module.EXAMPLES))(target)
        target = single
    command = typer.main.get_command(target)
    assert isinstance(command, TyperCommand | TyperGroup)  # noqa: S101 (Typer builds nothing else)
    return command


class LazyGroup(TyperGroup):
    """Lists placeholders with the help lines of `COMMANDS`; imports a command only to parse or run it."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 (passed on)
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 (Typer ships its own Click)
        """Replace the placeholder by the command itself."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, placeholder and name and load_command(name), rest


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version  # noqa: PLC0415 (reads all package metadata modules)

        typer.echo(f"lookout-ledger {version('lookout-ledger')}")
        raise typer.Exit


app = typer.Typer(
    name="ledger",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=HELP,
    epilog=EPILOG,
)


@app.callback()
def _configure(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Accept the options of `ledger` itself."""


def main() -> None:
    """Run the command line; print a `LedgerError` as a message without a traceback."""
    closed_output = _replace_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without UTF-8 lacks some characters
        sys.stdout.reconfigure(errors="backslashreplace")
    restrict_new_files()
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        code = PIPE_CLOSED
    except OSError as error:
        if not _is_output_broken():
            raise
        _print_output_error(error.strerror or str(error))
        discard_output()
        code = 2
    if closed_output.is_lost:
        _print_output_error("standard output is closed")
        code = 2
    sys.exit(code)


def _run() -> int:
    output, descriptor = sys.stdout, _identify_output()
    try:
        instance.select_home()
        app()
    except LedgerError as error:
        open_console(stderr=True).print(str(error), soft_wrap=True)
        return 2
    except SystemExit as end:
        # after a write to a closed pipe, Typer wraps the stream and rich replaces the descriptor
        if sys.stdout is not output or _identify_output() != descriptor:
            sys.stdout = output
            raise BrokenPipeError from None
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _is_output_broken() -> bool:
    """Whether nothing can be written to standard output, for example because the disk is full."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        return True
    return False


def _print_output_error(reason: str) -> None:
    open_console(stderr=True).print(f"Cannot write the output: {reason}")


def _identify_output() -> tuple[int, int] | None:
    try:
        status = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):  # no file, as in tests
        return None
    return status.st_dev, status.st_ino


class _ClosedInput(io.StringIO):
    def read(self, _size: int | None = -1, /) -> str:
        raise ConfigurationError(
            "Cannot read standard input: it is closed",
            where="standard input",
            next_step="pass the input as an argument, or connect standard input to a file or a pipe",
        )


class _ClosedOutput(io.RawIOBase):
    """Takes what a command writes to a closed output: the command completes its work, and then fails.

    `ls >&-` does the same.
    """

    is_lost = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 (any buffer)
        self.is_lost = True
        return len(memoryview(data))


def _replace_missing_streams() -> _ClosedOutput:
    """Replace standard streams that the caller has closed, so that no other file gets their descriptors.

    Returns:
        what replaces standard output, if that is closed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    sys.stdin = sys.stdin or _ClosedInput()
    closed_output = _ClosedOutput()
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BufferedWriter(closed_output), encoding="utf-8")
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    return closed_output
