"""Many partitions in one run, each with a success, a failure and a data version of its own.

A run over a range logs one materialization for each partition as soon as that is in the lake, goes on past a
partition that fails, and fails at its end. So Dagster shows exactly the failed ones as failed, and a
re-execution "from failure" does those alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypedDict, TypeVar

import dagster as dg
import pyarrow as pa

from assets.framework.metadata import FAILED_PARTITIONS, FAILED_SOURCES, build_metadata, read_reasons
from assets.framework.row_content import compute_content_version
from assets.tables import Table
from resources.errors import LedgerError, RetryLaterError
from resources.lake.lake import WriteResult

# the daemon and the staleness rules read these tags; their constants are private in Dagster 1.13
_DATA_VERSION = "dagster/data_version"
_USER_PROVIDED = "dagster/data_version_is_user_provided"
_IS_RESUME = "dagster/is_resume_retry"
_EARLIER_RUNS = ("dagster/parent_run_id", "dagster/root_run_id")
# an output that carries this logs no events of its own: ours, one a partition, stand already, and without an
# output Dagster would skip every step that depends on this one
_LOGS_NOTHING: dict[str, Any] = {"__source_asset_observation__": True}
_REASONS_TOLD = 3

T = TypeVar("T")


@dataclass(frozen=True)
class PartitionResult:
    """What one partition of one asset became."""

    asset: dg.AssetKey
    data_version: str
    metadata: Mapping[str, Any]


def batches(keys: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut partition keys, or their days, into batches, so that memory does not grow with the range."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


class PartitionedRun:
    """One run over many partitions: does the work of each, logs what it became, keeps what failed."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context = context
        self._failed: dict[str, Exception] = {}

    def process(self, keys: Iterable[str], work: Callable[[str], Iterable[PartitionResult]]) -> None:
        """Do the work of each partition; one that fails does not keep the others from theirs."""
        for key in keys:
            try:
                for made in work(key):
                    self._context.log_event(_materialization(made, key))
            except LedgerError as problem:
                self._context.log.error(f"{key} failed: {problem}")  # noqa: TRY400 (its message says it all)
                self._failed[key] = problem
            except Exception as problem:
                self._context.log.exception(f"{key} failed")
                self._failed[key] = problem

    def finish(
        self,
        numbers: Mapping[str, Any],
        sources: Mapping[str, LedgerError] | None = None,
        stopped: LedgerError | None = None,
        *,
        retries: bool = True,
    ) -> dg.Output[None]:
        """End the run, with numbers about all of it; the output lets the steps that depend on it go ahead.

        Args:
            numbers: become metadata.
            sources: what could not be asked, by name; what the others gave is recorded all the same.
            stopped: what ended the run before it had done all partitions.
            retries: whether the step may be tried again at all.

        Raises:
            dagster.Failure: names the partitions and the sources that failed, each with its reason. It is
                retried where nothing but time is needed: a retry would repeat what needs a person as well.
        """
        sources = sources or {}
        if not self._failed and not sources and not stopped:
            return dg.Output(None, metadata={**build_metadata(numbers), **_LOGS_NOTHING})
        said = [str(stopped)] if stopped else []
        if self._failed:
            said.append(f"{len(self._failed)} partitions failed: {', '.join(self._failed)}.")
        if sources:
            said.append(f"{len(sources)} could not be asked: {', '.join(sources)}.")
            said += sorted({str(problem) for problem in sources.values()})[:_REASONS_TOLD]
        if not stopped:
            said.append("All else is recorded. Re-execute this run from failure to do these alone.")
        problems = [*self._failed.values(), *sources.values(), *([stopped] if stopped else [])]
        raise dg.Failure(
            "\n".join(said),
            metadata=build_metadata(
                {
                    FAILED_PARTITIONS: {key: str(problem) for key, problem in self._failed.items()},
                    FAILED_SOURCES: {name: str(problem) for name, problem in sources.items()},
                    **numbers,
                }
            ),
            # a failure that may be retried and has no retry left would lose its words and its metadata
            allow_retries=retries
            and self._has_retries_left
            and all(isinstance(problem, RetryLaterError) for problem in problems),
        )

    @property
    def _has_retries_left(self) -> bool:
        policy = self._context.op_def.retry_policy
        return policy is not None and self._context.retry_number < policy.max_retries


