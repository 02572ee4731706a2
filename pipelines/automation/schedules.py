"""When extraction runs by itself.

Dagster asks for every tick that it missed while it was down. The first of them starts a run over all that is
due, and the others find it under way: so an outage is caught up in one run.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.checks.context import service_state
from assets.executions.day_status import SettlementPolicy
from assets.executions.due_days import DueDays, find_due_days
from assets.framework.given import Clock, OpenSources
from assets.framework.partitions import RANGE
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.automation import jobs
from pipelines.operations.lake_status import coverage
from resources.config.settings import Settings
from resources.lake.lake import Lake
from resources.sources.base import Source

BEHIND = "ledger/behind"
"""Tag of scheduled runs: which days lie further back than they reach, and the command for those."""

LOOKED_AT_BEHIND = timedelta(days=31)
"""How far before its reach the schedule looks for days that were left open, as an outage leaves them."""

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_TAG_LENGTH = 255


def refresh(settings: Settings) -> dg.ScheduleDefinition:
    """Declare the schedule; it is on from the start, as days that nobody asks for are lost in the end.

    Its resources are `lake`, `sources` and `clock`.
    """

    @dg.schedule(
        name=jobs.REFRESH,
        job_name=jobs.REFRESH,
        cron_schedule=settings.schedule.cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks the services for the days that are not settled, today included, in one run.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.RunRequest | dg.SkipReason:
        return _tick(context, settings, lake, sources, clock)

    return schedule


def _tick(
    context: dg.ScheduleEvaluationContext, settings: Settings, lake: Lake, sources: OpenSources, clock: Clock
) -> dg.RunRequest | dg.SkipReason:
    if not settings.sources:
        return dg.SkipReason("No sources are set: ledger.toml is to say where executions come from.")
    live = [source for source in sources() if source.service]
    if not live:
        return dg.SkipReason(
            "No live source: nothing new comes by itself. After saved responses were added, take them in with"
            f" ledger backfill --from {settings.history.start_date} --to {clock().date()}"
        )
    if reason := _under_way(context.instance):
        return dg.SkipReason(reason)
    found, reason = _due(settings, lake, live, clock())
    if found.behind:
        context.log.warning(found.behind_in_words)
    if not found.days:
        return dg.SkipReason(f"{reason} {found.behind_in_words}".strip())
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.astimezone(UTC).isoformat(),
        run_config={"ops": {INFERENCE_EXECUTIONS.name: {"config": {"skip_settled": True}}}},
        tags={
            **dict(zip(RANGE, (found.days[0].isoformat(), found.days[-1].isoformat()), strict=True)),
            **({BEHIND: found.behind_in_words[:_TAG_LENGTH]} if found.behind else {}),
        },
    )


def _due(settings: Settings, lake: Lake, live: Sequence[Source], now: datetime) -> tuple[DueDays, str]:
    """Return what is due, and what to say where nothing is."""
    history = Days(settings.history.start_date, settings.history.end_date)
    last = service_state(live).last_day
    terms = SettlementPolicy(
        timedelta(minutes=settings.history.settle_after_minutes), settings.history.lookback_days, now, last
    )
    reaches = now.date() - timedelta(days=settings.history.lookback_days)
    extracted = lake.days(EXTRACTION_COVERAGE)
    found = find_due_days(history, coverage(lake, reaches - LOOKED_AT_BEHIND, now.date()), extracted, terms)
    reasons = []
    if last is not None and last < now.date():
        reasons.append(f"the service ended on {last}")
    if history.end is not None and history.end <= now.date():
        reasons.append(f"history.end_date is {history.end}")
    why = " and ".join(reasons) or f"the history begins on {history.first}"
    return found, f"Nothing is expected any more: {why}, and all days since {reaches} are settled."


def _under_way(instance: dg.DagsterInstance) -> str | None:
    """Say which run of the job is not finished yet; None where there is none."""
    found = instance.get_run_records(
        dg.RunsFilter(job_name=jobs.REFRESH, statuses=_UNDER_WAY), limit=1, ascending=True
    )
    if not found:
        return None
    run = found[0]
    return (
        f"Run {run.dagster_run.run_id} of this schedule is {run.dagster_run.status.value.lower()} since"
        f" {run.create_timestamp:%Y-%m-%d %H:%M} UTC: it asks for all that is due. If it hangs, terminate it."
    )
