"""Retries: transient errors are retried, permanent errors are not retried by any layer."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.executions import assets as execution_assets
from assets.executions.extraction import Extraction
from pipelines.automation.schedules import REFRESH
from pipelines.runs import instance as home
from sandbox.service import Handle
from tests.support.live_service import build_api_settings
from tests.support.run_results import LIST_EXECUTIONS, LIST_SCHEDULERS, build_options
from tests.support.scheduled_location import BuildScheduledLocation


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the local configuration."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(home.INSTANCE)
    with dg.DagsterInstance.from_config(str(folder)) as local:
        yield local


def will_be_retried(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the daemon would launch the run again."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags.get("dagster/will_retry") == "true"


@pytest.mark.parametrize(
    ("fault", "asked_once"),
    [
        ("deny", {LIST_SCHEDULERS: 1}),
        ("deny:ListInferenceExecutions", {LIST_SCHEDULERS: 1, LIST_EXECUTIONS: 4}),
        # the others have two batches, pump-1 also two pages
        ("deny:ListInferenceExecutions:scheduler=pump-2", {LIST_SCHEDULERS: 1, LIST_EXECUTIONS: 8}),
    ],
    ids=["all", "executions", "one scheduler"],
)
def test_permanent_errors_are_retried_by_no_layer(
    schedule_location: BuildScheduledLocation,
    service: Handle,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    asked_once: dict[str, int],
) -> None:
    monkeypatch.setattr(execution_assets, "DAYS_PER_BATCH", 4)
    service.inject(fault)
    location = schedule_location(build_api_settings(service.url))

    result = location.execute(location.tick())

    assert not result.success
    assert {name: service.count(operation=name) for name in asked_once} == asked_once, "botocore, RetryPolicy"
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert not will_be_retried(location.instance, result.run_id), "run retries"
    automation = dg.evaluate_automation_conditions(
        location.definitions,
        location.instance,
        asset_selection=dg.AssetSelection.assets("inference_executions"),
    )
    assert automation.total_requested == 0, "automation"


def test_transient_errors_are_retried_by_botocore_and_then_by_the_step(
    schedule_location: BuildScheduledLocation,
    service: Handle,
) -> None:
    service.inject("unavailable:ListInferenceSchedulers:count=9")  # one more than botocore retries
    location = schedule_location(build_api_settings(service.url))

    result = location.execute(location.tick())

    assert result.success
    assert sum(event.is_step_up_for_retry for event in result.all_events) == 1
    assert service.count(operation=LIST_SCHEDULERS) == 9 + 1


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (KeyboardInterrupt, dg.DagsterRunStatus.CANCELED),
        (dg.DagsterExecutionInterruptedError, dg.DagsterRunStatus.FAILURE),
    ],
    ids=["a person", "a shutdown"],
)
def test_an_interrupted_run_is_retried_only_if_no_person_stopped_it(
    schedule_location: BuildScheduledLocation,
    service: Handle,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    status: dg.DagsterRunStatus,
) -> None:
    def interrupt(*_: object) -> None:
        raise stop

    monkeypatch.setattr(Extraction, "gather", interrupt)
    location = schedule_location(build_api_settings(service.url))

    result = location.execute(location.tick(), checks=False)

    run = location.instance.get_run_by_id(result.run_id)
    assert run is not None and run.status is status
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert will_be_retried(location.instance, result.run_id) == (status is dg.DagsterRunStatus.FAILURE)


def test_a_spent_call_limit_is_not_retried(
    schedule_location: BuildScheduledLocation,
    service: Handle,
) -> None:
    location = schedule_location(build_api_settings(service.url))
    job = location.definitions.resolve_job_def(REFRESH)

    result = job.execute_in_process(
        instance=location.instance,
        tags=location.tick().tags,
        raise_on_error=False,
        **build_options(max_calls=3),
    )

    assert service.count() == 3
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert not will_be_retried(location.instance, result.run_id)


def test_a_run_whose_process_died_is_retried(
    schedule_location: BuildScheduledLocation, service: Handle
) -> None:
    location = schedule_location(build_api_settings(service.url))
    request = location.tick()
    job = location.definitions.resolve_job_def(REFRESH)
    run = location.instance.create_run_for_job(job, run_config=request.run_config, tags=request.tags)

    location.instance.report_run_failed(run, "the process is gone")

    assert will_be_retried(location.instance, run.run_id)


def test_runs_that_call_the_api_share_a_pool_of_one(
    schedule_location: BuildScheduledLocation, service: Handle
) -> None:
    location = schedule_location(build_api_settings(service.url))

    assert location.definitions.resolve_assets_def("inference_executions").op.pool == "lookoutequipment_api"
    pools = location.instance.get_concurrency_config().pool_config
    assert (pools.default_pool_limit, str(pools.pool_granularity)) == (1, "PoolGranularity.RUN")
