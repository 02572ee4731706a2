"""Two weeks of hourly runs with schedule, automation and faults.

The instance is real and on disk, the service is called over HTTP, and both have the same clock. The test
records the requests and responses of the service in plain Python. From this record it derives the expected
requests of each run, the expected content of the lake and the expected status of each day.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pytest

from assets.executions.day_status import DayState
from assets.framework.automation import upstream_content_changed
from assets.framework.partitions import daily_partitions
from assets.framework.time_windows import Days
from assets.tables import INFERENCE_SCHEDULERS
from pipelines.operations.lake_status import DataExtent, inspect_lake
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, Settings
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.operations import Request
from sandbox.schedulers import Scheduler
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import RANGE_END, RANGE_START
from tests.support.live_service import PLACES
from tests.support.run_results import get_failure_message, read_rows
from tests.support.scheduled_location import ScheduledLocation

pytestmark = pytest.mark.usefixtures("accounts")

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 9, 14, tzinfo=UTC)
LOOKBACK_DAYS = 3
SETTLE_AFTER = timedelta(hours=3)
PLACE = PLACES[3]
PADDING = timedelta(hours=2)
DOWNSTREAM, SCHEDULERS = dg.AssetKey("below"), dg.AssetKey("inference_schedulers")

Key = tuple[str, datetime]


def build_seoul_fleet(days: int) -> Fleet:
    """The schedulers in Seoul: deleted, recreated, in another time zone, with a long delay, and stuck."""
    fleet = build_fleet(seed=5, history=History(START, START + days * DAY))
    schedulers = [
        scheduler for scheduler in fleet.schedulers if (scheduler.account, scheduler.region) == PLACE
    ]
    stuck = START + days * DAY * 0.3
    return replace(
        fleet,
        schedulers=tuple(
            replace(scheduler, stuck_at=stuck) if scheduler.name == "mill-1" else scheduler
            for scheduler in schedulers
        ),
    )


def get_day_start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def get_settling_time(day: date) -> datetime:
    return get_day_start(day) + DAY + SETTLE_AFTER


@dataclass
class Books:
    """The requests and responses of the service, and what follows from them.

    Attributes:
        proven: The time of the last complete response, by scheduler and day.
        seen: The last status, by scheduler and start.
        requested: The requests of this hour: scheduler, first and last day.
        known: The schedulers that the last successful run listed.
    """

    proven: dict[tuple[str, date], datetime] = field(default_factory=dict)
    seen: dict[Key, str] = field(default_factory=dict)
    requested: list[tuple[str, date, date]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    extracted: set[date] = field(default_factory=set)

    def is_settled(self, arn: str, day: date) -> bool:
        return self.proven.get((arn, day), START - DAY) >= get_settling_time(day)

    def list_due_days(self, now: datetime) -> list[date]:
        """Return the days of a scheduled run: from the first open day in the lookback range to today."""
        reach = [now.date() - n * DAY for n in range(LOOKBACK_DAYS, -1, -1)]
        reach = [day for day in reach if day >= START.date()]
        open_ = [
            day
            for day in reach
            if day == now.date()
            or day not in self.extracted
            or any((arn, day) in self.proven and not self.is_settled(arn, day) for arn in self.known)
        ]
        return [day for day in reach if day >= open_[0]]

    def record_response(self, scheduler: Scheduler, days: list[date], now: datetime) -> None:
        for summary in scheduler.executions(now):
            if summary["DataStartTime"].date() in days:
                self.seen[scheduler.arn, summary["DataStartTime"]] = summary["Status"]
        for day in days:
            self.proven[scheduler.arn, day] = now


class Life(ScheduledLocation):
    """The pipeline, the service and the record of its requests."""

    def __init__(
        self, settings: Settings, instance: dg.DagsterInstance, fleet: Fleet, service: Handle
    ) -> None:
        super().__init__(settings, instance)
        self.settings, self.fleet, self.service, self.books = settings, fleet, service, Books()
        self.versions: dict[str, str] = {}
        self.computed: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.cursor: Any = None
        self.whole_cursor: Any = None
        self.changes_seen = 0
        self.watched = dg.Definitions(
            assets=[*self.definitions.resolve_all_asset_specs(), _build_downstream_asset()]
        )
        self.now = START
        assert self._evaluate_partitions() == set()
        self._check_unpartitioned_asset()
        service.core.operations.execute = self._record_requests(service.core.operations.execute)  # type: ignore[method-assign]

    def _record_requests(self, execute: Any) -> Any:
        """Record each request for executions. Later pages of a request are not recorded."""

        def record_and_execute(request: Request) -> bytes:
            members = request.members
            if request.operation == "ListInferenceExecutions" and "NextToken" not in members:
                after, before = (
                    datetime.fromtimestamp(members[name], UTC)
                    for name in ("DataStartTimeAfter", "DataEndTimeBefore")
                )
                first, last = (after + PADDING).date(), (before - PADDING - DAY).date()
                self.books.requested.append((members["InferenceSchedulerName"], first, last))
            return bytes(execute(request))

        return record_and_execute

    def run_hour(
        self, now: datetime, refused: frozenset[str] = frozenset(), *, dead: bool = False, checks: bool = True
    ) -> None:
        """Run the schedule and then the sensor for one hour, and check the results.

        Args:
            now: The time.
            refused: The names of schedulers for which the service denies access in this hour.
            dead: Whether the service denies every request.
            checks: Whether to run the asset checks, which take longer than everything else.
        """
        self.now = now
        self.service.set_clock(now)
        self.books.requested.clear()
        request = self.tick()
        assert isinstance(request, dg.RunRequest), request
        days = self.books.list_due_days(now)
        assert (request.tags[RANGE_START], request.tags[RANGE_END]) == (
            days[0].isoformat(),
            days[-1].isoformat(),
        ), now
        result = self.execute(request, checks=checks)
        assert result.success is not (dead or bool(refused)), (
            now,
            result.success or get_failure_message(result),
        )
        if not dead:
            self._check_requested_executions(now, days, refused)
            self.books.extracted |= set(days)
        self._check_status(now, refused, set(days) if dead else set())
        self._check_requested_days(result)
        if checks:
            self._check_unpartitioned_asset()

    def _check_requested_executions(self, now: datetime, days: list[date], refused: frozenset[str]) -> None:
        expected = []
        listed = self.fleet.list_schedulers(now)
        for scheduler in listed:
            unsettled = [day for day in days if not self.books.is_settled(scheduler.arn, day)]
            for day in unsettled:
                if day - DAY not in unsettled:
                    later_days = [other for other in unsettled if day <= other]
                    end = next(
                        (other for other in later_days if other + DAY not in unsettled), later_days[-1]
                    )
                    if scheduler.name not in refused:
                        expected.append((scheduler.name, day, end))
            if scheduler.name not in refused:
                self.books.record_response(scheduler, unsettled, now)
        assert sorted(self.books.requested) == sorted(expected), now
        self.books.known = {scheduler.arn for scheduler in listed}

    def _check_status(self, now: datetime, refused: frozenset[str], failed: set[date]) -> None:
        """Compare the result of `ledger status` with the record."""
        days = [START.date() + n * DAY for n in range((now.date() - START.date()).days + 1)]
        extent = DataExtent.load(self.lake, self.settings, now.date())
        status = inspect_lake(self.lake, self.settings, extent, days, now)
        states = {scheduler.scheduler_arn: scheduler.states for scheduler in status.schedulers}
        hanging = {
            (arn, at.date())
            for (arn, at), execution_status in self.books.seen.items()
            if execution_status == "IN_PROGRESS"
        }
        for arn in self.books.known:
            for day in days:
                if (arn, day) in self.books.proven:
                    settled = DayState.stuck if (arn, day) in hanging else DayState.settled
                    expected = settled if self.books.is_settled(arn, day) else DayState.open
                    expected = DayState.failed if day in failed else expected
                    assert states[arn][day] is expected, (now, arn, day)
        refused_names = {scheduler.name for scheduler in status.refused}
        assert refused_names == refused if not failed else len(refused_names) == 1, (now, refused_names)
        assert status.needs_action is bool(status.action_items)

    def _check_requested_days(self, result: dg.ExecuteInProcessResult) -> None:
        """Check that automation requests exactly the downstream days whose content changed."""
        changed = set()
        for day, materialization in self.get_materializations(result).items():
            version = materialization.tags["dagster/data_version"]
            if self.versions.get(day) != version:
                changed.add(day)
            self.versions[day] = version
        self.changes.update(changed)
        assert self._evaluate_partitions() == changed, self.now
        for day in sorted(changed):
            self.computed[day] += 1
            self.instance.report_runless_asset_event(dg.AssetMaterialization(DOWNSTREAM, partition=day))

    def _check_unpartitioned_asset(self) -> None:
        """Check that automation requests the unpartitioned asset if any day changed, and run it."""
        result = dg.evaluate_automation_conditions(
            self.watched,
            self.instance,
            asset_selection=dg.AssetSelection.assets(SCHEDULERS),
            evaluation_time=self.now,
            cursor=self.whole_cursor,
        )
        self.whole_cursor = result.cursor
        changed = self.changes.total()
        assert bool(result.total_requested) is (changed > self.changes_seen)
        self.changes_seen = changed
        if result.total_requested:
            job = self.without_checks.resolve_implicit_global_asset_job_def()
            assert job.execute_in_process(instance=self.instance, asset_selection=[SCHEDULERS]).success

    def _evaluate_partitions(self) -> set[str | None]:
        result = dg.evaluate_automation_conditions(
            self.watched,
            self.instance,
            asset_selection=dg.AssetSelection.assets(DOWNSTREAM),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return set(result.get_requested_partitions(DOWNSTREAM))


def _build_downstream_asset() -> dg.AssetsDefinition:
    @dg.asset(
        name="below",
        deps=["inference_executions"],
        partitions_def=daily_partitions(Days(START.date())),
        automation_condition=upstream_content_changed(),
    )
    def below() -> None:
        """Never executed: the test reports its materializations."""

    return below


def _build_instance_config(folder: str) -> dict[str, Any]:
    """Use one event database for all runs, and no processes that copy the output of each run.

    To create a database or to start these processes takes longer than a run.
    """
    events = {
        "module": "dagster._core.storage.event_log",
        "class": "ConsolidatedSqliteEventLogStorage",
        "config": {"base_dir": folder},
    }
    output = {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    return {"event_log_storage": events, "compute_logs": output}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in SQLite files, in /dev/shm if it exists, because thousands of events are slow on disk."""
    memory = Path("/dev/shm")  # noqa: S108
    with (
        TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        dg.DagsterInstance.local_temp(folder, overrides=_build_instance_config(folder)) as local,
    ):
        yield local


