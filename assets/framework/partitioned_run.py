"""One run over many partitions, with a separate result for each partition.

Dagster records one event per partition as soon as its data is in the lake. If a partition fails, the run
continues with the next partition and fails at its end. So the Dagster UI shows exactly the failed partitions
as failed, and "re-execute from failure" processes only those.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from traceback import format_exception
from typing import Any, TypeVar

import dagster as dg

from assets.framework.interrupts import is_interrupt, raise_if_interrupted, stop_on_interrupt
from assets.framework.materializations import PartitionResult
from assets.framework.metadata import (
    FAILED_PARTITIONS,
    FAILED_SOURCES,
    INTERACTIVE_TAG,
    TRACEBACK,
    build_metadata,
    read_reasons,
)
from assets.framework.partitions import list_partitions
from assets.tables import Table
from resources.clock import monotonic, sleep
from resources.control_characters import escape_control_characters
from resources.errors import LedgerError, RetryLaterError
from resources.lake.lake import Lake
from resources.redaction import redact
from resources.scheduling import batch_scheduling

_IS_RESUME = "dagster/is_resume_retry"
_EARLIER_RUNS = ("dagster/parent_run_id", "dagster/root_run_id")
# Dagster logs no event of its own for an output with this key: the events per partition are already logged.
# Without an output, Dagster would skip all steps that depend on this one.
_LOGS_NO_EVENT: dict[str, Any] = {"__source_asset_observation__": True}
_RECORDED = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
_MAX_REASONS = 3
_STATUS_SECONDS = 1.0

T = TypeVar("T")


def batches(keys: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split partition keys or days into batches, which bounds the memory of a long range."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


class PartitionedRun:
    """Processes partitions one by one, records each result, and collects the failures."""

    def __init__(self, context: dg.AssetExecutionContext, *, has_whole_partitions: bool = True) -> None:
        """Start a run.

        Args:
            context: the context of the step.
            has_whole_partitions: whether it processes partitions as a whole. Otherwise, it logs them as
                observed, and another run materializes them.
        """
        self._context = context
        self._has_whole_partitions = has_whole_partitions
        self._key_prefix = _build_main_key(context).path[:-1]
        self._failed: dict[str, Exception] = {}
        self._keys_by_error: dict[str, list[str]] = {}
        self._recorded = 0
        self._started = monotonic()
        self._read_status_at = -_STATUS_SECONDS

    def process(
        self, keys: Iterable[str], process_partition: Callable[[str], Iterable[PartitionResult]]
    ) -> None:
        """Process each partition; a failure does not stop the others.

        A partition without a result is not recorded.
        """
        for key in keys:
            self._raise_if_interrupted()
            has_result = False
            try:
                for result in process_partition(key):
                    has_result = True
                    is_whole = self._has_whole_partitions
                    create_event = result.materialization if is_whole else result.observation
                    self._context.log_event(create_event(key, self._key_prefix))
                    if result.summary:
                        self._context.log.info(f"{key}: {result.summary}")
            except Exception as error:
                if is_interrupt(error):
                    raise
                self._record_failure(key, error)
            else:
                self._recorded += has_result

    def _record_failure(self, key: str, error: Exception) -> None:
        """Log an error the first time; `finish` names the other partitions that it affects."""
        self._failed[key] = error
        keys = self._keys_by_error.setdefault(_describe_without_key(error, key), [])
        keys.append(key)
        if len(keys) > 1:
            return
        if isinstance(error, LedgerError):
            self._context.log.error(f"{key} failed: {error}")
        else:
            self._context.log.error(f"{key} failed\n{format_traceback(error)}")

    def _raise_if_interrupted(self) -> None:
        """Look for signals always, and for the status of the run once a second, because it is a query."""
        is_due = monotonic() - self._read_status_at >= _STATUS_SECONDS
        raise_if_interrupted(self._context if is_due else None)
        if is_due:
            self._read_status_at = monotonic()

    def finish(
        self,
        metadata: Mapping[str, Any] | None = None,
        failed_sources: Mapping[str, LedgerError] | None = None,
        stopped: LedgerError | None = None,
        *,
        retries: bool = True,
    ) -> dg.Output[None]:
        """End the run; the returned output starts the steps that depend on this one.

        Args:
            metadata: totals of the run.
            failed_sources: errors by source or scheduler; everything else is recorded.
            stopped: the error that ended the run before all partitions were processed.
            retries: whether Dagster may retry the step.

        Raises:
            dagster.Failure: partitions or sources failed. It allows a retry only if every error is a
                `RetryLaterError`, because a retry would repeat a permanent error.
        """
        failed_sources = failed_sources or {}
        for first, *others in self._keys_by_error.values():
            if others:
                self._context.log.error(f"Failed for the same reason as {first}: {', '.join(others)}")
        self._context.log.info(
            f"{self._recorded:,} partitions recorded, {len(self._failed):,} failed,"
            f" in {monotonic() - self._started:.1f} s"
        )
        errors = [*self._failed.values(), *failed_sources.values(), *([stopped] if stopped else [])]
        if not errors:
            return dg.Output(None, metadata={**build_metadata(metadata or {}), **_LOGS_NO_EVENT})
        raise dg.Failure(
            _clean_text(self._describe_failure(failed_sources, stopped)),
            metadata=build_metadata(
                {
                    FAILED_PARTITIONS: {key: str(error) for key, error in self._failed.items()},
                    FAILED_SOURCES: {name: str(error) for name, error in failed_sources.items()},
                    **(metadata or {}),
                }
            ),
            allow_retries=retries and all(isinstance(error, RetryLaterError) for error in errors),
        )

    def _describe_failure(
        self, failed_sources: Mapping[str, LedgerError], stopped: LedgerError | None
    ) -> str:
        lines = [str(stopped)] if stopped else []
        if self._failed:
            lines.append(f"{len(self._failed)} partitions failed: {', '.join(self._failed)}.")
            firsts = [keys[0] for keys in self._keys_by_error.values()][:_MAX_REASONS]
            lines += [f"{key}: {self._failed[key]}" for key in firsts]
        if failed_sources:
            lines.append(f"{len(failed_sources)} sources failed: {', '.join(failed_sources)}.")
            lines += sorted({str(error) for error in failed_sources.values()})[:_MAX_REASONS]
        if not stopped:
            lines.append(
                "Everything else is recorded. Re-execute this run from failure to process only these."
            )
        return "\n".join(lines)


def _describe_without_key(error: Exception, key: str) -> str:
    """Return the text of an error, which is equal for all partitions with the same problem."""
    return f"{type(error).__name__}: {error}".replace(key, "")


def select_partitions(context: dg.AssetExecutionContext, lake: Lake, upstream: Table) -> list[str]:
    """Return the days to process: those with upstream data that no earlier attempt recorded.

    A day without upstream data stays missing, because its rows would claim that nothing happened.
    """
    recorded, _ = previous_attempt(context)
    stored = {day.isoformat() for day in lake.days(upstream)}
    keys = list_partitions(context)
    skipped = [key for key in keys if key not in stored]
    if skipped:
        context.log.warning(
            f"{len(skipped):,} days are skipped, because {upstream.name} has no data for them:"
            f" {skipped[0]}{f' to {skipped[-1]}' if len(skipped) > 1 else ''}"
        )
    return [key for key in keys if key in stored and key not in recorded]


def previous_attempt(context: dg.AssetExecutionContext) -> tuple[set[str], datetime | None]:
    """Return the partitions that an earlier attempt recorded, and the start of that attempt.

    An earlier attempt is a retry of this step, this run before its process died and it was resumed under its
    own id, or the run that this run resumes. First attempts and runs that were re-executed completely have
    none.
    """
    tags = context.run.tags
    is_repeated = context.retry_number > 0 or _is_step_restarted(context)
    runs = {context.run.run_id} if is_repeated else set()
    if tags.get(_IS_RESUME) == "true":
        runs |= {tags[name] for name in _EARLIER_RUNS if name in tags}
    main_key = _build_main_key(context)
    recorded = {
        entry.dagster_event.partition
        for run_id in runs
        for entry in context.instance.all_logs(run_id, of_type=_RECORDED)
        if entry.dagster_event and entry.dagster_event.asset_key == main_key and entry.dagster_event.partition
    }
    started = [
        record.start_time
        for record in map(context.instance.get_run_record_by_id, runs)
        if record and record.start_time
    ]
    if recorded:
        context.log.info(f"Resuming: {len(recorded):,} partitions are already recorded")
    return recorded, datetime.fromtimestamp(min(started), UTC) if started else None


def yield_outputs(context: dg.AssetExecutionContext, result: dg.Output[None]) -> Iterator[dg.Output[None]]:
    """Yield the result of a step that writes several tables, once for each table that its run selected.

    Whichever tables are selected, the step writes and records all of them.
    """
    for key in sorted(context.selected_asset_keys):
        yield dg.Output(None, output_name=context.output_for_asset_key(key), metadata=result.metadata)


def _build_main_key(context: dg.AssetExecutionContext) -> dg.AssetKey:
    """Return the key of the asset that the step is named after, which its run may not have selected."""
    prefix = next(iter(context.selected_asset_keys)).path[:-1]
    return dg.AssetKey([*prefix, context.op_def.name])


def _is_step_restarted(context: dg.AssetExecutionContext) -> bool:
    """Return whether run monitoring resumed this run, which starts its steps again."""
    step = context.get_step_execution_context().step.key
    starts = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.STEP_START)
    return [entry.step_key for entry in starts].count(step) > 1


def read_failed_sources(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    """Return the error message of each source or scheduler that failed in a run."""
    reasons: dict[str, str] = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = entry.dagster_event and entry.dagster_event.step_failure_data.user_failure_data
        reasons |= read_reasons(failure.metadata, FAILED_SOURCES) if failure else {}
    return reasons


@contextmanager
def handle_errors(
    context: dg.AssetExecutionContext, retry_policy: dg.RetryPolicy | None = None
) -> Iterator[None]:
    """Stop at a signal, turn errors into Dagster failures, and retry the step where that can help.

    The step shares processors as batch work does.

    Args:
        context: the context of the step.
        retry_policy: for failures that allow a retry; None: no retry. Interactive runs are not retried.
    """
    retry_policy = None if INTERACTIVE_TAG in context.run.tags else retry_policy
    context.log.addFilter(_clean_record)
    with (
        stop_on_interrupt(context),
        batch_scheduling(),
        _retry_step(context, retry_policy),
        translate_to_failure(),
    ):
        yield


@contextmanager
def _retry_step(context: dg.AssetExecutionContext, policy: dg.RetryPolicy | None) -> Iterator[None]:
    """Retry the step after a failure that allows it, as Dagster's `retry_policy` does.

    Dagster's policy also retries interrupted steps, cannot be interrupted while it waits, and drops the
    message and metadata of the last failure.
    """
    try:
        yield
    except dg.Failure as failure:
        if policy is None or not failure.allow_retries or context.retry_number >= policy.max_retries:
            raise
        seconds = policy.calculate_delay(context.retry_number + 1)
        context.log.warning(f"Retrying in {seconds:.0f} s. {failure.description}")
        sleep(seconds)
        raise dg.RetryRequested(policy.max_retries, seconds_to_wait=0) from failure


@contextmanager
def translate_to_failure() -> Iterator[None]:
    """Turn errors into Dagster failures with the whole message; only `RetryLaterError` allows a retry.

    Raises:
        dagster.Failure: of an unexpected exception, which is a defect, it has the traceback as metadata. It
            has no cause, because Dagster would store the message of the cause with its credentials.
    """
    try:
        yield
    except dg.Failure:
        raise
    except LedgerError as error:
        message = escape_control_characters(str(error))
        raise dg.Failure(message, allow_retries=isinstance(error, RetryLaterError)) from None
    except Exception as error:  # noqa: BLE001 (the failure has the traceback)
        raise dg.Failure(
            _clean_text(f"{type(error).__name__}: {error}"),
            metadata=build_metadata({TRACEBACK: format_traceback(error)}),
            allow_retries=False,
        ) from None


def format_traceback(error: Exception) -> str:
    """Format an unexpected exception without credentials."""
    return _clean_text("".join(format_exception(error)))


def _clean_record(record: logging.LogRecord) -> bool:
    """Clean a message before Dagster stores it and prints it on a terminal."""
    record.msg, record.args = _clean_text(record.getMessage()), ()
    return True


def _clean_text(text: str) -> str:
    """Redact credentials, and escape the characters that a terminal would interpret."""
    return escape_control_characters(redact(text))
