"""Inference events and the latest result: what the service makes of the rows that it has seen.

How the service joins rows is not known. The rule here: an event is one planted anomaly, from its first to
its last row in executions that succeeded by now, if more than five minutes lie between them. Rows that are
missing in between do not split it.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.planted_anomalies import Anomaly, happening, truth
from sandbox.results import contributions, rows
from sandbox.schedulers import Scheduler, Slot

SHORTEST = timedelta(minutes=5)  # an event lasts longer than this

_LATEST = timedelta(days=2)  # a scheduler without a success for longer has no latest result


@dataclass(frozen=True)
class Event:
    """What the service has seen of an anomaly: the times of its anomalous rows, oldest first."""

    scheduler: Scheduler
    seen: tuple[datetime, ...]

    @property
    def start(self) -> datetime:
        """The time of the first anomalous row."""
        return self.seen[0]

    @property
    def end(self) -> datetime:
        """The time of the last anomalous row that is known by now."""
        return self.seen[-1]

    @property
    def summary(self) -> dict[str, Any]:
        """One element of InferenceEventSummaries."""
        return {
            "InferenceSchedulerArn": self.scheduler.arn,
            "InferenceSchedulerName": self.scheduler.name,
            "EventStartTime": self.start,
            "EventEndTime": self.end,
            "Diagnostics": _diagnostics(self),
            "EventDurationInSeconds": int((self.end - self.start).total_seconds()),
        }


def events(scheduler: Scheduler, clock: datetime, start: datetime, end: datetime) -> list[Event]:
    """The events known at `clock` that end at `start` or later and start before `end`, oldest first."""
    first, last = max(start, scheduler.created_at), min(end, clock)
    if last < first:
        return []
    found = [
        Event(scheduler, seen)
        for anomaly in truth(scheduler, first, last).anomalies
        if (seen := _seen(scheduler, clock, anomaly))
    ]
    return [one for one in found if one.end - one.start > SHORTEST and start <= one.end and one.start < end]


def latest_result(scheduler: Scheduler, clock: datetime) -> str | None:
    """LatestInferenceResult: whether the newest window that succeeded has an anomalous row."""
    slots = list(scheduler.slots(max(scheduler.created_at, clock - _LATEST), clock))
    for slot in reversed(slots):
        if succeeded(scheduler, clock, slot):
            things = (happening(scheduler, at) for at in rows(scheduler, slot))
            return "ANOMALOUS" if any(isinstance(thing, Anomaly) for thing in things) else "NORMAL"
    return None


def succeeded(scheduler: Scheduler, clock: datetime, slot: Slot) -> bool:
    """Whether the execution of a slot has ended well by `clock`."""
    if slot.scheduled > clock:
        return False
    outcome = scheduler.outcome(slot)
    return outcome.status == "SUCCESS" and outcome.settles_at is not None and outcome.settles_at <= clock


def _seen(scheduler: Scheduler, clock: datetime, anomaly: Anomaly) -> tuple[datetime, ...]:
    return tuple(
        at
        for slot in _around(scheduler, anomaly)
        if succeeded(scheduler, clock, slot)
        for at in rows(scheduler, slot)
        if anomaly.holds(at)
    )


def _around(scheduler: Scheduler, anomaly: Anomaly) -> Iterator[Slot]:
    hour = timedelta(hours=1)  # the longest window
    return scheduler.slots(anomaly.start - hour, anomaly.end + hour)


@functools.lru_cache(maxsize=4_096)
def _diagnostics(event: Event) -> str:
    """JSON within JSON: the mean contribution of every sensor."""
    each = [contributions(event.scheduler, at) for at in event.seen]
    mean = {name: round(sum(one[name] for one in each) / len(each), 5) for name in each[0]}
    return json.dumps([{"name": name, "value": value} for name, value in mean.items()])
