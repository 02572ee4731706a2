"""The tables for Athena, Glue and Spark: external tables over the files of the lake.

Properties of the table tell Athena which days there can be and where they lie (partition projection), so
nobody has to register a day: no crawler, no MSCK REPAIR. Spark does not know projection and is told to look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from assets.tables import INSTANT, PARTITION, Table
from resources.aws.external_table import TABLE_PROPERTY, VERSION_PROPERTY, ExternalColumn, ExternalTable

_TYPES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    INSTANT: "timestamp",
    pa.list_(pa.date32()): "array<date>",
}
_PARTITION = ExternalColumn(PARTITION, "date", "UTC date of the execution's DataStartTime; filter on it")


@dataclass(frozen=True)
class LakeLocation:
    """Where a lake lies, and which days it can have: from `start` on, before `end` where there is one."""

    uri: str
    start: date
    end: date | None = None

    def folder(self, table: Table) -> str:
        """The folder of a table, with a slash at the end."""
        return f"{self.uri.rstrip('/')}/{table.name}/"


def build_external_table(table: Table, place: LakeLocation) -> ExternalTable:
    """Say of a table what a catalog must know."""
    folder = place.folder(table)
    return ExternalTable(
        name=table.name,
        comment=table.description,
        columns=tuple(
            ExternalColumn(column.name, _TYPES[column.type], column.comment) for column in table.columns
        ),
        partition_keys=(_PARTITION,) if table.partitioned else (),
        location=folder,
        properties={
            "classification": "parquet",
            TABLE_PROPERTY: table.name,
            VERSION_PROPERTY: str(table.version),
            **(_projection(folder, place) if table.partitioned else {}),
        },
    )


def render_athena_ddl(external: ExternalTable, database: str | None = None) -> str:
    """Return the statement that creates a table in Athena; Hive and Spark with Hive understand it too."""
    keys = f"PARTITIONED BY (\n{_columns(external.partition_keys)}\n)\n" if external.partition_keys else ""
    name, columns = _name(external, database), _columns(external.columns)
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{columns}\n)\n"
        f"COMMENT {_text(external.comment)}\n"
        f"{keys}"
        "STORED AS PARQUET\n"
        f"LOCATION {_text(external.location)}\n"
        f"TBLPROPERTIES (\n{_properties(external.properties)}\n);"
    )


def render_spark_ddl(external: ExternalTable, database: str | None = None) -> str:
    """Return the statements that create a table in Spark, and let it look which days there are.

    The second one is there for partitioned tables, and is to be run again when days were added.
    """
    columns = (*external.columns, *external.partition_keys)
    keys = ", ".join(_quoted(key.name) for key in external.partition_keys)
    ours = {key: external.properties[key] for key in (TABLE_PROPERTY, VERSION_PROPERTY)}
    partitioned = f"PARTITIONED BY ({keys})\n" if keys else ""
    create = (
        f"CREATE TABLE IF NOT EXISTS {_name(external, database)} (\n{_columns(columns)}\n)\n"
        "USING PARQUET\n"
        f"{partitioned}"
        f"COMMENT {_text(external.comment)}\n"
        f"LOCATION {_text(external.location)}\n"
        f"TBLPROPERTIES (\n{_properties(ours)}\n);"
    )
    return f"{create}\n\nMSCK REPAIR TABLE {_name(external, database)};" if keys else create


def _projection(folder: str, place: LakeLocation) -> dict[str, str]:
    last = "NOW" if place.end is None else (place.end - timedelta(days=1)).isoformat()
    return {
        "projection.enabled": "true",
        f"projection.{PARTITION}.type": "date",
        f"projection.{PARTITION}.format": "yyyy-MM-dd",
        f"projection.{PARTITION}.range": f"{place.start.isoformat()},{last}",
        f"projection.{PARTITION}.interval": "1",
        f"projection.{PARTITION}.interval.unit": "DAYS",
        "storage.location.template": f"{folder}{PARTITION}=${{{PARTITION}}}",
    }


def _columns(columns: tuple[ExternalColumn, ...]) -> str:
    return ",\n".join(
        f"  {_quoted(column.name)} {column.type} COMMENT {_text(column.comment)}" for column in columns
    )


def _properties(properties: Mapping[str, str]) -> str:
    return ",\n".join(f"  {_text(key)} = {_text(value)}" for key, value in properties.items())


def _name(external: ExternalTable, database: str | None) -> str:
    return ".".join(_quoted(part) for part in (database, external.name) if part)


def _quoted(name: str) -> str:
    # every name: `timestamp` and others are reserved, and which ones are differs from engine to engine
    return "`" + name.replace("`", "``") + "`"


def _text(text: str) -> str:
    # the escapes that Hive, and with it Athena, and Spark have in common
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
