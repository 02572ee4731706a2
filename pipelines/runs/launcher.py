"""Executes Dagster runs in a subprocess and follows them to their end.

All information comes from the Dagster instance, so the command line and the Dagster UI show the same:
recorded days are materializations, failed days are metadata of the step failure.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self
from uuid import UUID

import dagster as dg
import msgspec
from dagster._core.execution.stats import StepEventStatus

from assets.framework.metadata import (
    FAILED_PARTITIONS,
    FAILED_SOURCES,
    INTERACTIVE_TAG,
    PREFIX,
    read_reasons,
)
from assets.framework.partitions import RANGE
from assets.tables import INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from pipelines.runs.instance import HOME_VARIABLE, build_environment
from pipelines.runs.worker import WorkerTask
from resources.clock import sleep, unique_id, utc_now
from resources.config.loader import CHECKOUT
from resources.errors import ConfigurationError

PARENT, ROOT, IS_RESUME = "dagster/parent_run_id", "dagster/root_run_id", "dagster/is_resume_retry"
"""Tags of a run that resumes another run."""

_POLL_SECONDS = 0.25
_EVENTS_PER_READ = 1000
_WARNING_LEVEL = 30
_CANCELED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class RunOutcome(StrEnum):
    """How a run ended."""

    succeeded = "succeeded"
    failed = "failed"
    stopped = "stopped"


@dataclass(frozen=True)
class BackfillRequest:
    """What a run materializes.

    Attributes:
        first: the first day.
        last: the last day, included.
        schedulers: name patterns; empty: all schedulers.
        skip_settled: skip settled days.
        max_calls: limit of API calls; None: the limit of the settings.
        resume: id of the run to resume.
        assets: names of the assets; empty: all assets.
        key_prefix: the prefix of their keys.
        progress_asset: the asset whose materializations count as progress.
        tags: further tags of the run.
    """

    first: date
    last: date
    schedulers: tuple[str, ...] = ()
    skip_settled: bool = False
    max_calls: int | None = None
    resume: str | None = None
    assets: tuple[str, ...] = (INFERENCE_EXECUTIONS.name, INFERENCE_SCHEDULERS.name)
    key_prefix: tuple[str, ...] = ()
    progress_asset: str = INFERENCE_EXECUTIONS.name
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def asset_keys(self) -> list[dg.AssetKey]:
        """The keys of the assets."""
        return [dg.AssetKey([*self.key_prefix, name]) for name in self.assets]

    @property
    def day_count(self) -> int:
        """The number of days."""
        return (self.last - self.first).days + 1


@dataclass(frozen=True)
class DayCounts:
    """The rows of one day in the lake, and how many of them are new or changed."""

    executions: int
    rows_changed: int


@dataclass
class RunReport:
    """The progress or result of a run.

    Attributes:
        run_id: id of the Dagster run.
        request: what the run materializes.
        log: the output of its process; None if the daemon started it.
        outcome: None while the run is active.
        is_stopped: whether the user stopped it, even if it ended before that.
        days: the days that the progress asset recorded.
        partitions: the number of partitions that all assets recorded.
        failed: reasons by day.
        refused: reasons by source or scheduler.
        numbers: integer metadata of the run, such as `calls`.
        warnings: warnings in the log of the run.
        message: the error message of a run that failed.
    """

    run_id: str
    request: BackfillRequest
    log: Path | None
    outcome: RunOutcome | None = None
    is_stopped: bool = False
    days: dict[date, DayCounts] = field(default_factory=dict)
    partitions: int = 0
    failed: dict[date, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    message: str = ""


class Worker:
    """A process that executes runs one after the other. It starts with the first one."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Start nothing yet.

        Args:
            environment: environment of the process; default: `build_environment()`.
        """
        self._environment = build_environment() if environment is None else dict(environment)
        self.log = _create_log_path(self._environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process can execute a task or is executing one."""
        return self._process is not None and self._process.poll() is None

    def execute(self, task: WorkerTask) -> None:
        """Start a run; a new process replaces one that died."""
        if not self.is_alive:
            self._process = self._spawn()
        assert self._process is not None  # noqa: S101 (see above)
        assert self._process.stdin is not None  # noqa: S101 (it is a pipe)
        with suppress(BrokenPipeError):  # the process died: the run never starts
            self._process.stdin.write(msgspec.json.encode(task) + b"\n")
            self._process.stdin.flush()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self._process is not None:
            self._process.send_signal(number)

    def end_input(self) -> None:
        """Let the process end after its current run."""
        if self._process is not None and self._process.stdin and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_input()
        if self._process is not None:
            self._process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pipelines.runs.worker"],
                cwd=CHECKOUT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal sends Ctrl-C to this process only, which forwards it
            )


