"""A sandbox fleet as the tables of a lake: what the rules of reports are tried on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa

from assets.anomalies.fragments import PREDICTION_COLUMNS
from assets.anomalies.top_sensors import CONTRIBUTION_COLUMNS
from assets.executions import scheduler_history
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry
from sandbox.events import succeeded
from sandbox.fleet import Fleet, History, fleet
from sandbox.results import lines
from tests.support.truth import row_of

Row = Mapping[str, Any]
FIRST, LAST = date(2026, 10, 4), date(2026, 10, 7)
DAYS = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
START, END = datetime(2026, 10, 4, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC)
NOW = END + timedelta(hours=12)

REGISTRY = EquipmentRegistry(
    [
        EquipmentEntry(Equipment("Extractor", "Seoul", "high"), ("fan-?",)),
        EquipmentEntry(Equipment("Pumps", "both"), ("pump-1",)),
    ]
)
"""A machine that was watched by several schedulers, one after the other; another that two watch at once."""


@dataclass(frozen=True)
class World:
    """A fleet and everything that it recorded, row by row."""

    fleet: Fleet
    executions: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    contributions: list[dict[str, Any]]


@cache
def world(seed: int) -> World:
    """All that a fleet recorded; that of boiler-1, with its 300 sensors, without contributions."""
    made = fleet(seed, History(START, END))
    executions = [
        row_of(summary, "api") for summary in made.executions(NOW) if summary["DataStartTime"] < END
    ]
    predictions, contributions = [], []
    for scheduler in made.schedulers:
        for slot in scheduler.slots(START, END):
            if not succeeded(scheduler, min(NOW, scheduler.deleted_at or NOW), slot):
                continue
            for line in lines(scheduler, slot):
                row = {
                    "scheduler_arn": scheduler.arn,
                    "scheduler_name": scheduler.name,
                    "data_start_time": slot.window.start,
                    "timestamp": datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC),
                    "prediction": line["prediction"],
                    "prediction_reason": line.get("prediction_reason"),
                    "anomaly_score": line.get("anomaly_score"),
                    "model_version": scheduler.version(slot.window.start),
                }
                predictions.append(row)
                if line["prediction"] and scheduler.name != "boiler-1":
                    key = {name: row[name] for name in CONTRIBUTION_COLUMNS[:3]}
                    contributions += [
                        key | {"diagnostic_name": each["name"], "contribution": each["value"]}
                        for each in line.get("diagnostics", [])
                    ]
    return World(made, executions, predictions, contributions)


def of_days(rows: Sequence[Row], days: Sequence[date]) -> list[Row]:
    """The rows of some days, by the start of their execution."""
    wanted = set(days)
    return [row for row in rows if row["data_start_time"].date() in wanted]


def predictions_table(rows: Sequence[Row]) -> pa.Table:
    return _table(ANOMALY_PREDICTIONS, PREDICTION_COLUMNS, rows)


def contributions_table(rows: Sequence[Row]) -> pa.Table:
    return _table(SENSOR_CONTRIBUTIONS, CONTRIBUTION_COLUMNS, rows)


def executions_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(
        [{**row, "recorded_at": NOW} for row in rows], schema=INFERENCE_EXECUTIONS.schema
    )


def schedulers_table(rows: Sequence[Row]) -> pa.Table:
    """What the executions show of their schedulers."""
    return scheduler_history.merge_observed_settings(
        [executions_table(rows)], INFERENCE_SCHEDULERS.schema.empty_table(), NOW
    )


def _table(table: Table, columns: Sequence[str], rows: Sequence[Row]) -> pa.Table:
    schema = pa.schema([table.schema.field(name) for name in columns])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
