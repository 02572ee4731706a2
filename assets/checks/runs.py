"""How the runs of an asset ended: partitions that stand as failed, and what could not be asked.

Belongs here: judging what Dagster remembers of runs.
Does not belong here: telling of a run that fails (see `pipelines.alerts`).

A run that fails skips the checks that depend on it, so these two are looked at on a schedule of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from assets.batched import failed_sources
from assets.checks.verdict import EXAMPLES, Verdict, backfills, in_words

LAST_RUNS = 20
"""Finished runs of the location that are looked through for the last ones of an asset."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


def partitions_succeeded(asset: str, failed: Sequence[str], known: int) -> Verdict:
    """Judge the partitions of an asset: none stands as failed.

    Args:
        asset: its name.
        failed: the keys of those that stand as failed: their last run did not record them.
        known: how many partitions there are.
    """
    said = f"None of {known} days stands as failed."
    if failed:
        said = (
            f"{len(failed)} of {known} days of {asset} stand as failed: {in_words(failed)}. "
            "Re-execute the run from failure, or read them again; what is recorded of them stays."
        )
    return Verdict(
        not failed,
        said,
        {"partitions": known, "failed": len(failed)},
        [{"day": key} for key in failed[:EXAMPLES]],
        backfills(map(date.fromisoformat, failed)),
        causes=failed,
    )


def failed_partitions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: dg.PartitionsDefinition
) -> tuple[list[str], int]:
    """Return the keys of the partitions that stand as failed, and how many partitions there are."""
    keys = list(partitions.get_partition_keys(dynamic_partitions_store=instance))
    statuses = instance.get_status_by_partition(asset, keys, partitions) or {}
    return [key for key in keys if (found := statuses.get(key)) and found.value == "FAILED"], len(keys)


def sources_answered(last_runs: Sequence[Mapping[str, str]]) -> Verdict:
    """Judge the last runs of the extraction, the newest first: what each of them could not ask, and why."""
    if not last_runs:
        return Verdict(True, "No run of the extraction has ended lately.", {"runs": 0})
    failed = last_runs[0]
    said = f"The last run could ask every scheduler; {len(last_runs)} runs were looked at."
    if failed:
        said = (
            f"The last run could not ask {len(failed)} schedulers or sources: {in_words(sorted(failed))}. "
            "What the others told is recorded; mend what the reasons say, then re-execute it from failure."
        )
    examples = [
        {"failed": name, "runs_in_a_row": _in_a_row(name, last_runs), "reason": why}
        for name, why in sorted(failed.items())
    ]
    return Verdict(
        not failed,
        said,
        {"runs": len(last_runs), "failed": len(failed)},
        examples,
        ["ledger doctor"] if failed else [],
        causes=list(failed),
    )


def what_failed_lately(instance: dg.DagsterInstance, asset: dg.AssetKey) -> list[Mapping[str, str]]:
    """Return for each of the last finished runs of an asset what it could not ask, with the reasons."""
    records = instance.get_run_records(dg.RunsFilter(statuses=_FINISHED), limit=LAST_RUNS)
    return [failed_sources(instance, run) for run in _of(asset, [record.dagster_run for record in records])]


def _of(asset: dg.AssetKey, runs: Sequence[dg.DagsterRun]) -> Iterator[dg.DagsterRun]:
    """Keep the runs that were about an asset."""
    return (run for run in runs if run.asset_selection is None or asset in run.asset_selection)


def _in_a_row(name: str, last_runs: Sequence[Mapping[str, str]]) -> int:
    return next((number for number, failed in enumerate(last_runs) if name not in failed), len(last_runs))
