"""Two weeks in the life of a lake, hour by hour: schedule, automation, and everything that comes between.

The instance is real, on disk; the service is asked over HTTP; the clocks of both are set alike. Beside the
pipeline the test keeps books of its own, in plain Python: what the service was asked and answered. From these
follow what each run has to ask, what the lake holds, and how each day stands.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import botocore.loaders
import botocore.session
import dagster as dg
import pytest

from assets.executions.day_status import DayState
from assets.framework.automation import upstream_content_changed
from assets.framework.partitions import daily_partitions
from assets.framework.time_windows import Days
from assets.tables import INFERENCE_SCHEDULERS
from pipelines.operations.lake_status import inspect_lake
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

A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)
BEGIN = datetime(2026, 9, 14, tzinfo=UTC)
LOOKBACK_DAYS = 3
SETTLE_AFTER = timedelta(hours=3)
PLACE = PLACES[3]
PADDING = timedelta(hours=2)
BELOW, SCHEDULERS = dg.AssetKey("below"), dg.AssetKey("inference_schedulers")

Key = tuple[str, datetime]


def plant(days: int) -> Fleet:
    """Seoul: one deleted, one deleted and created again, one on another clock, one far behind, one stuck."""
    whole = build_fleet(seed=5, history=History(BEGIN, BEGIN + days * A_DAY))
    here = [one for one in whole.schedulers if (one.account, one.region) == PLACE]
    stuck = BEGIN + days * A_DAY * 0.3
    return replace(
        whole,
        schedulers=tuple(replace(one, stuck_at=stuck) if one.name == "mill-1" else one for one in here),
    )


def day_start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def settles(day: date) -> datetime:
    return day_start(day) + A_DAY + SETTLE_AFTER


@dataclass
class Books:
    """What a careful person would write down, watching the service.

    Attributes:
        proven: By scheduler and day, when its last whole answer was.
        seen: By scheduler and start, the status that it last told.
        asked: What was asked in this hour: scheduler, first and last day.
        known: The schedulers that were listed at the last good run.
    """

    proven: dict[tuple[str, date], datetime] = field(default_factory=dict)
    seen: dict[Key, str] = field(default_factory=dict)
    asked: list[tuple[str, date, date]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    extracted: set[date] = field(default_factory=set)

    def is_settled(self, arn: str, day: date) -> bool:
        return self.proven.get((arn, day), BEGIN - A_DAY) >= settles(day)

    def due(self, now: datetime) -> list[date]:
        """The days of a scheduled run: from the first that is open, as far as it reaches, to today."""
        reach = [now.date() - n * A_DAY for n in range(LOOKBACK_DAYS, -1, -1)]
        reach = [day for day in reach if day >= BEGIN.date()]
        open_ = [
            day
            for day in reach
            if day == now.date()
            or day not in self.extracted
            or any((arn, day) in self.proven and not self.is_settled(arn, day) for arn in self.known)
        ]
        return [day for day in reach if day >= open_[0]]

    def answer(self, scheduler: Scheduler, days: list[date], now: datetime) -> None:
        for summary in scheduler.executions(now):
            if summary["DataStartTime"].date() in days:
                self.seen[scheduler.arn, summary["DataStartTime"]] = summary["Status"]
        for day in days:
            self.proven[scheduler.arn, day] = now


class Life(ScheduledLocation):
    """The pipeline, the service and the books."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, of: Fleet, service: Handle) -> None:
        super().__init__(settings, instance)
        self.settings, self.fleet, self.service, self.books = settings, of, service, Books()
        self.versions: dict[str, str] = {}
        self.computed: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.cursor: Any = None
        self.whole_cursor: Any = None
        self.changes_seen = 0
        self.watched = dg.Definitions(assets=[*self.definitions.resolve_all_asset_specs(), _below()])
        self.now = BEGIN
        assert self._look() == set()
        self._follow_as_a_whole()
        service.core.operations.answer = self._overhear(service.core.operations.answer)  # type: ignore[method-assign]

    def _overhear(self, answer: Any) -> Any:
        """Note what executions are asked for; a page that follows another is the same question."""

        def overheard(question: Request) -> bytes:
            members = question.members
            if question.operation == "ListInferenceExecutions" and "NextToken" not in members:
                after, before = (
                    datetime.fromtimestamp(members[name], UTC)
                    for name in ("DataStartTimeAfter", "DataEndTimeBefore")
                )
                first, last = (after + PADDING).date(), (before - PADDING - A_DAY).date()
                self.books.asked.append((members["InferenceSchedulerName"], first, last))
            return bytes(answer(question))

        return overheard

    def hour(
        self, now: datetime, refused: frozenset[str] = frozenset(), *, dead: bool = False, checks: bool = True
    ) -> None:
        """Let the schedule, and then the sensor, do what they want in this hour.

        Args:
            now: the time.
            refused: names of schedulers that may not be asked in this hour.
            dead: the service refuses everything.
            checks: whether the checks are made, which take longer than all else.
        """
        self.now = now
        self.service.set_clock(now)
        self.books.asked.clear()
        request = self.tick()
        assert isinstance(request, dg.RunRequest), request
        days = self.books.due(now)
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
            self._check_what_was_asked(now, days, refused)
            self.books.extracted |= set(days)
        self._check_how_it_stands(now, refused, set(days) if dead else set())
        self._follow(result)
        if checks:
            self._follow_as_a_whole()

    def _check_what_was_asked(self, now: datetime, days: list[date], refused: frozenset[str]) -> None:
        expected = []
        listed = self.fleet.listed(now)
        for scheduler in listed:
            wanted = [day for day in days if not self.books.is_settled(scheduler.arn, day)]
            for day in wanted:
                if day - A_DAY not in wanted:
                    stretch = [other for other in wanted if day <= other]
                    end = next((other for other in stretch if other + A_DAY not in wanted), stretch[-1])
                    if scheduler.name not in refused:
                        expected.append((scheduler.name, day, end))
            if scheduler.name not in refused:
                self.books.answer(scheduler, wanted, now)
        assert sorted(self.books.asked) == sorted(expected), now
        self.books.known = {scheduler.arn for scheduler in listed}

    def _check_how_it_stands(self, now: datetime, refused: frozenset[str], failed: set[date]) -> None:
        """Ask as `ledger status` does."""
        days = [BEGIN.date() + n * A_DAY for n in range((now.date() - BEGIN.date()).days + 1)]
        found = inspect_lake(self.lake, self.settings, days, now)
        states = {one.scheduler_arn: one.states for one in found.schedulers}
        hanging = {
            (arn, at.date()) for (arn, at), status in self.books.seen.items() if status == "IN_PROGRESS"
        }
        for arn in self.books.known:
            for day in days:
                if (arn, day) in self.books.proven:
                    settled = DayState.stuck if (arn, day) in hanging else DayState.settled
                    expected = settled if self.books.is_settled(arn, day) else DayState.open
                    expected = DayState.failed if day in failed else expected
                    assert states[arn][day] is expected, (now, arn, day)
        told = {one.name for one in found.refused}
        assert told == refused if not failed else len(told) == 1, (now, told)
        assert found.needs_action is bool(found.action_items)

    def _follow(self, result: dg.ExecuteInProcessResult) -> None:
        """What depends on the executions is computed for exactly the days whose content changed."""
        changed = set()
        for day, made in self.get_materializations(result).items():
            version = made.tags["dagster/data_version"]
            if self.versions.get(day) != version:
                changed.add(day)
            self.versions[day] = version
        self.changes.update(changed)
        assert self._look() == changed, self.now
        for day in sorted(changed):
            self.computed[day] += 1
            self.instance.report_runless_asset_event(dg.AssetMaterialization(BELOW, partition=day))

    def _follow_as_a_whole(self) -> None:
        """What is made of all days is made again, by the asset itself, where any of them changed."""
        told = dg.evaluate_automation_conditions(
            self.watched,
            self.instance,
            asset_selection=dg.AssetSelection.assets(SCHEDULERS),
            evaluation_time=self.now,
            cursor=self.whole_cursor,
        )
        self.whole_cursor = told.cursor
        changed = self.changes.total()
        assert bool(told.total_requested) is (changed > self.changes_seen)
        self.changes_seen = changed
        if told.total_requested:
            job = self.without_checks.resolve_implicit_global_asset_job_def()
            assert job.execute_in_process(instance=self.instance, asset_selection=[SCHEDULERS]).success

    def _look(self) -> set[str | None]:
        told = dg.evaluate_automation_conditions(
            self.watched,
            self.instance,
            asset_selection=dg.AssetSelection.assets(BELOW),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = told.cursor
        return set(told.get_requested_partitions(BELOW))


def _below() -> dg.AssetsDefinition:
    @dg.asset(
        name="below",
        deps=["inference_executions"],
        partitions_def=daily_partitions(Days(BEGIN.date())),
        automation_condition=upstream_content_changed(),
    )
    def below() -> None:
        """Told of by hand: what is looked at is when it is asked for."""

    return below


def _one_file(folder: str) -> dict[str, Any]:
    """One file of events for all runs: to make one a run takes longer than the run."""
    storage = {
        "module": "dagster._core.storage.event_log",
        "class": "ConsolidatedSqliteEventLogStorage",
        "config": {"base_dir": folder},
    }
    return {"event_log_storage": storage}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One in SQLite's files, in memory where there is room: thousands of events wait for no disk."""
    memory = Path("/dev/shm")  # noqa: S108
    with (
        TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        dg.DagsterInstance.local_temp(folder, overrides=_one_file(folder)) as local,
    ):
        yield local


@pytest.fixture(autouse=True)
def _what_boto_knows_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of JSON for each client, and a client for each hour."""
    monkeypatch.setattr(botocore.session, "create_loader", cache(botocore.loaders.create_loader))


@pytest.fixture(autouse=True)
def _status_looks_at_this_instance(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").touch()
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: nullcontext(instance))


TROUBLES = {7: "storm", 10: "dead", 13: "refused", 19: "storm"}
"""What goes wrong, by the hour of the day."""


def live_through(tmp_path: Path, instance: dg.DagsterInstance, days: int, down_hours: int) -> None:
    of = plant(days)
    end = BEGIN + days * A_DAY
    gone, again = (one for one in of.schedulers if one.name == "fan-2")
    assert gone.deleted_at and BEGIN < gone.deleted_at < again.created_at < end
    outage = BEGIN + days * A_DAY * 0.6
    with run_sandbox(of, BEGIN + AN_HOUR, s3=False, page_size=500) as service:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(start_date=BEGIN.date(), lookback_days=LOOKBACK_DAYS),
            sources=(ApiSettings(profile=PLACE[0], region=PLACE[1], endpoint_url=service.url),),
        )
        life = Life(settings, instance, of, service)
        for number in range(1, days * 24 + 6):
            now = BEGIN + number * AN_HOUR + timedelta(minutes=5)
            if outage <= now < outage + down_hours * AN_HOUR:
                continue  # the daemon is down, and nobody asks
            trouble = TROUBLES.get(now.hour)
            if trouble == "storm":
                service.inject("throttle:share=0.15", "internal:share=0.1", "hangup:share=0.05")
            if trouble == "dead":
                service.inject("deny")
            if trouble == "refused":
                service.inject("deny:ListInferenceExecutions:scheduler=chiller-1")
            life.hour(
                now,
                frozenset({"chiller-1"} if trouble == "refused" else ()),
                dead=trouble == "dead",
                checks=now.hour in (5, 17),
            )
            service.clear_faults()
        check_the_end(life, gone.arn)


def check_the_end(life: Life, gone: str) -> None:
    of = life.fleet
    recorded = {key: row["status"] for key, row in read_rows(life.lake).items()}
    assert recorded == life.books.seen
    now_there = {
        (scheduler.arn, summary["DataStartTime"]): summary["Status"]
        for scheduler in of.listed(life.now)
        for summary in scheduler.executions(life.now)
    }
    of_those_there = {one.arn for one in of.listed(life.now)}
    assert {key: status for key, status in recorded.items() if key[0] in of_those_there} == now_there
    assert {key for key in recorded if key[0] == gone}, "what was deleted stays"
    assert "IN_PROGRESS" in recorded.values(), "the one that is stuck"
    assert life.computed == life.changes
    assert {row["scheduler_arn"] for row in life.lake.read(INFERENCE_SCHEDULERS).to_pylist()} == {
        one.arn for one in of.schedulers
    }


def test_a_day_in_the_life_of_a_lake(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    live_through(tmp_path, instance, days=1, down_hours=3)


@pytest.mark.long
def test_two_weeks_in_the_life_of_a_lake(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    live_through(tmp_path, instance, days=14, down_hours=24)
