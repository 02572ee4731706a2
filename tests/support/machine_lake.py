"""Lakes for report tests: all tables that the report reads, filled from a short description of machines."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from assets.framework.row_content import conform
from assets.report.model.page import Page
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    RESULT_OBJECTS,
    Table,
)
from resources.lake.lake import Lake

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 7)
NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
START = datetime(2026, 10, 1, tzinfo=UTC)
_A_DAY = timedelta(days=1)

BuildPage = Callable[..., Page]

REASONS = (
    "succeeded",
    "failed_missing_input",
    "failed_other",
    "in_progress",
    "stuck",
    "missing",
    "not_running",
    "not_extracted",
    "after_service_end",
    "unknown",
)
"""The reasons of a slot, repeated on purpose: these lakes do not depend on the rules that fill real ones."""


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


@dataclass
class Machine:
    """One scheduler during the week; spans are in hours since the start of the week."""

    name: str = "pump-1"
    arn: str = ""
    step_minutes: int = 10
    events: Sequence[tuple[float, float]] = ()
    off: Sequence[tuple[float, float]] = ()
    gaps: Sequence[tuple[float, float]] = ()
    fails: bool = False
    is_read: bool = True
    has_scores: bool = True
    state: str = "closed"
    switch_at: float | None = None
    equipment: str | None = None
    sensors: Sequence[tuple[str, float]] = (
        ("pump-sensors\\Sensor0", 0.36),
        ("pump-sensors\\Sensor1", 0.2),
        ("Speed", 0.03),
    )
    objects: dict[str, int] = field(default_factory=dict)
    cause: str = "no input for pump-sensors"

    def __post_init__(self) -> None:
        if not self.arn:
            uuid = hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()
            self.arn = (
                f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/{self.name}/{uuid}"
            )
        self.equipment = self.equipment or self.arn

    @cached_property
    def points(self) -> list[tuple[datetime, str]]:
        """The time and the state (normal, event or off) of each row."""
        if self.fails:
            return []
        count = 7 * 24 * 60 // self.step_minutes
        times = [START + timedelta(minutes=self.step_minutes * number) for number in range(count)]
        return [(at, self._find_state(at)) for at in times if not _is_within(at, self.gaps)]

    def _find_state(self, at: datetime) -> str:
        if _is_within(at, self.off):
            return "off"
        return "event" if _is_within(at, self.events) else "normal"


def _is_within(at: datetime, spans: Iterable[tuple[float, float]]) -> bool:
    return any(START + hours(start) <= at < START + hours(end) for start, end in spans)


def write_machines(lake: Lake, *machines: Machine) -> None:
    """Write the tables of the week for these machines; only executions of a machine that is not read."""
    read = [machine for machine in machines if machine.is_read]
    for table, rows in (
        (ANOMALY_PREDICTIONS, [row for machine in read for row in _build_predictions(machine)]),
        (ANOMALY_FRAGMENTS, [row for machine in read for row in _build_fragments(machine)]),
        (ANOMALY_EVENTS, [row for machine in read for row in _build_events(machine)]),
        (EXECUTION_HEALTH, [row for machine in machines for row in _build_execution_health(machine)]),
        (EQUIPMENT_HEALTH, [row for machine in read for row in _build_equipment_health(machine)]),
        (INFERENCE_EXECUTIONS, [row for machine in machines for row in _build_executions(machine)]),
        (RESULT_OBJECTS, [row for machine in read for row in _build_objects(machine)]),
        (INFERENCE_SCHEDULERS, [row for machine in machines for row in _build_settings(machine)]),
    ):
        write_rows(lake, table, rows)


def write_rows(lake: Lake, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows of a table; rows of a partitioned table also have `data_date`."""
    if not table.partitioned:
        lake.update(table, None, lambda _: _build_table(table, rows))
        return
    for day, day_rows in groupby(
        sorted(rows, key=lambda row: row["data_date"]), lambda row: row["data_date"]
    ):
        new = _build_table(table, list(day_rows))
        lake.update(table, day, lambda _, new=new: new)


def _build_table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    names = table.schema.names
    full = [{name: row.get(name) for name in names} | {"recorded_at": NOW} for row in rows]
    return conform(
        table,
        pa.Table.from_pylist(full, schema=pa.schema([field.with_nullable(True) for field in table.schema])),
    )


def _list_days() -> list[date]:
    return [FIRST + number * _A_DAY for number in range(7)]


def _build_name_columns(machine: Machine) -> dict[str, Any]:
    return {"scheduler_arn": machine.arn, "scheduler_name": machine.name}


def _find_version(machine: Machine, at: datetime) -> int:
    return 2 if machine.switch_at is not None and at >= START + hours(machine.switch_at) else 1


def _build_predictions(machine: Machine) -> Iterable[dict[str, Any]]:
    noise = np.random.default_rng(len(machine.name)).random(100_000)
    for number, (at, state) in enumerate(machine.points):
        score = 0.02 + 0.4 * noise[number] ** 3 if state == "normal" else 0.6 + 0.35 * noise[number]
        yield _build_name_columns(machine) | {
            "data_date": at.date(),
            "data_start_time": at,
            "timestamp": at,
            "prediction": int(state == "event"),
            "prediction_reason": {"off": "MACHINE_OFF", "event": "ANOMALY_DETECTED"}.get(
                state, "NO_ANOMALY_DETECTED"
            ),
            "anomaly_score": None if state == "off" or not machine.has_scores else float(score),
            "model_version": _find_version(machine, at),
        }


