"""Lakes for pages: every table as its declaration has it, filled by a few lines for each machine."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from assets.framework.row_content import conform
from assets.tables import (
    ANOMALY_EVENTS,
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
"""What a slot can be, spelled out once more on purpose: a page of a lake that the rules did not write."""


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


@dataclass
class Machine:
    """One scheduler over the week, and what happened to it; spans are hours since the start of the week."""

    name: str = "pump-1"
    arn: str = ""
    step_minutes: int = 10
    events: Sequence[tuple[float, float]] = ()
    off: Sequence[tuple[float, float]] = ()
    gaps: Sequence[tuple[float, float]] = ()
    fails: bool = False
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

    @property
    def points(self) -> list[tuple[datetime, str]]:
        """Times of all rows, each with what it is: normal, event, off."""
        if self.fails:
            return []
        count = 7 * 24 * 60 // self.step_minutes
        times = [START + timedelta(minutes=self.step_minutes * number) for number in range(count)]
        return [(at, self._what(at)) for at in times if not _within(at, self.gaps)]

    def _what(self, at: datetime) -> str:
        if _within(at, self.off):
            return "off"
        return "event" if _within(at, self.events) else "normal"


def _within(at: datetime, spans: Iterable[tuple[float, float]]) -> bool:
    return any(START + hours(start) <= at < START + hours(end) for start, end in spans)


def write(lake: Lake, *machines: Machine) -> None:
    """Write a week of these machines, as the assets would."""
    for table, rows in (
        (ANOMALY_PREDICTIONS, [row for machine in machines for row in _predictions(machine)]),
        (ANOMALY_EVENTS, [row for machine in machines for row in _events(machine)]),
        (EXECUTION_HEALTH, [row for machine in machines for row in _execution_health(machine)]),
        (EQUIPMENT_HEALTH, [row for machine in machines for row in _equipment_health(machine)]),
        (INFERENCE_EXECUTIONS, [row for machine in machines for row in _executions(machine)]),
        (RESULT_OBJECTS, [row for machine in machines for row in _objects(machine)]),
        (INFERENCE_SCHEDULERS, [row for machine in machines for row in _settings(machine)]),
    ):
        put(lake, table, rows)


def put(lake: Lake, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows of a table; a partitioned one has their `data_date` beside the columns."""
    if not table.partitioned:
        lake.update(table, None, lambda _: _filled(table, rows))
        return
    for day, of_day in groupby(sorted(rows, key=lambda row: row["data_date"]), lambda row: row["data_date"]):
        filled = _filled(table, list(of_day))
        lake.update(table, day, lambda _, filled=filled: filled)


