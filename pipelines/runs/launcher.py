"""Launches an extraction as a Dagster run in a subprocess and follows it to its end.

All information comes from the Dagster instance, so the command line and the Dagster UI show the same:
recorded days are materializations, failed days are metadata of the step failure.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

import dagster as dg
import msgspec

from assets.framework.metadata import FAILED_PARTITIONS, FAILED_SOURCES, PREFIX, read_reasons
from assets.framework.partitions import RANGE
from assets.tables import INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from pipelines.runs.instance import HOME_VARIABLE, build_environment
from pipelines.runs.worker import WorkerTask
from resources.clock import sleep, unique_id, utc_now
from resources.config.loader import CHECKOUT
from resources.errors import ConfigurationError

_PARENT, _ROOT, _RESUME = "dagster/parent_run_id", "dagster/root_run_id", "dagster/is_resume_retry"
_POLL_SECONDS = 0.25
_EVENTS_PER_READ = 1000
_WARNING_LEVEL = 30
_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


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
        progress_asset: the asset whose materializations count as progress.
    """

    first: date
    last: date
    schedulers: tuple[str, ...] = ()
    skip_settled: bool = False
    max_calls: int | None = None
    resume: str | None = None
    assets: tuple[str, ...] = (INFERENCE_EXECUTIONS.name, INFERENCE_SCHEDULERS.name)
    progress_asset: str = INFERENCE_EXECUTIONS.name


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
        log: the output of its process.
        outcome: None while the run is active.
        days: the recorded days.
        failed: reasons by day.
        refused: reasons by source or scheduler.
        numbers: integer metadata of the run, such as `calls`.
        warnings: warnings in the log of the run.
        message: the error message of a run that failed.
    """

    run_id: str
    request: BackfillRequest
    log: Path
    outcome: RunOutcome | None = None
    days: dict[date, DayCounts] = field(default_factory=dict)
    failed: dict[date, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def resume_command(self) -> str:
        """The command that extracts only what this run did not record."""
        return f"ledger backfill --from {self.request.first} --to {self.request.last} --resume {self.run_id}"


def resume_request(
    instance: dg.DagsterInstance, run_id: str, max_calls: int | None = None
) -> BackfillRequest:
    """Build the request that resumes an earlier run.

    Raises:
        ConfigurationError: the instance has no such run, or the run has no range of days.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or not all(tag in run.tags for tag in RANGE):
        reason = "the run does not exist" if run is None else "the run has no range of days"
        raise ConfigurationError(
            f"Cannot resume run {run_id}: {reason}",
            where=f"the Dagster instance at {os.environ.get('DAGSTER_HOME', '?')}",
            next_step="copy the id from the output of the backfill or the Dagster UI, or run the range with"
            " --skip-settled instead of --resume",
        )
    run_config: Any = run.run_config
    config: dict[str, Any] = run_config.get("ops", {}).get(INFERENCE_EXECUTIONS.name, {}).get("config", {})
    first, last = (date.fromisoformat(run.tags[tag]) for tag in RANGE)
    return BackfillRequest(
        first,
        last,
        tuple(config.get("schedulers", ())),
        bool(config.get("skip_settled", False)),
        max_calls if max_calls is not None else config.get("max_calls"),
        run_id,
    )


def launch(
    request: BackfillRequest,
    instance: dg.DagsterInstance,
    update: Callable[[RunReport], None],
    environment: Mapping[str, str] | None = None,
) -> RunReport:
    """Run an extraction to its end and return its report.

    Ctrl-C or SIGTERM stops the run, a second one kills it. Recorded days stay recorded in both cases.

    Args:
        request: what to extract.
        instance: the instance of the run; the subprocess opens the same one through DAGSTER_HOME.
        update: is called with the report a few times a second.
        environment: environment of the subprocess; default: `build_environment()`.
    """
    environment = build_environment() if environment is None else dict(environment)
    report = RunReport(str(UUID(unique_id())), request, _create_log_path(environment))
    task = WorkerTask(
        report.run_id, list(request.assets), _build_tags(request, instance), _build_config(request)
    )
    command = [sys.executable, "-m", "pipelines.runs.worker", msgspec.json.encode(task).decode()]
    with report.log.open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=CHECKOUT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # the terminal sends Ctrl-C to this process only, which forwards it
        )
        is_stopped = _follow(process, _RunFollower(instance, report), update)
    _complete_report(instance, report, is_stopped=is_stopped)
    update(report)
    return report


