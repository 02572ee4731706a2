"""An extraction that is launched and watched from the command line, as a run of Dagster's like any other.

What is known of a run stands in Dagster's instance alone: the days that it recorded are materializations, the
days that failed stand in its failure. So what is shown here is what Dagster's pages show.
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
from pipelines.runs.instance import CHECKOUT
from pipelines.runs.worker import WorkerTask
from resources.clock import sleep, unique_id, utc_now
from resources.errors import ConfigurationError

_PARENT, _ROOT, _RESUME = "dagster/parent_run_id", "dagster/root_run_id", "dagster/is_resume_retry"
_LOOK_EVERY_SECONDS = 0.25
_EVENTS_AT_ONCE = 1000
_WARNING = 30
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class RunOutcome(StrEnum):
    """How a run ended."""

    recorded = "recorded"
    failed = "failed"
    stopped = "stopped"


@dataclass(frozen=True)
class BackfillRequest:
    """What is to be made; no assets: all. `resume` names a run to continue, `watched` whose days count."""

    first: date
    last: date
    schedulers: tuple[str, ...] = ()
    skip_settled: bool = False
    max_calls: int | None = None
    resume: str | None = None
    assets: tuple[str, ...] = (INFERENCE_EXECUTIONS.name, INFERENCE_SCHEDULERS.name)
    watched: str = INFERENCE_EXECUTIONS.name


@dataclass(frozen=True)
class DayCounts:
    """What became of one day: rows that are there, and rows that are new or differ."""

    executions: int
    rows_changed: int


@dataclass
class RunReport:
    """What a run did, so far or at its end.

    `failed` are reasons by day, `refused` reasons by scheduler or source. `numbers` are of the whole run;
    `message` is the run's own, where it failed. `log` is what its process printed.
    """

    run_id: str
    order: BackfillRequest
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
        """What to type to do what is missing, and nothing else."""
        return f"ledger backfill --from {self.order.first} --to {self.order.last} --resume {self.run_id}"


def resume_request(
    instance: dg.DagsterInstance, run_id: str, max_calls: int | None = None
) -> BackfillRequest:
    """Return the order of an earlier run, to be resumed.

    Raises:
        ConfigurationError: there is no such run here, or it extracted no range of days.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or not all(tag in run.tags for tag in RANGE):
        what = "there is no such run" if run is None else "that run was over no range of days"
        raise ConfigurationError(
            f"--resume {run_id}: {what}",
            where=f"the Dagster instance at {os.environ.get('DAGSTER_HOME', '?')}",
            next_step="take the id from the end of the backfill, or from Dagster's pages; without --resume"
            " everything in the range is done again, and --skip-settled leaves out what is settled",
        )
    told: Any = run.run_config
    config: dict[str, Any] = told.get("ops", {}).get(INFERENCE_EXECUTIONS.name, {}).get("config", {})
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
    order: BackfillRequest,
    instance: dg.DagsterInstance,
    watch: Callable[[RunReport], None],
    environment: Mapping[str, str] | None = None,
) -> RunReport:
    """Run an extraction to its end, and tell how it goes.

    Ctrl-C stops it: days that are recorded stay so, and the report says that it was stopped. A second one
    kills it, which costs no more than that.

    Args:
        order: what to extract.
        instance: where the run is kept; the process finds the same one by DAGSTER_HOME.
        watch: is handed the report a few times a second.
        environment: of the process; default: this one's.
    """
    report = RunReport(str(UUID(unique_id())), order, _log_file())
    task = WorkerTask(report.run_id, list(order.assets), _tags(order, instance), _config(order))
    command = [sys.executable, "-m", "pipelines.runs.worker", msgspec.json.encode(task).decode()]
    with report.log.open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=CHECKOUT,
            env=dict(os.environ if environment is None else environment),
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us, and we pass it on
        )
        is_stopped = _watched(process, _Follower(instance, report), watch)
    _end(instance, report, is_stopped=is_stopped)
    watch(report)
    return report


def _watched(
    process: subprocess.Popen[bytes], follower: "_Follower", watch: Callable[[RunReport], None]
) -> bool:
    """Follow a process to its end; return whether it was stopped."""
    is_stopped = False
    with _terminated_like_interrupted():
        while True:
            try:
                while process.poll() is None:
                    follower.look()
                    watch(follower.report)
                    sleep(_LOOK_EVERY_SECONDS)
                follower.look()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGKILL if is_stopped else signal.SIGINT)
                is_stopped = True
            else:
                return is_stopped


