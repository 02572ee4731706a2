"""Events and running times, spelled out point by point: what the fast rules are held against."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOTHING = timedelta(0)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
STATE_OF_REASON = {"NO_ANOMALY_DETECTED": "normal", "ANOMALY_DETECTED": "anomalous", "MACHINE_OFF": "off"}


@dataclass
class Point:
    """One point of a scheduler, with the usual step around it."""

    arn: str
    name: str
    execution: datetime
    at: datetime
    state: str
    score: float | None
    version: int | None
    contributions: dict[str, float]
    step: timedelta = NOTHING
    until: datetime = LONG_AGO


def state(row: Row) -> str | None:
    reason = STATE_OF_REASON.get(row["prediction_reason"] or "")
    if reason == "off":
        return "off"
    return {0: "normal", 1: "anomalous"}.get(row["prediction"], reason)


def usual_step(times: Iterable[datetime]) -> tuple[timedelta, int]:
    ordered = sorted(times)
    counted = Counter(after - before for before, after in pairwise(ordered))
    return min(counted.items(), key=lambda item: (-item[1], item[0]), default=(NOTHING, 0))


def points(predictions: Iterable[Row], contributions: Iterable[Row] = ()) -> dict[str, list[Point]]:
    """The points of each scheduler, oldest first."""
    shares: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for row in contributions:
        key = (row["scheduler_arn"], row["data_start_time"], row["timestamp"])
        shares[key][row["diagnostic_name"]] = row["contribution"]
    found: dict[str, dict[datetime, Point]] = defaultdict(dict)
    days: dict[tuple[str, date], set[datetime]] = defaultdict(set)
    for row in sorted(predictions, key=lambda row: row["data_start_time"]):
        arn, start, at = row["scheduler_arn"], row["data_start_time"], row["timestamp"]
        said = state(row)
        if said is None or not start <= at <= start + HOUR:
            continue
        point = Point(
            arn, row["scheduler_name"], start, at, said, row["anomaly_score"], row["model_version"],
            shares.get((arn, start, at), {}),
        )  # fmt: skip
        found[arn][at] = point
        days[arn, start.date()].add(at)
    usual = {key: usual_step(times) for key, times in days.items()}
    return {
        arn: _with_steps(sorted(each.values(), key=lambda one: one.at), usual) for arn, each in found.items()
    }


def _with_steps(ordered: list[Point], usual: Mapping[tuple[str, date], tuple[timedelta, int]]) -> list[Point]:
    for point in ordered:
        own = usual[point.arn, point.execution.date()]
        candidates = [
            usual.get((point.arn, point.execution.date() - number * DAY), (NOTHING, 0)) for number in range(8)
        ]
        point.step = next((step for step, often in candidates if often >= 10), own[0])
    for point, after in zip(ordered, [*ordered[1:], None], strict=True):
        point.until = point.at + point.step
        if after is not None:
            point.until = min(point.until, after.at)
    return ordered


def events(
    of: Mapping[str, list[Point]], gap_steps: float = 2.0, least: timedelta = NOTHING
) -> list[dict[str, Any]]:
    """The events of all schedulers, by scheduler and start."""
    found = []
    for arn in sorted(of):
        open_event: list[Point] = []
        before: Point | None = None
        began_after_gap = False
        for point in of[arn]:
            gap = before is not None and _gap(before, point, gap_steps)
            if open_event and (gap or point.state != "anomalous"):
                found.append(_told(open_event, "cut" if gap else "closed", began_after_gap))
                open_event = []
            if point.state == "anomalous":
                if not open_event:
                    began_after_gap = before is None or gap
                open_event.append(point)
            before = point
        if open_event:
            found.append(_told(open_event, "open", began_after_gap))
    return [one for one in found if one["end_time"] - one["start_time"] >= least]


def _gap(before: Point, point: Point, gap_steps: float) -> bool:
    return (point.at - before.at) > gap_steps * (point.step or HOUR)


def _told(of: list[Point], state: str, began_after_gap: bool) -> dict[str, Any]:
    scores = [point.score for point in of if point.score is not None]
    end = of[-1].until
    diagnosed = [point.contributions for point in of if point.contributions]
    return {
        "scheduler_arn": of[0].arn,
        "scheduler_name": of[0].name,
        "start_time": of[0].at,
        "end_time": end,
        "duration_seconds": (end - of[0].at).total_seconds(),
        "points": len(of),
        "peak_score": max(scores, default=None),
        "mean_score": float(sum(map(Fraction, scores)) / len(scores)) if scores else None,
        "sensors": len({name for one in diagnosed for name in one}),
        "top_sensors": top(diagnosed),
        "model_version": of[0].version,
        "state": state,
        "began_after_gap": began_after_gap,
    }


def top(diagnosed: list[dict[str, float]]) -> list[dict[str, Any]] | None:
    if not diagnosed:
        return None
    total: dict[str, Fraction] = defaultdict(Fraction)
    for one in diagnosed:
        for name, value in one.items():
            total[name] += Fraction(round(value * 10**9))
    ranked = sorted(total, key=lambda name: (-total[name], name))[:10]
    told = []
    for name in ranked:
        component, backslash, sensor = name.partition("\\")
        share = total[name] / len(diagnosed) / 10**9
        told.append(
            {
                "diagnostic_name": name,
                "component": component if backslash else None,
                "sensor": sensor if backslash else name,
                "contribution": round(float(share), 6),
                "times_even_share": round(float(share * len(total)), 2),
            }
        )
    return told


def comparable(row: Row) -> dict[str, Any]:
    """A row of anomaly_events as this module tells it; JSON as what it says."""
    told = {name: value for name, value in row.items() if name not in ("event_id", "recorded_at")}
    return told | {"top_sensors": json.loads(row["top_sensors"]) if row["top_sensors"] else None}
