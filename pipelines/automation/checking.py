"""When checks run by themselves: once an hour, whatever runs or does not.

Checks run with their assets too. On a schedule of their own they also see what no run shows: that no run
comes at all, and what a failed one left behind, as its checks were skipped.
"""

import dagster as dg

JOB = "checks"
CRON = "35 * * * *"
"""Half an hour after the extraction: its runs have ended by then, and data that are late are late."""


def build() -> dg.ScheduleDefinition:
    """Return the schedule; it runs where Dagster's daemon does, without being switched on."""
    return dg.ScheduleDefinition(
        name="hourly_checks",
        job=dg.define_asset_job(
            JOB, selection=dg.AssetSelection.all_asset_checks(), description="All checks, and nothing else."
        ),
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks at the lake and at the last runs, also where nothing else runs.",
    )
