"""Compares a table in Glue with its declaration, and builds the input of an update.

Undeclared columns and properties stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.aws.external_table import TABLE_PROPERTY, VERSION_PROPERTY, ExternalColumn, ExternalTable

GlueTable = Mapping[str, Any]
"""A table in a response of `GetTable`."""

_PARQUET = "org.apache.hadoop.hive.ql.io.parquet"
_FORMAT = {
    "InputFormat": f"{_PARQUET}.MapredParquetInputFormat",
    "OutputFormat": f"{_PARQUET}.MapredParquetOutputFormat",
}
_SERDE = f"{_PARQUET}.serde.ParquetHiveSerDe"
_TYPE = "EXTERNAL_TABLE"


@dataclass(frozen=True)
class Change:
    """One difference; `before` is None if `what` is new."""

    what: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """Format it as one line: + for an addition, ~ for a change."""
        if self.before is None:
            return f"+ {self.what}: {self.after}"
        return f"~ {self.what}: {self.before} -> {self.after}"


def find_differences(existing: GlueTable, declared: ExternalTable) -> list[Change]:
    """Return the changes that bring a table to its declaration."""
    storage = existing.get("StorageDescriptor", {})
    pairs = [
        ("kind of table", existing.get("TableType"), _TYPE),
        ("comment", existing.get("Description"), declared.comment),
        ("location", _with_slash(storage.get("Location")), declared.location),
        *((name, storage.get(name), value) for name, value in _FORMAT.items()),
        ("serde", storage.get("SerdeInfo", {}).get("SerializationLibrary"), _SERDE),
        *(
            (f"property {name}", existing.get("Parameters", {}).get(name), value)
            for name, value in _build_properties(declared).items()
        ),
    ]
    changes = [Change(what, before, after) for what, before, after in pairs if before != after]
    changes += _compare_columns(storage.get("Columns", []), declared.columns)
    changes += _compare_columns(existing.get("PartitionKeys", []), declared.partition_keys)
    return changes


def list_undeclared_columns(existing: GlueTable, declared: ExternalTable) -> list[str]:
    """Return the names of the columns in Glue that are not declared."""
    names = {column.name for column in declared.columns}
    return [column["Name"] for column in _get_columns(existing) if column["Name"] not in names]


def find_update_obstacle(existing: GlueTable, declared: ExternalTable, *, adopt: bool) -> str:
    """Return why a table must not be changed, as text; empty if it may be changed.

    Args:
        existing: the table in Glue.
        declared: its declaration.
        adopt: allow a change of a table that lacks this project's property.
    """
    properties = existing.get("Parameters", {})
    kind, lake = existing.get("TableType", _TYPE), properties.get("table_type", "").upper()
    if kind != _TYPE or lake:
        return f"it is another kind of table ({lake or kind}); rename or drop it, or use another database"
    if properties.get(TABLE_PROPERTY) != declared.name and not adopt:
        return (
            f"it belongs to another owner (it lacks the property {TABLE_PROPERTY}); take it over with --adopt"
        )
    existing_keys = [(key["Name"], key.get("Type")) for key in existing.get("PartitionKeys", [])]
    declared_keys = [(key.name, key.type) for key in declared.partition_keys]
    if existing_keys != declared_keys:
        return (
            f"it is partitioned by {_join(existing_keys)}, not by {_join(declared_keys)}. Glue cannot change"
            " that: drop the table in Glue (the files stay) and run this again"
        )
    version = properties.get(VERSION_PROPERTY, "")
    if version.isdigit() and int(version) > int(declared.properties[VERSION_PROPERTY]):
        return f"a newer version of this software wrote it ({version}); run that version or a newer one"
    return ""


def build_table_input(
    declared: ExternalTable, existing: GlueTable | None, allowed: Sequence[str]
) -> dict[str, Any]:
    """Return the `TableInput` that brings a table to its declaration.

    Args:
        declared: the declaration.
        existing: the table in Glue; what is not declared stays.
        allowed: the members that `TableInput` accepts; `GetTable` returns more.
    """
    allowed_members = {name: value for name, value in (existing or {}).items() if name in allowed}
    storage = allowed_members.get("StorageDescriptor", {})
    serde = storage.get("SerdeInfo", {"Parameters": {"serialization.format": "1"}})
    undeclared = set(list_undeclared_columns(existing, declared)) if existing else set()
    return allowed_members | {
        "Name": declared.name,
        "Description": declared.comment,
        "TableType": _TYPE,
        "Parameters": {**allowed_members.get("Parameters", {}), **_build_properties(declared)},
        "PartitionKeys": [_build_column(key) for key in declared.partition_keys],
        "StorageDescriptor": {
            **storage,
            **_FORMAT,
            "SerdeInfo": {**serde, "SerializationLibrary": _SERDE},
            "Location": declared.location,
            "Columns": [
                *map(_build_column, declared.columns),
                *(column for column in _get_columns(existing or {}) if column["Name"] in undeclared),
            ],
        },
    }


def _build_properties(declared: ExternalTable) -> dict[str, str]:
    return {"EXTERNAL": "TRUE", **declared.properties}


def _get_columns(existing: GlueTable) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = existing.get("StorageDescriptor", {}).get("Columns", [])
    return columns


def _compare_columns(
    existing: Sequence[Mapping[str, Any]], declared: Sequence[ExternalColumn]
) -> Iterator[Change]:
    by_name = {column["Name"]: column for column in existing}
    for column in declared:
        if column.name not in by_name:
            yield Change(f"column {column.name}", None, column.type)
            continue
        kind, comment = by_name[column.name].get("Type"), by_name[column.name].get("Comment")
        if kind != column.type:
            yield Change(f"type of {column.name}", kind, column.type)
        if comment != column.comment:
            yield Change(f"comment of {column.name}", comment, column.comment)


def _build_column(column: ExternalColumn) -> dict[str, str]:
    return {"Name": column.name, "Type": column.type, "Comment": column.comment}


def _with_slash(location: str | None) -> str | None:
    return location if location is None or location.endswith("/") else f"{location}/"


def _join(keys: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in keys) or "nothing"
