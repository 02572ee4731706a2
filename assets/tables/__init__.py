"""Every table of the lake, declared once.

Belongs here: the list of all tables.
Does not belong here: how rows are made (see the rules beside each asset) or stored (see `resources.lake`).

The Parquet schema and its comments, Dagster's column schema, the DuckDB views, the contract that the lake
enforces and `docs/tables.md` are all derived from these declarations.
"""

from assets.tables.anomalies import (
    ANOMALY_PREDICTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from assets.tables.declared import INSTANT, PARTITION, RECORDED_AT, Column, Encoding, Table
from assets.tables.executions import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from assets.tables.reporting import ANOMALY_EVENTS, EQUIPMENT_HEALTH, EXECUTION_HEALTH, TOLD_EVENTS

TABLES = (
    INFERENCE_SCHEDULERS,
    INFERENCE_EXECUTIONS,
    EXTRACTION_COVERAGE,
    ARCHIVE_FILES,
    REJECTED_EXECUTIONS,
    RESULT_OBJECTS,
    ANOMALY_PREDICTIONS,
    SENSOR_CONTRIBUTIONS,
    REJECTED_RESULTS,
    ANOMALY_EVENTS,
    EXECUTION_HEALTH,
    EQUIPMENT_HEALTH,
    TOLD_EVENTS,
)

__all__ = [
    "ANOMALY_EVENTS",
    "ANOMALY_PREDICTIONS",
    "ARCHIVE_FILES",
    "EQUIPMENT_HEALTH",
    "EXECUTION_HEALTH",
    "EXTRACTION_COVERAGE",
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
    "TOLD_EVENTS",
    "Column",
    "Encoding",
    "Table",
]
