"""Jobs and their schedules: the hourly extraction of unsettled days, and the hourly checks.

After an outage Dagster evaluates each missed tick. The first tick starts one run over all due days; the other
ticks find that run in progress and are skipped.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.executions.day_status import SettlementPolicy, read_coverage
from assets.executions.due_days import DueDays, find_due_days
from assets.executions.service_state import get_service_state
from assets.framework.asset_names import AssetNames
from assets.framework.partitions import RANGE
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.clock import Clock
from resources.config.settings import Settings
from resources.lake.lake import Lake
from resources.sources.base import OpenSources, Source

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

REFRESH = "refresh_unsettled_days"
CHECKS = "hourly_checks"
CHECKS_CRON = "35 * * * *"
"""Half an hour after the default extraction, so that its runs have ended."""

BACKLOG_TAG = "ledger/backlog"
"""Tag of scheduled runs: the unsettled days before the lookback period, and the command to extract them."""

BACKLOG_SEARCH = timedelta(days=31)
"""How far before the lookback period the schedule looks for unsettled days, such as after an outage."""

MAX_RUNTIME_TAG, MAX_RUNTIME_SECONDS = "dagster/max_runtime", 2 * 3600
"""Dagster marks a run as failed after this time. A run whose process died blocks the schedule until then."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_MAX_TAG_LENGTH = 255


def build_refresh_job(names: AssetNames) -> "UnresolvedAssetJobDefinition":
    """Declare the extraction job. Downstream assets follow through their automation conditions."""
    return dg.define_asset_job(
        REFRESH,
        selection=dg.AssetSelection.assets(names.build_key(INFERENCE_EXECUTIONS.name)),
        tags={MAX_RUNTIME_TAG: str(MAX_RUNTIME_SECONDS), **names.job_tags},
        description="Extract the days that are not settled yet from the live sources.",
    )


def build_refresh_schedule(settings: Settings, names: AssetNames) -> dg.ScheduleDefinition:
    """Declare the schedule of the refresh job, on by default; it uses `lake`, `sources` and `clock`."""

    @dg.schedule(
        name=REFRESH,
        job_name=REFRESH,
        cron_schedule=settings.schedule.cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Extract all days that are not settled yet, including today, in one run.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.RunRequest | dg.SkipReason:
        if reason := _describe_unfinished_run(context.instance, names):
            return dg.SkipReason(reason)
        return _evaluate_refresh(context, settings, lake, sources, clock)

    return schedule


def build_check_schedule() -> dg.ScheduleDefinition:
    """Declare the schedule of all asset checks, on by default.

    Checks also run with their assets. Only the schedule detects that no run starts, and the state after a
    failed run, whose checks are skipped.
    """
    job = dg.define_asset_job(
        CHECKS,
        selection=dg.AssetSelection.all_asset_checks(),
        description="Run all asset checks without materializing any asset.",
    )
    return dg.ScheduleDefinition(
        name=CHECKS,
        job=job,
        cron_schedule=CHECKS_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Run all asset checks, so that problems show even when no asset is materialized.",
    )


def _evaluate_refresh(
    context: dg.ScheduleEvaluationContext, settings: Settings, lake: Lake, sources: OpenSources, clock: Clock
) -> dg.RunRequest | dg.SkipReason:
    if not settings.sources:
        return dg.SkipReason("No source is configured. Add a [[sources]] table to ledger.toml.")
    live = [source for source in sources() if source.service]
    if not live:
        return dg.SkipReason(
            "No live source is configured, so no new data is expected. The sensor new_archive_files extracts"
            " added saved responses."
        )
    due, reason = _find_due_days(settings, lake, live, clock())
    if due.backlog:
        context.log.warning(due.backlog_message)
    if not due.days:
        return dg.SkipReason(f"{reason} {due.backlog_message}".strip())
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.astimezone(UTC).isoformat(),
        run_config={"ops": {INFERENCE_EXECUTIONS.name: {"config": {"skip_settled": True}}}},
        tags={
            **dict(zip(RANGE, (due.days[0].isoformat(), due.days[-1].isoformat()), strict=True)),
            **({BACKLOG_TAG: due.backlog_message[:_MAX_TAG_LENGTH]} if due.backlog else {}),
        },
    )


def _find_due_days(
    settings: Settings, lake: Lake, live: Sequence[Source], now: datetime
) -> tuple[DueDays, str]:
    """Return the due days, and the skip reason for the case that there are none."""
    history = Days(settings.history.start_date, settings.history.end_date)
    service_end = get_service_state(live).last_day
    policy = SettlementPolicy(
        timedelta(minutes=settings.history.settle_after_minutes),
        settings.history.lookback_days,
        now,
        service_end,
    )
    lookback_start = now.date() - timedelta(days=settings.history.lookback_days)
    extracted = lake.days(EXTRACTION_COVERAGE)
    recent_coverage = read_coverage(lake, lookback_start - BACKLOG_SEARCH, now.date())
    due = find_due_days(history, recent_coverage, extracted, policy)
    reasons = []
    if service_end is not None and service_end < now.date():
        reasons.append(f"the service ended on {service_end}")
    if history.end is not None and history.end <= now.date():
        reasons.append(f"history.end_date is {history.end}")
    reason = " and ".join(reasons) or f"the history begins on {history.first}"
    return due, f"No new data is expected: {reason}. All days since {lookback_start} are settled."


def _describe_unfinished_run(instance: dg.DagsterInstance, names: AssetNames) -> str | None:
    """Return None if no run of the refresh job of this location is in progress."""
    records = [
        record
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=REFRESH, statuses=UNFINISHED), ascending=True
        )
        if names.has_run(record.dagster_run)
    ]
    if not records:
        return None
    run = records[0].dagster_run
    return (
        f"Run {run.run_id} already covers all due days. Its status has been {run.status.value} since"
        f" {records[0].create_timestamp:%Y-%m-%d %H:%M} UTC. If it hangs, terminate it in the Dagster UI."
    )
