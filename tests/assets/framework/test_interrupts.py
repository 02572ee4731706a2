"""A signal stops a step before its next partition, also if a library reports it as an error of its own."""

import logging
import signal
from collections.abc import Callable, Iterator

import dagster as dg
import duckdb
import pyarrow as pa
import pytest
from dagster._daemon.monitoring import run_monitoring

from assets.framework import partitioned_run
from assets.framework.materializations import PartitionResult
from assets.framework.partitioned_run import PartitionedRun, handle_errors
from resources.errors import DataError, RetryLaterError

DAILY = dg.DailyPartitionsDefinition("2026-10-01", end_date="2026-10-05", timezone="UTC")
FIRST, SECOND, LAST = "2026-10-01", "2026-10-02", "2026-10-04"
DAYS = dg.AssetKey("days")
RETRY = dg.RetryPolicy(max_retries=2, delay=0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(
    instance: dg.DagsterInstance, work: Callable[[], None]
) -> tuple[dg.DagsterRun, dg.ExecuteInProcessResult]:
    """Run four days; the second one does some work. A further asset does not depend on them."""

    def process(key: str) -> list[PartitionResult]:
        if key == SECOND:
            work()
        return [PartitionResult("days", key, {})]

    @dg.asset(partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def days(context: dg.AssetExecutionContext) -> dg.Output[None]:
        with handle_errors(context, RETRY):
            partitions = PartitionedRun(context)
            partitions.process(context.partition_keys, process)
            return partitions.finish()

    @dg.asset
    def independent() -> None: ...

    job = dg.Definitions(assets=[days, independent], executor=dg.in_process_executor)
    tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}
    result = job.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, tags=tags, raise_on_error=False
    )
    stored = instance.get_run_by_id(result.run_id)
    assert stored is not None
    return stored, result


def get_recorded_days(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str | None]:
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    return [entry.dagster_event.partition for entry in entries if entry.dagster_event]


def interrupt_query() -> None:
    signal.raise_signal(signal.SIGINT)


def hide_the_interrupt() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:  # noqa: BLE001 (a library in C catches everything)
        raise DataError("Cannot read the day", where="a test", next_step="none") from None


def swallow_the_interrupt() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:  # noqa: BLE001 (as a callback of a library in C)
        return


@pytest.mark.parametrize("work", [interrupt_query, hide_the_interrupt, swallow_the_interrupt])
def test_ctrl_c_stops_the_run_before_the_next_day_and_cancels_it(
    instance: dg.DagsterInstance, work: Callable[[], None]
) -> None:
    stored, result = run(instance, work)

    assert stored.status is dg.DagsterRunStatus.CANCELED
    days = [FIRST, SECOND] if work is swallow_the_interrupt else [FIRST]
    assert get_recorded_days(instance, stored) == days
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert "will_retry" not in str(stored.tags)


def test_sigterm_without_a_request_fails_the_run(instance: dg.DagsterInstance) -> None:
    stored, result = run(instance, lambda: signal.raise_signal(signal.SIGTERM))

    assert stored.status is dg.DagsterRunStatus.FAILURE
    assert get_recorded_days(instance, stored) == [FIRST]
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_a_termination_in_the_ui_cancels_the_run(instance: dg.DagsterInstance) -> None:
    def terminate() -> None:
        (stored,) = instance.get_runs()
        instance.report_run_canceling(stored)
        signal.raise_signal(signal.SIGTERM)

    stored, _ = run(instance, terminate)

    assert stored.status is dg.DagsterRunStatus.CANCELED


def test_a_run_that_exceeds_its_maximum_runtime_fails(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_runtime() -> None:
        (record,) = instance.get_run_records()
        run_monitoring.check_run_timeout(instance, record, logging.getLogger(__name__), 1e-9)

    def continue_monitoring(_: float) -> None:
        signal.raise_signal(signal.SIGINT)
        instance.report_run_failed(instance.get_runs()[0], "Exceeded maximum runtime")

    # Run monitoring cancels the run; while the step stops, it sends the signal and marks the run as failed.
    monkeypatch.setattr(partitioned_run, "_STATUS_SECONDS", 0.0)
    monkeypatch.setattr(run_monitoring, "_force_mark_as_failed", lambda *_: None)
    monkeypatch.setattr("assets.framework.interrupts.sleep", continue_monitoring)

    stored, _ = run(instance, check_runtime)

    assert stored.status is dg.DagsterRunStatus.FAILURE
    assert get_recorded_days(instance, stored) == [FIRST, SECOND]


@pytest.mark.parametrize("status", ["CANCELED", "FAILURE"])
def test_a_run_that_is_ended_from_outside_stops_without_a_signal(
    instance: dg.DagsterInstance, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioned_run, "_STATUS_SECONDS", 0.0)  # read the status before each day

    def end() -> None:
        (stored,) = instance.get_runs()
        if status == "CANCELED":
            instance.report_run_canceling(stored)
        else:
            instance.report_run_failed(stored, "Exceeded maximum runtime")

    stored, _ = run(instance, end)

    assert stored.status.value == status
    assert get_recorded_days(instance, stored) == [FIRST, SECOND], "the day in progress ends normally"


@pytest.mark.parametrize(
    "error",
    [
        duckdb.InterruptException("INTERRUPT Error: Interrupted!"),
        RuntimeError("Query interrupted"),
        pa.ArrowCancelled("Operation cancelled", 2),
    ],
    ids=["InterruptException", "RuntimeError", "ArrowCancelled"],
)
def test_an_interrupt_that_a_library_reports_stops_the_run(
    instance: dg.DagsterInstance, error: Exception
) -> None:
    def fail() -> None:
        try:
            raise error  # noqa: TRY301
        except Exception:  # noqa: BLE001
            raise DataError("Cannot query the lake", where="a test", next_step="none") from None

    stored, _ = run(instance, fail)

    assert stored.status is dg.DagsterRunStatus.FAILURE, "nothing shows that a person stopped it"
    assert get_recorded_days(instance, stored) == [FIRST]


def test_a_transient_error_is_retried_until_no_retry_is_left(instance: dg.DagsterInstance) -> None:
    def fail() -> None:
        raise RetryLaterError("Throttled", where="a test", next_step="wait")

    stored, result = run(instance, fail)

    assert stored.status is dg.DagsterRunStatus.FAILURE
    assert sum(event.is_step_up_for_retry for event in result.all_events) == RETRY.max_retries
    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    assert SECOND in str(failure.user_failure_data.metadata), "the last failure names its partitions"


def test_the_wait_for_a_retry_can_be_interrupted(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RetryLaterError("Throttled", where="a test", next_step="wait")

    monkeypatch.setattr(
        "assets.framework.partitioned_run.sleep", lambda _: signal.raise_signal(signal.SIGINT)
    )

    stored, result = run(instance, fail)

    assert stored.status is dg.DagsterRunStatus.CANCELED
    assert not any(event.is_step_up_for_retry for event in result.all_events)