def _filled(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    names = table.schema.names
    full = [{name: row.get(name) for name in names} | {"recorded_at": NOW} for row in rows]
    return conform(
        table,
        pa.Table.from_pylist(full, schema=pa.schema([field.with_nullable(True) for field in table.schema])),
    )


def _days() -> list[date]:
    return [FIRST + number * _A_DAY for number in range(7)]


def _who(machine: Machine) -> dict[str, Any]:
    return {"scheduler_arn": machine.arn, "scheduler_name": machine.name}


def _version(machine: Machine, at: datetime) -> int:
    return 2 if machine.switch_at is not None and at >= START + hours(machine.switch_at) else 1


def _predictions(machine: Machine) -> Iterable[dict[str, Any]]:
    noise = np.random.default_rng(len(machine.name)).random(100_000)
    for number, (at, what) in enumerate(machine.points):
        score = 0.02 + 0.4 * noise[number] ** 3 if what == "normal" else 0.6 + 0.35 * noise[number]
        yield _who(machine) | {
            "data_date": at.date(),
            "data_start_time": at,
            "timestamp": at,
            "prediction": int(what == "event"),
            "prediction_reason": {"off": "MACHINE_OFF", "event": "ANOMALY_DETECTED"}.get(
                what, "NO_ANOMALY_DETECTED"
            ),
            "anomaly_score": None if what == "off" or not machine.has_scores else float(score),
            "model_version": _version(machine, at),
        }


def _events(machine: Machine) -> Iterable[dict[str, Any]]:
    for number, (start, end) in enumerate(machine.events):
        begin = START + hours(start)
        yield _who(machine) | {
            "event_id": hashlib.md5(f"{machine.arn}{begin}".encode(), usedforsecurity=False).hexdigest()[:16],
            "start_time": begin,
            "end_time": START + hours(end),
            "duration_seconds": (end - start) * 3600.0,
            "points": int((end - start) * 60 / machine.step_minutes),
            "peak_score": 0.94 if machine.has_scores else None,
            "mean_score": 0.77 if machine.has_scores else None,
            "sensors": 30 if machine.sensors else 0,
            "top_sensors": json.dumps([_sensor(raw, share) for raw, share in machine.sensors]),
            "model_version": _version(machine, begin),
            "state": machine.state if number == len(machine.events) - 1 else "closed",
        }


def _sensor(raw: str, share: float) -> dict[str, Any]:
    component, separator, sensor = raw.partition("\\")
    return {
        "component": component if separator else None,
        "sensor": sensor if separator else raw,
        "contribution": share,
    }


def _execution_health(machine: Machine) -> Iterable[dict[str, Any]]:
    for day in _days():
        slots = 24 * 60 // machine.step_minutes
        got = sum(at.date() == day for at, _ in machine.points)
        counts = dict.fromkeys(REASONS, 0) | {"succeeded": got, "failed_missing_input": slots - got}
        yield (
            _who(machine)
            | counts
            | {
                "data_date": day,
                "expected": slots,
                "coverage_ratio": 1.0,
                "lateness_median_minutes": 1.5,
                "lateness_max_minutes": 4.0,
                "longest_silence_minutes": float((slots - got) * machine.step_minutes),
                "failures_by_cause": json.dumps(
                    [{"cause": machine.cause, "count": slots - got}] if slots > got else []
                ),
            }
        )


def _equipment_health(machine: Machine) -> Iterable[dict[str, Any]]:
    for day in _days():
        what = [what for at, what in machine.points if at.date() == day]
        minutes = {
            kind: float(what.count(kind) * machine.step_minutes) for kind in ("normal", "event", "off")
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
            "model_version": _version(machine, datetime(day.year, day.month, day.day, 23, tzinfo=UTC)),
            "model_switched": False,
        }


def _executions(machine: Machine) -> Iterable[dict[str, Any]]:
    step = timedelta(minutes=machine.step_minutes)
    got = {at for at, _ in machine.points}
    for number in range(7 * 24 * 60 // machine.step_minutes):
        at = START + number * step
        yield _who(machine) | {
            "data_date": at.date(),
            "account_id": "111122223333",
            "region": "eu-west-1",
            "model_version": _version(machine, at),
            "data_start_time": at,
            "data_end_time": at + step,
            "status": "SUCCESS" if at in got else "FAILED",
            "source": "api",
            "outcome_source": "api",
        }


def _objects(machine: Machine) -> Iterable[dict[str, Any]]:
    states = [state for state, count in machine.objects.items() for _ in range(count)]
    for number, (at, _) in enumerate(machine.points):
        yield _who(machine) | {
            "data_date": at.date(),
            "data_start_time": at,
            "result_s3_bucket": "plant",
            "result_s3_key": f"{machine.name}/{at:%Y-%m-%dT%H:%M:%SZ}/results.jsonl",
            "state": states[number] if number < len(states) else "read",
            "rows": 1,
            "rejected": 0,
            "reader_version": 1,
        }


def _settings(machine: Machine) -> Iterable[dict[str, Any]]:
    for at in [
        START - 30 * _A_DAY,
        *([] if machine.switch_at is None else [START + hours(machine.switch_at)]),
    ]:
        yield _who(machine) | {
            "valid_from": at,
            "model_version": _version(machine, at),
            "data_upload_frequency": f"PT{machine.step_minutes}M",
            "data_delay_offset_minutes": 0,
            "source": "api",
        }
