"""What Glue holds of a table, against what is declared: the difference, and what to put there instead.

Nothing that somebody added is taken away: columns and properties that are not declared stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.aws.external_table import TABLE_PROPERTY, VERSION_PROPERTY, ExternalColumn, ExternalTable

GlueTable = Mapping[str, Any]
"""A table as `GetTable` answers it."""

_PARQUET = "org.apache.hadoop.hive.ql.io.parquet"
_FORMAT = {
    "InputFormat": f"{_PARQUET}.MapredParquetInputFormat",
    "OutputFormat": f"{_PARQUET}.MapredParquetOutputFormat",
}
_SERDE = f"{_PARQUET}.serde.ParquetHiveSerDe"
_TYPE = "EXTERNAL_TABLE"


@dataclass(frozen=True)
class Change:
    """One difference: of what, from what, to what; None: there was, or will be, no such thing."""

    what: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """Say it in a line: + what comes, ~ what changes."""
        if self.before is None:
            return f"+ {self.what}: {self.after}"
        return f"~ {self.what}: {self.before} -> {self.after}"


def find_differences(there: GlueTable, wanted: ExternalTable) -> list[Change]:
    """Return what would have to change for a table to be as declared."""
    storage = there.get("StorageDescriptor", {})
    pairs = [
        ("kind of table", there.get("TableType"), _TYPE),
        ("comment", there.get("Description"), wanted.comment),
        ("location", _slashed(storage.get("Location")), wanted.location),
        *((name, storage.get(name), value) for name, value in _FORMAT.items()),
        ("serde", storage.get("SerdeInfo", {}).get("SerializationLibrary"), _SERDE),
        *(
            (f"property {name}", there.get("Parameters", {}).get(name), value)
            for name, value in _properties(wanted).items()
        ),
    ]
    changes = [Change(what, before, after) for what, before, after in pairs if before != after]
    changes += _of_columns(storage.get("Columns", []), wanted.columns)
    changes += _of_columns(there.get("PartitionKeys", []), wanted.partition_keys)
    return changes


def list_undeclared_columns(there: GlueTable, wanted: ExternalTable) -> list[str]:
    """Return the names of the columns that are there and not declared; they stay."""
    declared = {column.name for column in wanted.columns}
    return [one["Name"] for one in _columns_of(there) if one["Name"] not in declared]


def find_update_obstacle(there: GlueTable, wanted: ExternalTable, *, adopt: bool) -> str:
    """Say in words why a table that is there must not be changed; nothing where it may be.

    Args:
        there: the table in Glue.
        wanted: what is declared.
        adopt: take over one that does not carry our mark.
    """
    properties = there.get("Parameters", {})
    kind, lake = there.get("TableType", _TYPE), properties.get("table_type", "").upper()
    if kind != _TYPE or lake:
        return f"it is another kind of table ({lake or kind}); rename or drop it, or choose another database"
    if properties.get(TABLE_PROPERTY) != wanted.name and not adopt:
        return f"somebody else made it (it has no property {TABLE_PROPERTY}); take it over with --adopt"
    keys, meant = (
        [(key["Name"], key.get("Type")) for key in there.get("PartitionKeys", [])],
        [(key.name, key.type) for key in wanted.partition_keys],
    )
    if keys != meant:
        return (
            f"it is partitioned by {_told(keys)} and not by {_told(meant)}, which cannot be changed;"
            " drop it in Glue (the files stay) and run this again"
        )
    if (version := properties.get(VERSION_PROPERTY, "")).isdigit() and int(version) > int(
        wanted.properties[VERSION_PROPERTY]
    ):
        return f"a newer version of this software wrote it ({version}); run that one, or a newer one"
    return ""


def build_table_input(
    wanted: ExternalTable, there: GlueTable | None, allowed: Sequence[str]
) -> dict[str, Any]:
    """Return what to give Glue for a table to be as declared.

    Args:
        wanted: what is declared.
        there: what Glue holds now; all of it that is not declared stays.
        allowed: the members that Glue takes; it answers some that it does not take.
    """
    kept = {name: value for name, value in (there or {}).items() if name in allowed}
    storage = kept.get("StorageDescriptor", {})
    serde = storage.get("SerdeInfo", {"Parameters": {"serialization.format": "1"}})
    foreign = set(list_undeclared_columns(there, wanted)) if there else set()
    return kept | {
        "Name": wanted.name,
        "Description": wanted.comment,
        "TableType": _TYPE,
        "Parameters": {**kept.get("Parameters", {}), **_properties(wanted)},
        "PartitionKeys": [_glue_column(key) for key in wanted.partition_keys],
        "StorageDescriptor": {
            **storage,
            **_FORMAT,
            "SerdeInfo": {**serde, "SerializationLibrary": _SERDE},
            "Location": wanted.location,
            "Columns": [
                *map(_glue_column, wanted.columns),
                *(column for column in _columns_of(there or {}) if column["Name"] in foreign),
            ],
        },
    }


def _properties(wanted: ExternalTable) -> dict[str, str]:
    return {"EXTERNAL": "TRUE", **wanted.properties}


def _columns_of(there: GlueTable) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = there.get("StorageDescriptor", {}).get("Columns", [])
    return columns


def _of_columns(there: Sequence[Mapping[str, Any]], wanted: Sequence[ExternalColumn]) -> Iterator[Change]:
    found = {column["Name"]: column for column in there}
    for column in wanted:
        if column.name not in found:
            yield Change(f"column {column.name}", None, column.type)
            continue
        kind, comment = found[column.name].get("Type"), found[column.name].get("Comment")
        if kind != column.type:
            yield Change(f"type of {column.name}", kind, column.type)
        if comment != column.comment:
            yield Change(f"comment of {column.name}", comment, column.comment)


def _glue_column(column: ExternalColumn) -> dict[str, str]:
    return {"Name": column.name, "Type": column.type, "Comment": column.comment}


def _slashed(location: str | None) -> str | None:
    return location if location is None or location.endswith("/") else f"{location}/"


def _told(keys: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in keys) or "nothing"
