"""How a backfill is split, and what an instance needs before its first runs."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import EmptyWorkspaceTarget, InProcessWorkspaceLoadTarget
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from assets.executions.assets import POOL
from assets.framework.automation import CONTINUED_TAG, EXCLUSIVE_TAG
from assets.framework.partitions import RANGE
from pipelines.operations.stages import ANOMALIES, EXECUTIONS, HEALTH, REPORT, RESULTS, STAGES, Stage
from pipelines.runs import parallel
from pipelines.runs.backfill import BackfillPlan, Workers, build_stage_request, is_exclusive
from pipelines.runs.instance import INSTANCE
from pipelines.runs.launcher import BackfillRequest, RunOutcome
from pipelines.runs.parallel import ParallelBackfill, Part, _PartRun, choose_days_per_run, split_stage
from pipelines.runs.pools import create_pools
from pipelines.runs.queue import CodeServerError, is_code_server_error, open_queue
from pipelines.runs.worker import WorkerTask
from resources.errors import LedgerError

FIRST = date(2026, 1, 1)


@given(days=st.integers(1, 400), days_per_run=st.integers(1, 60))
def test_the_runs_of_a_stage_cover_each_day_once(days: int, days_per_run: int) -> None:
    last = FIRST + timedelta(days=days - 1)

    ((*parts,),) = split_stage(RESULTS, FIRST, last, Workers(1, days_per_run))

    covered = [
        part.first + timedelta(days=n) for part in parts for n in range((part.last - part.first).days + 1)
    ]
    assert covered == [FIRST + n * timedelta(days=1) for n in range(days)]
    assert all((part.last - part.first).days < days_per_run for part in parts)


def test_runs_that_share_days_precede_the_run_that_materializes_them() -> None:
    shares, recorded = split_stage(RESULTS, FIRST, FIRST + timedelta(days=9), Workers(4, 5, runs_per_day=2))

    assert [(part.first, part.config) for part in shares] == [
        (first, {"share": share}) for first in (FIRST, FIRST + timedelta(days=5)) for share in ("0/2", "1/2")
    ]
    assert [(part.first, part.config) for part in recorded] == [
        (first, {"only_recorded": True}) for first in (FIRST, FIRST + timedelta(days=5))
    ]


@pytest.mark.parametrize("stage", [EXECUTIONS, ANOMALIES], ids=lambda stage: stage.name)
def test_assets_without_partitions_are_built_once_after_the_days(stage: Stage) -> None:
    days, (other,) = split_stage(stage, FIRST, FIRST + timedelta(days=9), Workers(1, 5))

    assert [part.assets for part in days] == [stage.daily_assets] * 2
    assert other.assets == stage.other_assets


@pytest.mark.parametrize("stage", [HEALTH, REPORT], ids=lambda stage: stage.name)
def test_stages_that_read_other_days_of_their_run_are_not_split(stage: Stage) -> None:
    ((part,),) = split_stage(stage, FIRST, FIRST + timedelta(days=99), Workers(1, 5))

    assert part.assets == stage.assets


@pytest.mark.parametrize(
    ("schedulers", "days", "workers", "expected"),
    [(15, 365, 1, 31), (1_000, 365, 4, 4), (10_000, 365, 4, 1), (15, 10, 4, 3), (0, 3, 8, 1)],
)
def test_a_run_takes_about_ten_minutes_and_all_workers_have_work(
    schedulers: int, days: int, workers: int, expected: int
) -> None:
    assert choose_days_per_run(schedulers, days, workers) == expected


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    (tmp_path / "dagster.yaml").write_text(INSTANCE)
    return dg.DagsterInstance.from_config(str(tmp_path))


@pytest.mark.parametrize(
    ("stages", "continued"),
    [
        (STAGES, {EXECUTIONS, RESULTS, ANOMALIES, HEALTH, REPORT}),
        ((EXECUTIONS,), set()),
        ((EXECUTIONS, RESULTS, ANOMALIES, HEALTH), set()),
        ((RESULTS, ANOMALIES, HEALTH, REPORT), {RESULTS, ANOMALIES, HEALTH, REPORT}),
    ],
)
def test_runs_say_whether_all_later_stages_follow(stages: tuple[Stage, ...], continued: set[Stage]) -> None:
    plan = BackfillPlan.from_request(BackfillRequest(FIRST, FIRST), stages)

    for stage in stages:
        request = build_stage_request(plan, stage, None, is_exclusive=True)
        assert EXCLUSIVE_TAG in request.tags
        assert (CONTINUED_TAG in request.tags) is (stage in continued)


@pytest.mark.parametrize(
    ("status", "first", "expected"),
    [
        (dg.DagsterRunStatus.STARTING, 2, False),
        (dg.DagsterRunStatus.STARTED, 2, False),
        (dg.DagsterRunStatus.SUCCESS, 2, True),
        (dg.DagsterRunStatus.STARTED, 4, True),
    ],
)
def test_a_backfill_is_exclusive_unless_another_one_is_active_on_its_days(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, first: int, *, expected: bool
) -> None:
    first_day = FIRST + timedelta(days=first)
    other = BackfillPlan.from_request(BackfillRequest(first_day, first_day + timedelta(days=9)))
    request = build_stage_request(other, RESULTS, None, is_exclusive=True)
    days = zip(RANGE, (request.first.isoformat(), request.last.isoformat()), strict=True)
    instance.add_run(dg.DagsterRun("job", status=status, tags={**request.tags, **dict(days)}))

    plan = BackfillPlan.from_request(BackfillRequest(FIRST, FIRST + timedelta(days=2)))

    assert is_exclusive(instance, plan) is expected
    assert is_exclusive(instance, other), "its own runs do not count"
    tags = build_stage_request(plan, RESULTS, None, is_exclusive=False).tags
    assert not {EXCLUSIVE_TAG, CONTINUED_TAG} & tags.keys()


def test_the_pool_of_a_fresh_instance_gets_the_default_limit_and_keeps_another_one(
    instance: dg.DagsterInstance,
) -> None:
    storage = instance.event_log_storage
    assert list(storage.get_pool_limits()) == []

    create_pools(instance)
    assert [(pool.name, pool.limit) for pool in storage.get_pool_limits()] == [(POOL, 1)]

    storage.set_concurrency_slots(POOL, 3)
    create_pools(instance)
    assert [(pool.name, pool.limit) for pool in storage.get_pool_limits()] == [(POOL, 3)]
    instance.dispose()


@dg.job
def empty_job() -> None:
    """Its runs are only recorded."""


@pytest.mark.parametrize(("decision", "ends"), [("false", True), ("true", False)])
def test_a_failed_run_ends_after_dagster_has_decided_whether_to_retry_it(
    instance: dg.DagsterInstance, decision: str, *, ends: bool
) -> None:
    request = BackfillRequest(FIRST, FIRST)
    plan = replace(BackfillPlan.from_request(request), workers=Workers(1, 1))
    # as Dagster leaves it for a moment: failed, and without the tag
    run = instance.create_run_for_job(empty_job, status=dg.DagsterRunStatus.FAILURE)
    with open_queue(instance, EmptyWorkspaceTarget()) as queue:
        backfill = ParallelBackfill(plan, instance, queue)
        part = _PartRun(Part(FIRST, FIRST, ()), request)
        backfill._add_report(part, run.run_id)

        assert backfill._follow_all([part]) == [part]
        instance.add_run_tags(run.run_id, {"dagster/will_retry": decision})
        assert backfill._follow_all([part]) == ([] if ends else [part])
    instance.dispose()


@pytest.mark.parametrize("is_step_missing", [False, True])
def test_a_run_that_is_lost_after_its_last_step_has_succeeded(
    instance: dg.DagsterInstance, *, is_step_missing: bool
) -> None:
    """Dagster cannot retry it: nothing remains to be executed."""

    @dg.asset
    def results() -> None:
        if is_step_missing:
            raise RuntimeError

    done = dg.materialize([results], instance=instance, raise_on_error=False)
    run = instance.get_run_by_id(done.run_id)
    assert run
    instance.report_run_failed(run)
    assert [stored.status for stored in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    request = BackfillRequest(FIRST, FIRST, progress_asset="results")
    plan = replace(BackfillPlan.from_request(request), workers=Workers(1, 1))
    with open_queue(instance, EmptyWorkspaceTarget()) as queue:
        backfill = ParallelBackfill(plan, instance, queue)
        part = _PartRun(Part(FIRST, FIRST, ()), request)
        backfill._add_report(part, run.run_id)
        instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})

        assert backfill._follow_all([part]) == []
    assert part.latest.outcome is (RunOutcome.failed if is_step_missing else RunOutcome.succeeded)
    instance.dispose()


# Dagster reads its own deprecated property when it loads a location in this process
@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")
def test_a_retry_that_dagster_has_lost_is_started_once(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its daemon decides by the status of the run, which can be older than the event of the failure."""
    file = tmp_path / "location.py"
    file.write_text("import dagster as dg\n@dg.asset\ndef results() -> None: ...\n")
    target = InProcessWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(file)), location_name="location")
    )
    request = BackfillRequest(FIRST, FIRST)
    plan = replace(BackfillPlan.from_request(request), workers=Workers(1, 1))
    task = WorkerTask(str(uuid4()), ["results"], {"ledger/stage": "results"}, {})
    with open_queue(instance, target) as queue:
        queue.submit(task)
        backfill = ParallelBackfill(plan, instance, queue)
        part = _PartRun(Part(FIRST, FIRST, ()), request)
        backfill._add_report(part, task.run_id)
        failed = instance.get_run_by_id(task.run_id)
        assert failed
        instance.report_run_failed(failed)  # without a daemon that could start the retry

        assert backfill._follow_all([part]) == [part]
        assert len(instance.get_runs()) == 1, "Dagster needs some seconds"
        monkeypatch.setattr(parallel, "_RETRY_SECONDS", -1)
        for _ in range(3):
            assert backfill._follow_all([part]) == [part]

    retry, _ = instance.get_runs()
    assert part.latest.run_id == retry.run_id
    assert retry.status is dg.DagsterRunStatus.QUEUED
    assert retry.parent_run_id == failed.run_id
    assert (retry.tags["dagster/retry_number"], retry.tags["ledger/stage"]) == ("1", "results")
    instance.dispose()