def launch(
    request: BackfillRequest,
    instance: dg.DagsterInstance,
    update: Callable[[RunReport], None],
    environment: Mapping[str, str] | None = None,
    worker: Worker | None = None,
) -> RunReport:
    """Execute a run to its end and return its report.

    Ctrl-C or SIGTERM stops the run, a second one kills it. Recorded days stay recorded in both cases.

    Args:
        request: what to materialize.
        instance: the instance of the run; the subprocess opens the same one through DAGSTER_HOME.
        update: is called with the report a few times a second.
        environment: environment of the subprocess; default: `build_environment()`.
        worker: the subprocess; None: a new one for this run.
    """
    if worker is None:
        with Worker(environment) as own_worker:
            return launch(request, instance, update, worker=own_worker)
    report = RunReport(str(UUID(unique_id())), request, worker.log)
    keys = [key.to_user_string() for key in request.asset_keys]
    task = WorkerTask(report.run_id, keys, _build_tags(request, instance), build_config(request))
    _follow(worker, task, RunFollower(instance, report), update)
    complete_report(instance, report)
    update(report)
    return report


def _follow(
    worker: Worker, task: WorkerTask, follower: "RunFollower", update: Callable[[RunReport], None]
) -> None:
    """Execute the task, and update the report until the run ends."""
    report, is_started = follower.report, False
    with sigterm_as_interrupt():
        while True:
            try:
                if not is_started:
                    is_started = True
                    worker.execute(task)
                # after a request to stop, the worker ends with its run
                while worker.is_alive and (report.is_stopped or not follower.is_finished):
                    follower.read_events()
                    update(report)
                    if follower.is_canceled and not report.is_stopped:
                        report.is_stopped = True
                        worker.end_input()
                        worker.send_signal(signal.SIGINT)
                    sleep(_POLL_SECONDS)
                follower.read_events()
            except KeyboardInterrupt as interrupt:
                worker.end_input()
                if report.is_stopped:
                    worker.send_signal(signal.SIGKILL)
                elif isinstance(interrupt, _Terminated):
                    worker.send_signal(signal.SIGTERM)
                else:
                    follower.report_canceling()
                    worker.send_signal(signal.SIGINT)
                report.is_stopped = True
            else:
                return


