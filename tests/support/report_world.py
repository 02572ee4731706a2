"""A sandbox fleet and its recorded rows as Arrow tables, for tests of the health rules."""

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
from sandbox.events import has_succeeded
from sandbox.fleet import Fleet, History
from sandbox.results import build_lines
from tests.support.fleets import build_coarse_fleet
from tests.support.truth import build_row

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
"""A machine with several schedulers one after the other, and a machine with two at once."""


@dataclass(frozen=True)
class FleetRecords:
    """A fleet and all its recorded rows."""

    fleet: Fleet
    executions: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    contributions: list[dict[str, Any]]


@cache
def build_fleet_records(seed: int) -> FleetRecords:
    """Return all rows of a fleet; without contributions of boiler-1, which has 300 sensors."""
    sandbox_fleet = build_coarse_fleet(seed, History(START, END))
    executions = [
        build_row(summary, "api")
        for summary in sandbox_fleet.executions(NOW)
        if summary["DataStartTime"] < END
    ]
    predictions, contributions = [], []
    for scheduler in sandbox_fleet.schedulers:
        for slot in scheduler.slots(START, END):
            if not has_succeeded(scheduler, min(NOW, scheduler.deleted_at or NOW), slot):
                continue
            for line in build_lines(scheduler, slot):
                row = {
                    "scheduler_arn": scheduler.arn,
                    "scheduler_name": scheduler.name,
                    "data_start_time": slot.window.start,
                    "timestamp": datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC),
                    "prediction": line["prediction"],
                    "prediction_reason": line.get("prediction_reason"),
                    "anomaly_score": line.get("anomaly_score"),
                    "model_version": scheduler.get_version(slot.window.start),
                }
                predictions.append(row)
                if line["prediction"] and scheduler.name != "boiler-1":
                    key = {name: row[name] for name in CONTRIBUTION_COLUMNS[:3]}
                    contributions += [
                        key | {"diagnostic_name": diagnostic["name"], "contribution": diagnostic["value"]}
                        for diagnostic in line.get("diagnostics", [])
                    ]
    return FleetRecords(sandbox_fleet, executions, predictions, contributions)


def select_days(rows: Sequence[Row], days: Sequence[date]) -> list[Row]:
    """Return the rows of some days, by the start of their execution."""
    selected = set(days)
    return [row for row in rows if row["data_start_time"].date() in selected]


def build_predictions_table(rows: Sequence[Row]) -> pa.Table:
    return _build_table(ANOMALY_PREDICTIONS, PREDICTION_COLUMNS, rows)


def build_contributions_table(rows: Sequence[Row]) -> pa.Table:
    return _build_table(SENSOR_CONTRIBUTIONS, CONTRIBUTION_COLUMNS, rows)


def build_executions_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(
        [{**row, "recorded_at": NOW} for row in rows], schema=INFERENCE_EXECUTIONS.schema
    )


def build_schedulers_table(rows: Sequence[Row]) -> pa.Table:
    """Return the settings that the executions show of their schedulers."""
    return scheduler_history.merge_observed_settings(
        [build_executions_table(rows)], INFERENCE_SCHEDULERS.schema.empty_table(), NOW
    )


def _build_table(table: Table, columns: Sequence[str], rows: Sequence[Row]) -> pa.Table:
    schema = pa.schema([table.schema.field(name) for name in columns])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
