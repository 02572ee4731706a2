"""Anomaly events with their top sensors, failures by cause, and changes since the previous days."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.report.model.fleet import Fleet, Machine, join_sensor_name
from assets.report.model.knowledge import describe_execution_gaps, find_result_extent
from assets.report.model.silencing import SilenceMatcher, SilenceSummary
from assets.report.query.data import ReportData
from assets.report.query.executions import FailureCause, SettingChange
from assets.report.query.machines import EquipmentChange, EventRow, EventSensor
from assets.report.query.result import Figure, Statement

SHOWN_EVENTS = 60
SHOWN_CAUSES = 20
SHOWN_CHANGES = 8
SHOWN_SENSORS = 5
"""Limits of the page; the SQL returns all rows. Sensors at or below an even share are omitted."""


@dataclass(frozen=True)
class SensorShare:
    """The contribution of a sensor; `width` and `even_width` are percentages of the widest bar."""

    name: str
    diagnostic_name: str
    share: Figure[float]
    width: float
    even_width: float | None


@dataclass(frozen=True)
class Event:
    """An anomaly event as the page prints it."""

    machine: Machine
    row: EventRow
    sensors: tuple[SensorShare, ...]
    silence: SilenceSummary | None


@dataclass(frozen=True)
class Cause:
    """A cause of failed executions; `is_new` if the previous days are computed and do not have it."""

    row: FailureCause
    is_new: bool


@dataclass(frozen=True)
class Change:
    """A machine in these days and in the previous ones; `machine` is None for the total."""

    machine: Machine | None
    row: EquipmentChange
    is_worse: bool


@dataclass(frozen=True)
class Changes:
    """The comparison with the previous days, and the changes of scheduler settings."""

    fleet: Change | None
    machines: tuple[Change, ...]
    settings: tuple[tuple[Machine, Statement], ...]


def list_events(data: ReportData, fleet: Fleet, silences: SilenceMatcher) -> tuple[list[Event], int]:
    """Return the events to print, ongoing ones first, then the newest; and the number of omitted ones."""
    rows = sorted(data.events, key=lambda row: row.state != "open")  # stable: each group stays newest first
    printed = rows[:SHOWN_EVENTS]
    sensors = {row.event_id: data.sensors.get(row.event_id, ()) for row in printed}
    shares = (sensor.contribution.value or 0 for rows in sensors.values() for sensor in rows)
    widest = max(shares, default=0) or 1
    events = []
    for row in printed:
        machine = fleet.get_machine(row.scheduler_arn)
        bars = _build_sensor_shares(fleet, machine, row, sensors[row.event_id], widest)
        events.append(Event(machine, row, bars, silences.find_for_event(row, machine)))
    return events, len(rows) - len(printed)


def list_causes(data: ReportData) -> tuple[list[Cause], int]:
    """Return the causes to print, the most frequent first, and the number of omitted ones."""
    rows = [row for row in data.causes if row.executions]
    is_complete = not describe_execution_gaps(data.knowledge_before)
    causes = [
        Cause(row, is_new=is_complete and row.executions_before.value == 0) for row in rows[:SHOWN_CAUSES]
    ]
    return causes, len(rows) - len(causes)


def list_changes(data: ReportData, fleet: Fleet) -> Changes:
    """Return the changes since the previous days, the largest difference first."""
    machines = {machine.key: machine for machine in fleet.machines}
    changed = [
        (machines[key], row) for key, row in data.changes.items() if key in machines and _get_difference(row)
    ]
    changed.sort(key=lambda pair: -abs(_get_difference(pair[1])))
    total = data.fleet_change
    is_known = find_result_extent(data.knowledge).is_countable
    return Changes(
        fleet=_build_change(None, total) if total.running_minutes.value is not None and is_known else None,
        machines=tuple(_build_change(machine, row) for machine, row in changed[:SHOWN_CHANGES]),
        settings=tuple(
            (machine, text)
            for change in data.settings
            if (machine := fleet.find_machine(change.scheduler_arn))
            for text in _describe_settings(change)
        ),
    )


def _build_sensor_shares(
    fleet: Fleet, machine: Machine, event: EventRow, sensors: Sequence[EventSensor], widest: float
) -> tuple[SensorShare, ...]:
    even = event.even_share.value
    return tuple(
        SensorShare(
            name=fleet.get_sensor(sensor.component, sensor.sensor, machine).name,
            diagnostic_name=join_sensor_name(sensor.component, sensor.sensor),
            share=sensor.contribution,
            width=round(100 * (sensor.contribution.value or 0) / widest, 1),
            even_width=None if even is None else round(min(100, 100 * even / widest), 1),
        )
        for rank, sensor in enumerate(sensors[:SHOWN_SENSORS])
        if rank == 0 or even is None or (sensor.contribution.value or 0) > even
    )


def _get_difference(row: EquipmentChange) -> float:
    share, before = row.anomalous_share.value, row.anomalous_share_before.value
    return 0.0 if share is None or before is None else share - before


def _build_change(machine: Machine | None, row: EquipmentChange) -> Change:
    return Change(machine, row, is_worse=_get_difference(row) > 0)


def _describe_settings(change: SettingChange) -> list[Statement]:
    since = change.valid_from
    if change.number == 1:
        return [("scheduler first seen on ", since)]
    texts: list[Statement] = []
    model, model_before = change.model_version, change.model_version_before
    if None not in {model.value, model_before.value} and model.value != model_before.value:
        texts.append(("model changed from ", model_before, " to ", model, " on ", since))
    for label, value, before, unit in (
        ("frequency", change.data_upload_frequency, change.data_upload_frequency_before, ""),
        ("delay", change.data_delay_offset_minutes, change.data_delay_offset_minutes_before, " min"),
        ("status", change.status, change.status_before, ""),
    ):
        if value is not None and before is not None and value != before:
            texts.append((f"{label} changed from {before}{unit} to {value}{unit} on ", since))
    return texts
