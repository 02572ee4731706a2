"""How the runs of an asset ended: partitions that stand as failed, and what could not be asked.

A run that fails skips the checks that depend on it, so these two are looked at on a schedule of their own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

import dagster as dg

from assets.checks.result import EXAMPLES, CheckOutcome, build_backfill_commands, summarize
from assets.framework.partitioned_run import failed_sources

LAST_RUNS = 20
"""How many of an asset's finished runs are looked at."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_AT_ONCE, _MOST = 100, 1000
"""Finished runs of the location among which those are looked for: each may start a dozen others."""


@dataclass(frozen=True)
class FinishedRun:
    """A run over all schedulers that has ended: when, and what it could not ask, with the reasons."""

    at: datetime
    refused: Mapping[str, str]


@dataclass(frozen=True)
class UnansweredSource:
    """Who could not be asked by the last run, nor by those right before it, and the last reason."""

    name: str
    since: datetime
    runs_in_a_row: int
    reason: str


def partitions_succeeded(asset: str, failed: Sequence[str], known: int) -> CheckOutcome:
    """Judge the partitions of an asset: none stands as failed.

    Args:
        asset: its name.
        failed: the keys of those that stand as failed: their last run did not record them.
        known: how many partitions there are.
    """
    said = f"None of {known} days stands as failed."
    if failed:
        said = (
            f"{len(failed)} of {known} days of {asset} stand as failed: {summarize(failed)}. "
            "Re-execute the run from failure, or read them again; what is recorded of them stays."
        )
    return CheckOutcome(
        not failed,
        said,
        {"partitions": known, "failed": len(failed)},
        [{"day": key} for key in failed[:EXAMPLES]],
        build_backfill_commands(map(date.fromisoformat, failed)),
        causes=failed,
    )


def list_failed_partitions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: dg.PartitionsDefinition
) -> tuple[list[str], int]:
    """Return the keys of the partitions that stand as failed, and how many partitions there are."""
    keys = list(partitions.get_partition_keys(dynamic_partitions_store=instance))
    return filter_failed_partitions(instance, asset, partitions, keys), len(keys)


def filter_failed_partitions(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partitions: dg.PartitionsDefinition,
    keys: Sequence[str],
) -> list[str]:
    """Return those of some partitions of an asset that stand as failed."""
    statuses = instance.get_status_by_partition(asset, keys, partitions) or {} if keys else {}
    return [key for key in keys if (found := statuses.get(key)) and found.value == "FAILED"]


def find_unanswered_sources(last_runs: Iterable[FinishedRun]) -> list[UnansweredSource]:
    """Find what the last run could not ask, and for how long that has been so.

    Args:
        last_runs: the newest first; no more of them are taken than are needed.
    """
    found: dict[str, UnansweredSource] = {}
    still: set[str] | None = None
    for run in last_runs:
        still = set(run.refused) if still is None else still & set(run.refused)
        if not still:
            break
        for name in still:
            before = found.get(name, UnansweredSource(name, run.at, 0, run.refused[name]))
            found[name] = replace(before, since=run.at, runs_in_a_row=before.runs_in_a_row + 1)
    return [found[name] for name in sorted(found)]


def sources_answered(last_runs: Sequence[FinishedRun]) -> CheckOutcome:
    """Judge the last runs of the extraction, the newest first: what each of them could not ask, and why."""
    if not last_runs:
        return CheckOutcome(True, "No run of the extraction has ended lately.", {"runs": 0})
    failed = find_unanswered_sources(last_runs)
    said = f"The last run could ask every scheduler; {len(last_runs)} runs were looked at."
    if failed:
        said = (
            f"The last run could not ask {len(failed)} schedulers or sources:"
            f" {summarize([one.name for one in failed])}. "
            "What the others told is recorded; mend what the reasons say, then re-execute it from failure."
        )
    examples = [
        {
            "failed": one.name,
            "runs_in_a_row": one.runs_in_a_row,
            "since": f"{one.since:%Y-%m-%d %H:%M} UTC",
            "reason": one.reason,
        }
        for one in failed
    ]
    return CheckOutcome(
        not failed,
        said,
        {"runs": len(last_runs), "failed": len(failed)},
        examples,
        ["ledger doctor"] if failed else [],
        causes=[one.name for one in failed],
    )


def load_recent_runs(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Iterator[FinishedRun]:
    """Look back at the last runs of an extraction that were about all schedulers, the newest first."""
    for record in islice(_of(asset, instance), LAST_RUNS):
        ended = record.end_time or record.update_timestamp.timestamp()
        yield FinishedRun(datetime.fromtimestamp(ended, UTC), failed_sources(instance, record.dagster_run))


def _of(asset: dg.AssetKey, instance: dg.DagsterInstance) -> Iterator[dg.RunRecord]:
    """Look back for the runs of an asset that were told of no scheduler in particular."""
    cursor = None
    for _ in range(_MOST // _AT_ONCE):
        records = instance.get_run_records(dg.RunsFilter(statuses=_FINISHED), limit=_AT_ONCE, cursor=cursor)
        for record in records:
            run = record.dagster_run
            if not _of_some_alone(asset, run) and _is_about(asset, run, instance):
                yield record
        if len(records) < _AT_ONCE:
            return
        cursor = records[-1].dagster_run.run_id


def _is_about(asset: dg.AssetKey, run: dg.DagsterRun, instance: dg.DagsterInstance) -> bool:
    if run.asset_selection:
        return asset in run.asset_selection
    # a job's run tells no selection, and some jobs make checks alone
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
    return any(entry.step_key == asset.path[-1] for entry in steps)


def _of_some_alone(asset: dg.AssetKey, run: dg.DagsterRun) -> bool:
    told: Any = run.run_config
    return bool(told.get("ops", {}).get(asset.path[-1], {}).get("config", {}).get("schedulers"))
