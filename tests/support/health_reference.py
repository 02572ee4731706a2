"""The health of equipment, spelled out minute by minute: what the fast rule is held against."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from assets.anomalies.events import EventRule
from assets.tables import PARTITION
from resources.config.equipment import EquipmentRegistry
from tests.support.event_reference import Point, Row, events, points, top

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
FOUR_WEEKS = 28 * DAY


def health(
    predictions: Sequence[Row],
    contributions: Sequence[Row],
    registry: EquipmentRegistry,
    days: Sequence[date],
    rule: EventRule,
) -> Iterator[dict[str, Any]]:
    """The rows of some days, out of the whole history at once; `top_sensors` as what it says."""
    found = points(predictions, contributions)
    all_events = events(found, rule.gap_steps, rule.min_duration)
    for event in all_events:
        event["end_shown"] = _end_shown(event, found[event["scheduler_arn"]], rule)
    machine_of = {arn: registry.find_equipment(arn, each[0].name).name for arn, each in found.items()}
    minutes = _seen(found, machine_of)
    for day in days:
        for machine in sorted(minutes):
            arns = sorted(arn for arn in found if machine_of[arn] == machine)
            of_day = {arn: [point for point in found[arn] if point.at.date() == day] for arn in arns}
            ran = [arn for arn in arns if of_day[arn]]
            if not ran:
                continue
            diagnosed = [
                point.contributions
                for arn in arns
                for point in of_day[arn]
                if point.state == "anomalous" and point.contributions
            ]
            its = [event for event in all_events if machine_of[event["scheduler_arn"]] == machine]
            yield _of_day(machine, day, minutes[machine], its) | {
                "scheduler_arns": ",".join(ran),
                "top_sensors": top(diagnosed),
                **_versions(day, [found[arn] for arn in arns]),
                PARTITION: day,
            }


def _end_shown(event: Row, of: Sequence[Point], rule: EventRule) -> datetime:
    """The end of an event as far as the day after its beginning shows it."""
    limit = datetime.combine(event["start_time"].date() + 2 * DAY, time(), UTC)
    if event["end_time"] <= limit:
        return event["end_time"]
    shown = events({"": [point for point in of if point.at < limit]}, rule.gap_steps)
    return next(one["end_time"] for one in shown if one["start_time"] == event["start_time"])


class Minutes:
    """Of one machine: how many minutes of each kind a day had, and in which hours something was wrong."""

    def __init__(self, said: Mapping[datetime, set[str]]) -> None:
        self._of_day: dict[date, Counter[str]] = defaultdict(Counter)
        self._hours: dict[date, set[int]] = defaultdict(set)
        for at, states in said.items():
            self._of_day[at.date()][_kind(states)] += 1
            if "anomalous" in states:
                self._hours[at.date()].add(at.hour)

    def of(self, day: date, kind: str) -> int:
        return self._of_day[day][kind]

    def ran(self, day: date) -> int:
        return self.of(day, "anomalous") + self.of(day, "normal")

    def hours(self, day: date) -> int:
        return len(self._hours[day])


def _seen(of: Mapping[str, list[Point]], machine_of: Mapping[str, str]) -> dict[str, Minutes]:
    """What each machine was said to be in each minute, counted."""
    said: dict[str, dict[datetime, set[str]]] = defaultdict(lambda: defaultdict(set))
    for arn, its_points in of.items():
        machine = said[machine_of[arn]]
        for point in its_points:
            at = point.at
            while at < point.until:
                machine[at].add(point.state)
                at += MINUTE
    return {machine: Minutes(states) for machine, states in said.items()}


def _kind(said: set[str]) -> str:
    if "anomalous" in said:
        return "anomalous"
    return "normal" if "normal" in said else "off"


def _of_day(
    machine: str, day: date, minutes: Minutes, its_events: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One row, without sensors, versions and names."""
    began: dict[date, list[float]] = defaultdict(list)
    for event in its_events:
        of = event["start_time"].date()
        shown = datetime(of.year, of.month, of.day, tzinfo=UTC) + 2 * DAY
        began[of].append((min(event["end_shown"], shown) - event["start_time"]) / MINUTE)
    ran, anomalous, off = minutes.ran(day), minutes.of(day, "anomalous"), minutes.of(day, "off")
    before = [day - number * DAY for number in range(1, 29)]
    ran_before = sum(map(minutes.ran, before))
    known_days = sum(minutes.ran(one) > 0 for one in before)
    week_hours = sum(minutes.hours(day - number * DAY) for number in range(7))
    return {
        "equipment": machine,
        "running_minutes": ran,
        "off_minutes": off,
        "unknown_minutes": 1440 - ran - off,
        "anomalous_minutes": anomalous,
        "anomalous_share": anomalous / ran if ran else None,
        "events": len(began[day]),
        "mean_event_minutes": sum(began[day]) / len(began[day]) if began[day] else None,
        "anomalous_hours_7d": week_hours,
        "anomalous_hours_7d_share": week_hours / 168,
        "events_per_day_28d": sum(len(began[one]) for one in before) / known_days if known_days else None,
        "anomalous_share_28d": (
            sum(minutes.of(one, "anomalous") for one in before) / ran_before if ran_before else None
        ),
    }


def _versions(day: date, of: Sequence[Sequence[Point]]) -> dict[str, Any]:
    switched, told = False, []
    for its_points in of:
        known = [point for point in its_points if point.version is not None]
        for before, point in zip([None, *known], known, strict=False):
            if point.at.date() != day:
                continue
            if before is not None and point.at - before.at <= FOUR_WEEKS:
                switched |= before.version != point.version
            told.append((point.at, point.version))
    return {"model_version": max(told)[1] if told else None, "model_switched": switched}
