"""The Dagster daemon as a process, killed and restarted while the service continues."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import JobFailureData, RunFailureReason

from pipelines.automation import schedules
from resources.lake.lake import Lake
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.live_service import PLACES, get_visible_statuses
from tests.support.paths import ROOT
from tests.support.run_results import read_rows
from tests.support.site import Process, Site, wait_until

pytestmark = pytest.mark.usefixtures("accounts")

A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)
STARTING, STARTED = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED
ACTIVE = (STARTING, STARTED, dg.DagsterRunStatus.CANCELING)
MOST_KILLS = 100
"""The most kills of one test, whatever the number of rounds."""

ACCOUNT, REGION = PLACES[3]
EXECUTIONS, SCHEDULERS, BELOW = (
    dg.AssetKey(name) for name in ("inference_executions", "inference_schedulers", "below")
)
SETTINGS = """\
[lake]
uri = "lake"
[history]
start_date = "{start}"
lookback_days = 3
settle_after_minutes = 10000
[schedule]
cron = "* * * * *"
[[sources]]
kind = "api"
profile = "{account}"
region = "{region}"
endpoint_url = "{url}"
"""
LOCATION = '''
"""A part of the code location, and an asset that depends on it like its own; the test sets what it does."""
import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
import dagster as dg
from assets.framework.automation import upstream_content_changed
from assets.framework.partitioned_run import PartitionedRun, PartitionResult
from pipelines.automation import schedules, sensors
from pipelines.definitions import build_defs
sensors.build_automation_sensor = partial(sensors.build_automation_sensor, 5)  # seconds; the default is 30
FOLDER = Path(__file__).parent
IS_BUSY = (FOLDER / "busy").exists()
KEPT = {dg.AssetKey(name) for name in ("inference_executions", "inference_schedulers")}

def below(days: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name="below",
        deps=["inference_executions"],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=upstream_content_changed(),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.Output[None]:
        with (FOLDER / "computed").open("a") as file:
            print(json.dumps(list(context.partition_keys)), file=file)
        while (FOLDER / "hold").exists():
            time.sleep(0.1)
        run = PartitionedRun(context)
        run.process(context.partition_keys, work)
        return run.finish({})

    def work(day: str) -> list[PartitionResult]:
        if day == (FOLDER / "fails").read_text():
            raise RuntimeError("no luck")
        return [PartitionResult("below", str(time.time()), {})]

    return asset

def evaluate_often(schedule: dg.ScheduleDefinition) -> dg.SensorDefinition:
    @dg.sensor(
        name="evaluate_often",
        job_name=schedule.job_name,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=schedule.required_resource_keys,
    )
    def evaluate(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        resources = {name: getattr(context.resources, name) for name in schedule.required_resource_keys}
        now = datetime.now(UTC)
        with dg.build_schedule_context(context.instance, now, resources) as schedule_context:
            return schedule(schedule_context)

    return evaluate

def part(of: dg.Definitions) -> dg.Definitions:
    assets = [
        asset for asset in of.assets if KEPT & set(asset.keys if hasattr(asset, "keys") else [asset.key])
    ]
    (refresh,) = [schedule for schedule in of.schedules if schedule.name == schedules.REFRESH]
    often = [evaluate_often(refresh)] if IS_BUSY else []
    return dg.Definitions(
        assets=[*assets, below(of.resolve_assets_def("inference_executions").partitions_def)],
        jobs=[job for job in of.jobs if job.name == schedules.REFRESH],
        schedules=[refresh],
        sensors=[*often, *(sensor for sensor in of.sensors if sensor.name == "automation")],
        resources=of.resources,
        executor=of.executor,
    )

defs = part(build_defs())
'''


@dataclass
class World:
    """The daemon, its instance and the simulated service."""

    site: Site
    instance: dg.DagsterInstance
    service: Handle
    fleet: Fleet
    now: datetime

    @property
    def started_days(self) -> list[list[str]]:
        """The days of each run of `below`, in the order of their start."""
        file = self.site.folder / "computed"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def list_runs(self, *statuses: dg.DagsterRunStatus, job: str | None = None) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(statuses=list(statuses) or None, job_name=job)))

    def fail_lost_starts(self, run_ids: set[str]) -> None:
        """Fail those of the runs that are starting, as run monitoring does after its timeout."""
        for run in (run for run in self.list_runs(STARTING) if run.run_id in run_ids):
            timeout = JobFailureData(error=None, failure_reason=RunFailureReason.START_TIMEOUT)
            self.instance.report_run_failed(run, "The run did not start.", timeout)

    def list_active(self, *statuses: dg.DagsterRunStatus) -> set[str]:
        """Return the ids of the runs that have a process, or of those with a status."""
        return {run.run_id for run in self.list_runs(*(statuses or ACTIVE))}

    def has_refreshed(self, times: int) -> bool:
        """Whether so many runs of the schedule succeeded."""
        return len(self.list_runs(dg.DagsterRunStatus.SUCCESS, job=schedules.REFRESH)) >= times

    def list_versions(self) -> dict[str, list[str]]:
        """Return the successive content versions of each day."""
        actual: dict[str, list[str]] = {}
        for day, tags in self._materializations(EXECUTIONS):
            held = actual.setdefault(day, [])
            if held[-1:] != [tags["dagster/data_version"]]:
                held.append(tags["dagster/data_version"])
        return actual

    def count_materializations(self, asset: dg.AssetKey) -> Counter[str]:
        return Counter(day for day, _ in self._materializations(asset))

    def is_computed(self, but: str) -> bool:
        """Whether dependent assets are newer than the last change of each day, except one."""
        changed = self._last_changes()
        days = {str(record.partition_key): record.storage_id for record in self._records(BELOW)}
        whole = max((record.storage_id for record in self._records(SCHEDULERS)), default=-1)
        return whole > max(changed.values()) and all(
            day == but or days.get(day, -1) > at for day, at in changed.items()
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether no run is queued or active, except those of the schedule."""
        statuses = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        return all(run.job_name == schedules.REFRESH for run in self.list_runs(*statuses))

    def count_ticks(self) -> int:
        """Count the ticks of the sensor `automation`."""
        return sum(
            len(self.instance.get_ticks(state.instigator_origin_id, state.selector_id))
            for state in self.instance.all_instigator_state()
            if state.instigator_name == "automation"
        )

    def has_ticked(self, since: float) -> bool:
        """Whether the sensor `automation` has had a tick since a time."""
        return any(
            self.instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since, limit=1)
            for state in self.instance.all_instigator_state()
            if state.instigator_name == "automation"
        )

    def advance_clock(self, hours: float) -> None:
        """Advance the clock of the service, which changes some days."""
        self.now += hours * AN_HOUR
        self.service.set_clock(self.now)

    def _records(self, asset: dg.AssetKey) -> list[Any]:
        records, cursor = list[Any](), None
        while True:
            page = self.instance.fetch_materializations(asset, limit=1000, cursor=cursor, ascending=True)
            records += page.records
            cursor = page.cursor
            if not page.has_more:
                return records

    def _materializations(self, asset: dg.AssetKey) -> list[tuple[str, dict[str, str]]]:
        return [
            (str(record.partition_key), dict(record.asset_materialization.tags or {}))
            for record in self._records(asset)
        ]

    def _last_changes(self) -> dict[str, int]:
        """Return the event id of the last content change of each day."""
        actual: dict[str, tuple[str, int]] = {}
        for record in self._records(EXECUTIONS):
            version = record.asset_materialization.tags["dagster/data_version"]
            if actual.get(record.partition_key, ("", 0))[0] != version:
                actual[record.partition_key] = version, record.storage_id
        return {day: at for day, (_, at) in actual.items()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    whole = build_fleet(seed=6, history=History(today - 3 * A_DAY, today + 2 * A_DAY))
    hourly = tuple(scheduler for scheduler in whole.schedulers if scheduler.name in ("mill-1", "chiller-1"))
    now = datetime.now(UTC) - 30 * AN_HOUR
    mine = replace(whole, schedulers=hourly)
    with run_sandbox(mine, now, s3=False) as service:
        (tmp_path / "location.py").write_text(LOCATION)
        start = f"{now - 25 * AN_HOUR:%Y-%m-%d}"  # this day does not change any more
        (tmp_path / "fails").write_text(start)
        site = Site(tmp_path, ("-f", str(tmp_path / "location.py"), "-d", str(ROOT)))
        text = SETTINGS.format(start=start, account=ACCOUNT, region=REGION, url=service.url)
        with site.set_up(text) as instance:
            yield World(site, instance, service, mine, now)


def read_recorded(world: World) -> dict[tuple[str, object], object]:
    lake = Lake(str(world.site.folder / "lake"))
    return {key: row["status"] for key, row in read_rows(lake).items()}


def get_expected(world: World, first_day: str) -> dict[tuple[str, object], str]:
    visible = get_visible_statuses(world.fleet, world.now)
    return {key: status for key, status in visible.items() if str(key[1])[:10] >= first_day}


def has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.long
def test_a_killed_and_restarted_daemon_loses_nothing_and_repeats_nothing(world: World) -> None:
    folder, service = world.site.folder, world.service
    fails = (folder / "fails").read_text()
    (folder / "hold").touch()
    with world.site.daemon() as daemon:
        wait_until(lambda: world.has_refreshed(1), daemon)
        (first,) = wait_until(lambda: world.started_days, daemon)
        assert fails in first and len(first) > 2, "all days are new"

        world.advance_clock(hours=12)
        changes = sum(map(len, world.list_versions().values()))
        wait_until(lambda: sum(map(len, world.list_versions().values())) > changes, daemon)
        assert world.started_days == [first], "the change waits for the active run"
        kill(daemon)
        (folder / "hold").unlink()
        wait_until(lambda: not world.list_runs(dg.DagsterRunStatus.STARTED))
        world.advance_clock(hours=12)
        refreshed = len(world.list_runs(dg.DagsterRunStatus.SUCCESS, job=schedules.REFRESH))

    with world.site.daemon() as daemon:
        wait_until(lambda: world.has_refreshed(refreshed + 1), daemon)
        wait_until(lambda: world.is_computed(but=fails), daemon)
        wait_until(lambda: sum(fails in days for days in world.started_days) > 1, daemon)
        wait_until(lambda: world.is_at_rest, daemon)
        looked = world.count_ticks()
        wait_until(lambda: world.count_ticks() >= looked + 3, daemon)

        versions = world.list_versions()
        assert sum(fails in days for days in world.started_days) == 2, "one retry, not an endless loop"
        assert set(world.count_materializations(BELOW)) == set(versions) - {fails}
        counts = world.count_materializations(BELOW)
        repeated = {day: (counts[day], versions[day]) for day in counts if counts[day] > len(versions[day])}
        assert not repeated, f"only for changes: {world.started_days}"
        assert world.count_materializations(SCHEDULERS).total() <= sum(map(len, versions.values()))
        assert read_recorded(world) == get_expected(world, first_day=fails)

        service.inject("deny:ListInferenceSchedulers")  # the first call of each run
        wait_until(lambda: world.list_runs(dg.DagsterRunStatus.FAILURE, job=schedules.REFRESH), daemon)
        looked = world.count_ticks()
        wait_until(lambda: world.count_ticks() >= looked + 3, daemon)

    failed = len(world.list_runs(dg.DagsterRunStatus.FAILURE, job=schedules.REFRESH))
    cut_off = len(world.list_runs(dg.DagsterRunStatus.STARTED, job=schedules.REFRESH))
    denied = service.count(operation="ListInferenceSchedulers", outcome="AccessDeniedException")
    assert failed <= denied <= failed + cut_off, "the schedule calls once each time, without retries"
    assert not any("dagster/parent_run_id" in run.tags for run in world.list_runs())


@dataclass
class Kills:
    """How often the daemon was killed, and the runs that were starting or started then.

    `count_during_run` has only kills that a run met for the first time.
    """

    count: int
    count_during_run: int = 0
    starting: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)

    @property
    def runs(self) -> set[str]:
        return self.starting | self.started

    def add(self, world: World) -> None:
        """Add a kill that has just happened."""
        starting, started = world.list_active(STARTING) - self.runs, world.list_active(STARTED) - self.runs
        self.starting |= starting
        self.started |= started
        self.count_during_run += bool(starting or started)

    def __str__(self) -> str:
        return (
            f"{self.count} kills, {self.count_during_run} of them during a run:"
            f" {len(self.starting)} runs were starting, {len(self.started)} started"
        )


