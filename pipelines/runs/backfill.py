"""A backfill: one Dagster run for each stage, one after the other.

Separate runs, because Dagster skips all steps after a failed one: days that were recorded would get no
downstream data as long as one source fails. All runs of a backfill have the tag `ledger/backfill`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from uuid import UUID

import dagster as dg

from assets.framework import automation
from assets.framework.metadata import HIDDEN_PREFIX, PREFIX
from assets.framework.partitions import RANGE
from assets.tables import INFERENCE_EXECUTIONS
from pipelines.operations.stages import EXECUTIONS, STAGES, Stage
from pipelines.runs.launcher import FINISHED, BackfillRequest, RunOutcome, RunReport, Worker, launch
from resources.clock import unique_id
from resources.errors import ConfigurationError

BACKFILL_TAG, STAGE_TAG, STAGES_TAG = automation.BACKFILL_TAG, f"{PREFIX}stage", f"{HIDDEN_PREFIX}stages"
DAYS_TAG, WORKERS_TAG, DAYS_PER_RUN_TAG, RUNS_PER_DAY_TAG = (
    f"{HIDDEN_PREFIX}days",
    f"{HIDDEN_PREFIX}workers",
    f"{HIDDEN_PREFIX}days_per_run",
    f"{HIDDEN_PREFIX}runs_per_day",
)
"""Tags of the runs of a backfill with several workers: its range, and how it is split."""


@dataclass(frozen=True)
class Workers:
    """How a backfill is split.

    Attributes:
        count: the largest number of runs at a time.
        days_per_run: the largest number of days of a run.
        runs_per_day: the number of runs that share the results of a day by its shards.
    """

    count: int
    days_per_run: int
    runs_per_day: int = 1


@dataclass(frozen=True)
class StageRun:
    """A stage of a backfill.

    Attributes:
        stage: the stage.
        resume: id of the run to resume; None: a new run.
        is_complete: whether an earlier run of the backfill completed it.
    """

    stage: Stage
    resume: str | None = None
    is_complete: bool = False


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill executes.

    Attributes:
        backfill_id: the value of the tag of its runs.
        request: the days and options.
        stages: its stages, in order.
        workers: how it is split; None: one run for each stage, in a subprocess.
    """

    backfill_id: str
    request: BackfillRequest
    stages: tuple[StageRun, ...]
    workers: Workers | None = None

    @classmethod
    def from_request(cls, request: BackfillRequest, stages: Sequence[Stage] = STAGES) -> "BackfillPlan":
        """Plan a new backfill."""
        return cls(str(UUID(unique_id())), request, tuple(map(StageRun, stages)))


@dataclass
class BackfillReport:
    """The progress or result of a backfill.

    Attributes:
        plan: what it executes.
        runs: the reports of the stages that started, by name, in order.
    """

    plan: BackfillPlan
    runs: dict[str, RunReport] = field(default_factory=dict)

    @property
    def outcome(self) -> RunOutcome | None:
        """None while a run is active."""
        outcomes = {run.outcome for run in self.runs.values()}
        if any(run.is_stopped for run in self.runs.values()):
            return RunOutcome.stopped
        for outcome in (RunOutcome.stopped, RunOutcome.failed, None):
            if outcome in outcomes:
                return outcome
        return RunOutcome.succeeded

    @property
    def is_complete(self) -> bool:
        """Whether nothing remains to resume."""
        return all(
            stage.is_complete
            or (stage.stage.name in self.runs and self.runs[stage.stage.name].outcome is RunOutcome.succeeded)
            for stage in self.plan.stages
        )

    @property
    def resume_command(self) -> str | None:
        """The command that processes only what is missing; None if nothing is, or no source could be read."""
        runs = self.runs.values()
        is_empty = any(run.refused for run in runs) and not any(run.partitions for run in runs)
        if self.is_complete or is_empty or not runs:
            return None
        request = self.plan.request
        return f"ledger backfill --from {request.first} --to {request.last} --resume {self.plan.backfill_id}"


