"""How cost grows: the same work with twice the schedulers, days or sensors."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from benchmarks import executions, results, stub
from benchmarks.cases import OURS, Case, Contender, Costs, Environment, Target
from benchmarks.measure import start_process

Counts = Mapping[str, Any]
SCHEDULERS, DAYS = 10, 35
_S3, _SENSORS = "AWS_ENDPOINT_URL_S3", (stub.SENSORS, 2 * stub.SENSORS)
FLEETS = {
    "once": (SCHEDULERS, DAYS),
    "schedulers": (2 * SCHEDULERS, DAYS),
    "days": (SCHEDULERS, 2 * DAYS),
}


def prepare_fleet() -> Callable[[], Counts]:
    """Return the extraction of the fleet."""
    return _extract("once")


def prepare_more_schedulers() -> Callable[[], Counts]:
    """Return the extraction of twice the schedulers."""
    return _extract("schedulers")


def prepare_more_days() -> Callable[[], Counts]:
    """Return the extraction of twice the days."""
    return _extract("days")


def prepare_sensors() -> Callable[[], Counts]:
    """Return the first read of a day of results."""
    return _read_results(0)


def prepare_more_sensors() -> Callable[[], Counts]:
    """Return the first read of a day of results with twice the sensors."""
    return _read_results(1)


def _extract(fleet: str) -> Callable[[], Counts]:
    return executions.hide_results(executions.prepare_fleet(fleet))


def _read_results(number: int) -> Callable[[], Counts]:
    os.environ[_S3] = os.environ[f"{_S3}_{number}"]
    return executions.hide_results(results.prepare_first_read())


@contextmanager
def serve_results() -> Iterator[Environment]:
    """Start an S3 for each number of sensors."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        environment = {**executions.CREDENTIALS, **results.describe_lake(SCHEDULERS, folder)}
        for number, sensors in enumerate(_SENSORS):
            size = ["--schedulers", str(SCHEDULERS), "--sensors", str(sensors)]
            command = [sys.executable, "-m", "benchmarks.stub", *size]
            environment[f"{_S3}_{number}"] = stack.enter_context(start_process(command))
        yield environment


def _limit_growth(contender: str) -> Target:
    """Limit the CPU time of twice the work to twice that of the work."""

    def compute(costs: Costs) -> float | None:
        if not {contender, OURS} <= set(costs):
            return None
        return costs[contender].cpu_seconds / costs[OURS].cpu_seconds

    return Target(f"CPU, {contender} / once", compute, 2)


def _build_contender(name: str, prepare: str) -> Contender:
    return Contender(name, f"{__name__}:{prepare}", does_our_work=False)


MORE_SCHEDULERS, MORE_DAYS, MORE_SENSORS = "twice the schedulers", "twice the days", "twice the sensors"
CASES = [
    Case(
        "growth",
        f"growth of the extraction of {SCHEDULERS} schedulers, {DAYS} days",
        [
            _build_contender(OURS, "prepare_fleet"),
            _build_contender(MORE_SCHEDULERS, "prepare_more_schedulers"),
            _build_contender(MORE_DAYS, "prepare_more_days"),
        ],
        [_limit_growth(MORE_SCHEDULERS), _limit_growth(MORE_DAYS)],
        partial(executions.serve_fleets, FLEETS),
        seconds=12,
    ),
    Case(
        "growth-sensors",
        f"growth of the results of {SCHEDULERS} schedulers with {stub.SENSORS} sensors, a day into a lake",
        [_build_contender(OURS, "prepare_sensors"), _build_contender(MORE_SENSORS, "prepare_more_sensors")],
        [_limit_growth(MORE_SENSORS)],
        serve_results,
        seconds=8,
    ),
]
