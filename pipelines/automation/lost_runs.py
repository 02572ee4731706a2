"""Fails runs whose process ended before the run started.

Dagster's run monitoring checks the process of started runs only. For a run that is starting, it waits for
`start_timeout_seconds`, which must allow time for a new node and the pull of an image.
"""

import dagster as dg
from dagster._core.launcher import RunLauncher, WorkerStatus

from pipelines.automation.run_failures import belongs_to_location
from resources.clock import utc_now
from resources.redaction import redact

SENSOR = "lost_starting_runs"
TICK_SECONDS = 20

LAUNCH_SECONDS = 20
"""A run is checked this long after its launch, because its process does not exist before."""


def build_lost_runs_sensor() -> dg.SensorDefinition:
    """Declare the sensor, on by default. It needs run monitoring and a launcher that knows its processes."""

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fail runs whose process ended before the run started; Dagster then starts a new run.",
    )
    def lost_starting_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance = context.instance
        if not instance.run_monitoring_enabled:
            return dg.SkipReason("Run monitoring is off.")
        starting = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
        due = [run for run in starting if belongs_to_location(context, run) and _is_due(instance, run)]
        if not due:
            return dg.SkipReason("No run has been starting for long.")
        try:
            launcher = instance.run_launcher
        except Exception as error:  # noqa: BLE001 (launchers raise many types)
            # on ECS, only the daemon may describe tasks; there, `start_timeout_seconds` applies
            return dg.SkipReason(f"The code server cannot open the run launcher: {redact(str(error))}")
        if not launcher.supports_check_run_worker_health:
            return dg.SkipReason("The run launcher cannot check processes.")
        lost = sum(_fail_if_lost(instance, launcher, run) for run in due)
        return dg.SkipReason(f"{len(due)} runs were checked, {lost} of them have lost their process.")

    return lost_starting_runs


def _is_due(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    launched = instance.get_run_stats(run.run_id).launch_time
    return launched is not None and utc_now().timestamp() >= launched + LAUNCH_SECONDS


def _fail_if_lost(instance: dg.DagsterInstance, launcher: RunLauncher, run: dg.DagsterRun) -> bool:
    health = launcher.check_run_worker_health(run)
    if health.status is not WorkerStatus.FAILED:
        return False
    current = instance.get_run_by_id(run.run_id)  # it can have started or ended meanwhile
    if current is None or current.status is not dg.DagsterRunStatus.STARTING:
        return False
    instance.report_run_failed(current, f"The process of the run ended before the run started: {health.msg}")
    return True
