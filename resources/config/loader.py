"""The sources of settings: the file, the environment, and the origin of each value."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from resources.config.toml_file import decode_toml, explain_toml_error
from resources.config.validation_errors import EXAMPLE_SOURCES, Loc, SettingError
from resources.errors import suggest
from resources.storage.small_files import read_small_file

CONFIG_FILE_NAME = "ledger.toml"
CONFIG_VARIABLE = "LEDGER_CONFIG"
SOURCES_VARIABLE = "LEDGER_SOURCES"
HOME_NAME = ".dagster"
"""The Dagster home in the folder of a project."""

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SettingsOrigin:
    """The origin of the values; pydantic passes it to the validators as their context.

    `in_file` and `in_environment` hold paths of settings, such as ("lake", "uri") or ("sources",).
    """

    root: Path = CHECKOUT
    file: Path | None = None
    in_file: frozenset[Loc] = frozenset()
    in_environment: frozenset[Loc] = frozenset()
    today: date | None = None

    def find_variable(self, loc: Loc) -> str | None:
        """Return the environment variable that set the value at `loc`, or the list that contains it."""
        return next((variable_name(loc[:n]) for n in (1, 2) if loc[:n] in self.in_environment), None)

    def base_folder(self, loc: Loc) -> Path:
        """Return the folder at which a relative path of a setting starts: that of the file, or the root."""
        return self.file.parent if self.file and loc not in self.in_environment else self.root

    @classmethod
    def from_info(cls, info: ValidationInfo) -> "SettingsOrigin":
        """Return the context of a validator; without one, all values are defaults."""
        return info.context if isinstance(info.context, cls) else cls()


def find_config_file(environ: Mapping[str, str] | None = None) -> Path:
    """Return the absolute path of the settings file of this process; the file may not exist.

    It is the file in LEDGER_CONFIG, or an existing `ledger.toml` in the current folder, or the one next to
    `workspace.yaml`.

    Raises:
        RuntimeError: LEDGER_CONFIG begins with ~ and an unknown user.
    """
    path = (os.environ if environ is None else environ).get(CONFIG_VARIABLE)
    if path is not None:
        return Path(path).expanduser().absolute()
    return find_default_folder() / CONFIG_FILE_NAME


def find_default_folder() -> Path:
    """Return the current folder if it contains `ledger.toml`, else the checkout."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # the current folder was deleted
        return CHECKOUT
    return folder if os.path.lexists(folder / CONFIG_FILE_NAME) else CHECKOUT


def variable_name(loc: Loc) -> str:
    """Return the environment variable of the setting at `loc`."""
    return "LEDGER_" + "__".join(map(str, loc)).upper()


def read_environment(
    environ: Mapping[str, str], variables: Mapping[str, tuple[str, ...]], errors: list[SettingError]
) -> dict[tuple[str, ...], Any]:
    """Return the overrides by the path of their setting.

    Unknown variables are errors if they contain "__" or only lack an underscore. Others may belong to other
    software.
    """
    overrides: dict[tuple[str, ...], Any] = {}
    misspelled = {name.replace("__", "_") for name in variables}  # such as LEDGER_LAKE_URI
    for name in sorted(name for name in environ if name.startswith("LEDGER_")):
        if name == SOURCES_VARIABLE:
            overrides["sources",] = []  # replaces the sources of the file even if it is invalid
            try:
                overrides["sources",] = json.loads(environ[name])
            except (ValueError, RecursionError) as error:
                fix = f"set {name}='{EXAMPLE_SOURCES}'"
                errors.append(SettingError(name, "environment", f"is not JSON: {error}", fix))
        elif name in variables:
            overrides[variables[name]] = environ[name]
        elif "__" in name or name in misspelled:
            problem = "is not a known setting" + suggest(name, variables, cutoff=0.75)
            fix = f"use a known name: {', '.join(variables)}"
            errors.append(SettingError(name, "environment", problem, fix))
    return overrides


def read_file(
    path: str | None, folder: Path, errors: list[SettingError]
) -> tuple[Path | None, dict[str, Any] | None]:
    """Return the settings file and its content.

    Args:
        path: the value of LEDGER_CONFIG; None: use `ledger.toml` in the folder, if it exists.
        folder: the folder of the default file.
        errors: receives the error of an unreadable file.

    Returns:
        (None, {}) without a file; (file, None) for an unreadable file.
    """
    file, key, data = folder / CONFIG_FILE_NAME, CONFIG_FILE_NAME, b""
    try:
        if path is not None:
            file, key = Path(path), f"the file that {CONFIG_VARIABLE} names"
            file = file.expanduser().absolute()
        data = read_small_file(file)
        return file, decode_toml(data)
    except FileNotFoundError:
        if path is None:
            return None, {}
        problem, fix = "the file does not exist", f"create it, or unset {CONFIG_VARIABLE}"
    except IsADirectoryError:
        problem, fix = "is a directory, not a file", f"name a file, such as {file / CONFIG_FILE_NAME}"
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        problem, fix = f"cannot be read: {reason}", "name a file that this user may read"
    except ValueError as error:
        problem, fix = explain_toml_error(error, data)
    errors.append(SettingError(key, str(file), problem, fix))
    return file, None
