"""Where settings come from: the file, the environment, and which value came from which."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from resources.config.validation_errors import EXAMPLE_SOURCES, Loc, SettingError, suggest

CONFIG_FILE_NAME = "ledger.toml"
CONFIG_VARIABLE = "LEDGER_CONFIG"
SOURCES_VARIABLE = "LEDGER_SOURCES"
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SettingsOrigin:
    """Where the values came from; the validators get it as their context."""

    root: Path = CHECKOUT
    file: Path | None = None
    in_file: frozenset[Loc] = frozenset()  # ("lake", "uri"), ("sources",), ...
    in_environment: frozenset[Loc] = frozenset()
    today: date | None = None

    def variable(self, loc: Loc) -> str | None:
        """The variable that set the value at `loc`, or the list around it."""
        return next((variable_name(loc[:n]) for n in (1, 2) if loc[:n] in self.in_environment), None)

    def base(self, loc: Loc, *, beside_the_file: bool = False) -> Path:
        """The folder that a relative path at `loc` starts from.

        Args:
            loc: the place of the setting.
            beside_the_file: by default, too, it lies where the file with the settings does.
        """
        is_default = loc not in self.in_file | self.in_environment
        is_written = loc in self.in_file - self.in_environment
        is_there = is_written or (is_default and beside_the_file)
        return self.file.parent if self.file and is_there else self.root

    @classmethod
    def of(cls, info: ValidationInfo) -> "SettingsOrigin":
        """Return what `load_settings` handed to the validators; without it nothing was written anywhere."""
        return info.context if isinstance(info.context, cls) else cls()


def variable_name(loc: Loc) -> str:
    """The environment variable that sets the value at `loc`."""
    return "LEDGER_" + "__".join(map(str, loc)).upper()


def read_environment(
    environ: Mapping[str, str], variables: Mapping[str, tuple[str, ...]], mistakes: list[SettingError]
) -> dict[tuple[str, ...], Any]:
    """The overrides by the place they override; a name without "__" may be someone else's."""
    overrides: dict[tuple[str, ...], Any] = {}
    slips = {name.replace("__", "_") for name in variables}  # LEDGER_LAKE_URI can be nobody else's
    for name in sorted(name for name in environ if name.startswith("LEDGER_")):
        if name == SOURCES_VARIABLE:
            overrides["sources",] = []  # unreadable, it still means that the file's sources are not wanted
            try:
                overrides["sources",] = json.loads(environ[name])
            except (ValueError, RecursionError) as error:
                mend = f"set {name}='{EXAMPLE_SOURCES}'"
                mistakes.append(SettingError(name, "environment", f"is not JSON: {error}", mend))
        elif name in variables:
            overrides[variables[name]] = environ[name]
        elif "__" in name or name in slips:
            problem = "is not a known setting" + suggest(name, variables, cutoff=0.75)
            mistakes.append(SettingError(name, "environment", problem, f"known are {', '.join(variables)}"))
    return overrides


def read_file(
    given: str | None, root: Path, mistakes: list[SettingError]
) -> tuple[Path | None, dict[str, Any] | None]:
    """The file and what it says: (None, {}) where there is none, None for contents that cannot be read."""
    file, key, data = root / CONFIG_FILE_NAME, CONFIG_FILE_NAME, b""
    try:
        if given is not None:
            file, key = Path(given), f"the file that {CONFIG_VARIABLE} names"
            file = file.expanduser().absolute()
        data = file.read_bytes()
        return file, tomllib.loads(data.decode("utf-8-sig"))
    except FileNotFoundError:
        if given is None:
            return None, {}
        problem, mend = "there is no such file", f"write the file, or unset {CONFIG_VARIABLE}"
    except IsADirectoryError:
        problem, mend = "is a directory, not a file", f"name a file, such as {file / CONFIG_FILE_NAME}"
    except (OSError, RuntimeError) as error:
        problem, mend = f"cannot be read: {error}", "name a file that this user may read"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem, mend = f"is not UTF-8 text: line {line} holds other bytes", "save the file as UTF-8"
    except ValueError as error:
        problem = f"is not TOML: {error}"
        mend = "mend that line: text stands in quotes, a Windows path in single ones (uri = 'D:\\dumps')"
    mistakes.append(SettingError(key, str(file), problem, mend))
    return file, None
