"""Names of the metadata and tags that this project adds to Dagster's events.

Each name carries a prefix, so that it cannot collide with Dagster's own keys or those of other tools.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

PREFIX = "ledger/"
FAILED_PARTITIONS = "failed_partitions"
FAILED_SOURCES = "failed_sources"
_RESERVED = ("dagster/", "__")


def build_metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the prefix to each name, except to the names that Dagster defines."""
    return {
        name if name.startswith((PREFIX, *_RESERVED)) else f"{PREFIX}{name}": value
        for name, value in values.items()
    }


def read_metadata(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    """Return the plain values that `build_metadata` added, by their names without the prefix."""
    return {
        name.removeprefix(PREFIX): entry.value for name, entry in metadata.items() if name.startswith(PREFIX)
    }


def read_reasons(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> dict[str, str]:
    """Return what failed and why: the entries of `FAILED_PARTITIONS` or `FAILED_SOURCES`."""
    reasons = read_metadata(metadata).get(name)
    return {str(key): str(reason) for key, reason in reasons.items()} if isinstance(reasons, Mapping) else {}
