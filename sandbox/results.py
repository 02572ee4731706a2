"""The result object of an execution: one line per row, in the format of the scheduler at that time.

An object is a function of the seed, the scheduler and the slot. Normal scores are below 0.5, anomalous scores
above it. The sensors of an anomaly have the largest contributions.
"""

import functools
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sandbox import chance
from sandbox.planted_anomalies import (
    Anomaly,
    OffPeriod,
    find_state,
    list_sensors,
)
from sandbox.plants import Plant
from sandbox.result_formats import Diagnostics, ResultFormat
from sandbox.schedulers import Scheduler, Slot

MISSING_ROWS = 0.02  # the share of windows with one missing row
TOP_SHARES = (0.36, 0.2, 0.12, 0.08)  # the contributions of the sensors of an anomaly

_WORDS = 65_536
_WORD = 1 / _WORDS
_DIGITS = 5

Line = dict[str, Any]
"""A result line with members in the order of the service."""


def build_lines(scheduler: Scheduler, slot: Slot) -> list[Line]:
    """Return the lines of one window. A failed execution has no result object."""
    result_format = scheduler.get_result_format(slot.window.start)
    return [_build_line(scheduler, result_format, at) for at in list_row_times(scheduler, slot)]


@functools.lru_cache(maxsize=512)
def build_content(scheduler: Scheduler, slot: Slot) -> bytes:
    """Return the bytes of `results.jsonl`. They equal `json.dumps` of each line, in half the time."""
    result_format = scheduler.get_result_format(slot.window.start)
    return "".join(
        _format_line(scheduler, result_format, at) for at in list_row_times(scheduler, slot)
    ).encode()


def list_row_times(scheduler: Scheduler, slot: Slot) -> list[datetime]:
    """Return the row times of a window: in (start, end], or in [start, end) in the first formats."""
    window, plant = slot.window, scheduler.plant
    step = plant.sampling
    first = window.start if scheduler.get_result_format(window.start).has_start else window.start + step
    grid = [first + number * step for number in range((window.end - window.start) // step)]
    arrived = [at for at in grid if not plant.is_in_outage(at)] or grid[-1:]
    fraction, which = chance.draw_fractions(
        scheduler.seed, scheduler.arn, "missing row", int(window.start.timestamp()), count=2
    )
    if fraction < MISSING_ROWS and len(arrived) > 1:
        del arrived[int(which * len(arrived))]
    return arrived


def get_contributions(scheduler: Scheduler, at: datetime) -> Mapping[str, float]:
    """Return the contribution of each sensor to a row. The sum is 1, except for rounding."""
    return dict(zip(list_sensors(scheduler.plant), _compute_contributions(scheduler, at), strict=True))


def _compute_contributions(scheduler: Scheduler, at: datetime) -> list[float]:
    """Return the contributions in the order of the sensors."""
    names, places = list_sensors(scheduler.plant), _index_sensors(scheduler.plant)
    noise = chance.draw_numbers(scheduler.seed, scheduler.arn, "row", int(at.timestamp()), count=len(names))
    weights = [word * word * word for word in map(_WORD.__mul__, noise)]
    state = find_state(scheduler, at)
    top = state.sensors if isinstance(state, Anomaly) else ()
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


def _build_line(scheduler: Scheduler, result_format: ResultFormat, at: datetime) -> Line:
    line, has_diagnostics = _build_base_line(scheduler, result_format, at)
    if has_diagnostics:
        line["diagnostics"] = [
            {"name": name, "value": value} for name, value in get_contributions(scheduler, at).items()
        ]
    return line


def _format_line(scheduler: Scheduler, result_format: ResultFormat, at: datetime) -> str:
    line, has_diagnostics = _build_base_line(scheduler, result_format, at)
    text = json.dumps(line)
    if not has_diagnostics:
        return text + "\n"
    prefixes, values = _build_sensor_prefixes(scheduler.plant), _compute_contributions(scheduler, at)
    diagnostics = [f"{prefix}{value}" for prefix, value in zip(prefixes, values, strict=True)]
    return f'{text[:-1]}, "diagnostics": [{"}, ".join(diagnostics)}}}]}}\n'


@functools.lru_cache(maxsize=256)
def _build_sensor_prefixes(plant: Plant) -> list[str]:
    """Return the JSON text of each sensor before its value."""
    return [f'{{"name": {json.dumps(name)}, "value": ' for name in list_sensors(plant)]


@functools.lru_cache(maxsize=256)
def _index_sensors(plant: Plant) -> Mapping[str, int]:
    return {name: place for place, name in enumerate(list_sensors(plant))}


def _build_base_line(scheduler: Scheduler, result_format: ResultFormat, at: datetime) -> tuple[Line, bool]:
    """Return a line without contributions, and whether it has contributions."""
    state = find_state(scheduler, at)
    anomaly = state if isinstance(state, Anomaly) else None
    line: Line = {
        "timestamp": at.replace(tzinfo=None).isoformat(timespec="microseconds"),
        "prediction": int(anomaly is not None),
    }
    if result_format.has_reason and isinstance(state, OffPeriod):
        return line | {"prediction_reason": "MACHINE_OFF"}, False
    if result_format.has_reason:
        line["prediction_reason"] = "NO_ANOMALY_DETECTED" if anomaly is None else "ANOMALY_DETECTED"
    if result_format.has_score:
        line["anomaly_score"] = _compute_score(scheduler, at, anomaly)
    if result_format.diagnostics is Diagnostics.ALWAYS or (
        anomaly and result_format.diagnostics is not Diagnostics.NEVER
    ):
        return line, True
    if result_format.diagnostics is Diagnostics.EMPTY_WHEN_NORMAL:
        line["diagnostics"] = []
    return line, False


def _compute_score(scheduler: Scheduler, at: datetime, anomaly: Anomaly | None) -> float:
    """Return at most 0.48 for a normal row, and at least 0.52, with a peak in the middle, for an anomaly."""
    (noise,) = chance.draw_fractions(scheduler.seed, scheduler.arn, "score", int(at.timestamp()), count=1)
    if anomaly is None:
        return round(0.02 + 0.46 * noise**3, _DIGITS)
    half = max((anomaly.end - anomaly.start) / 2, timedelta(minutes=1))
    nearness = 1 - abs(at - anomaly.start - half) / half / 2
    return round(0.52 + 0.45 * anomaly.intensity * min(nearness, 1) + 0.02 * noise, _DIGITS)
