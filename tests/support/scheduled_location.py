"""A code location whose refresh schedule tests evaluate at any time."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import dagster as dg

from pipelines.automation.schedules import REFRESH
from pipelines.definitions import build_defs
from resources.config.settings import Settings
from resources.lake.lake import Lake
from tests.support.code_location import Location

FIRST = date(2026, 9, 1)
NOON = datetime(2026, 10, 8, 12, tzinfo=UTC)

BuildScheduledLocation = Callable[..., "ScheduledLocation"]


class ScheduledLocation(Location):
    """A code location whose schedule is evaluated at `now`."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.now = NOON
        clock = {"clock": lambda: self.now}
        super().__init__(build_defs(clock, settings=settings), instance, Lake(settings.lake.uri))

    def tick(self) -> dg.RunRequest | dg.SkipReason:
        """Evaluate the schedule."""
        repository = self.definitions.get_repository_def()
        context = dg.build_schedule_context(
            self.instance,
            scheduled_execution_time=self.now,
            repository_def=repository,
            resources=dict(self.definitions.resources or {}),
        )
        context._instance = self.instance  # otherwise the context opens the same instance again
        tick = repository.get_schedule_def(REFRESH).evaluate_tick(context)
        if tick.run_requests:
            (request,) = tick.run_requests
            return request
        return dg.SkipReason(tick.skip_message)

    def execute(self, request: dg.RunRequest, *, checks: bool = True) -> dg.ExecuteInProcessResult:
        """Execute a requested run as the daemon does, with or without the checks."""
        job = (self.definitions if checks else self.without_checks).resolve_job_def(REFRESH)
        return job.execute_in_process(
            instance=self.instance, run_config=request.run_config, tags=request.tags, raise_on_error=False
        )
