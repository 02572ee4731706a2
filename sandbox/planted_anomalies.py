"""What really happens to a machine: planted anomalies, and stretches in which it is off.

Time is cut into quarters of a day that begin at 21:00 UTC, so that one of them lies across midnight. In a
quarter one thing happens at most, and it ends before the quarter does: things never touch.
"""

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox import chance
from sandbox.plants import Plant
from sandbox.schedulers import Scheduler

ANOMALIES_PER_QUARTER = 0.22
OFF_PER_QUARTER = 0.10
SHORT_ANOMALIES = 0.25  # of all: too short for the service to make events of them
SHORT_MINUTES = (1, 5)
LONG_MINUTES = (7, 180)
OFF_MINUTES = (30, 240)
TOP_SENSORS = (2, 4)

_QUARTER = timedelta(hours=6)
_FIRST = datetime(1970, 1, 1, 21, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A stretch in which something is wrong.

    Attributes:
        start: The first minute of it.
        end: The last minute of it.
        sensors: The names of the few sensors that show it, the clearest first.
        intensity: How bad it is, from 0 to 1.
    """

    start: datetime
    end: datetime
    sensors: tuple[str, ...]
    intensity: float

    def holds(self, at: datetime) -> bool:
        """Whether a row of this time is anomalous."""
        return self.start <= at <= self.end


@dataclass(frozen=True, slots=True)
class Off:
    """A stretch in which the machine is off, both minutes included."""

    start: datetime
    end: datetime

    def holds(self, at: datetime) -> bool:
        """Whether the machine is off at this time."""
        return self.start <= at <= self.end


@dataclass(frozen=True)
class Truth:
    """All that happens in a stretch of time, oldest first."""

    anomalies: tuple[Anomaly, ...]
    off: tuple[Off, ...]


def truth(scheduler: Scheduler, start: datetime, end: datetime) -> Truth:
    """What happens to the scheduler's machine between `start` and `end`, both included, as a whole.

    It happens whether or not the scheduler sees it: while it is stopped, and when data does not arrive, no
    result line tells of it.
    """
    number = (start - _FIRST) // _QUARTER
    found = []
    while (began := _FIRST + number * _QUARTER) <= end:
        found.append(_thing(scheduler.seed, scheduler.arn, scheduler.plant, began))
        number += 1
    within = [one for one in found if one is not None and one.start <= end and start <= one.end]
    return Truth(
        tuple(one for one in within if isinstance(one, Anomaly)),
        tuple(one for one in within if isinstance(one, Off)),
    )


def happening(scheduler: Scheduler, at: datetime) -> Anomaly | Off | None:
    """What happens at one moment."""
    began = _FIRST + (at - _FIRST) // _QUARTER * _QUARTER
    thing = _thing(scheduler.seed, scheduler.arn, scheduler.plant, began)
    return thing if thing is not None and thing.holds(at) else None


@functools.lru_cache(maxsize=256)
def sensors(plant: Plant) -> tuple[str, ...]:
    """The names of a machine's sensors, component and all, in the order of its schema."""
    return tuple(sorted(f"{plant.component}\\Sensor{number}" for number in range(plant.sensors)))


@functools.lru_cache(maxsize=65_536)
def _thing(seed: int, arn: str, plant: Plant, began: datetime) -> Anomaly | Off | None:
    luck, kind, place, length, intensity, breadth = chance.fractions(
        seed, arn, "quarter", int(began.timestamp()), count=6
    )
    if luck < OFF_PER_QUARTER:
        return Off(*_stretch(began, place, _between(OFF_MINUTES, length)))
    if luck < OFF_PER_QUARTER + ANOMALIES_PER_QUARTER:
        minutes = SHORT_MINUTES if kind < SHORT_ANOMALIES else LONG_MINUTES
        top = _top(seed, arn, plant, began, _between(TOP_SENSORS, breadth))
        return Anomaly(*_stretch(began, place, _between(minutes, length)), top, intensity)
    return None


def _top(seed: int, arn: str, plant: Plant, began: datetime, count: int) -> tuple[str, ...]:
    names = sensors(plant)
    ranks = chance.numbers(seed, arn, "top", int(began.timestamp()), count=len(names))
    return tuple(name for _, name in sorted(zip(ranks, names, strict=True))[:count])


def _stretch(began: datetime, place: float, minutes: int) -> tuple[datetime, datetime]:
    """So many minutes somewhere within a quarter, with a minute at least between them and its ends."""
    latest = int(_QUARTER / _MINUTE) - minutes - 1
    start = began + _MINUTE * (1 + int(place * (latest - 1)))
    return start, start + _MINUTE * (minutes - 1)


def _between(bounds: tuple[int, int], luck: float) -> int:
    return bounds[0] + int(luck * (bounds[1] + 1 - bounds[0]))
