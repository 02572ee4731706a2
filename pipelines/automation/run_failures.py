"""Why runs failed, as Dagster remembers it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.alerts.deduplication import normalize_message
from assets.checks.run_outcomes import filter_failed_partitions
from assets.framework.metadata import FAILED_PARTITIONS, FAILED_SOURCES, read_reasons


@dataclass(frozen=True)
class Failure:
    """One reason why a run failed: at which step (None: none had begun), and whom or which days it hit."""

    run_id: str
    job: str
    step: str | None
    kind: str
    message: str
    partitions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """The same for the same error of the same source, whatever times and ids its message has."""
        of = ",".join(self.sources)
        return f"run:{self.step or self.job}:{self.kind}:{of}:{normalize_message(self.message)}"

    @property
    def first_line(self) -> str:
        """What failed, without where and what next."""
        return self.message.strip().partition("\n")[0][:200]


def belongs_to_location(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Tell whether a run is of the sensor's code location; one that says none (run in process) is."""
    of, here = run.remote_job_origin, context.code_location_origin
    if of is None or here is None:
        return True
    return bool(of.repository_origin.code_location_origin.location_name == here.location_name)


def list_failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Failure]:
    """Return the reasons of a failed run, each once; days that failed alike are one reason."""
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    found = [failure for entry in steps for failure in _of_step(run, entry.dagster_event)]
    if found:
        return found
    ended = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
    said = [entry.dagster_event.message for entry in ended if entry.dagster_event] or ["it ended at once"]
    return [Failure(run.run_id, run.job_name, None, "run", str(said[-1]))]


def _of_step(run: dg.DagsterRun, event: Any) -> Iterator[Failure]:  # noqa: ANN401 (Dagster's own)
    data = event.step_failure_data
    told = data.user_failure_data
    metadata = told.metadata if told else {}
    partitions = read_reasons(metadata, FAILED_PARTITIONS)
    sources = read_reasons(metadata, FAILED_SOURCES)
    alike: dict[str, list[tuple[str, str]]] = {}
    for key, why in partitions.items():
        alike.setdefault(normalize_message(why), []).append((key, why))
    for days in alike.values():
        keys = tuple(key for key, _ in days)
        yield Failure(run.run_id, run.job_name, event.step_key, "day", days[0][1], partitions=keys)
    for name, why in sources.items():
        yield Failure(run.run_id, run.job_name, event.step_key, "source", why, sources=(name,))
    if not partitions and not sources:
        error = data.error
        kind = "failure" if told else _class(error)
        message = (told.description if told else None) or (error.message if error else "no reason was given")
        yield Failure(run.run_id, run.job_name, event.step_key, kind, message)


def _class(error: Any) -> str:  # noqa: ANN401 (Dagster's own)
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.cls_name) if error is not None else "unknown"


def list_planned_steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Sequence[str]:
    """Return the steps that a run was to do."""
    if run.execution_plan_snapshot_id is None:
        return ()
    return instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute


def list_still_failed(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, step: str, partitions: Sequence[str]
) -> list[str]:
    """Return those of some partitions of a step's asset that stand as failed."""
    key = dg.AssetKey(step)
    graph = repository.asset_graph
    defined = graph.get(key).partitions_def if graph.has(key) else None
    if defined is None:
        return []
    known = [day for day in partitions if defined.has_partition_key(day)]
    return filter_failed_partitions(instance, key, defined, known)