def test_the_database_and_code_servers_are_asked_again_until_they_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "sleep", lambda _: None)
    lost = OperationalError("SELECT 1", {}, Exception("server closed the connection"))
    errors: list[Exception] = [lost, DagsterUserCodeUnreachableError("code server"), lost]

    def ask() -> int:
        if errors:
            raise errors.pop()
        return 1

    assert parallel.wait_for_servers(ask) == 1

    errors.append(ValueError("not of a database"))
    with pytest.raises(ValueError, match="not of a database"):
        parallel.wait_for_servers(ask)

    monkeypatch.setattr(parallel, "_SERVER_SECONDS", -1)
    errors.append(lost)
    with pytest.raises(OperationalError):
        parallel.wait_for_servers(ask)


def test_a_code_server_without_the_assets_is_named(instance: dg.DagsterInstance) -> None:
    """As while it restarts."""
    task = WorkerTask(str(uuid4()), ["anomaly_predictions"], {}, {})
    with (
        open_queue(instance, EmptyWorkspaceTarget()) as queue,
        pytest.raises(CodeServerError, match="no code location has anomaly_predictions") as caught,
    ):
        queue.submit(task)
    instance.dispose()
    assert is_code_server_error(caught.value)


def test_a_missing_workspace_file_is_named(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="workspace"), open_queue(instance, tmp_path / "workspace.yaml"):
        pass
    instance.dispose()