def _follow(
    process: subprocess.Popen[bytes], follower: "_RunFollower", update: Callable[[RunReport], None]
) -> bool:
    """Update the report until the process ends; return True if the user stopped it."""
    is_stopped = False
    with _sigterm_as_interrupt():
        while True:
            try:
                while process.poll() is None:
                    follower.read_events()
                    update(follower.report)
                    sleep(_POLL_SECONDS)
                follower.read_events()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGKILL if is_stopped else signal.SIGINT)
                is_stopped = True
            else:
                return is_stopped


class _RunFollower:
    """Reads new events of a run into its report."""

    def __init__(self, instance: dg.DagsterInstance, report: RunReport) -> None:
        self.report = report
        self._instance = instance
        self._progress_asset = dg.AssetKey(report.request.progress_asset)
        self._cursor: str | None = None
        self._has_started = False

    def read_events(self) -> None:
        if not self._has_started:  # before, the event log of the run may not exist
            run = self._instance.get_run_by_id(self.report.run_id)
            self._has_started = run is not None and run.status in (dg.DagsterRunStatus.STARTED, *_FINISHED)
        while self._has_started:
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
                return

    def _add_event(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or event.asset_key != self._progress_asset or not event.partition:
            return
        numbers = _read_integers(event.step_materialization_data.materialization.metadata)
        self.report.days[date.fromisoformat(event.partition)] = DayCounts(
            numbers.get("dagster/partition_row_count", 0), numbers.get("rows_changed", 0)
        )
        self.report.numbers |= {name: numbers.get(f"run_{name}", 0) for name in ("calls", "throttled")}


def _complete_report(instance: dg.DagsterInstance, report: RunReport, *, is_stopped: bool) -> None:
    run = instance.get_run_by_id(report.run_id)
    if run is not None and run.status not in _FINISHED:  # its process was killed
        instance.report_run_failed(run, "The process of the run was killed; recorded days stay recorded.")
        run = instance.get_run_by_id(report.run_id)
    for entry in instance.all_logs(report.run_id) if run else ():
        event = entry.dagster_event
        if event is None and entry.level == _WARNING_LEVEL:
            report.warnings.append(entry.user_message)
        if event is None:
            continue
        is_extraction = event.step_key == INFERENCE_EXECUTIONS.name
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT and is_extraction:
            report.numbers |= _read_integers(event.step_output_data.metadata)
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE and (is_extraction or not report.message):
            _add_failure(report, event)
    is_success = run is not None and run.status is dg.DagsterRunStatus.SUCCESS
    report.outcome = (
        RunOutcome.succeeded if is_success else RunOutcome.stopped if is_stopped else RunOutcome.failed
    )
    if not is_success and not report.message:
        report.message = _read_last_lines(report.log)


def _add_failure(report: RunReport, event: dg.DagsterEvent) -> None:
    failure = event.step_failure_data
    details = failure.user_failure_data
    if details is None:
        report.message = failure.error.message if failure.error else ""
        return
    report.message = details.description or ""
    report.numbers |= _read_integers(details.metadata)
    report.failed |= {
        date.fromisoformat(day): reason
        for day, reason in read_reasons(details.metadata, FAILED_PARTITIONS).items()
    }
    report.refused |= read_reasons(details.metadata, FAILED_SOURCES)


def _build_tags(request: BackfillRequest, instance: dg.DagsterInstance) -> dict[str, str]:
    tags = dict(zip(RANGE, (request.first.isoformat(), request.last.isoformat()), strict=True))
    if request.resume is None:
        return tags
    parent = instance.get_run_by_id(request.resume)
    root = (parent.tags if parent else {}).get(_ROOT, request.resume)
    return tags | {_RESUME: "true", _PARENT: request.resume, _ROOT: root}


def _build_config(request: BackfillRequest) -> dict[str, Any]:
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
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{utc_now():%Y%m%d-%H%M%S}-{os.getpid()}.log"


def _read_last_lines(log: Path, count: int = 5) -> str:
    return f"{log} ends:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-count:])


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
