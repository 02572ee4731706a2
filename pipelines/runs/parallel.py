"""A backfill in several runs at a time: ranges of days that do not overlap, started by the daemon.

The lake's conditional writes are the only coordination between the runs. A stage starts when the one before
it has ended, because it reads the tables of neighboring days.
"""

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from math import ceil
from typing import TypeVar
from uuid import UUID

import dagster as dg

from assets.framework.metadata import HIDDEN_PREFIX
from assets.framework.partitions import RANGE
from pipelines.operations.capacity import build_day, compute_reading_seconds
from pipelines.operations.stages import ANOMALIES, EXECUTIONS, RESULTS, Stage
from pipelines.runs.backfill import (
    BackfillPlan,
    BackfillReport,
    Workers,
    build_parallel_tags,
    build_stage_request,
    is_exclusive,
    list_runs,
)
from pipelines.runs.instance import is_database_error
from pipelines.runs.launcher import (
    FINISHED,
    BackfillRequest,
    RunFollower,
    RunOutcome,
    RunReport,
    build_config,
    build_resume_tags,
    complete_report,
    has_executed_all_steps,
)
from pipelines.runs.queue import RunQueue, is_code_server_error
from pipelines.runs.worker import WorkerTask
from resources.clock import monotonic, sleep, unique_id

T = TypeVar("T")

PART_TAG = f"{HIDDEN_PREFIX}part"
"""Tag of a run: the config of its part as JSON."""

SPLIT_STAGES = (EXECUTIONS, RESULTS, ANOMALIES)
"""Stages whose days can be processed in several runs; the others read days of the same run."""

_SERVER_SECONDS = 120
_RETRY_SECONDS = 60
"""Dagster decides on a retry and starts it some seconds after the failure of a run."""

_SECONDS_PER_RUN, _MAX_DAYS_PER_RUN = 600, 31
_POLL_SECONDS = 2.0
_WAITING = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
)
_WILL_RETRY = "dagster/will_retry"


def choose_days_per_run(schedulers: int, days: int, workers: int) -> int:
    """Return how many days make a run of about ten minutes, with work for all workers."""
    longest = int(_SECONDS_PER_RUN / compute_reading_seconds(build_day(max(schedulers, 1))))
    return max(1, min(longest, _MAX_DAYS_PER_RUN, ceil(days / workers)))


@dataclass(frozen=True)
class Part:
    """What one run materializes: some assets over a range of days.

    Attributes:
        first: the first day.
        last: the last day, included.
        assets: the names of the assets.
        config: the config of the assets, besides that of the request.
    """

    first: date
    last: date
    assets: tuple[str, ...]
    config: Mapping[str, str | bool] = field(default_factory=dict)

    def overlaps(self, other: "Part") -> bool:
        """Whether both have a day in common."""
        return self.first <= other.last and other.first <= self.last


def split_stage(stage: Stage, first: date, last: date, workers: Workers) -> list[list[Part]]:
    """Return the runs of a stage: lists that are executed one after the other, each in parallel.

    Runs that share a day materialize nothing; a run of the second list materializes its days.
    """
    if stage not in SPLIT_STAGES:
        return [[Part(first, last, stage.assets)]]
    parts, start = [], first
    while start <= last:
        end = min(last, start + timedelta(days=workers.days_per_run - 1))
        parts.append(Part(start, end, stage.daily_assets))
        start = end + timedelta(days=1)
    if stage is RESULTS and workers.runs_per_day > 1:
        count = workers.runs_per_day
        shares = [replace(part, config={"share": f"{n}/{count}"}) for part in parts for n in range(count)]
        return [shares, [replace(part, config={"only_recorded": True}) for part in parts]]
    others = [Part(first, last, stage.other_assets)] if stage.other_assets else []
    return [parts, others] if others else [parts]


@dataclass
class _PartRun:
    """The runs of a part: the first one, and those that Dagster started after the death of a process."""

    part: Part
    request: BackfillRequest
    reports: list[RunReport] = field(default_factory=list)

    @property
    def latest(self) -> RunReport:
        return self.reports[-1]


@contextmanager
def _count_stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM. An exception of a handler could be lost in a callback of gRPC."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda number, _: received.append(number)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def wait_for_servers(action: Callable[[], T]) -> T:
    """Execute an idempotent action; repeat it while the database or a code server cannot be reached.

    Raises:
        Exception: the last error, after `_SERVER_SECONDS`.
    """
    deadline = monotonic() + _SERVER_SECONDS
    while True:
        try:
            return action()
        except Exception as error:
            is_restarting = is_database_error(error) or is_code_server_error(error)
            if not is_restarting or monotonic() > deadline:
                raise
        sleep(_POLL_SECONDS)


