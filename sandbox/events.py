"""Inference events and the latest result of a scheduler.

The rule of the real service for joining rows is unknown. Here an event is one planted anomaly, from its first
to its last row in successful executions, if it lasts more than five minutes. Missing rows do not split it.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.planted_anomalies import Anomaly, find_state, get_ground_truth
from sandbox.results import get_contributions, list_row_times
from sandbox.schedulers import Scheduler, Slot

SHORTEST = timedelta(minutes=5)  # exclusive

_LATEST = timedelta(days=2)  # a scheduler without a success for longer has no latest result


@dataclass(frozen=True)
class Event:
    """The known part of an anomaly: the times of its anomalous rows, oldest first."""

    scheduler: Scheduler
    seen: tuple[datetime, ...]

    @property
    def start(self) -> datetime:
        """The time of the first anomalous row."""
        return self.seen[0]

    @property
    def end(self) -> datetime:
        """The time of the last known anomalous row."""
        return self.seen[-1]

    @property
    def summary(self) -> dict[str, Any]:
        """One element of InferenceEventSummaries."""
        return {
            "InferenceSchedulerArn": self.scheduler.arn,
            "InferenceSchedulerName": self.scheduler.name,
            "EventStartTime": self.start,
            "EventEndTime": self.end,
            "Diagnostics": _format_diagnostics(self),
            "EventDurationInSeconds": int((self.end - self.start).total_seconds()),
        }


def find_events(scheduler: Scheduler, clock: datetime, start: datetime, end: datetime) -> list[Event]:
    """Return the events known at `clock` that overlap `start` to `end`, oldest first."""
    first, last = max(start, scheduler.created_at), min(end, clock)
    if last < first:
        return []
    known = [
        Event(scheduler, seen)
        for anomaly in get_ground_truth(scheduler, first, last).anomalies
        if (seen := _list_seen_times(scheduler, clock, anomaly))
    ]
    return [
        event
        for event in known
        if event.end - event.start > SHORTEST and start <= event.end and event.start < end
    ]


def find_latest_result(scheduler: Scheduler, clock: datetime) -> str | None:
    """Return LatestInferenceResult: whether the newest successful window has an anomalous row."""
    slots = list(scheduler.slots(max(scheduler.created_at, clock - _LATEST), clock))
    for slot in reversed(slots):
        if has_succeeded(scheduler, clock, slot):
            states = (find_state(scheduler, at) for at in list_row_times(scheduler, slot))
            return "ANOMALOUS" if any(isinstance(state, Anomaly) for state in states) else "NORMAL"
    return None


def has_succeeded(scheduler: Scheduler, clock: datetime, slot: Slot) -> bool:
    """Whether the execution of a slot has succeeded by `clock`."""
    if slot.scheduled > clock:
        return False
    outcome = scheduler.outcome(slot)
    return outcome.status == "SUCCESS" and outcome.settles_at is not None and outcome.settles_at <= clock


def _list_seen_times(scheduler: Scheduler, clock: datetime, anomaly: Anomaly) -> tuple[datetime, ...]:
    return tuple(
        at
        for slot in _list_slots_around(scheduler, anomaly)
        if has_succeeded(scheduler, clock, slot)
        for at in list_row_times(scheduler, slot)
        if anomaly.contains(at)
    )


def _list_slots_around(scheduler: Scheduler, anomaly: Anomaly) -> Iterator[Slot]:
    hour = timedelta(hours=1)  # the longest window
    return scheduler.slots(anomaly.start - hour, anomaly.end + hour)


@functools.lru_cache(maxsize=4_096)
def _format_diagnostics(event: Event) -> str:
    """Return the mean contribution of each sensor as JSON text."""
    contributions = [get_contributions(event.scheduler, at) for at in event.seen]
    mean = {
        name: round(sum(row[name] for row in contributions) / len(contributions), 5)
        for name in contributions[0]
    }
    return json.dumps([{"name": name, "value": value} for name, value in mean.items()])
