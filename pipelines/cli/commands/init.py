"""`ledger init`: a new project."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.output import open_console
from pipelines.operations.new_project import NewSource, describe_api, describe_bucket, render_settings
from pipelines.runs.instance import HOME_VARIABLE, find_home
from resources.clock import utc_now
from resources.config.loader import CHECKOUT, CONFIG_FILE_NAME, CONFIG_VARIABLE, HOME_NAME
from resources.errors import ConfigurationError

EXAMPLES = (
    "ledger init",
    "ledger init ~/plant-a",
    "ledger init ~/plant-a --bucket s3://plant-a/inference/output/",
    "ledger init ~/plant-a --bucket ~/copies/output --copy-of s3://plant-a/inference/output/",
    "ledger init ~/plant-a --api eu-west-1",
)
_QUESTION = """What do you have?
  1  saved responses of the API, or notebooks that printed them
  2  the output bucket of the schedulers, in S3
  3  a copy of the output bucket on disk
  4  an endpoint that still answers
If you have several, choose one and add the others to ledger.toml afterwards."""


def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of the project. It is created if it does not exist."),
    ] = Path(),
    bucket: Annotated[
        str | None,
        typer.Option(
            help="Output prefix of the results: s3://, or a local copy. Sets [history] to their days.",
            metavar="URI",
        ),
    ] = None,
    copy_of: Annotated[
        str | None,
        typer.Option(help="s3:// prefix that a local --bucket is a copy of.", metavar="URI"),
    ] = None,
    api: Annotated[str | None, typer.Option(help="Region of a live endpoint.", metavar="REGION")] = None,
) -> None:
    """Write a commented ledger.toml for a new project.

    On a terminal it asks what you have, and writes the source. A project is the folder of its settings: the
    lake, the reports and the Dagster home are in it by default. The file lists every setting as a comment. An
    existing file is not replaced.
    """
    overrides = _list_overrides()
    if bucket is None and api is None and sys.stdin is not None and sys.stdin.isatty():
        bucket, copy_of, api = _ask()
    source = _describe_source(bucket, copy_of, api)
    file = _write_settings(folder, render_settings(source))
    console = open_console()

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    line(f"Wrote {file}.")
    for name in overrides:
        line(f"! {name} is set and takes precedence over this project: unset {name}", "yellow")
    if source and source.notice:
        line(f"! {source.notice}", "yellow")
    line("Next:" if source else "Next: add saved responses, or edit [[sources]] in that file.")
    if file.parent != Path.cwd():
        line(f"  cd {shlex.quote(str(file.parent))}", "bold")
    for command in source.commands if source else ("ledger import PATH_OF_SAVED_RESPONSES",):
        line(f"  {command}", "bold")
    line(f"To use dg or dagster with this project, run them in {CHECKOUT} with:")
    values = {CONFIG_VARIABLE: file, HOME_VARIABLE: file.parent / HOME_NAME}
    exports = (f"{name}={shlex.quote(str(path))}" for name, path in values.items())
    line(f"  export {' '.join(exports)}", "bold")


def _ask() -> tuple[str | None, str | None, str | None]:
    """Ask what the user has; return the values of the options."""
    open_console().print(_QUESTION)
    choice = ""
    while choice not in {"1", "2", "3", "4"}:
        choice = typer.prompt("Number", default="1")
    if choice == "2":
        return typer.prompt("s3:// prefix of the results"), None, None
    if choice == "3":
        folder = typer.prompt("Folder")
        origin = typer.prompt("s3:// prefix that it is a copy of (empty: unknown)", default="")
        return folder, origin or None, None
    return None, None, typer.prompt("Region") if choice == "4" else None


def _describe_source(bucket: str | None, copy_of: str | None, api: str | None) -> NewSource | None:
    if (bucket and api) or (copy_of and not bucket):
        raise ConfigurationError(
            "Cannot combine these options: --copy-of needs --bucket, and --api excludes both",
            where="the command line",
            next_step="use one source; add others to ledger.toml afterwards",
        )
    if bucket:
        return describe_bucket(bucket, copy_of, utc_now().date())
    return describe_api(api) if api else None


def _list_overrides() -> list[str]:
    """Return the variables that select another project or another Dagster home."""
    others = {name: value for name, value in os.environ.items() if name != HOME_VARIABLE}
    is_home_set = find_home() != find_home(others)  # `ledger` itself sets the variable
    return [CONFIG_VARIABLE] * (CONFIG_VARIABLE in os.environ) + [HOME_VARIABLE] * is_home_set


def _write_settings(folder: Path, content: bytes) -> Path:
    try:
        file = folder.expanduser().absolute() / CONFIG_FILE_NAME
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as target:
            target.write(content)
    except FileExistsError as error:
        is_settings = Path(str(error.filename)).name == CONFIG_FILE_NAME
        reason = "the file exists" if is_settings else "it is not a folder"
        raise ConfigurationError(
            f"Cannot create a project: {reason}",
            where=str(error.filename),
            next_step="edit that file, or choose another folder",
        ) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: an unknown user after ~
        raise ConfigurationError(
            f"Cannot create a project: {getattr(error, 'strerror', None) or error}",
            where=str(folder),
            next_step="choose a folder that you can write",
        ) from None
    return file