def make_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start runs at any time, not only each minute, and recognize dead ones and repeat them sooner."""
    (world.site.folder / "busy").touch()
    monkeypatch.setenv("DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS", "1")
    file = world.site.home / "dagster.yaml"
    config = yaml.safe_load(file.read_text())
    config["run_monitoring"]["poll_interval_seconds"] = 2
    file.write_text(yaml.safe_dump(config))


@contextmanager
def kill_daemons(world: World, count: int, *, alone: bool) -> Iterator[Kills]:
    """Kill one daemon after the other, and change some days of the service between them.

    In turn, a daemon dies while a run starts, after a tick, during a run, and while it starts itself.

    Args:
        world: the world.
        count: the number of kills.
        alone: keep the code server and the runs of a killed daemon until the next one has seen their end.
    """
    kills, groups = Kills(count), list[int]()

    def are_settled() -> bool:
        """Whether all runs of earlier daemons ended; a start is lost if their code servers end without it."""
        if not any(map(has_processes, groups)):
            world.fail_lost_starts(kills.starting)
        return not kills.runs & world.list_active()

    world.advance_clock(hours=-18)  # the first day of the history has begun
    hours = min(1, (datetime.now(UTC) - 2 * AN_HOUR - world.now) / AN_HOUR / count)
    with ExitStack() as earlier:
        for number in range(count):
            with ExitStack() as own:
                daemon, since = own.enter_context(world.site.daemon()), time.time()
                moments: list[Callable[[], Any]] = [
                    lambda: world.list_active(STARTING) - kills.runs,
                    lambda since=since: world.has_ticked(since),
                    lambda: world.list_active(STARTED) - kills.runs,
                    lambda: True,
                ]
                moment = number % len(moments)
                if alone and moment < len(moments) - 1:
                    wait_until(are_settled, daemon)
                    earlier.close()
                    groups.clear()
                wait_until(moments[moment], daemon)
                time.sleep(random.uniform(0, 1))  # noqa: S311 (a run takes longer)
                kill(daemon)
                if alone:
                    earlier.push(own.pop_all())
                    groups.append(daemon.pid)
            kills.add(world)
            if not alone:
                world.fail_lost_starts(kills.starting)
            world.advance_clock(hours)
        yield kills


@pytest.mark.long
def test_a_daemon_that_dies_with_its_runs_at_random_times_loses_no_execution(
    world: World, rounds: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first_day = (world.site.folder / "fails").read_text()
    (world.site.folder / "fails").write_text("no day")
    make_busy(world, monkeypatch)
    with kill_daemons(world, min(rounds(3), MOST_KILLS), alone=False) as kills:
        refreshed = len(world.list_runs(dg.DagsterRunStatus.SUCCESS, job=schedules.REFRESH))
        with world.site.daemon() as daemon:
            wait_until(lambda: world.has_refreshed(refreshed + 1), daemon)
            wait_until(lambda: world.is_computed(but=""), daemon)
            wait_until(lambda: not kills.runs & world.list_active(), daemon)

    print(kills)  # noqa: T201 (the measurement)
    assert kills.count_during_run >= kills.count / 3
    assert read_recorded(world) == get_expected(world, first_day)


@pytest.mark.long
def test_a_daemon_that_dies_alone_at_random_times_loses_no_run_and_repeats_none(
    world: World, rounds: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code server ends after the active runs."""
    first_day = (world.site.folder / "fails").read_text()
    (world.site.folder / "fails").write_text("no day")
    make_busy(world, monkeypatch)
    with kill_daemons(world, min(rounds(3), MOST_KILLS), alone=True) as kills, world.site.daemon() as daemon:
        refreshed = len(world.list_runs(dg.DagsterRunStatus.SUCCESS, job=schedules.REFRESH))
        wait_until(lambda: world.has_refreshed(refreshed + 1), daemon)
        wait_until(lambda: world.is_computed(but=""), daemon)
        wait_until(lambda: world.is_at_rest and not kills.runs & world.list_active(), daemon)
        ticks = world.count_ticks()
        wait_until(lambda: world.count_ticks() >= ticks + 3, daemon)

    print(kills)  # noqa: T201 (the measurement)
    assert kills.count_during_run >= kills.count / 3
    assert read_recorded(world) == get_expected(world, first_day)
    assert kills.started <= {run.run_id for run in world.list_runs(dg.DagsterRunStatus.SUCCESS)}
    counts, versions = world.count_materializations(BELOW), world.list_versions()
    repeated = {day: (counts[day], versions[day]) for day in counts if counts[day] > len(versions[day])}
    assert not repeated, f"only for changes: {world.started_days}"