class ParallelBackfill:
    """Executes a plan with several workers."""

    def __init__(self, plan: BackfillPlan, instance: dg.DagsterInstance, queue: RunQueue) -> None:
        """Start nothing yet.

        Args:
            plan: what to execute; it has the number of workers and the days of a run.
            instance: the instance that the daemon uses.
            queue: its queue.
        """
        assert plan.workers is not None  # noqa: S101 (see above)
        self._plan, self._workers = plan, plan.workers
        self._instance, self._queue = instance, queue
        self._report = BackfillReport(plan)
        self._followers: dict[str, RunFollower] = {}
        self._failed_at: dict[str, float] = {}
        self._stop_signals: list[int] = []
        self._is_stopped = False
        self._changed: list[Part] = []

    def execute(self, update: Callable[[BackfillReport], None]) -> BackfillReport:
        """Execute the stages; Ctrl-C and SIGTERM stop all runs, a second one does not wait for them.

        A restart of the database of at most two minutes is waited for.

        Args:
            update: is called with the report every two seconds.
        """
        request = self._plan.request
        with _count_stop_signals() as self._stop_signals:
            for planned in self._plan.stages:
                runs: list[_PartRun] = []
                for parts in split_stage(planned.stage, request.first, request.last, self._workers):
                    self._execute_parts(planned.stage, parts, runs, update)
                if not runs and not self._is_stopped:
                    self._mark_complete(planned.stage)
                if self._is_stopped or self._has_read_nothing(planned.stage):
                    break
        return self._report

    def _execute_parts(
        self,
        stage: Stage,
        parts: Sequence[Part],
        runs: list[_PartRun],
        update: Callable[[BackfillReport], None],
    ) -> None:
        """Execute some parts of a stage, at most as many at a time as there are workers."""
        waiting = [(part, wait_for_servers(partial(self._find_previous, stage, part))) for part in parts]
        waiting = [
            (part, previous)
            for part, previous in waiting
            if (
                previous is None
                or previous.status is not dg.DagsterRunStatus.SUCCESS
                or any(part.overlaps(changed) for changed in self._changed)
            )
            and not (part.config.get("only_recorded") and self._has_failed(part, runs))
        ]
        active: list[_PartRun] = []
        while (waiting and not self._is_stopped) or active:
            while waiting and len(active) < self._workers.count and not self._stop_signals:
                part, previous = waiting.pop(0)
                run, task = wait_for_servers(partial(self._build_run, stage, part, previous))
                wait_for_servers(partial(self._queue.submit, task))
                active.append(run)
                runs.append(run)
            sleep(_POLL_SECONDS)
            if self._stop_signals and not self._is_stopped:
                self._is_stopped = True
                wait_for_servers(partial(self._cancel, active))
            if len(self._stop_signals) > 1:
                break
            active = wait_for_servers(partial(self._follow_all, active))
            self._report.runs[stage.name] = self._merge(stage, runs, is_active=bool(waiting or active))
            update(self._report)
        self._changed += [run.part for run in runs]

    def _build_run(
        self, stage: Stage, part: Part, previous: dg.DagsterRun | None
    ) -> tuple[_PartRun, WorkerTask]:
        stage_request = build_stage_request(
            self._plan, stage, None, is_exclusive=is_exclusive(self._instance, self._plan)
        )
        run = _PartRun(part, replace(stage_request, first=part.first, last=part.last, assets=part.assets))
        tags = dict(zip(RANGE, (part.first.isoformat(), part.last.isoformat()), strict=True))
        tags |= {**stage_request.tags, **build_parallel_tags(self._plan)}
        if previous is not None and not any(part.overlaps(changed) for changed in self._changed):
            tags |= build_resume_tags(self._instance, previous.run_id)
        keys = [key.to_user_string() for key in run.request.asset_keys]
        config = build_config(run.request)
        if part.config:
            tags[PART_TAG] = json.dumps(part.config)
            config |= {name: {"config": dict(part.config)} for name in part.assets}
        task = WorkerTask(str(UUID(unique_id())), keys, tags, config)
        self._add_report(run, task.run_id)
        return run, task

    def _add_report(self, run: _PartRun, run_id: str) -> None:
        run.reports.append(RunReport(run_id, run.request, None))
        self._followers[run_id] = RunFollower(self._instance, run.latest)

    def _find_previous(self, stage: Stage, part: Part) -> dg.DagsterRun | None:
        """Return the latest run of the part in an earlier call of the same backfill."""
        keys = set(replace(self._plan.request, assets=part.assets).asset_keys)
        days = [part.first.isoformat(), part.last.isoformat()]
        return next(
            (
                run
                for run in list_runs(self._instance, self._plan.backfill_id, stage)
                if run.asset_selection == keys
                and [run.tags.get(tag) for tag in RANGE] == days
                and json.loads(run.tags.get(PART_TAG, "{}")) == part.config
            ),
            None,
        )

    @staticmethod
    def _has_failed(part: Part, runs: Sequence[_PartRun]) -> bool:
        """Whether a run with a share of the days of a part did not record all of them."""
        of_days = (run for run in runs if run.part.overlaps(part))
        return any(run.latest.outcome is not RunOutcome.succeeded for run in of_days)

    def _follow_all(self, active: Sequence[_PartRun]) -> list[_PartRun]:
        """Read new events; return the runs that have not ended. One query reads the status of all of them."""
        run_ids = [run.latest.run_id for run in active]
        stored = {run.run_id: run for run in self._instance.get_runs(dg.RunsFilter(run_ids=run_ids))}
        return [run for run in active if not self._follow(run, stored.get(run.latest.run_id))]

    def _follow(self, run: _PartRun, stored: dg.DagsterRun | None) -> bool:
        """Read new events; return whether the part has ended."""
        if stored is not None and stored.status in _WAITING:
            return False
        if stored is not None:
            self._followers[run.latest.run_id].read_events(stored)
        if stored is not None and stored.status not in FINISHED:
            return False
        failed = stored if stored is not None and stored.status is dg.DagsterRunStatus.FAILURE else None
        if failed is not None and not self._is_stopped:
            retry = self._find_retry(failed)
            if retry is not None:
                self._add_report(run, retry.run_id)
                return False
            if self._may_be_retried(failed) and not has_executed_all_steps(self._instance, failed):
                if self._is_overdue(failed):
                    self._queue.retry(failed)
                return False
        complete_report(self._instance, run.latest)
        return True

    def _may_be_retried(self, run: dg.DagsterRun) -> bool:
        """Return whether Dagster has decided to start a retry, or has not decided yet."""
        decision = run.tags.get(_WILL_RETRY)
        if decision is not None or not self._instance.run_retries_enabled:
            return decision == "true"
        return not self._is_overdue(run)

    def _is_overdue(self, run: dg.DagsterRun) -> bool:
        """Return whether Dagster should have decided on a retry of a failed run, and have started it."""
        return monotonic() > self._failed_at.setdefault(run.run_id, monotonic()) + _RETRY_SECONDS

    def _find_retry(self, run: dg.DagsterRun) -> dg.DagsterRun | None:
        """Return the run that was started after this one failed."""
        retries = self._instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run.run_id}), limit=1)
        return next(iter(retries), None)

    def _cancel(self, active: Sequence[_PartRun]) -> None:
        """Remove queued runs from the queue, and terminate started ones."""
        for run in active:
            self._instance.run_coordinator.cancel_run(run.latest.run_id)

    def _merge(self, stage: Stage, runs: Sequence[_PartRun], *, is_active: bool) -> RunReport:
        """Return one report of all runs of a stage."""
        request = build_stage_request(self._plan, stage, None, is_exclusive=False)  # its tags are not used
        merged = RunReport(runs[0].latest.run_id, request, None)
        merged.is_stopped = self._is_stopped
        for run in runs:
            for report in run.reports:
                merged.days |= report.days
                merged.partitions += report.partitions
                for name, number in report.numbers.items():
                    merged.numbers[name] = merged.numbers.get(name, 0) + number
            merged.failed |= run.latest.failed
            merged.refused |= run.latest.refused
            merged.warnings += [text for text in run.latest.warnings if text not in merged.warnings]
            merged.message = merged.message or run.latest.message
        outcomes = {run.latest.outcome for run in runs}
        if not is_active:
            worst = [outcome for outcome in (RunOutcome.stopped, RunOutcome.failed) if outcome in outcomes]
            merged.outcome = next(iter(worst), RunOutcome.succeeded)
            merged.outcome = RunOutcome.stopped if self._is_stopped else merged.outcome
        return merged

    def _mark_complete(self, stage: Stage) -> None:
        """Record that an earlier call of the same backfill completed a stage."""
        plan = self._report.plan
        stages = tuple(replace(run, is_complete=run.is_complete or run.stage is stage) for run in plan.stages)
        self._report.plan = replace(plan, stages=stages)

    def _has_read_nothing(self, stage: Stage) -> bool:
        report = self._report.runs.get(stage.name)
        return report is not None and bool(report.refused) and not report.partitions