@pytest.fixture(autouse=True)
def _use_instance_for_status(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").touch()
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: nullcontext(instance))


FAULTS_BY_HOUR = {7: "storm", 10: "dead", 13: "refused", 19: "storm"}
"""The fault of each hour of the day."""


def run_days(tmp_path: Path, instance: dg.DagsterInstance, days: int, down_hours: int) -> None:
    fleet = build_seoul_fleet(days)
    end = START + days * DAY
    deleted, recreated = (scheduler for scheduler in fleet.schedulers if scheduler.name == "fan-2")
    assert deleted.deleted_at and START < deleted.deleted_at < recreated.created_at < end
    outage = START + days * DAY * 0.6
    with run_sandbox(fleet, START + HOUR, s3=False, page_size=500) as service:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(start_date=START.date(), lookback_days=LOOKBACK_DAYS),
            sources=(ApiSettings(profile=PLACE[0], region=PLACE[1], endpoint_url=service.url),),
        )
        life = Life(settings, instance, fleet, service)
        for number in range(1, days * 24 + 6):
            now = START + number * HOUR + timedelta(minutes=5)
            if outage <= now < outage + down_hours * HOUR:
                continue  # the daemon is down
            fault = FAULTS_BY_HOUR.get(now.hour)
            if fault == "storm":
                service.inject("throttle:share=0.15", "internal:share=0.1", "hangup:share=0.05")
            if fault == "dead":
                service.inject("deny")
            if fault == "refused":
                service.inject("deny:ListInferenceExecutions:scheduler=chiller-1")
            life.run_hour(
                now,
                frozenset({"chiller-1"} if fault == "refused" else ()),
                dead=fault == "dead",
                checks=now.hour in (5, 17),
            )
            service.clear_faults()
        check_final_state(life, deleted.arn)


