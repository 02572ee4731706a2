"""How each machine did on a day, compared with the weeks before.

A day here is a UTC day of point timestamps: the first points of a day can come from the last window of the
day before. Time without points is unknown. It is neither running time nor healthy time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.anomalies.events import EventRule, find_event_spans
from assets.anomalies.fragments import ANOMALOUS, Ints
from assets.anomalies.timeline import CARRIED_DAYS, Timeline, build_timeline
from assets.anomalies.top_sensors import add_contribution_sums, rank_top_sensors
from assets.framework.time_windows import DAY_MS
from assets.health.running_time import RunningTime, compute_running_time
from assets.tables import EQUIPMENT_HEALTH, PARTITION
from resources.config.equipment import Equipment, EquipmentRegistry

LOOK_BACK_DAYS = 28
"""A day is compared with this many days before it."""

NEEDS_DAYS_BEFORE, NEEDS_DAYS_AFTER = LOOK_BACK_DAYS + CARRIED_DAYS + 1, 1
"""The days of fragments, around a day, that its rows depend on.

Before: the earliest compared day can take its usual step from `CARRIED_DAYS` earlier, and its first points
from the day before. After: the next day shows how long the last event lasts.
"""

WEEK = 7

SchedulersByDay = Mapping[date, Mapping[str, str | None]]
"""The ARNs of the schedulers of each day, with their names."""

_MachineDay = tuple[int, int]
"""The number of a machine, and a day in days since 1970."""

_EPOCH = date(1970, 1, 1)
_MINUTE_MS = 60_000


def build_equipment_health(
    days: Sequence[date],
    fragments: pa.Table,
    expected: SchedulersByDay,
    registry: EquipmentRegistry,
    rule: EventRule,
    now: datetime,
) -> pa.Table:
    """Build the rows of `equipment_health` for some days, with their `data_date`, without `recorded_at`.

    Args:
        days: consecutive days.
        fragments: rows of `anomaly_fragments` with their `data_date`, from `NEEDS_DAYS_BEFORE` the first day
            to `NEEDS_DAYS_AFTER` the last.
        expected: schedulers that have rows in `execution_health`, even if they have no points.
        registry: maps schedulers to equipment.
        rule: the settings for events.
        now: the current time; time after it is not counted.

    Raises:
        ConfigurationError: the registry maps a scheduler to two machines.
    """
    fleet = _build_fleet(fragments, expected, registry)
    runs = build_timeline(fragments)
    first, last = (_get_day_number(day) for day in (min(days), max(days)))
    span = range(first - LOOK_BACK_DAYS, last + 1)
    machine = fleet.machine_of_scheduler[runs.scheduler]
    times = compute_running_time(runs, machine, len(fleet.machines), span, int(now.timestamp() * 1000))
    measures = _Measures(span, times, _count_events(runs, machine, rule, fleet, span))
    models = _find_models(runs, fragments, machine)
    sensors = _find_top_sensors(runs, fragments, machine)
    seen = _find_schedulers_with_points(runs, fleet)
    rows = []
    for day in days:
        number = _get_day_number(day)
        for index, equipment in enumerate(fleet.machines):
            schedulers = fleet.select_schedulers(index, {*expected.get(day, {}), *seen.get(number, ())})
            if schedulers and day <= now.date():
                row = _build_measure_columns(measures, index, number, _count_minutes_so_far(number, now))
                row |= _build_name_columns(equipment, schedulers)
                row |= models.get((index, number), {"model_version": None, "model_switched": False})
                rows.append(row | {"top_sensors": sensors.get((index, number)), PARTITION: day})
    schema = EQUIPMENT_HEALTH.content_schema.append(pa.field(PARTITION, pa.date32()))
    return pa.Table.from_pylist(rows, schema)


@dataclass(frozen=True)
class _Fleet:
    """All machines by name, and the machine of each scheduler.

    Attributes:
        machines: the machines; a machine's number is its position.
        machine_by_arn: the number of the machine of each scheduler.
        arns: the schedulers of the fragments, in the order of the timeline's scheduler numbers.
        machine_of_scheduler: the number of the machine of each scheduler in `arns`.
    """

    machines: Sequence[Equipment]
    machine_by_arn: Mapping[str, int]
    arns: Sequence[str]
    machine_of_scheduler: Ints

    def select_schedulers(self, machine: int, arns: Iterable[str]) -> list[str]:
        """Return the schedulers that watch a machine, sorted."""
        return sorted(arn for arn in arns if self.machine_by_arn[arn] == machine)


def _build_fleet(fragments: pa.Table, expected: SchedulersByDay, registry: EquipmentRegistry) -> _Fleet:
    schedulers = (
        fragments.group_by("scheduler_arn").aggregate([("scheduler_name", "max")]).sort_by("scheduler_arn")
    )
    arns = schedulers["scheduler_arn"].to_pylist()
    names = {arn: name for day_schedulers in expected.values() for arn, name in day_schedulers.items()}
    names |= dict(zip(arns, schedulers["scheduler_name_max"].to_pylist(), strict=True))
    equipment = {arn: registry.find_equipment(arn, name) for arn, name in names.items()}
    by_name = {machine.name: machine for machine in equipment.values()}
    machines = [by_name[name] for name in sorted(by_name)]
    numbers = {machine.name: number for number, machine in enumerate(machines)}
    machine_by_arn = {arn: numbers[machine.name] for arn, machine in equipment.items()}
    machine_of_scheduler = np.array([machine_by_arn[arn] for arn in arns], dtype=np.int64)
    return _Fleet(machines, machine_by_arn, arns, machine_of_scheduler)


def _find_schedulers_with_points(runs: Timeline, fleet: _Fleet) -> dict[int, set[str]]:
    """Return the schedulers that have points, by day number."""
    schedulers: dict[int, set[str]] = {}
    pairs = np.unique(np.stack((runs.first // DAY_MS, runs.scheduler)), axis=1)
    for day, scheduler in pairs.T.tolist():
        schedulers.setdefault(day, set()).add(fleet.arns[scheduler])
    return schedulers


@dataclass(frozen=True)
class _Events:
    """Number and total minutes of the events that begin on a day, by machine (rows) and day (columns)."""

    count: Ints
    minutes: NDArray[np.float64]


def _count_events(runs: Timeline, machine: Ints, rule: EventRule, fleet: _Fleet, span: range) -> _Events:
    spans = find_event_spans(runs, rule)
    day = spans.start // DAY_MS
    # up to the end of the needed days: later data must not change the row of a day
    limit = (day + 1 + NEEDS_DAYS_AFTER) * DAY_MS
    last = np.minimum(spans.last, runs.find_last_runs_before(spans.first, limit))
    minutes = (np.minimum(runs.valid_until[last], limit) - spans.start) / _MINUTE_MS
    in_span = (day >= span.start) & (day < span.stop)
    cell = machine[spans.first[in_span]] * len(span) + day[in_span] - span.start
    shape = (len(fleet.machines), len(span))
    size = shape[0] * shape[1]
    return _Events(
        np.bincount(cell, minlength=size).reshape(shape),
        np.bincount(cell, minutes[in_span], size).reshape(shape).astype(np.float64),
    )


@dataclass(frozen=True)
class _Measures:
    """Times and events by machine and day; `span` are the days, in days since 1970."""

    span: range
    times: RunningTime
    events: _Events


def _build_measure_columns(
    measures: _Measures, machine: int, day: int, minutes_so_far: float
) -> dict[str, Any]:
    column = day - measures.span.start
    before, week = slice(column - LOOK_BACK_DAYS, column), slice(column - WEEK + 1, column + 1)
    times, events = measures.times, measures.events
    running, anomalous = float(times.running[machine, column]), float(times.anomalous[machine, column])
    off = float(times.off[machine, column])
    event_count = int(events.count[machine, column])
    running_before = times.running[machine, before]
    days_before = np.count_nonzero(running_before)
    week_hours = int(times.anomalous_hours[machine, week].sum())
    return {
        "running_minutes": running,
        "off_minutes": off,
        "unknown_minutes": max(minutes_so_far - running - off, 0.0),
        "anomalous_minutes": anomalous,
        "anomalous_share": anomalous / running if running else None,
        "events": event_count,
        "mean_event_minutes": float(events.minutes[machine, column]) / event_count if event_count else None,
        "anomalous_hours_7d": week_hours,
        "anomalous_hours_7d_share": week_hours / (WEEK * 24),
        "events_per_day_28d": (
            float(events.count[machine, before].sum() / days_before) if days_before else None
        ),
        "anomalous_share_28d": (
            float(times.anomalous[machine, before].sum() / running_before.sum()) if days_before else None
        ),
    }


def _build_name_columns(equipment: Equipment, schedulers: Sequence[str]) -> dict[str, Any]:
    return {
        "equipment": equipment.name,
        "site": equipment.site,
        "criticality": equipment.criticality,
        "scheduler_arns": ",".join(schedulers),
    }


def _find_models(
    runs: Timeline, fragments: pa.Table, machine: Ints
) -> dict[_MachineDay, dict[str, int | bool | None]]:
    """Return the latest model version of each machine and day, and whether it changed on that day.

    An unknown version is no change. A change after a silence longer than the look-back is not counted: the
    row of a day must not depend on how many days before it are processed.
    """
    version = pc.fill_null(fragments["model_version"], -1).to_numpy()[runs.row]
    known = np.flatnonzero(version >= 0)
    scheduler, version = runs.scheduler[known], version[known]
    first, last = runs.first[known], runs.last[known]
    is_switch = np.zeros(len(known), dtype=bool)
    is_switch[1:] = (scheduler[1:] == scheduler[:-1]) & (version[1:] != version[:-1])
    is_switch[1:] &= first[1:] - last[:-1] <= LOOK_BACK_DAYS * DAY_MS
    order = np.lexsort((version, last))
    columns = (machine[known][order], first[order] // DAY_MS, version[order], is_switch[order])
    models: dict[_MachineDay, dict[str, int | bool | None]] = {}
    for run_machine, day, latest, switched in zip(*(column.tolist() for column in columns), strict=True):
        previous = models.get((run_machine, day), {})
        models[run_machine, day] = {
            "model_version": latest,
            "model_switched": switched or previous.get("model_switched", False),
        }
    return models


def _find_top_sensors(runs: Timeline, fragments: pa.Table, machine: Ints) -> dict[_MachineDay, str | None]:
    """Return the sensors that contributed most for each machine and day, as JSON."""
    anomalous = np.flatnonzero(runs.state == ANOMALOUS)
    rows = fragments.select(["diagnosed_points", "contribution_sums"]).take(pa.array(runs.row[anomalous]))
    keys = zip(machine[anomalous].tolist(), (runs.first[anomalous] // DAY_MS).tolist(), strict=True)
    sums: dict[_MachineDay, list[str | None]] = {}
    points: dict[_MachineDay, int] = {}
    run_sums, run_points = rows["contribution_sums"].to_pylist(), rows["diagnosed_points"].to_pylist()
    for key, text, count in zip(keys, run_sums, run_points, strict=True):
        sums.setdefault(key, []).append(text)
        points[key] = points.get(key, 0) + count
    return {key: rank_top_sensors(add_contribution_sums(texts), points[key]) for key, texts in sums.items()}


def _get_day_number(day: date) -> int:
    return (day - _EPOCH).days


def _count_minutes_so_far(day: int, now: datetime) -> float:
    begin = datetime.fromordinal(_EPOCH.toordinal() + day).replace(tzinfo=UTC)
    return min((now - begin) / timedelta(minutes=1), 24 * 60)
