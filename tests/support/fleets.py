"""The fleet of the sandbox with fewer rows, for tests that need each kind of scheduler but not its volume."""

from dataclasses import replace
from datetime import timedelta

from sandbox.fleet import Fleet, History, build_fleet
from sandbox.schedulers import Scheduler

_LESS_OFTEN = {"PT5M": "PT15M", "PT10M": "PT30M", "PT15M": "PT30M", "PT30M": "PT1H", "PT1H": "PT1H"}


def build_sparse_fleet(seed: int, history: History) -> Fleet:
    """Build the fleet; only the first scheduler runs every five minutes, so that it has several pages."""
    first, *others = build_fleet(seed, history).schedulers
    return Fleet(seed, history, (first, *map(_run_less_often, others)))


def _run_less_often(scheduler: Scheduler) -> Scheduler:
    schedules = tuple(
        replace(schedule, frequency=_LESS_OFTEN[schedule.frequency]) for schedule in scheduler.schedules
    )
    return replace(scheduler, schedules=schedules)


def build_coarse_fleet(seed: int, history: History) -> Fleet:
    """Build the fleet; schedulers of more than five minutes have a line of results every five minutes."""
    fleet = build_fleet(seed, history)
    return replace(fleet, schedulers=tuple(map(_sample_less_often, fleet.schedulers)))


def _sample_less_often(scheduler: Scheduler) -> Scheduler:
    if any(schedule.frequency == "PT5M" for schedule in scheduler.schedules):
        return scheduler
    return replace(scheduler, plant=replace(scheduler.plant, sampling=timedelta(minutes=5)))
