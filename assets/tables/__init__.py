"""Every table of the lake, declared once.

The Parquet schema and its comments, Dagster's column schema, the DuckDB views, the contract that the lake
enforces and `docs/tables.md` are all derived from these declarations.
"""

from collections.abc import Sequence
from difflib import get_close_matches

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
from assets.tables.health import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    EQUIPMENT_HEALTH,
    EVENT_NOTIFICATIONS,
    EXECUTION_HEALTH,
)
from resources.errors import ConfigurationError

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
    ANOMALY_FRAGMENTS,
    ANOMALY_EVENTS,
    EXECUTION_HEALTH,
    EQUIPMENT_HEALTH,
    EVENT_NOTIFICATIONS,
)


def tables_named(
    names: Sequence[str], where: str = "the names of tables on the command line"
) -> tuple[Table, ...]:
    """Return the tables of these names, in the order of `TABLES`; all of them where none is named.

    `where` is where the names were written, for the message about one that is wrong.

    Raises:
        ConfigurationError: there is no table of a name.
    """
    known = {table.name: table for table in TABLES}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ConfigurationError(
                f"there is no table {name}",
                where=where,
                next_step=(f"did you mean {near[0]}? " if near else "")
                + f"The tables are {', '.join(known)}",
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
    "Column",
    "Encoding",
    "Table",
    "tables_named",
]
