"""Rules on the runs of an asset: failed partitions, and sources that did not answer.

A failed run skips the checks of its assets, so these two checks also run on the hourly schedule.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

import dagster as dg

from assets.checks.result import EXAMPLES, CheckOutcome, build_backfill_commands, summarize
from assets.framework.partitioned_run import read_failed_sources

LAST_RUNS = 20
"""Maximum number of finished runs of an asset that are examined."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_PAGE_SIZE, _MAX_RUNS = 100, 1000
"""Runs of the whole location that are searched; each run of the asset can start a dozen others."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run over all schedulers, with the sources that did not answer and the reasons."""

    ended_at: datetime
    failed_sources: Mapping[str, str]


@dataclass(frozen=True)
class UnansweredSource:
    """A scheduler or source that did not answer the last run, and how many runs in a row before it.

    `since` is the end of the first of these runs; `reason` is the latest one.
    """

    name: str
    since: datetime
    runs_in_a_row: int
    reason: str


def evaluate_partitions_succeeded(asset: str, failed: Sequence[str], partition_count: int) -> CheckOutcome:
    """Check that no partition of an asset is failed: the last run of each one recorded it.

    Args:
        asset: The name of the asset.
        failed: The keys of its failed partitions.
        partition_count: The number of all its partitions.
    """
    message = f"None of {partition_count} days is failed."
    if failed:
        message = (
            f"{len(failed)} of {partition_count} days of {asset} are failed: {summarize(failed)}. "
            "Re-execute the run from failure, or backfill these days. Data that is already recorded stays."
        )
    return CheckOutcome(
        not failed,
        message,
        {"partitions": partition_count, "failed": len(failed)},
        [{"day": key} for key in failed[:EXAMPLES]],
        build_backfill_commands(map(date.fromisoformat, failed)),
        problem_ids=failed,
    )


def list_failed_partitions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: dg.PartitionsDefinition
) -> tuple[list[str], int]:
    """Return the keys of the failed partitions, and the number of all partitions."""
    keys = list(partitions.get_partition_keys(dynamic_partitions_store=instance))
    return filter_failed_partitions(instance, asset, partitions, keys), len(keys)


def filter_failed_partitions(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partitions: dg.PartitionsDefinition,
    keys: Sequence[str],
) -> list[str]:
    """Return those of some partition keys of an asset whose status is failed."""
    statuses = instance.get_status_by_partition(asset, keys, partitions) or {} if keys else {}
    return [key for key in keys if (status := statuses.get(key)) and status.value == "FAILED"]


def find_unanswered_sources(last_runs: Iterable[FinishedRun]) -> list[UnansweredSource]:
    """Return the sources that did not answer the last run, with the number of such runs in a row.

    Args:
        last_runs: The newest run first. Only as many runs as needed are consumed.
    """
    sources: dict[str, UnansweredSource] = {}
    still_failing: set[str] | None = None
    for run in last_runs:
        failing = set(run.failed_sources)
        still_failing = failing if still_failing is None else still_failing & failing
        if not still_failing:
            break
        for name in still_failing:
            newer = sources.get(name, UnansweredSource(name, run.ended_at, 0, run.failed_sources[name]))
            sources[name] = replace(newer, since=run.ended_at, runs_in_a_row=newer.runs_in_a_row + 1)
    return [sources[name] for name in sorted(sources)]


def evaluate_sources_answered(last_runs: Sequence[FinishedRun]) -> CheckOutcome:
    """Check that every scheduler and source answered the last extraction run.

    Args:
        last_runs: Finished runs over all schedulers, the newest first.
    """
    if not last_runs:
        return CheckOutcome(True, "No finished run of the extraction was found.", {"runs": 0})
    unanswered = find_unanswered_sources(last_runs)
    message = f"Every scheduler and source answered the last run; {len(last_runs)} runs examined."
    if unanswered:
        message = (
            f"{len(unanswered)} schedulers or sources did not answer the last run:"
            f" {summarize([source.name for source in unanswered])}. "
            "The data of the others is recorded. Fix the reasons, then re-execute the run from failure."
        )
    examples = [
        {
            "failed": source.name,
            "runs_in_a_row": source.runs_in_a_row,
            "since": f"{source.since:%Y-%m-%d %H:%M} UTC",
            "reason": source.reason,
        }
        for source in unanswered
    ]
    return CheckOutcome(
        not unanswered,
        message,
        {"runs": len(last_runs), "failed": len(unanswered)},
        examples,
        ["ledger doctor"] if unanswered else [],
        problem_ids=[source.name for source in unanswered],
    )


def load_recent_runs(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Iterator[FinishedRun]:
    """Yield the finished extraction runs over all schedulers, the newest first."""
    for record in islice(_iterate_records(asset, instance), LAST_RUNS):
        ended = record.end_time or record.update_timestamp.timestamp()
        yield FinishedRun(
            datetime.fromtimestamp(ended, UTC), read_failed_sources(instance, record.dagster_run)
        )


def _iterate_records(asset: dg.AssetKey, instance: dg.DagsterInstance) -> Iterator[dg.RunRecord]:
    cursor = None
    for _ in range(_MAX_RUNS // _PAGE_SIZE):
        records = instance.get_run_records(dg.RunsFilter(statuses=_FINISHED), limit=_PAGE_SIZE, cursor=cursor)
        for record in records:
            run = record.dagster_run
            if not _has_scheduler_selection(asset, run) and _includes_asset(asset, run, instance):
                yield record
        if len(records) < _PAGE_SIZE:
            return
        cursor = records[-1].dagster_run.run_id


def _includes_asset(asset: dg.AssetKey, run: dg.DagsterRun, instance: dg.DagsterInstance) -> bool:
    if run.asset_selection:
        return asset in run.asset_selection
    # the run of a job has no asset selection, and some jobs contain only checks
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
    return any(entry.step_key == asset.path[-1] for entry in steps)


def _has_scheduler_selection(asset: dg.AssetKey, run: dg.DagsterRun) -> bool:
    config: Any = run.run_config
    return bool(config.get("ops", {}).get(asset.path[-1], {}).get("config", {}).get("schedulers"))
