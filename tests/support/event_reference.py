"""A slow reference for events and running times: plain Python without code of the product."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]
DAY = timedelta(days=1)
NO_TIME = timedelta(0)
MAX_WINDOW = timedelta(hours=1)  # the service has no longer frequency
TRUSTED_STEPS, CARRIED_DAYS, MAX_SENSORS = 10, 7, 10
LONG_AGO = datetime.min.replace(tzinfo=UTC)
STATE_BY_REASON = {"NO_ANOMALY_DETECTED": "normal", "ANOMALY_DETECTED": "anomalous", "MACHINE_OFF": "off"}


@dataclass
class Point:
    """One point of a scheduler, with the usual step of its day."""

    arn: str
    name: str
    execution: datetime
    at: datetime
    state: str
    score: float | None
    version: int | None
    contributions: dict[str, float]
    step: timedelta = NO_TIME
    until: datetime = LONG_AGO


def read_state(row: Row) -> str | None:
    reason = STATE_BY_REASON.get(row["prediction_reason"] or "")
    if reason == "off":
        return "off"
    return {0: "normal", 1: "anomalous"}.get(row["prediction"], reason)


def find_usual_step(times: Iterable[datetime]) -> tuple[timedelta, int]:
    """Return the most frequent step and how often it occurs."""
    counts = Counter(after - before for before, after in pairwise(sorted(times)))
    return min(counts.items(), key=lambda item: (-item[1], item[0]), default=(NO_TIME, 0))


def build_points(predictions: Iterable[Row], contributions: Iterable[Row] = ()) -> dict[str, list[Point]]:
    """Return the points of each scheduler, oldest first."""
    shares: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for row in contributions:
        key = (row["scheduler_arn"], row["data_start_time"], row["timestamp"])
        shares[key][row["diagnostic_name"]] = row["contribution"]
    points: dict[str, dict[datetime, Point]] = defaultdict(dict)
    times: dict[tuple[str, date], set[datetime]] = defaultdict(set)
    for row in sorted(predictions, key=lambda row: row["data_start_time"]):
        arn, start, at = row["scheduler_arn"], row["data_start_time"], row["timestamp"]
        state = read_state(row)
        if state is None or not start <= at <= start + MAX_WINDOW:
            continue
        points[arn][at] = Point(
            arn, row["scheduler_name"], start, at, state, row["anomaly_score"], row["model_version"],
            shares.get((arn, start, at), {}),
        )  # fmt: skip
        times[arn, start.date()].add(at)
    usual_steps = {key: find_usual_step(day_times) for key, day_times in times.items()}
    return {
        arn: _add_steps([by_time[at] for at in sorted(by_time)], usual_steps)
        for arn, by_time in points.items()
    }


def _add_steps(
    points: list[Point], usual_steps: Mapping[tuple[str, date], tuple[timedelta, int]]
) -> list[Point]:
    for point in points:
        day = point.execution.date()
        candidates = [
            usual_steps.get((point.arn, day - days * DAY), (NO_TIME, 0)) for days in range(CARRIED_DAYS + 1)
        ]
        own_step = usual_steps[point.arn, day][0]
        point.step = next((step for step, count in candidates if count >= TRUSTED_STEPS), own_step)
    for point, following in zip(points, [*points[1:], None], strict=True):
        point.until = point.at + point.step
        if following is not None:
            point.until = min(point.until, following.at)
    return points


def build_events(
    points: Mapping[str, Sequence[Point]], gap_steps: float = 2.0, min_duration: timedelta = NO_TIME
) -> list[dict[str, Any]]:
    """Return the events of all schedulers, by scheduler and start."""
    events = []
    for arn in sorted(points):
        open_event: list[Point] = []
        previous: Point | None = None
        began_after_gap = False
        for point in points[arn]:
            gap = previous is not None and _is_gap(previous, point, gap_steps)
            if open_event and (gap or point.state != "anomalous"):
                events.append(_build_event(open_event, "cut" if gap else "closed", began_after_gap))
                open_event = []
            if point.state == "anomalous":
                if not open_event:
                    began_after_gap = previous is None or gap
                open_event.append(point)
            previous = point
        if open_event:
            events.append(_build_event(open_event, "open", began_after_gap))
    return [event for event in events if event["end_time"] - event["start_time"] >= min_duration]


def _is_gap(previous: Point, point: Point, gap_steps: float) -> bool:
    return (point.at - previous.at) > gap_steps * (point.step or MAX_WINDOW)


def _build_event(points: list[Point], state: str, began_after_gap: bool) -> dict[str, Any]:
    scores = [point.score for point in points if point.score is not None]
    end = points[-1].until
    diagnosed = [point.contributions for point in points if point.contributions]
    return {
        "scheduler_arn": points[0].arn,
        "scheduler_name": points[0].name,
        "start_time": points[0].at,
        "end_time": end,
        "duration_seconds": (end - points[0].at).total_seconds(),
        "points": len(points),
        "peak_score": max(scores, default=None),
        "mean_score": float(sum(map(Fraction, scores)) / len(scores)) if scores else None,
        "sensors": len({name for contributions in diagnosed for name in contributions}),
        "top_sensors": rank_sensors(diagnosed),
        "model_version": points[0].version,
        "state": state,
        "began_after_gap": began_after_gap,
    }


def rank_sensors(diagnosed: list[dict[str, float]]) -> list[dict[str, Any]] | None:
    """Return the sensors that contributed most; `diagnosed` has the contributions of each point."""
    if not diagnosed:
        return None
    total: dict[str, Fraction] = defaultdict(Fraction)
    for contributions in diagnosed:
        for name, value in contributions.items():
            total[name] += Fraction(round(value * 10**9))
    sensors = []
    for name in sorted(total, key=lambda name: (-total[name], name))[:MAX_SENSORS]:
        component, backslash, sensor = name.partition("\\")
        share = total[name] / len(diagnosed) / 10**9
        sensors.append(
            {
                "diagnostic_name": name,
                "component": component if backslash else None,
                "sensor": sensor if backslash else name,
                "contribution": round(float(share), 6),
                "times_even_share": round(float(share * len(total)), 2),
            }
        )
    return sensors


def normalize_event(row: Row) -> dict[str, Any]:
    """Convert a row of `anomaly_events` to the form of `build_events`, with decoded JSON."""
    event = {name: value for name, value in row.items() if name not in ("event_id", "recorded_at")}
    return event | {"top_sensors": json.loads(row["top_sensors"]) if row["top_sensors"] else None}