def _build_events(machine: Machine) -> Iterable[dict[str, Any]]:
    for number, (start, end) in enumerate(machine.events):
        begin = START + hours(start)
        yield _build_name_columns(machine) | {
            "event_id": hashlib.md5(f"{machine.arn}{begin}".encode(), usedforsecurity=False).hexdigest()[:16],
            "start_time": begin,
            "end_time": START + hours(end),
            "duration_seconds": (end - start) * 3600.0,
            "points": int((end - start) * 60 / machine.step_minutes),
            "peak_score": 0.94 if machine.has_scores else None,
            "mean_score": 0.77 if machine.has_scores else None,
            "sensors": 30 if machine.sensors else 0,
            "top_sensors": json.dumps([_build_sensor(name, share) for name, share in machine.sensors]),
            "model_version": _find_version(machine, begin),
            "state": machine.state if number == len(machine.events) - 1 else "closed",
        }


def _build_sensor(name: str, share: float) -> dict[str, Any]:
    component, separator, sensor = name.partition("\\")
    return {
        "component": component if separator else None,
        "sensor": sensor if separator else name,
        "contribution": share,
    }


def _build_execution_health(machine: Machine) -> Iterable[dict[str, Any]]:
    for day in _list_days():
        slots = 24 * 60 // machine.step_minutes
        succeeded = sum(at.date() == day for at, _ in machine.points)
        counts = dict.fromkeys(REASONS, 0) | {
            "succeeded": succeeded,
            "failed_missing_input": slots - succeeded,
        }
        yield (
            _build_name_columns(machine)
            | counts
            | {
                "data_date": day,
                "expected": slots,
                "coverage_ratio": 1.0,
                "lateness_median_minutes": 1.5,
                "lateness_max_minutes": 4.0,
                "longest_silence_minutes": float((slots - succeeded) * machine.step_minutes),
                "failures_by_cause": json.dumps(
                    [{"cause": machine.cause, "count": slots - succeeded}] if slots > succeeded else []
                ),
            }
        )


def _build_equipment_health(machine: Machine) -> Iterable[dict[str, Any]]:
    for day in _list_days():
        states = [state for at, state in machine.points if at.date() == day]
        minutes = {
            kind: float(states.count(kind) * machine.step_minutes) for kind in ("normal", "event", "off")
        }
        running = minutes["normal"] + minutes["event"]
        yield {
            "data_date": day,
            "equipment": machine.equipment,
            "scheduler_arns": machine.arn,
            "running_minutes": running,
            "off_minutes": minutes["off"],
            "unknown_minutes": 1440 - running - minutes["off"],
            "anomalous_minutes": minutes["event"],
            "anomalous_share": minutes["event"] / running if running else None,
            "events": sum((START + hours(start)).date() == day for start, _ in machine.events),
            "anomalous_hours_7d": 3,
            "anomalous_hours_7d_share": 3 / 168,
            "anomalous_share_28d": 0.01,
            "events_per_day_28d": 0.2,
            "model_version": _find_version(machine, datetime(day.year, day.month, day.day, 23, tzinfo=UTC)),
            "model_switched": False,
        }


def _build_executions(machine: Machine) -> Iterable[dict[str, Any]]:
    step = timedelta(minutes=machine.step_minutes)
    succeeded = {at for at, _ in machine.points}
    for number in range(7 * 24 * 60 // machine.step_minutes):
        at = START + number * step
        yield _build_name_columns(machine) | {
            "data_date": at.date(),
            "account_id": "111122223333",
            "region": "eu-west-1",
            "model_version": _find_version(machine, at),
            "data_start_time": at,
            "data_end_time": at + step,
            "status": "SUCCESS" if at in succeeded else "FAILED",
            **(_build_location(machine, at) if at in succeeded else {}),
            "source": "api",
            "outcome_source": "api",
        }


def _build_location(machine: Machine, at: datetime) -> dict[str, str]:
    key = f"{machine.name}/{at:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"
    return {"result_s3_bucket": "plant", "result_s3_key": key}


def _build_fragments(machine: Machine) -> Iterable[dict[str, Any]]:
    """Yield the runs of points with the same state on the same day."""
    for (day, state), run in groupby(machine.points, lambda point: (point[0].date(), point[1])):
        times = [at for at, _ in run]
        yield _build_name_columns(machine) | {
            "data_date": day,
            "first_time": times[0],
            "last_time": times[-1],
            "state": "anomalous" if state == "event" else state,
            "points": len(times),
            "usual_steps": 0,
            "scored_points": 0,
            "diagnosed_points": 0,
        }


def _build_objects(machine: Machine) -> Iterable[dict[str, Any]]:
    states = [state for state, count in machine.objects.items() for _ in range(count)]
    for number, (at, _) in enumerate(machine.points):
        yield _build_name_columns(machine) | {
            "data_date": at.date(),
            "data_start_time": at,
            **_build_location(machine, at),
            "state": states[number] if number < len(states) else "read",
            "rows": 1,
            "rejected": 0,
            "reader_version": 1,
        }


def _build_settings(machine: Machine) -> Iterable[dict[str, Any]]:
    for at in [
        START - 30 * _A_DAY,
        *([] if machine.switch_at is None else [START + hours(machine.switch_at)]),
    ]:
        yield _build_name_columns(machine) | {
            "valid_from": at,
            "model_version": _find_version(machine, at),
            "data_upload_frequency": f"PT{machine.step_minutes}M",
            "data_delay_offset_minutes": 0,
            "source": "api",
        }
