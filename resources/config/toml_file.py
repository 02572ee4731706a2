"""TOML files that a setting names."""

import tomllib
from typing import Any

from resources.errors import ConfigurationError
from resources.storage.open import read_bytes


def read_toml(uri: str, setting: str) -> dict[str, Any] | None:
    """Read a TOML file; None if it does not exist.

    Args:
        uri: a local path or `s3://bucket/key`.
        setting: the settings key that names the file, for messages.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML.
        LedgerError: S3 refuses or cannot be reached.
    """
    data = read_bytes(uri, setting)
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
    return tomllib.loads(data.decode("utf-8-sig"))


def explain_toml_error(error: ValueError, data: bytes) -> tuple[str, str]:
    """Return the problem of a file and its fix, for an error of `decode_toml`."""
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8 text: line {line} has other bytes", "save the file as UTF-8"
    fix = "correct that line: put text in quotes, and a Windows path in single quotes (uri = 'D:\\dumps')"
    return f"is not TOML: {error}", fix
