"""`ledger init`: a new project."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.output import open_console
from pipelines.runs.instance import HOME_VARIABLE, find_home
from resources.config.loader import CHECKOUT, CONFIG_FILE_NAME, CONFIG_VARIABLE, HOME_NAME
from resources.config.template import render_template
from resources.errors import ConfigurationError

EXAMPLES = (
    "ledger init",
    "ledger init ~/plant-a",
)


def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the project. It is created if it does not exist.")
    ] = Path(),
) -> None:
    """Write a commented ledger.toml for a new project.

    A project is the folder of its settings: the lake, the reports and the Dagster home are in it by default.
    The file lists every setting as a comment. An existing file is not replaced.
    """
    overrides = _list_overrides()
    file = _write_settings(folder)
    console = open_console()

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    line(f"Wrote {file}.")
    for name in overrides:
        line(f"! {name} is set and takes precedence over this project: unset {name}", "yellow")
    line("Next: add saved responses, or edit [[sources]] in that file.")
    if file.parent != Path.cwd():
        line(f"  cd {shlex.quote(str(file.parent))}", "bold")
    line("  ledger import PATH_OF_SAVED_RESPONSES", "bold")
    line(f"To use dg or dagster with this project, run them in {CHECKOUT} with:")
    values = {CONFIG_VARIABLE: file, HOME_VARIABLE: file.parent / HOME_NAME}
    exports = (f"{name}={shlex.quote(str(path))}" for name, path in values.items())
    line(f"  export {' '.join(exports)}", "bold")


def _list_overrides() -> list[str]:
    """Return the variables that select another project or another Dagster home."""
    others = {name: value for name, value in os.environ.items() if name != HOME_VARIABLE}
    is_home_set = find_home() != find_home(others)  # `ledger` itself sets the variable
    return [CONFIG_VARIABLE] * (CONFIG_VARIABLE in os.environ) + [HOME_VARIABLE] * is_home_set


def _write_settings(folder: Path) -> Path:
    try:
        file = folder.expanduser().absolute() / CONFIG_FILE_NAME
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as text:
            text.write(render_template())
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