def execute_backfill(
    plan: BackfillPlan,
    instance: dg.DagsterInstance,
    update: Callable[[BackfillReport], None],
    environment: Mapping[str, str] | None = None,
) -> BackfillReport:
    """Execute the stages; Ctrl-C and SIGTERM stop it.

    A stage that failed for some days does not stop the next ones. If no source could be read, they do not
    start.

    Args:
        plan: what to execute.
        instance: the instance of the runs.
        update: is called with the report a few times a second.
        environment: environment of the subprocess; default: `build_environment()`.
    """
    report = BackfillReport(plan)
    with Worker(environment) as worker:
        is_upstream_new = False
        for planned in plan.stages:
            if planned.is_complete and not is_upstream_new:
                continue
            name = planned.stage.name

            def update_stage(run: RunReport, name: str = name) -> None:
                report.runs[name] = run
                update(report)

            # new upstream data can change days that an earlier run recorded
            resume = planned.resume if not is_upstream_new else None
            request = build_stage_request(
                plan, planned.stage, resume, is_exclusive=is_exclusive(instance, plan)
            )
            run = launch(request, instance, update_stage, worker=worker)
            is_upstream_new = True
            if run.is_stopped or run.outcome is RunOutcome.stopped:
                break
            if instance.get_run_by_id(run.run_id) is None:  # the process cannot start
                break
            if run.refused and not run.partitions:  # no source could be read, so nothing is new
                break
    return report


def is_exclusive(instance: dg.DagsterInstance, plan: BackfillPlan) -> bool:
    """Return whether no other backfill has queued or active runs over days of this one.

    A run without a range, which a person may have tagged, counts as one over these days.
    """
    statuses = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    filters = dg.RunsFilter(tags={STAGE_TAG: [stage.name for stage in STAGES]}, statuses=statuses)
    first, last = plan.request.first.isoformat(), plan.request.last.isoformat()
    return not any(
        run.tags.get(BACKFILL_TAG) != plan.backfill_id
        and run.tags.get(RANGE[0], first) <= last
        and run.tags.get(RANGE[1], last) >= first
        for run in instance.get_runs(filters)
    )


def build_stage_request(
    plan: BackfillPlan, stage: Stage, resume: str | None, *, is_exclusive: bool
) -> BackfillRequest:
    """Return what a stage of a backfill materializes.

    Args:
        plan: the backfill.
        stage: the stage.
        resume: id of the run to resume; None: a new run.
        is_exclusive: the result of `is_exclusive`. If two backfills process the same days, automation cannot
            know which of them has read a change, and whether the later stages will.
    """
    planned = [run.stage for run in plan.stages]
    is_continued = set(STAGES[STAGES.index(stage) + 1 :]) <= set(planned)
    exclusive = [automation.EXCLUSIVE_TAG, *([automation.CONTINUED_TAG] if is_continued else [])]
    return replace(
        plan.request,
        resume=resume,
        assets=stage.assets,
        progress_asset=stage.daily_assets[-1],
        tags={
            BACKFILL_TAG: plan.backfill_id,
            STAGE_TAG: stage.name,
            STAGES_TAG: ",".join(each.name for each in planned),
            **dict.fromkeys(exclusive if is_exclusive else [], "true"),
        },
    )


def build_parallel_tags(plan: BackfillPlan) -> dict[str, str]:
    """Return the tags that a resumed backfill reads."""
    assert plan.workers is not None  # noqa: S101 (only for a backfill that is split)
    return {
        DAYS_TAG: f"{plan.request.first}/{plan.request.last}",
        WORKERS_TAG: str(plan.workers.count),
        DAYS_PER_RUN_TAG: str(plan.workers.days_per_run),
        RUNS_PER_DAY_TAG: str(plan.workers.runs_per_day),
    }


def list_runs(
    instance: dg.DagsterInstance, backfill_id: str, stage: Stage | None = None
) -> list[dg.DagsterRun]:
    """Return the runs of a backfill, the newest first."""
    tags = {BACKFILL_TAG: backfill_id} | ({STAGE_TAG: stage.name} if stage else {})
    return list(instance.get_runs(dg.RunsFilter(tags=tags)))


def plan_resume(
    instance: dg.DagsterInstance,
    identifier: str,
    max_calls: int | None = None,
    key_prefix: tuple[str, ...] = (),
) -> BackfillPlan:
    """Plan the rest of an earlier backfill.

    Args:
        instance: the instance of its runs.
        identifier: the id of the backfill, of one of its runs, or of another extraction run.
        max_calls: limit of API calls; None: the limit of the earlier run.
        key_prefix: the prefix of the asset keys.

    Raises:
        ConfigurationError: there is no such run, or it has no range of days.
    """
    plan = _plan_resume(instance, identifier, max_calls, key_prefix)
    return replace(plan, request=replace(plan.request, key_prefix=key_prefix))


