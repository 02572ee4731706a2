"""An external table: the description of files that a catalog stores."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from resources.errors import ConfigurationError

TABLE_PROPERTY = "lookout_ledger.table"
"""The property that identifies a table of this project; its value is the name of the table."""

VERSION_PROPERTY = "lookout_ledger.version"
"""The property with the version of the declaration."""


@dataclass(frozen=True)
class ExternalColumn:
    """A column; `type` is a Hive type."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class ExternalTable:
    """A table over files; `location` is its folder and ends with a slash."""

    name: str
    comment: str
    columns: tuple[ExternalColumn, ...]
    partition_keys: tuple[ExternalColumn, ...]
    location: str
    properties: Mapping[str, str]


def check_database(name: str) -> str:
    """Return the name of a database if Glue, Athena and Spark accept it.

    Raises:
        ConfigurationError: they do not accept it.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,255}", name):
        raise ConfigurationError(
            f"Cannot use {name!r} as a database: Athena does not accept the name",
            where="--database",
            next_step="use lower-case letters, digits and underscores, such as lookout_ledger",
        )
    return name
