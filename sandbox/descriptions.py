"""What the service says of a scheduler itself."""

from datetime import datetime, timedelta
from typing import Any

from sandbox import chance
from sandbox.events import latest_result
from sandbox.schedulers import Scheduler


def status(scheduler: Scheduler, clock: datetime) -> str:
    """Its status; the few seconds of PENDING and STOPPING are over at once."""
    return "RUNNING" if scheduler.is_running(clock) else "STOPPED"


def model_name(scheduler: Scheduler) -> str:
    """The name of its model."""
    return scheduler.model_arn.split("/")[1]


def row(scheduler: Scheduler, clock: datetime) -> dict[str, Any]:
    """One element of InferenceSchedulerSummaries; no value, no member."""
    era = scheduler.era(clock)
    summary: dict[str, Any] = {
        "ModelName": model_name(scheduler),
        "ModelArn": scheduler.model_arn,
        "InferenceSchedulerName": scheduler.name,
        "InferenceSchedulerArn": scheduler.arn,
        "Status": status(scheduler, clock),
        "DataDelayOffsetInMinutes": era.delay_minutes,
        "DataUploadFrequency": era.frequency,
    }
    latest = latest_result(scheduler, clock)
    return summary if latest is None else summary | {"LatestInferenceResult": latest}


def description(scheduler: Scheduler, clock: datetime) -> dict[str, Any]:
    """What DescribeInferenceScheduler says."""
    return row(scheduler, clock) | {
        "CreatedAt": _moment(scheduler, scheduler.created_at),
        "UpdatedAt": _moment(scheduler, _updated_at(scheduler, clock)),
        "DataInputConfiguration": scheduler.input_configuration(whole=True),
        "DataOutputConfiguration": scheduler.output_configuration(),
        "RoleArn": f"arn:aws:iam::{scheduler.account}:role/lookout-for-equipment",
    }


def _updated_at(scheduler: Scheduler, clock: datetime) -> datetime:
    """The latest start, stop or change by now."""
    times = [time for era in scheduler.eras for time in (era.since, era.until) if time is not None]
    return max((time for time in times if time <= clock), default=scheduler.created_at)


def _moment(scheduler: Scheduler, at: datetime) -> datetime:
    """Shortly before the whole hour, to the millisecond: as people click."""
    (luck,) = chance.fractions(scheduler.seed, scheduler.arn, "clicked", int(at.timestamp()), count=1)
    return at - timedelta(milliseconds=1 + int(luck * 60_000))
