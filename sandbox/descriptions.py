"""The summary and the description of a scheduler."""

from datetime import datetime, timedelta
from typing import Any

from sandbox import chance
from sandbox.events import find_latest_result
from sandbox.schedulers import Scheduler


def get_status(scheduler: Scheduler, clock: datetime) -> str:
    """Return the status. PENDING and STOPPING, which last seconds, never occur."""
    return "RUNNING" if scheduler.is_running(clock) else "STOPPED"


def get_model_name(scheduler: Scheduler) -> str:
    """Return the name in the ARN of the model."""
    return scheduler.model_arn.split("/")[1]


def build_summary(scheduler: Scheduler, clock: datetime) -> dict[str, Any]:
    """Return one element of InferenceSchedulerSummaries, without members that have no value."""
    schedule = scheduler.get_schedule(clock)
    summary: dict[str, Any] = {
        "ModelName": get_model_name(scheduler),
        "ModelArn": scheduler.model_arn,
        "InferenceSchedulerName": scheduler.name,
        "InferenceSchedulerArn": scheduler.arn,
        "Status": get_status(scheduler, clock),
        "DataDelayOffsetInMinutes": schedule.delay_minutes,
        "DataUploadFrequency": schedule.frequency,
    }
    latest = find_latest_result(scheduler, clock)
    return summary if latest is None else summary | {"LatestInferenceResult": latest}


def build_description(scheduler: Scheduler, clock: datetime) -> dict[str, Any]:
    """Return the response of DescribeInferenceScheduler."""
    return build_summary(scheduler, clock) | {
        "CreatedAt": _shift_before_hour(scheduler, scheduler.created_at),
        "UpdatedAt": _shift_before_hour(scheduler, _find_update_time(scheduler, clock)),
        "DataInputConfiguration": scheduler.input_configuration(include_names=True),
        "DataOutputConfiguration": scheduler.output_configuration(),
        "RoleArn": f"arn:aws:iam::{scheduler.account}:role/lookout-for-equipment",
    }


def _find_update_time(scheduler: Scheduler, clock: datetime) -> datetime:
    """Return the time of the last start, stop or change."""
    times = [
        time
        for schedule in scheduler.schedules
        for time in (schedule.since, schedule.until)
        if time is not None
    ]
    return max((time for time in times if time <= clock), default=scheduler.created_at)


def _shift_before_hour(scheduler: Scheduler, at: datetime) -> datetime:
    """Return a time up to a minute earlier, because real changes are not exactly on the hour."""
    (fraction,) = chance.draw_fractions(
        scheduler.seed, scheduler.arn, "clicked", int(at.timestamp()), count=1
    )
    return at - timedelta(milliseconds=1 + int(fraction * 60_000))
