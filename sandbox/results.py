"""The result object of an execution: a line for each row, as the service wrote it at the scheduler's age.

An object is a function of the seed, the scheduler and the slot. Normal scores stay below 0.5 and anomalous
ones above it; contributions of an anomaly lie with its sensors, the clearest first.
"""

import functools
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sandbox import chance
from sandbox.planted_anomalies import Anomaly, Off, Truth, happening, sensors, truth
from sandbox.plants import Plant
from sandbox.result_formats import Age, Diagnostics
from sandbox.schedulers import Scheduler, Slot

__all__ = ["Truth", "content", "contributions", "lines", "rows", "truth"]

MISSING_ROWS = 0.02  # of all windows: one row of them never arrived
TOP_SHARES = (0.36, 0.2, 0.12, 0.08)  # of the contributions, for the sensors that show an anomaly

_WORDS = 65_536
_WORD = 1 / _WORDS
_DIGITS = 5

Line = dict[str, Any]
"""A result line, its members in the order of the service."""


def lines(scheduler: Scheduler, slot: Slot) -> list[Line]:
    """The lines of one window, as its execution wrote them; those of a failed one are nobody's."""
    age = scheduler.age(slot.window.start)
    return [_line(scheduler, age, at) for at in rows(scheduler, slot)]


@functools.lru_cache(maxsize=512)
def content(scheduler: Scheduler, slot: Slot) -> bytes:
    """The bytes of `results.jsonl`: what `json.dumps` makes of each line, in half the time."""
    age = scheduler.age(slot.window.start)
    return "".join(_written(scheduler, age, at) for at in rows(scheduler, slot)).encode()


def rows(scheduler: Scheduler, slot: Slot) -> list[datetime]:
    """The times of a window's rows: those in (start, end], and at first those in [start, end)."""
    window, plant = slot.window, scheduler.plant
    step = plant.sampling
    first = window.start if scheduler.age(window.start).has_start else window.start + step
    grid = [first + number * step for number in range((window.end - window.start) // step)]
    arrived = [at for at in grid if not plant.is_out(at)] or grid[-1:]
    luck, which = chance.fractions(
        scheduler.seed, scheduler.arn, "missing row", int(window.start.timestamp()), count=2
    )
    if luck < MISSING_ROWS and len(arrived) > 1:
        del arrived[int(which * len(arrived))]
    return arrived


def contributions(scheduler: Scheduler, at: datetime) -> Mapping[str, float]:
    """How much each sensor contributed to the row of this time; the sum is 1, but for rounding."""
    return dict(zip(sensors(scheduler.plant), _shares(scheduler, at), strict=True))


def _shares(scheduler: Scheduler, at: datetime) -> list[float]:
    """The contributions of a row, in the order of the sensors."""
    names, places = sensors(scheduler.plant), _places(scheduler.plant)
    noise = chance.numbers(scheduler.seed, scheduler.arn, "row", int(at.timestamp()), count=len(names))
    weights = [word * word * word for word in map(_WORD.__mul__, noise)]
    thing = happening(scheduler, at)
    top = thing.sensors if isinstance(thing, Anomaly) else ()
    shares = {
        places[name]: share * (0.9 + 0.2 * noise[rank] / _WORDS)
        for rank, (name, share) in enumerate(zip(top, TOP_SHARES, strict=False))
    }
    for place in shares:
        weights[place] = 0.0
    rest = (1 - sum(shares.values())) / sum(weights)
    values = [round(weight * rest, _DIGITS) for weight in weights]
    for place, share in shares.items():
        values[place] = round(share, _DIGITS)
    return values


def _line(scheduler: Scheduler, age: Age, at: datetime) -> Line:
    line, has_diagnostics = _head(scheduler, age, at)
    if has_diagnostics:
        line["diagnostics"] = [
            {"name": name, "value": value} for name, value in contributions(scheduler, at).items()
        ]
    return line


def _written(scheduler: Scheduler, age: Age, at: datetime) -> str:
    line, has_diagnostics = _head(scheduler, age, at)
    written = json.dumps(line)
    if not has_diagnostics:
        return written + "\n"
    beginnings, values = _beginnings(scheduler.plant), _shares(scheduler, at)
    told = [f"{beginning}{value}" for beginning, value in zip(beginnings, values, strict=True)]
    return f'{written[:-1]}, "diagnostics": [{"}, ".join(told)}}}]}}\n'


@functools.lru_cache(maxsize=256)
def _beginnings(plant: Plant) -> list[str]:
    """What is written of each sensor before its value."""
    return [f'{{"name": {json.dumps(name)}, "value": ' for name in sensors(plant)]


@functools.lru_cache(maxsize=256)
def _places(plant: Plant) -> Mapping[str, int]:
    return {name: place for place, name in enumerate(sensors(plant))}


def _head(scheduler: Scheduler, age: Age, at: datetime) -> tuple[Line, bool]:
    """A line, and whether it has the contributions of the sensors beside that."""
    thing = happening(scheduler, at)
    anomaly = thing if isinstance(thing, Anomaly) else None
    line: Line = {
        "timestamp": at.replace(tzinfo=None).isoformat(timespec="microseconds"),
        "prediction": int(anomaly is not None),
    }
    if age.has_reason and isinstance(thing, Off):
        return line | {"prediction_reason": "MACHINE_OFF"}, False
    if age.has_reason:
        line["prediction_reason"] = "NO_ANOMALY_DETECTED" if anomaly is None else "ANOMALY_DETECTED"
    if age.has_score:
        line["anomaly_score"] = _score(scheduler, at, anomaly)
    if age.diagnostics is Diagnostics.ALWAYS or (anomaly and age.diagnostics is not Diagnostics.NEVER):
        return line, True
    if age.diagnostics is Diagnostics.EMPTY_WHEN_NORMAL:
        line["diagnostics"] = []
    return line, False


def _score(scheduler: Scheduler, at: datetime, anomaly: Anomaly | None) -> float:
    """Up to 0.48 when normal; an anomaly rises from 0.52 to its full height in the middle of it."""
    (noise,) = chance.fractions(scheduler.seed, scheduler.arn, "score", int(at.timestamp()), count=1)
    if anomaly is None:
        return round(0.02 + 0.46 * noise**3, _DIGITS)
    half = max((anomaly.end - anomaly.start) / 2, timedelta(minutes=1))
    nearness = 1 - abs(at - anomaly.start - half) / half / 2
    return round(0.52 + 0.45 * anomaly.intensity * min(nearness, 1) + 0.02 * noise, _DIGITS)
