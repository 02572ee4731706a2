"""DDL of external tables over the lake, for Athena, Glue and Spark.

The table properties define the partitions for Athena (partition projection), so that no crawler and no MSCK
REPAIR is needed. Spark does not support projection; its DDL ends with MSCK REPAIR.
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
    """URI of a lake and its possible days: from `start` to before `end`, or without end."""

    uri: str
    start: date
    end: date | None = None

    def get_folder(self, table: Table) -> str:
        """Return the URI of the folder of a table, with a trailing slash."""
        return f"{self.uri.rstrip('/')}/{table.name}/"


def build_external_table(table: Table, location: LakeLocation) -> ExternalTable:
    """Return the definition of a table for catalogs and DDL."""
    folder = location.get_folder(table)
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
            **(_build_projection(folder, location) if table.partitioned else {}),
        },
    )


def render_athena_ddl(external: ExternalTable, database: str | None = None) -> str:
    """Return the statement that creates a table in Athena. Hive and Spark with Hive support it as well."""
    keys = (
        f"PARTITIONED BY (\n{_render_columns(external.partition_keys)}\n)\n"
        if external.partition_keys
        else ""
    )
    name, columns = _render_name(external, database), _render_columns(external.columns)
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{columns}\n)\n"
        f"COMMENT {_quote_text(external.comment)}\n"
        f"{keys}"
        "STORED AS PARQUET\n"
        f"LOCATION {_quote_text(external.location)}\n"
        f"TBLPROPERTIES (\n{_render_properties(external.properties)}\n);"
    )


def render_spark_ddl(external: ExternalTable, database: str | None = None) -> str:
    """Return the statements that create a table in Spark.

    Partitioned tables have a second statement, which discovers partitions. Run it again after adding days.
    """
    columns = (*external.columns, *external.partition_keys)
    keys = ", ".join(_quote(key.name) for key in external.partition_keys)
    ours = {key: external.properties[key] for key in (TABLE_PROPERTY, VERSION_PROPERTY)}
    partitioned = f"PARTITIONED BY ({keys})\n" if keys else ""
    create = (
        f"CREATE TABLE IF NOT EXISTS {_render_name(external, database)} (\n{_render_columns(columns)}\n)\n"
        "USING PARQUET\n"
        f"{partitioned}"
        f"COMMENT {_quote_text(external.comment)}\n"
        f"LOCATION {_quote_text(external.location)}\n"
        f"TBLPROPERTIES (\n{_render_properties(ours)}\n);"
    )
    return f"{create}\n\nMSCK REPAIR TABLE {_render_name(external, database)};" if keys else create


def _build_projection(folder: str, location: LakeLocation) -> dict[str, str]:
    last = "NOW" if location.end is None else (location.end - timedelta(days=1)).isoformat()
    return {
        "projection.enabled": "true",
        f"projection.{PARTITION}.type": "date",
        f"projection.{PARTITION}.format": "yyyy-MM-dd",
        f"projection.{PARTITION}.range": f"{location.start.isoformat()},{last}",
        f"projection.{PARTITION}.interval": "1",
        f"projection.{PARTITION}.interval.unit": "DAYS",
        "storage.location.template": f"{folder}{PARTITION}=${{{PARTITION}}}",
    }


def _render_columns(columns: tuple[ExternalColumn, ...]) -> str:
    return ",\n".join(
        f"  {_quote(column.name)} {column.type} COMMENT {_quote_text(column.comment)}" for column in columns
    )


def _render_properties(properties: Mapping[str, str]) -> str:
    return ",\n".join(f"  {_quote_text(key)} = {_quote_text(value)}" for key, value in properties.items())


def _render_name(external: ExternalTable, database: str | None) -> str:
    return ".".join(_quote(part) for part in (database, external.name) if part)


def _quote(name: str) -> str:
    # quote every name, because engines reserve different words, such as `timestamp`
    return "`" + name.replace("`", "``") + "`"


def _quote_text(text: str) -> str:
    # escapes that Hive, Athena and Spark have in common
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