def previous_attempt(context: dg.AssetExecutionContext) -> tuple[set[str], datetime | None]:
    """Return the partitions that an earlier attempt recorded, and when that attempt began.

    An earlier attempt is a retry of this step, or the run that this one resumes. There is none for first
    attempts, and for runs that were re-executed as a whole.
    """
    tags = context.run.tags
    runs = {context.run.run_id} if context.retry_number > 0 else set()
    if tags.get(_IS_RESUME) == "true":
        runs |= {tags[name] for name in _EARLIER_RUNS if name in tags}
    recorded = {
        entry.dagster_event.partition
        for run_id in runs
        for entry in context.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        if entry.dagster_event
        and entry.dagster_event.asset_key == context.asset_key
        and entry.dagster_event.partition
    }
    began = [
        record.start_time
        for record in map(context.instance.get_run_record_by_id, runs)
        if record and record.start_time
    ]
    if recorded:
        context.log.info(f"resuming: {len(recorded)} days were recorded before")
    return recorded, datetime.fromtimestamp(min(began), UTC) if began else None


def failed_sources(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    """Return what a run could not ask, by name, with the whole message of each error."""
    found: dict[str, str] = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = entry.dagster_event and entry.dagster_event.step_failure_data.user_failure_data
        found |= read_reasons(failure.metadata, FAILED_SOURCES) if failure else {}
    return found


@contextmanager
def translate_to_failure() -> Iterator[None]:
    """Turn our errors into failures that say what to do, and that nobody retries in vain.

    Raises:
        dagster.Failure: with the whole message of the error; of an error that is none of ours, and so a
            defect, it is the cause.
    """
    try:
        yield
    except dg.Failure:
        raise
    except LedgerError as problem:
        raise dg.Failure(str(problem), allow_retries=isinstance(problem, RetryLaterError)) from None
    except Exception as problem:
        raise dg.Failure(f"{type(problem).__name__}: {problem}", allow_retries=False) from problem


@contextmanager
def no_retry_on_interrupt() -> Iterator[None]:
    """End a step for good that a person stops: Dagster's retry policies would start it again a minute later.

    Raises:
        dagster.Failure: it was stopped, by Ctrl-C or on its page.
    """
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        raise dg.Failure(
            "It was stopped. What it recorded stays; re-execute this run from failure to do the rest.",
            allow_retries=False,
        ) from None


@cache
def column_schema(table: Table) -> dg.TableSchema:
    """Return a table's columns as Dagster shows them; made once, as each day tells of it."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                str(column.type),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in table.columns
        ]
    )


class AssetSpecKwargs(TypedDict):
    """What Dagster knows of a table before anything is made: the arguments of its declaration."""

    group_name: str
    kinds: set[str]
    description: str
    metadata: dict[str, Any]


def asset_spec_kwargs(table: Table, group: str, written_by: str | None = None) -> AssetSpecKwargs:
    """Return what the declaration of a table's asset says of it before anything is made.

    Args:
        table: what the asset makes.
        group: that of the asset.
        written_by: the asset whose runs write it, where it has none of its own.
    """
    along = f" Written by the runs of {written_by}." if written_by else ""
    return {
        "group_name": group,
        "kinds": {"parquet"},
        "description": f"{table.description}{along}",
        "metadata": {"dagster/table_name": table.name, "dagster/column_schema": column_schema(table)},
    }


def file_metadata(written: WriteResult) -> dict[str, Any]:
    """Return where an update left its rows, and whether it had to write."""
    return {"changed": written.changed, "path": dg.MetadataValue.path(str(written.path))}


def partition_result(table: Table, rows: pa.Table, numbers: Mapping[str, Any]) -> PartitionResult:
    """Describe one partition of a table: its content's version, its size, and numbers worth plotting."""
    return PartitionResult(
        dg.AssetKey(table.name),
        compute_content_version(table, rows),
        {
            "dagster/partition_row_count": rows.num_rows,
            "dagster/column_schema": column_schema(table),
            **numbers,
        },
    )


def unpartitioned_result(
    table: Table, written: WriteResult, numbers: Mapping[str, Any]
) -> dg.MaterializeResult[Any]:
    """Describe a table that has no partitions, as `partition_result` does one partition."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(compute_content_version(table, written.rows)),
        metadata=build_metadata(
            {
                "dagster/row_count": written.rows.num_rows,
                "dagster/column_schema": column_schema(table),
                **numbers,
                **file_metadata(written),
            }
        ),
    )


def _materialization(made: PartitionResult, key: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        made.asset,
        partition=key,
        metadata=build_metadata(made.metadata),
        tags={_DATA_VERSION: made.data_version, _USER_PROVIDED: "true"},
    )
