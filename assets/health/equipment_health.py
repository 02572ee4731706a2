"""How each machine did on a day: running, anomalous, unknown, and against the weeks before.

A day is one of timestamps here, from midnight to midnight in UTC: a point of the first minutes of a day may
come from the last window of the day before. What has no points is unknown, and neither running nor healthy.
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
"""What a day is compared with: the four weeks before it."""

NEEDS_DAYS_BEFORE, NEEDS_DAYS_AFTER = LOOK_BACK_DAYS + CARRIED_DAYS + 1, 1
"""The days of fragments that a day is made of, and so the days that are made of one: the earliest of those
compared takes its step from a week before, and its first minutes from the day before; an event that begins
late is as long as the next day shows."""

WEEK = 7

Watched = Mapping[date, Mapping[str, str | None]]
"""The schedulers of each day, by ARN, and their names."""

_EPOCH = date(1970, 1, 1)


def build_equipment_health(
    days: Sequence[date],
    fragments: pa.Table,
    watched: Watched,
    registry: EquipmentRegistry,
    rule: EventRule,
    now: datetime,
) -> pa.Table:
    """Make the rows of `build_equipment_health` for some days, with their `data_date`, without `recorded_at`.

    Args:
        days: the days, a range without holes.
        fragments: rows of `anomaly_fragments` with their `data_date`, from `NEEDS_DAYS_BEFORE` the first day
            to `NEEDS_DAYS_AFTER` the last.
        watched: schedulers that something was expected of, or that ran.
        registry: who is behind them.
        rule: what the settings say of events.
        now: when this is asked; no time after it counts.

    Raises:
        ConfigurationError: the registry says of a scheduler that it watches two machines.
    """
    fleet = _fleet(fragments, watched, registry)
    runs = build_timeline(fragments)
    first, last = ((day - _EPOCH).days for day in (min(days), max(days)))
    span = range(first - LOOK_BACK_DAYS, last + 1)
    machine = fleet.machine_of_scheduler[runs.scheduler]
    times = compute_running_time(runs, machine, len(fleet.machines), span, int(now.timestamp() * 1000))
    facts = _Facts(fleet, span, times, _events(runs, machine, rule, fleet, span))
    models = _models(runs, fragments, machine)
    sensors = _sensors(runs, fragments, machine)
    ran = _ran(runs, fleet)
    rows = []
    for day in days:
        number = (day - _EPOCH).days
        for index, equipment in enumerate(fleet.machines):
            schedulers = fleet.schedulers_of(index, {*watched.get(day, {}), *ran.get(number, ())})
            if schedulers and day <= now.date():
                row = _row(facts, index, number, _minutes_so_far(number, now))
                row |= _named(equipment, schedulers)
                row |= models.get((index, number), {"model_version": None, "model_switched": False})
                rows.append(row | {"top_sensors": sensors.get((index, number)), PARTITION: day})
    fields = [EQUIPMENT_HEALTH.schema.field(name) for name in EQUIPMENT_HEALTH.content_columns]
    return pa.Table.from_pylist(rows, pa.schema([*fields, pa.field(PARTITION, pa.date32())]))


@dataclass(frozen=True)
class _Fleet:
    """All machines by name, and which of them each scheduler of the fragments watches, by number."""

    machines: Sequence[Equipment]
    number: Mapping[str, int]  # of a machine, by the ARN of a scheduler
    arns: Sequence[str]  # of the schedulers of the fragments
    machine_of_scheduler: Ints

    def schedulers_of(self, machine: int, there: Iterable[str]) -> list[str]:
        """Return which of the schedulers of a day watch a machine, or were meant to."""
        return sorted(arn for arn in there if self.number[arn] == machine)


def _ran(runs: Timeline, fleet: _Fleet) -> dict[int, set[str]]:
    """Return the schedulers that have points on a day."""
    found: dict[int, set[str]] = {}
    pairs = np.unique(np.stack((runs.first // DAY_MS, runs.scheduler)), axis=1)
    for day, scheduler in pairs.T.tolist():
        found.setdefault(day, set()).add(fleet.arns[scheduler])
    return found


def _fleet(fragments: pa.Table, watched: Watched, registry: EquipmentRegistry) -> _Fleet:
    known = (
        fragments.group_by("scheduler_arn").aggregate([("scheduler_name", "max")]).sort_by("scheduler_arn")
    )
    arns = known["scheduler_arn"].to_pylist()
    names = {arn: name for of_day in watched.values() for arn, name in of_day.items()}
    names |= dict(zip(arns, known["scheduler_name_max"].to_pylist(), strict=True))
    equipment = {arn: registry.find_equipment(arn, name) for arn, name in names.items()}
    machines = sorted({one.name: one for one in equipment.values()}.values(), key=lambda one: one.name)
    place = {one.name: number for number, one in enumerate(machines)}
    number = {arn: place[one.name] for arn, one in equipment.items()}
    return _Fleet(machines, number, arns, np.array([number[arn] for arn in arns], dtype=np.int64))


@dataclass(frozen=True)
class _Events:
    """Events by machine and day of their beginning: how many, and their minutes."""

    count: Ints
    minutes: NDArray[np.float64]


def _events(runs: Timeline, machine: Ints, rule: EventRule, fleet: _Fleet, span: range) -> _Events:
    found = find_event_spans(runs, rule)
    day = found.start // DAY_MS
    # as far as the day after shows: later data must not change the row of a day
    limit = (day + 1 + NEEDS_DAYS_AFTER) * DAY_MS
    last = np.minimum(found.last, runs.find_last_runs_before(found.first, limit))
    minutes = (np.minimum(runs.valid_until[last], limit) - found.start) / 60_000
    wanted = (day >= span.start) & (day < span.stop)
    place = machine[found.first[wanted]] * len(span) + day[wanted] - span.start
    shape = (len(fleet.machines), len(span))
    size = shape[0] * shape[1]
    return _Events(
        np.bincount(place, minlength=size).reshape(shape),
        np.bincount(place, minutes[wanted], size).reshape(shape).astype(np.float64),
    )


@dataclass(frozen=True)
class _Facts:
    """Everything by machine and day."""

    fleet: _Fleet
    span: range
    times: RunningTime
    events: _Events


def _row(facts: _Facts, machine: int, day: int, minutes_so_far: float) -> dict[str, Any]:
    here = day - facts.span.start
    before, week = slice(here - LOOK_BACK_DAYS, here), slice(here - WEEK + 1, here + 1)
    times = facts.times
    ran, anomalous = float(times.running[machine, here]), float(times.anomalous[machine, here])
    off = float(times.off[machine, here])
    events = int(facts.events.count[machine, here])
    ran_before = times.running[machine, before]
    hours = int(times.anomalous_hours[machine, week].sum())
    known_days = np.count_nonzero(ran_before)
    return {
        "running_minutes": ran,
        "off_minutes": off,
        "unknown_minutes": max(minutes_so_far - ran - off, 0.0),
        "anomalous_minutes": anomalous,
        "anomalous_share": anomalous / ran if ran else None,
        "events": events,
        "mean_event_minutes": float(facts.events.minutes[machine, here]) / events if events else None,
        "anomalous_hours_7d": hours,
        "anomalous_hours_7d_share": hours / (WEEK * 24),
        "events_per_day_28d": (
            float(facts.events.count[machine, before].sum() / known_days) if known_days else None
        ),
        "anomalous_share_28d": (
            float(times.anomalous[machine, before].sum() / ran_before.sum()) if known_days else None
        ),
    }


def _named(equipment: Equipment, schedulers: Sequence[str]) -> dict[str, Any]:
    return {
        "equipment": equipment.name,
        "site": equipment.site,
        "criticality": equipment.criticality,
        "scheduler_arns": ",".join(schedulers),
    }


def _models(
    runs: Timeline, fragments: pa.Table, machine: Ints
) -> dict[tuple[int, int], dict[str, int | bool | None]]:
    """Return the latest model version of each machine and day, and whether one changed on that day.

    A version that a result does not tell is no change. Nor is one after a silence that is longer than the
    look-back: a day must not depend on how much before it happens to be looked at.
    """
    version = pc.fill_null(fragments["model_version"], -1).to_numpy()[runs.row]
    known = np.flatnonzero(version >= 0)
    scheduler, version = runs.scheduler[known], version[known]
    first, last = runs.first[known], runs.last[known]
    switched = np.zeros(len(known), dtype=bool)
    switched[1:] = (scheduler[1:] == scheduler[:-1]) & (version[1:] != version[:-1])
    switched[1:] &= first[1:] - last[:-1] <= LOOK_BACK_DAYS * DAY_MS
    order = np.lexsort((version, last))
    found: dict[tuple[int, int], dict[str, int | bool | None]] = {}
    columns = (machine[known][order], first[order] // DAY_MS, version[order], switched[order])
    of_machine, day, number, change = (column.tolist() for column in columns)
    for key_machine, key_day, latest, has_switched in zip(of_machine, day, number, change, strict=True):
        earlier = found.get((key_machine, key_day), {})
        found[key_machine, key_day] = {
            "model_version": latest,
            "model_switched": has_switched or earlier.get("model_switched", False),
        }
    return found


def _sensors(runs: Timeline, fragments: pa.Table, machine: Ints) -> dict[tuple[int, int], str | None]:
    """Return the largest contributors of each machine and day, as JSON."""
    anomalous = np.flatnonzero(runs.state == ANOMALOUS)
    rows = fragments.select(["diagnosed_points", "contribution_sums"]).take(pa.array(runs.row[anomalous]))
    keys = zip(machine[anomalous].tolist(), (runs.first[anomalous] // DAY_MS).tolist(), strict=True)
    sums: dict[tuple[int, int], list[str | None]] = {}
    points: dict[tuple[int, int], int] = {}
    told, diagnosed = rows["contribution_sums"].to_pylist(), rows["diagnosed_points"].to_pylist()
    for key, text, count in zip(keys, told, diagnosed, strict=True):
        sums.setdefault(key, []).append(text)
        points[key] = points.get(key, 0) + count
    return {key: rank_top_sensors(add_contribution_sums(texts), points[key]) for key, texts in sums.items()}


def _minutes_so_far(day: int, now: datetime) -> float:
    begin = datetime.fromordinal(_EPOCH.toordinal() + day).replace(tzinfo=UTC)
    return min((now - begin) / timedelta(minutes=1), 24 * 60)
