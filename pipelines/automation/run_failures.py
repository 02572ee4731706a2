"""Reads why runs failed from the Dagster event log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.alerts.deduplication import normalize_message
from assets.checks.run_outcomes import filter_failed_partitions
from assets.framework.metadata import FAILED_PARTITIONS, FAILED_SOURCES, read_reasons

_MAX_FIRST_LINE = 200


@dataclass(frozen=True)
class Failure:
    """One reason why a run failed, with its days or sources; `step` None: no step had started."""

    run_id: str
    job: str
    step: str | None
    kind: str
    message: str
    partitions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """Equal for repeated failures: the message counts without times, IDs and numbers."""
        sources = ",".join(self.sources)
        return f"run:{self.step or self.job}:{self.kind}:{sources}:{normalize_message(self.message)}"

    @property
    def first_line(self) -> str:
        """The error without its location and next step."""
        return self.message.strip().partition("\n")[0][:_MAX_FIRST_LINE]


def belongs_to_location(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Return whether a run is of the sensor's code location, or was executed in process."""
    run_origin, location_origin = run.remote_job_origin, context.code_location_origin
    if run_origin is None or location_origin is None:
        return True
    run_location = run_origin.repository_origin.code_location_origin.location_name
    return bool(run_location == location_origin.location_name)


def list_failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Failure]:
    """Return the reasons of a failed run. Days that failed with equal messages are one reason."""
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    failures = [failure for entry in entries for failure in _iterate_step_failures(run, entry.dagster_event)]
    if failures:
        return failures
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
    messages = [entry.dagster_event.message for entry in entries if entry.dagster_event]
    message = messages[-1] if messages else "the run failed before its first step"
    return [Failure(run.run_id, run.job_name, None, "run", str(message))]


def _iterate_step_failures(
    run: dg.DagsterRun,
    event: Any,  # noqa: ANN401 (not exported by Dagster)
) -> Iterator[Failure]:
    data = event.step_failure_data
    user_failure = data.user_failure_data
    metadata = user_failure.metadata if user_failure else {}
    partitions = read_reasons(metadata, FAILED_PARTITIONS)
    sources = read_reasons(metadata, FAILED_SOURCES)
    days_by_message: dict[str, list[tuple[str, str]]] = {}
    for key, reason in partitions.items():
        days_by_message.setdefault(normalize_message(reason), []).append((key, reason))
    for days in days_by_message.values():
        keys = tuple(key for key, _ in days)
        yield Failure(run.run_id, run.job_name, event.step_key, "day", days[0][1], partitions=keys)
    for name, reason in sources.items():
        yield Failure(run.run_id, run.job_name, event.step_key, "source", reason, sources=(name,))
    if not partitions and not sources:
        kind = "failure" if user_failure else _get_root_class(data.error)
        message = user_failure.description if user_failure else None
        message = message or (data.error.message if data.error else "no reason is recorded")
        yield Failure(run.run_id, run.job_name, event.step_key, kind, message)


def _get_root_class(error: Any) -> str:  # noqa: ANN401 (not exported by Dagster)
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.cls_name) if error is not None else "unknown"


def list_planned_steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Sequence[str]:
    """Return the keys of all steps of a run."""
    if run.execution_plan_snapshot_id is None:
        return ()
    return instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute


def list_still_failed(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, step: str, partitions: Sequence[str]
) -> list[str]:
    """Return those of some partitions of a step's asset whose status is failed."""
    graph = repository.asset_graph
    key = next((key for key in graph.get_all_asset_keys() if key.path[-1] == step), None)
    partitions_def = graph.get(key).partitions_def if key else None
    if key is None or partitions_def is None:
        return []
    existing = [day for day in partitions if partitions_def.has_partition_key(day)]
    return filter_failed_partitions(instance, key, partitions_def, existing)
