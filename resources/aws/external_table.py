"""An external table: what a catalog says of files that lie elsewhere."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from resources.errors import ConfigurationError

TABLE_PROPERTY = "lookout_ledger.table"
"""The property that tells our tables from others; its value is the table's name."""

VERSION_PROPERTY = "lookout_ledger.version"
"""The property that tells the version of the declaration."""


@dataclass(frozen=True)
class ExternalColumn:
    """A column: `type` is spelled as Hive spells it."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class ExternalTable:
    """A table over files: `location` is the folder of the table and ends with a slash."""

    name: str
    comment: str
    columns: tuple[ExternalColumn, ...]
    partition_keys: tuple[ExternalColumn, ...]
    location: str
    properties: Mapping[str, str]


def check_database(name: str) -> str:
    """Return the name of a database if Glue, Athena and Spark all take it.

    Raises:
        ConfigurationError: they do not.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,255}", name):
        raise ConfigurationError(
            f"{name!r} is no name of a database that Athena takes",
            where="--database",
            next_step="use lower-case letters, digits and underscores, such as lookout_ledger",
        )
    return name
