"""The ground truth of a machine: planted anomalies and periods in which it is off.

Time is split into quarters of a day that begin at 21:00 UTC, so one of them crosses midnight. Each quarter
has at most one anomaly or off period, which ends before the quarter does. So they never touch.
"""

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox import chance
from sandbox.plants import Plant
from sandbox.schedulers import Scheduler

ANOMALIES_PER_QUARTER = 0.22
OFF_PER_QUARTER = 0.10
SHORT_ANOMALIES = 0.25  # the share that is too short for an inference event
SHORT_MINUTES = (1, 5)
LONG_MINUTES = (7, 180)
OFF_MINUTES = (30, 240)
TOP_SENSORS = (2, 4)

_QUARTER = timedelta(hours=6)
_FIRST = datetime(1970, 1, 1, 21, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A period of anomalous data.

    Attributes:
        start: The first minute.
        end: The last minute.
        sensors: The names of the sensors that contribute most, in descending order.
        intensity: The strength, from 0 to 1.
    """

    start: datetime
    end: datetime
    sensors: tuple[str, ...]
    intensity: float

    def contains(self, at: datetime) -> bool:
        """Whether a time is in the anomaly."""
        return self.start <= at <= self.end


@dataclass(frozen=True, slots=True)
class OffPeriod:
    """A period in which the machine is off, including both minutes."""

    start: datetime
    end: datetime

    def contains(self, at: datetime) -> bool:
        """Whether a time is in the period."""
        return self.start <= at <= self.end


@dataclass(frozen=True)
class GroundTruth:
    """The anomalies and off periods in a range of time, oldest first."""

    anomalies: tuple[Anomaly, ...]
    off: tuple[OffPeriod, ...]


def get_ground_truth(scheduler: Scheduler, start: datetime, end: datetime) -> GroundTruth:
    """Return what overlaps `start` to `end`, both included.

    It does not depend on executions: without data or with a stopped scheduler, no result line shows it.
    """
    number = (start - _FIRST) // _QUARTER
    states = []
    while (began := _FIRST + number * _QUARTER) <= end:
        states.append(_draw_state(scheduler.seed, scheduler.arn, scheduler.plant, began))
        number += 1
    within = [state for state in states if state is not None and state.start <= end and start <= state.end]
    return GroundTruth(
        tuple(state for state in within if isinstance(state, Anomaly)),
        tuple(state for state in within if isinstance(state, OffPeriod)),
    )


def find_state(scheduler: Scheduler, at: datetime) -> Anomaly | OffPeriod | None:
    """Return the anomaly or off period at a time, or None."""
    began = _FIRST + (at - _FIRST) // _QUARTER * _QUARTER
    state = _draw_state(scheduler.seed, scheduler.arn, scheduler.plant, began)
    return state if state is not None and state.contains(at) else None


@functools.lru_cache(maxsize=256)
def list_sensors(plant: Plant) -> tuple[str, ...]:
    """Return the sensor names with their component, in the order of the schema."""
    return tuple(sorted(f"{plant.component}\\Sensor{number}" for number in range(plant.sensors)))


@functools.lru_cache(maxsize=65_536)
def _draw_state(seed: int, arn: str, plant: Plant, began: datetime) -> Anomaly | OffPeriod | None:
    fraction, kind, place, length, intensity, breadth = chance.draw_fractions(
        seed, arn, "quarter", int(began.timestamp()), count=6
    )
    if fraction < OFF_PER_QUARTER:
        return OffPeriod(*_place_period(began, place, _scale(OFF_MINUTES, length)))
    if fraction < OFF_PER_QUARTER + ANOMALIES_PER_QUARTER:
        minutes = SHORT_MINUTES if kind < SHORT_ANOMALIES else LONG_MINUTES
        top = _draw_top_sensors(seed, arn, plant, began, _scale(TOP_SENSORS, breadth))
        return Anomaly(*_place_period(began, place, _scale(minutes, length)), top, intensity)
    return None


def _draw_top_sensors(seed: int, arn: str, plant: Plant, began: datetime, count: int) -> tuple[str, ...]:
    names = list_sensors(plant)
    ranks = chance.draw_numbers(seed, arn, "top", int(began.timestamp()), count=len(names))
    return tuple(name for _, name in sorted(zip(ranks, names, strict=True))[:count])


def _place_period(began: datetime, place: float, minutes: int) -> tuple[datetime, datetime]:
    """Return a period of some minutes in a quarter, at least one minute from its ends."""
    latest = int(_QUARTER / _MINUTE) - minutes - 1
    start = began + _MINUTE * (1 + int(place * (latest - 1)))
    return start, start + _MINUTE * (minutes - 1)


def _scale(bounds: tuple[int, int], fraction: float) -> int:
    return bounds[0] + int(fraction * (bounds[1] + 1 - bounds[0]))
