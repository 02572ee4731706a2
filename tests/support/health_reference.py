"""A slow reference for the health of equipment: plain Python, minute by minute."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from assets.anomalies.events import EventRule
from assets.health.equipment_health import LOOK_BACK_DAYS
from assets.tables import PARTITION
from resources.config.equipment import EquipmentRegistry
from tests.support.event_reference import Point, Row, build_events, build_points, rank_sensors

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def build_health_rows(
    predictions: Sequence[Row],
    contributions: Sequence[Row],
    registry: EquipmentRegistry,
    days: Sequence[date],
    rule: EventRule,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of some days, computed from the whole history at once; `top_sensors` is decoded."""
    points = build_points(predictions, contributions)
    events = build_events(points, rule.gap_steps, rule.min_duration)
    for event in events:
        event["end_by_next_day"] = _find_end_by_next_day(event, points[event["scheduler_arn"]], rule)
    machines = {arn: registry.find_equipment(arn, by_arn[0].name).name for arn, by_arn in points.items()}
    minutes = _count_minutes(points, machines)
    for day in days:
        for machine in sorted(minutes):
            arns = sorted(arn for arn in points if machines[arn] == machine)
            day_points = {arn: [point for point in points[arn] if point.at.date() == day] for arn in arns}
            seen_arns = [arn for arn in arns if day_points[arn]]
            if not seen_arns:
                continue
            diagnosed = [
                point.contributions
                for arn in arns
                for point in day_points[arn]
                if point.state == "anomalous" and point.contributions
            ]
            machine_events = [event for event in events if machines[event["scheduler_arn"]] == machine]
            yield _build_measures(machine, day, minutes[machine], machine_events) | {
                "scheduler_arns": ",".join(seen_arns),
                "top_sensors": rank_sensors(diagnosed),
                **_find_versions(day, [points[arn] for arn in arns]),
                PARTITION: day,
            }


def _find_end_by_next_day(event: Row, points: Sequence[Point], rule: EventRule) -> datetime:
    """Return the end of an event, computed without points after the day that follows its start."""
    limit = datetime.combine(event["start_time"].date() + 2 * DAY, time(), UTC)
    if event["end_time"] <= limit:
        end: datetime = event["end_time"]
        return end
    events = build_events({"": [point for point in points if point.at < limit]}, rule.gap_steps)
    return next(known["end_time"] for known in events if known["start_time"] == event["start_time"])


class MachineMinutes:
    """The minutes of each kind and the anomalous hours of a machine, by day."""

    def __init__(self, states: Mapping[datetime, set[str]]) -> None:
        """Count minutes; `states` has what the schedulers report in each minute."""
        self._counts: dict[date, Counter[str]] = defaultdict(Counter)
        self._hours: dict[date, set[int]] = defaultdict(set)
        for at, reported in states.items():
            self._counts[at.date()][_combine_states(reported)] += 1
            if "anomalous" in reported:
                self._hours[at.date()].add(at.hour)

    def count(self, day: date, kind: str) -> int:
        return self._counts[day][kind]

    def count_running(self, day: date) -> int:
        return self.count(day, "anomalous") + self.count(day, "normal")

    def count_anomalous_hours(self, day: date) -> int:
        return len(self._hours[day])


def _count_minutes(
    points: Mapping[str, list[Point]], machines: Mapping[str, str]
) -> dict[str, MachineMinutes]:
    """Return the minutes of each machine; `machines` maps ARNs to machine names."""
    states: dict[str, dict[datetime, set[str]]] = defaultdict(lambda: defaultdict(set))
    for arn, scheduler_points in points.items():
        machine_states = states[machines[arn]]
        for point in scheduler_points:
            at = point.at
            while at < point.until:
                machine_states[at].add(point.state)
                at += MINUTE
    return {machine: MachineMinutes(machine_states) for machine, machine_states in states.items()}


def _combine_states(states: set[str]) -> str:
    if "anomalous" in states:
        return "anomalous"
    return "normal" if "normal" in states else "off"


def _build_measures(
    machine: str, day: date, minutes: MachineMinutes, events: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Build a row without sensors, versions and scheduler ARNs."""
    durations: dict[date, list[float]] = defaultdict(list)
    for event in events:
        start_day = event["start_time"].date()
        limit = datetime.combine(start_day + 2 * DAY, time(), UTC)
        end = min(event["end_by_next_day"], limit)
        durations[start_day].append((end - event["start_time"]) / MINUTE)
    running, anomalous = minutes.count_running(day), minutes.count(day, "anomalous")
    off = minutes.count(day, "off")
    before = [day - days * DAY for days in range(1, LOOK_BACK_DAYS + 1)]
    running_before = sum(map(minutes.count_running, before))
    anomalous_before = sum(minutes.count(earlier, "anomalous") for earlier in before)
    days_before = sum(minutes.count_running(earlier) > 0 for earlier in before)
    events_before = sum(len(durations[earlier]) for earlier in before)
    week_hours = sum(minutes.count_anomalous_hours(day - days * DAY) for days in range(7))
    return {
        "equipment": machine,
        "running_minutes": running,
        "off_minutes": off,
        "unknown_minutes": 1440 - running - off,
        "anomalous_minutes": anomalous,
        "anomalous_share": anomalous / running if running else None,
        "events": len(durations[day]),
        "mean_event_minutes": sum(durations[day]) / len(durations[day]) if durations[day] else None,
        "anomalous_hours_7d": week_hours,
        "anomalous_hours_7d_share": week_hours / 168,
        "events_per_day_28d": events_before / days_before if days_before else None,
        "anomalous_share_28d": anomalous_before / running_before if running_before else None,
    }


def _find_versions(day: date, points: Sequence[Sequence[Point]]) -> dict[str, Any]:
    """Return the latest model version of a machine's schedulers, and whether one of them switched."""
    switched, versions = False, []
    for scheduler_points in points:
        known = [point for point in scheduler_points if point.version is not None]
        for previous, point in zip([None, *known], known, strict=False):
            if point.at.date() != day:
                continue
            if previous is not None and point.at - previous.at <= LOOK_BACK_DAYS * DAY:
                switched |= previous.version != point.version
            versions.append((point.at, point.version))
    return {"model_version": max(versions)[1] if versions else None, "model_switched": switched}