class _Follower:
    """Reads the events of a run as they come, each once."""

    def __init__(self, instance: dg.DagsterInstance, report: RunReport) -> None:
        self.report = report
        self._instance = instance
        self._watched = dg.AssetKey(report.order.watched)
        self._cursor: str | None = None
        self._has_begun = False

    def look(self) -> None:
        """Take in what is new."""
        if not self._has_begun:  # before it has, its part of the event log is still being made
            run = self._instance.get_run_by_id(self.report.run_id)
            self._has_begun = run is not None and run.status in (dg.DagsterRunStatus.STARTED, *_ENDED)
        while self._has_begun:
            news = self._instance.get_records_for_run(
                self.report.run_id,
                cursor=self._cursor,
                of_type=dg.DagsterEventType.ASSET_MATERIALIZATION,
                limit=_EVENTS_AT_ONCE,
            )
            for record in news.records:
                self._take(record.event_log_entry)
            self._cursor = news.cursor
            if not news.has_more:
                return

    def _take(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or event.asset_key != self._watched or not event.partition:
            return
        numbers = _numbers(event.step_materialization_data.materialization.metadata)
        self.report.days[date.fromisoformat(event.partition)] = DayCounts(
            numbers.get("dagster/partition_row_count", 0), numbers.get("rows_changed", 0)
        )
        self.report.numbers |= {name: numbers.get(f"run_{name}", 0) for name in ("calls", "throttled")}


def _end(instance: dg.DagsterInstance, report: RunReport, *, is_stopped: bool) -> None:
    """Complete a report by what the run says at its end."""
    run = instance.get_run_by_id(report.run_id)
    if run is not None and run.status not in _ENDED:  # its process was killed, and could not say so itself
        instance.report_run_failed(run, "Its process ended without a word; what it recorded stays.")
        run = instance.get_run_by_id(report.run_id)
    for entry in instance.all_logs(report.run_id) if run else ():
        event = entry.dagster_event
        if event is None and entry.level == _WARNING:
            report.warnings.append(entry.user_message)
        if event is None:
            continue
        is_extraction = event.step_key == INFERENCE_EXECUTIONS.name
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT and is_extraction:
            report.numbers |= _numbers(event.step_output_data.metadata)
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE and (is_extraction or not report.message):
            _take_failure(report, event)
    is_good = run is not None and run.status is dg.DagsterRunStatus.SUCCESS
    report.outcome = (
        RunOutcome.recorded if is_good else RunOutcome.stopped if is_stopped else RunOutcome.failed
    )
    if not is_good and not report.message:
        report.message = _last_lines(report.log)


def _take_failure(report: RunReport, event: dg.DagsterEvent) -> None:
    failure = event.step_failure_data
    told = failure.user_failure_data
    if told is None:
        report.message = failure.error.message if failure.error else ""
        return
    report.message = told.description or ""
    report.numbers |= _numbers(told.metadata)
    report.failed |= {
        date.fromisoformat(day): why for day, why in read_reasons(told.metadata, FAILED_PARTITIONS).items()
    }
    report.refused |= read_reasons(told.metadata, FAILED_SOURCES)


def _tags(order: BackfillRequest, instance: dg.DagsterInstance) -> dict[str, str]:
    tags = dict(zip(RANGE, (order.first.isoformat(), order.last.isoformat()), strict=True))
    if order.resume is None:
        return tags
    parent = instance.get_run_by_id(order.resume)
    root = (parent.tags if parent else {}).get(_ROOT, order.resume)
    return tags | {_RESUME: "true", _PARENT: order.resume, _ROOT: root}


def _config(order: BackfillRequest) -> dict[str, Any]:
    config: dict[str, Any] = {"schedulers": list(order.schedulers), "skip_settled": order.skip_settled}
    config |= {} if order.max_calls is None else {"max_calls": order.max_calls}
    return {INFERENCE_EXECUTIONS.name: {"config": config}}


def _numbers(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, int]:
    return {
        name.removeprefix(PREFIX): value.value or 0
        for name, value in metadata.items()
        if isinstance(value, dg.IntMetadataValue)
    }


def _log_file() -> Path:
    folder = Path(os.environ["DAGSTER_HOME"]) / "backfills"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{utc_now():%Y%m%d-%H%M%S}-{os.getpid()}.log"


def _last_lines(log: Path, count: int = 5) -> str:
    return f"{log} ends:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-count:])


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