class RunFollower:
    """Reads new events of a run into its report."""

    def __init__(self, instance: dg.DagsterInstance, report: RunReport) -> None:
        self.report = report
        self.is_finished = False
        self.is_canceled = False
        self._instance = instance
        self._cursor: str | None = None

    def report_canceling(self) -> None:
        """Record in the instance that a person stops the run; otherwise it would end as failed."""
        run = self._instance.get_run_by_id(self.report.run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_canceling(run, "Stopped with Ctrl-C.")

    def read_events(self, run: dg.DagsterRun | None = None) -> None:
        """Add the materializations since the last call to the report.

        Args:
            run: the run as just read from the instance; None: read it.
        """
        run = run or self._instance.get_run_by_id(self.report.run_id)
        if run is None or run.status is dg.DagsterRunStatus.NOT_STARTED:
            return  # the event log of the run may not exist yet
        while True:
            page = self._instance.get_records_for_run(
                self.report.run_id,
                cursor=self._cursor,
                of_type=dg.DagsterEventType.ASSET_MATERIALIZATION,
                limit=_EVENTS_PER_READ,
            )
            for record in page.records:
                self._add_event(record.event_log_entry)
            self._cursor = page.cursor
            if not page.has_more:
                break
        self.is_finished = run.status in FINISHED
        self.is_canceled = run.status in _CANCELED

    def _add_event(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or not event.partition or event.asset_key is None:
            return
        day, request = date.fromisoformat(event.partition), self.report.request
        if not request.first <= day <= request.last:  # a dependent day that the run updated too
            return
        asset = event.asset_key.path[-1]
        self.report.partitions += asset == event.step_key
        if asset != request.progress_asset:
            return
        numbers = _read_integers(event.step_materialization_data.materialization.metadata)
        self.report.days[day] = DayCounts(
            numbers.get("dagster/partition_row_count", 0), numbers.get("rows_changed", 0)
        )
        self.report.numbers |= {
            name: numbers[f"run_{name}"] for name in ("calls", "throttled") if f"run_{name}" in numbers
        }


def has_executed_all_steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a failed run lost its process after its last step; Dagster cannot retry such a run."""
    if run.status is not dg.DagsterRunStatus.FAILURE or run.execution_plan_snapshot_id is None:
        return False
    planned = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute
    steps = instance.get_run_step_stats(run.run_id)
    executed = {step.step_key for step in steps if step.status is StepEventStatus.SUCCESS}
    return bool(executed) and executed.issuperset(planned)


def complete_report(instance: dg.DagsterInstance, report: RunReport) -> None:
    """Add the outcome, the failures and the warnings of a run whose process has ended."""
    run = instance.get_run_by_id(report.run_id)
    if run is not None and run.status not in FINISHED:  # its process was killed
        message = "The process of the run was killed; recorded days stay recorded."
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message)
        else:
            instance.report_run_failed(run, message)
        run = instance.get_run_by_id(report.run_id)
    failure = ""
    for entry in instance.all_logs(report.run_id) if run else ():
        event = entry.dagster_event
        if event is None and entry.level == _WARNING_LEVEL:
            report.warnings.append(entry.user_message)
        if event is None:
            continue
        is_main = event.step_key == report.request.progress_asset
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT and is_main:
            report.numbers |= _read_integers(event.step_output_data.metadata)
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            _add_failure(report, event, replace_message=is_main)
        elif event.event_type is dg.DagsterEventType.PIPELINE_FAILURE:  # no step started, or its process died
            failure = event.message or ""
    if run is not None and (
        run.status is dg.DagsterRunStatus.SUCCESS or has_executed_all_steps(instance, run)
    ):
        report.outcome = RunOutcome.succeeded
        return
    is_canceled = run is not None and run.status is dg.DagsterRunStatus.CANCELED
    report.outcome = RunOutcome.stopped if report.is_stopped or is_canceled else RunOutcome.failed
    report.message = report.message or _read_last_lines(report.log) or failure


def _add_failure(report: RunReport, event: dg.DagsterEvent, *, replace_message: bool) -> None:
    failure = event.step_failure_data
    details = failure.user_failure_data
    message = (failure.error.message if failure.error else "") if details is None else details.description
    if replace_message or not report.message:
        report.message = message or ""
    if details is None:
        return
    report.numbers |= _read_integers(details.metadata)
    report.failed |= {
        date.fromisoformat(day): reason
        for day, reason in read_reasons(details.metadata, FAILED_PARTITIONS).items()
    }
    report.refused |= read_reasons(details.metadata, FAILED_SOURCES)


def _build_tags(request: BackfillRequest, instance: dg.DagsterInstance) -> dict[str, str]:
    tags = {
        **dict(zip(RANGE, (request.first.isoformat(), request.last.isoformat()), strict=True)),
        INTERACTIVE_TAG: "true",
        **request.tags,
    }
    return tags if request.resume is None else tags | build_resume_tags(instance, request.resume)


def build_resume_tags(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """Return the tags of a run that processes what another run did not record."""
    parent = instance.get_run_by_id(run_id)
    root = (parent.tags if parent else {}).get(ROOT, run_id)
    return {IS_RESUME: "true", PARENT: run_id, ROOT: root}


def build_config(request: BackfillRequest) -> dict[str, Any]:
    """Return the config of the ops of a run."""
    if request.assets and INFERENCE_EXECUTIONS.name not in request.assets:
        return {}
    config: dict[str, Any] = {"schedulers": list(request.schedulers), "skip_settled": request.skip_settled}
    config |= {} if request.max_calls is None else {"max_calls": request.max_calls}
    return {INFERENCE_EXECUTIONS.name: {"config": config}}


def _read_integers(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, int]:
    return {
        name.removeprefix(PREFIX): value.value or 0
        for name, value in metadata.items()
        if isinstance(value, dg.IntMetadataValue)
    }


def _create_log_path(environment: Mapping[str, str]) -> Path:
    folder = Path(environment[HOME_VARIABLE]) / "backfills"
    log = folder / f"{utc_now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write the log of a run: {error.strerror}",
            where=str(log),
            next_step="free disk space there, or make the folder writable for this user",
        ) from None
    return log


def _read_last_lines(log: Path | None, count: int = 5) -> str:
    if log is None:
        return ""
    return f"{log} ends:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-count:])


class _Terminated(KeyboardInterrupt):
    """This process received SIGTERM."""


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt in this thread if the process gets SIGTERM."""

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
