"""The sensor that evaluates the automation conditions of the assets."""

import dagster as dg


def build_automation_sensor(every_seconds: int | None = None) -> dg.AutomationConditionSensorDefinition:
    """Declare the sensor, on by default.

    Args:
        every_seconds: Minimum interval between evaluations; None: Dagster's default of 30 seconds.
    """
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_seconds,
        run_tags={"dagster/priority": "-1"},  # runs that people start leave the queue first
        description="Materialize downstream assets for the days whose upstream content changed.",
    )
