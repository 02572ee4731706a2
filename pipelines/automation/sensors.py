"""What makes the assets downstream of an extraction follow it."""

import dagster as dg


def build_automation_sensor(every_seconds: int | None = None) -> dg.AutomationConditionSensorDefinition:
    """Declare the sensor; like the schedule it is on from the start.

    Args:
        every_seconds: how often it looks at least; default: Dagster's, half a minute.
    """
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_seconds,
        description="Starts what depends on an extraction, for the days whose content changed.",
    )