def _plan_resume(
    instance: dg.DagsterInstance, identifier: str, max_calls: int | None, key_prefix: tuple[str, ...]
) -> BackfillPlan:
    run = instance.get_run_by_id(identifier) if _is_uuid(identifier) else None
    backfill_id = run.tags.get(BACKFILL_TAG, identifier) if run else identifier
    runs = list_runs(instance, backfill_id)
    if not runs and run is None:
        raise _build_resume_error(identifier, "the run does not exist")
    if not runs:  # a run that Dagster started
        assert run is not None  # noqa: S101 (see above)
        request = _read_request(run, max_calls)
        is_extraction = (
            not run.asset_selection
            or dg.AssetKey([*key_prefix, INFERENCE_EXECUTIONS.name]) in run.asset_selection
        )
        stages = tuple(
            StageRun(stage, identifier if stage is EXECUTIONS and is_extraction else None) for stage in STAGES
        )
        return BackfillPlan(str(UUID(unique_id())), request, stages)
    latest: dict[str, dg.DagsterRun] = {}
    for earlier in runs:
        latest.setdefault(earlier.tags[STAGE_TAG], earlier)
    names = _read_tag(runs[0], STAGES_TAG).split(",")
    if _read_tag(runs[0], DAYS_TAG):
        return _plan_parallel_resume(backfill_id, latest, names, max_calls)
    first = latest.get(EXECUTIONS.name, runs[0])
    stages = tuple(_plan_stage(stage, latest.get(stage.name)) for stage in STAGES if stage.name in names)
    return BackfillPlan(backfill_id, _read_request(first, max_calls), stages)


def _plan_parallel_resume(
    backfill_id: str, latest: Mapping[str, dg.DagsterRun], names: Sequence[str], max_calls: int | None
) -> BackfillPlan:
    """Plan all stages; the executor finds the runs of the parts that succeeded."""
    run = latest.get(EXECUTIONS.name) or next(iter(latest.values()))
    first, last = map(date.fromisoformat, _read_tag(run, DAYS_TAG).split("/"))
    request = replace(_read_request(run, max_calls), first=first, last=last)
    stages = tuple(StageRun(stage) for stage in STAGES if stage.name in names)
    numbers = (_read_tag(run, tag) or "1" for tag in (WORKERS_TAG, DAYS_PER_RUN_TAG, RUNS_PER_DAY_TAG))
    workers = Workers(*map(int, numbers))
    return BackfillPlan(backfill_id, request, stages, workers)


def _read_tag(run: dg.DagsterRun, tag: str) -> str:
    """Return the value of a hidden tag, also if an earlier version wrote it visibly; empty without it."""
    return run.tags.get(tag) or run.tags.get(tag.replace(HIDDEN_PREFIX, PREFIX), "")


def _plan_stage(stage: Stage, latest: dg.DagsterRun | None) -> StageRun:
    if latest is None:
        return StageRun(stage)
    is_complete = latest.status is dg.DagsterRunStatus.SUCCESS
    return StageRun(stage, None if is_complete else latest.run_id, is_complete)


def _read_request(run: dg.DagsterRun, max_calls: int | None) -> BackfillRequest:
    if not all(tag in run.tags for tag in RANGE):
        raise _build_resume_error(run.run_id, "the run has no range of days")
    run_config: Any = run.run_config
    config: dict[str, Any] = run_config.get("ops", {}).get(INFERENCE_EXECUTIONS.name, {}).get("config", {})
    first, last = (date.fromisoformat(run.tags[tag]) for tag in RANGE)
    return BackfillRequest(
        first,
        last,
        tuple(config.get("schedulers", ())),
        bool(config.get("skip_settled", False)),
        max_calls if max_calls is not None else config.get("max_calls"),
    )


def _build_resume_error(identifier: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot resume run {identifier}: {reason}",
        where=f"the Dagster instance at {os.environ.get('DAGSTER_HOME', '?')}",
        next_step="copy the id from the output of the backfill or the Dagster UI, or run the range with"
        " --skip-settled instead of --resume",
    )


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
