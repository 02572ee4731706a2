"""TOML files: reading, and changes that keep the text of the user."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from resources.errors import ConfigurationError
from resources.storage.open import read_bytes

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_VALUE = r"""(?:"[^"]*"|'[^']*'|\[[^\[\]#\n]*\]|[^#\s"'\[{]+)"""
_TWICE = re.compile(r"Cannot declare \((?P<parts>.*)\) twice \(at line (?P<line>\d+)")
"""How tomllib reports a second table of the same name."""


class TomlNestingError(ValueError):
    """The values are nested more deeply than Python can parse."""


def read_toml(uri: str, setting: str, owner: str | None = None) -> dict[str, Any] | None:
    """Read a TOML file; None if it does not exist.

    Args:
        uri: a local path or `s3://bucket/key`.
        setting: the settings key that names the file, for messages.
        owner: the account that must own the bucket; None: any.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML.
        LedgerError: S3 refuses or cannot be reached.
    """
    data = read_bytes(uri, setting, owner)
    if data is None:
        return None
    try:
        return decode_toml(data)
    except ValueError as error:
        problem, fix = explain_toml_error(error, data)
        raise ConfigurationError(
            f"Cannot read the file of {setting}: it {problem}", where=uri, next_step=fix
        ) from None


def decode_toml(data: bytes) -> dict[str, Any]:
    """Decode UTF-8, with or without a byte order mark, and parse TOML; raise ValueError."""
    text = data.decode("utf-8-sig")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TomlNestingError from None


def explain_toml_error(error: ValueError, data: bytes) -> tuple[str, str]:
    """Return the problem of a file and its fix, for an error of `decode_toml`."""
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8 text: line {line} has other bytes", "save the file as UTF-8"
    if isinstance(error, TomlNestingError):
        return "is nested too deeply", "remove the deeply nested value; no key needs more than three levels"
    if twice := _TWICE.search(str(error)):
        name = ".".join(part.strip(" '\"") for part in twice["parts"].split(",") if part.strip())
        return (
            f"declares [{name}] twice, again in line {twice['line']}",
            f"move its keys to the first [{name}]",
        )
    if "Cannot overwrite a value" in str(error):
        return f"is not TOML: {error}: the key is set twice", "remove one of the two lines"
    fix = "correct that line: put text in quotes, and a Windows path in single quotes (uri = 'D:\\dumps')"
    return f"is not TOML: {error}", fix


def extend_toml(
    data: bytes, values: Mapping[str, Mapping[str, str | list[str]]], addition: str = ""
) -> bytes:
    """Set texts and lists of texts in a TOML file, and append lines; all other bytes stay as they are.

    A new line ends as most lines of the file do. A new key follows its commented default, if there is one.

    Args:
        data: the content of the file.
        values: the values by table and key.
        addition: lines to append, such as a further table.

    Raises:
        ValueError: the file cannot be extended in this way, for example because it writes a table inline.
    """
    text = data.decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    expected = tomllib.loads(text)
    newline = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
    lines = _LINE.findall(text)
    for table, keys in values.items():
        expected[table] = {**expected.get(table, {}), **keys}
        for key, value in keys.items():
            _set_value(lines, table, key, json.dumps(value, ensure_ascii=False), newline)
    if addition:
        _append(lines, addition, newline)
    result = "".join(lines)
    actual = tomllib.loads(result)
    if addition:
        for name, tables in tomllib.loads(addition).items():
            expected[name] = [*expected.get(name, ()), *tables]
    if actual != expected:
        raise ValueError("its tables are written in a form that cannot be edited")
    return (mark + result).encode("utf-8")


def _set_value(lines: list[str], table: str, key: str, value: str, newline: str) -> None:
    header = re.compile(rf"\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?\s*")
    start = next((number for number, line in enumerate(lines) if header.fullmatch(line)), None)
    if start is None:
        _append(lines, f"[{table}]\n{key} = {value}\n", newline)
        return
    following = range(start + 1, len(lines))
    end = next((number for number in following if lines[number].lstrip().startswith("[")), len(lines))
    assignment = re.compile(rf"(\s*{re.escape(key)}\s*=\s*)({_VALUE})(\s*(?:#.*)?\s*)")
    default = re.compile(rf"\s*#\s*{re.escape(key)}\s*=.*\s*")
    position = start
    for number in range(start, end):
        if matched := assignment.fullmatch(lines[number]):
            lines[number] = f"{matched[1]}{value}{matched[3]}"
            return
        if default.fullmatch(lines[number]):
            position = number
            break
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            position = number
    if not lines[position].endswith("\n"):
        lines[position] += newline
    lines.insert(position + 1, f"{key} = {value}{newline}")


def _append(lines: list[str], addition: str, newline: str) -> None:
    """Append lines after an empty line."""
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    if lines and lines[-1].strip():
        lines.append(newline)
    lines += [line + newline for line in addition.splitlines()]