def check_final_state(life: Life, deleted_arn: str) -> None:
    fleet = life.fleet
    recorded = {key: row["status"] for key, row in read_rows(life.lake).items()}
    assert recorded == life.books.seen
    listed_executions = {
        (scheduler.arn, summary["DataStartTime"]): summary["Status"]
        for scheduler in fleet.list_schedulers(life.now)
        for summary in scheduler.executions(life.now)
    }
    listed_arns = {scheduler.arn for scheduler in fleet.list_schedulers(life.now)}
    assert {key: status for key, status in recorded.items() if key[0] in listed_arns} == listed_executions
    assert {key for key in recorded if key[0] == deleted_arn}, "executions of a deleted scheduler stay"
    assert "IN_PROGRESS" in recorded.values(), "the stuck execution stays in progress"
    assert life.computed == life.changes
    assert {row["scheduler_arn"] for row in life.lake.read(INFERENCE_SCHEDULERS).to_pylist()} == {
        scheduler.arn for scheduler in fleet.schedulers
    }


@pytest.mark.slow
def test_one_day_of_hourly_runs_records_every_execution_once(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    run_days(tmp_path, instance, days=1, down_hours=3)


@pytest.mark.long
def test_two_weeks_of_hourly_runs_record_every_execution_once(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    run_days(tmp_path, instance, days=14, down_hours=24)
