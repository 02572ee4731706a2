"""Declarations of all tables of the lake.

The Parquet schema, Dagster's column schema and lineage, the DDL, the DuckDB views, the contract of the lake
and `docs/reference/tables.md` are derived from them.
"""

from collections.abc import Sequence

from assets.tables.alerts import EVENT_NOTIFICATIONS
from assets.tables.anomalies import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from assets.tables.declared import INSTANT, PARTITION, RECORDED_AT, Column, Encoding, Lineage, Table
from assets.tables.executions import (
    ARCHIVE_FILES,
    EXECUTION_SOURCES,
    EXTRACTION_COVERAGE,
    FORGET_OPERATIONS,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from assets.tables.health import EQUIPMENT_HEALTH, EXECUTION_HEALTH
from resources.errors import ConfigurationError, format_value, suggest

TABLES = (
    INFERENCE_SCHEDULERS,
    INFERENCE_EXECUTIONS,
    EXTRACTION_COVERAGE,
    EXECUTION_SOURCES,
    FORGET_OPERATIONS,
    ARCHIVE_FILES,
    REJECTED_EXECUTIONS,
    RESULT_OBJECTS,
    ANOMALY_PREDICTIONS,
    SENSOR_CONTRIBUTIONS,
    REJECTED_RESULTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_EVENTS,
    EXECUTION_HEALTH,
    EQUIPMENT_HEALTH,
    EVENT_NOTIFICATIONS,
)


def select_tables(
    names: Sequence[str], where: str = "the table names on the command line"
) -> tuple[Table, ...]:
    """Return tables by name in the order of `TABLES`, or all tables if `names` is empty.

    `where` says in an error message where the names come from.

    Raises:
        ConfigurationError: no table has one of the names.
    """
    tables = {table.name: table for table in TABLES}
    for name in names:
        if name not in tables:
            raise ConfigurationError(
                f"Cannot find the table {format_value(name)}{suggest(name, tables)}",
                where=where,
                next_step=f"use one of {', '.join(tables)}",
            )
    return tuple(table for table in TABLES if not names or table.name in names)


__all__ = [
    "ANOMALY_EVENTS",
    "ANOMALY_FRAGMENTS",
    "ANOMALY_PREDICTIONS",
    "ARCHIVE_FILES",
    "EQUIPMENT_HEALTH",
    "EVENT_NOTIFICATIONS",
    "EXECUTION_HEALTH",
    "EXECUTION_SOURCES",
    "EXTRACTION_COVERAGE",
    "FORGET_OPERATIONS",
    "INFERENCE_EXECUTIONS",
    "INFERENCE_SCHEDULERS",
    "INSTANT",
    "PARTITION",
    "RECORDED_AT",
    "REJECTED_EXECUTIONS",
    "REJECTED_RESULTS",
    "RESULT_OBJECTS",
    "SENSOR_CONTRIBUTIONS",
    "TABLES",
    "Column",
    "Encoding",
    "Lineage",
    "Table",
    "select_tables",
]
