"""`ledger backfill --workers` on Kubernetes, PostgreSQL and S3: any number of workers builds the same lake.

The launcher is the real one, against a stand-in for the Kubernetes API. The whole comparison needs a machine
without other load, because it compares CPU times:
`LEDGER_SCALE=60x60 pytest -m long -s -k any_number tests/pipelines/end_to_end/test_workers.py`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from assets.framework.row_content import compute_content_version, conform
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from pipelines.runs.backfill import BACKFILL_TAG, STAGE_TAG
from resources.lake.lake import Lake
from tests.support.code_location import use_s3_at
from tests.support.helm_chart import read_values, render_instance
from tests.support.object_store import build_result_key, list_starts, run_object_store
from tests.support.paths import ROOT
from tests.support.postgres import Postgres, run_postgres
from tests.support.site import Process, Site, wait_until

pytest.importorskip("kubernetes_validate", reason="pip install -e '.[deploy-check]'")
from tests.support.kubernetes_api import KubernetesApi, run_kubernetes_api

SCALE = os.environ.get("LEDGER_SCALE", "60x60")
"""Schedulers and days of the whole comparison; read here, because tests see no LEDGER variables."""

LAST = date(2026, 9, 29)
NOW = datetime(2026, 10, 8, tzinfo=UTC)
TABLES = (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)
STARTING, STARTED = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED
RETRY, MAX_RETRIES = "dagster/retry_number", "2"
PREDICTIONS = dg.AssetKey(ANOMALY_PREDICTIONS.name)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler"


@dataclass(frozen=True)
class Size:
    """A fleet, a range, and how a backfill is split."""

    schedulers: int
    days: int
    days_per_run: int
    poll_seconds: int
    has_automation: bool = True
    shards: int = 1
    runs_per_day: int = 1

    @property
    def first(self) -> date:
        return LAST - timedelta(days=self.days - 1)

    def list_days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range(self.days)]

    def count_each_day_once(self) -> dict[str, int]:
        return {str(day): 1 for day in self.list_days()}

    @property
    def objects_per_day(self) -> int:
        return self.schedulers * len(list_starts(LAST))


@dataclass(frozen=True)
class Figures:
    """What a backfill cost.

    `kills` has no worker that was killed after its run had ended.
    """

    workers: int
    kills: int
    seconds: float
    cpu_seconds: float
    runs: int
    requests: dict[str, int]
    other_failures: int
    detected_after: tuple[float, ...]

    def __str__(self) -> str:
        seconds = sorted(map(round, self.detected_after))
        return (
            f"{self.workers} workers, {self.kills} kills: {self.seconds:.0f} s, {self.cpu_seconds:.0f} CPU s"
            f" in {self.runs} runs, requests {self.requests}, deaths detected after {seconds} s"
        )


def build_executions(schedulers: int, day: date) -> pa.Table:
    """Build a day of successful executions."""
    rows = [
        {
            "scheduler_arn": f"{ARN}/pump-{number}/{number:032x}",
            "scheduler_name": f"pump-{number}",
            "account_id": "111122223333",
            "region": "eu-west-1",
            "data_start_time": start,
            "status": "SUCCESS",
            "result_s3_bucket": "results",
            "result_s3_key": build_result_key(number, start),
            "source": "api",
            "outcome_source": "api",
            "recorded_at": NOW,
        }
        for number in range(schedulers)
        for start in list_starts(day)
    ]
    nullable = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    return conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(rows, schema=nullable))


@dataclass
class World:
    """The servers that all backfills share."""

    size: Size
    folder: Path
    postgres: Postgres
    store_url: str

    @contextmanager
    def open_site(self, name: str) -> Iterator["Deployment"]:
        """Start a deployment with a lake, a database and a daemon of its own."""
        (self.folder / name).mkdir()
        site = Site(self.folder / name)
        lake = f"s3://lake/{name}"
        site.set_up(
            f"""\
[history]
start_date = "{self.size.first}"
end_date = "{NOW.date()}"
[lake]
uri = "{lake}"
shards = {self.size.shards}
[results]
allowed_buckets = ["results"]
"""
        ).dispose()
        self.postgres.create_database(name)
        with pytest.MonkeyPatch.context() as environment:
            for variable, value in {**self.postgres.environment, "DAGSTER_PG_DB": name}.items():
                environment.setenv(variable, value)
            self._seed(Lake(lake, shards=self.size.shards))
            with run_kubernetes_api(site.folder, site.environment) as (api, kubeconfig):
                (site.home / "dagster.yaml").write_text(yaml.safe_dump(self._build_instance(str(kubeconfig))))
                with dg.DagsterInstance.from_config(str(site.home)) as instance, ExitStack() as processes:
                    daemon = processes.enter_context(site.daemon())
                    wait_until(lambda: is_healthy(instance), daemon)
                    yield Deployment(self, site, api, instance, daemon, processes, Lake(lake))

    def _build_instance(self, kubeconfig: str) -> dict[str, Any]:
        config = render_instance(read_values(), kubeconfig)
        config["run_launcher"]["config"]["job_image"] = "lookout-ledger"  # else: that of the code server
        config["run_monitoring"]["poll_interval_seconds"] = self.size.poll_seconds
        if not self.size.has_automation:  # its runs stay in the queue
            limit = {"key": "dagster/sensor_name", "value": "automation", "limit": 0}
            config["concurrency"]["runs"]["tag_concurrency_limits"].append(limit)
        config["storage"] = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())["storage"]
        config["storage"]["postgres"]["postgres_db"]["port"] = self.postgres.port
        return config

    def _seed(self, lake: Lake) -> None:
        for day in self.size.list_days():
            rows = build_executions(self.size.schedulers, day)
            lake.update(INFERENCE_EXECUTIONS, day, lambda _, rows=rows: rows)

    def count_requests(self) -> Counter[str]:
        with urllib.request.urlopen(f"{self.store_url}/-/requests") as response:  # noqa: S310 (our own server)
            return Counter(json.load(response))


@dataclass
class Deployment:
    """A deployment in a world."""

    world: World
    site: Site
    api: KubernetesApi
    instance: dg.DagsterInstance
    daemon: Process
    processes: ExitStack
    lake: Lake
    command: subprocess.Popen[str] | None = None
    killed_at: dict[str, float] = field(default_factory=dict)

    def backfill(self, workers: int, faults: Sequence[tuple[int, Callable[[], None]]] = ()) -> Figures:
        """Build the results; cause each fault when its number of days is recorded."""
        size, before, started = self.world.size, self.world.count_requests(), time.monotonic()
        words = [
            "--from",
            str(size.first),
            "--to",
            str(LAST),
            "--only",
            "results",
            "--workers",
            str(workers),
        ]
        words += ["--days-per-run", str(size.days_per_run), "--runs-per-day", str(size.runs_per_day)]
        words += ["--yes", "--json"]
        command = [str(Path(sys.executable).with_name("ledger")), "backfill", *words]
        log = self.site.folder / "backfill.log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                command, env=self.site.environment, cwd="/", stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            self.command = process
            try:
                for days, fault in faults:
                    wait_until(lambda days=days: self.has_ended or self.count_recorded_days() >= days)
                    time.sleep(random.uniform(0, 4 / workers))  # noqa: S311
                    if self.has_ended:
                        break
                    fault()
                output, _ = process.communicate(timeout=6 * 3600)
            finally:
                process.kill()
        assert output, log.read_text()
        result = json.loads(output)
        assert result["outcome"] == "succeeded", json.dumps(result, indent=1)
        tags = {BACKFILL_TAG: result["backfill_id"]}
        runs = self.instance.get_runs(dg.RunsFilter(tags=tags))
        failed = [run.run_id for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
        lost = self.killed_at.keys() & failed
        containers = [self.api.containers[f"dagster-run-{run.run_id}"] for run in runs]
        for container in containers:
            container.join()
        return Figures(
            workers,
            len(lost),
            time.monotonic() - started,
            sum(container.cpu_seconds for container in containers),
            len(runs),
            dict(self.world.count_requests() - before),
            len(failed) - len(lost),
            tuple(self._read_end(run_id) - self.killed_at[run_id] for run_id in lost),
        )

    def _read_end(self, run_id: str) -> float:
        record = self.instance.get_run_record_by_id(run_id)
        assert record and record.end_time, run_id
        return record.end_time

    def count_recorded_days(self) -> int:
        return len(self.instance.get_materialized_partitions(PREDICTIONS))

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended."""
        return self.command is not None and self.command.poll() is not None

    def kill_random_worker(self, status: dg.DagsterRunStatus = STARTED, delay_seconds: float = 0) -> None:
        """Kill the worker of a run, as the loss of its node does, some seconds after it is chosen.

        None is killed if the command ends before. The third loss of a run would be final (`max_retries`).
        """

        def list_jobs() -> list[str]:
            of_backfill = dg.RunsFilter(tags={STAGE_TAG: "results"}, statuses=[status])
            runs = self.instance.get_runs(of_backfill)  # automation starts runs too
            jobs = {f"dagster-run-{run.run_id}" for run in runs if run.tags.get(RETRY) != MAX_RETRIES}
            return sorted(jobs & set(self.api.list_active()))

        job = ""
        while job not in list_jobs():
            jobs = wait_until(lambda: list_jobs() or self.has_ended)
            if self.has_ended:
                return
            job = random.choice(jobs)  # noqa: S311
            kill_at = time.monotonic() + delay_seconds
            while time.monotonic() < kill_at and job in self.api.list_active():
                time.sleep(0.05)
        self.api.kill(job)
        self.killed_at[job.removeprefix("dagster-run-")] = time.time()

    def kill_starting_worker(self) -> None:
        """Kill the worker of a run that has not started yet."""
        self.kill_random_worker(STARTING)

    def kill_daemon(self) -> None:
        """Kill the daemon with its code server; its supervisor starts it again."""
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon = self.processes.enter_context(self.site.daemon())

    def count_materializations(self) -> Counter[str]:
        """Return how often each day was recorded."""
        records = self.instance.fetch_materializations(PREDICTIONS, limit=10_000).records
        return Counter(str(record.partition_key) for record in records)

    def compute_versions(self) -> dict[tuple[str, date], str]:
        """Return the content hash of each file of the results."""

        def compute_version(table: Table, day: date) -> str:
            columns = list(table.content_columns)
            return compute_content_version(table, self.lake.read_with_digests(table, day, columns)[0])

        return {
            (table.name, day): compute_version(table, day)
            for table in TABLES
            for day in self.lake.days(table)
        }


def is_healthy(instance: dg.DagsterInstance) -> bool:
    name = "QUEUED_RUN_COORDINATOR"
    return instance.get_daemon_statuses([name])[name].healthy


@contextmanager
def open_world(size: Size, folder: Path) -> Iterator[World]:
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        postgres = stack.enter_context(run_postgres())
        url = stack.enter_context(run_object_store(size.schedulers, size.first, size.days))
        use_s3_at(url, environment)
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield World(size, folder, postgres, url)


@dataclass(frozen=True)
class Kill:
    """The loss of the worker of a run with a status, some seconds after so many days are recorded."""

    days: int = 0
    status: dg.DagsterRunStatus = STARTED
    delay_seconds: float = 0


def choose_days(size: Size, kills: int) -> list[Kill]:
    """Kill workers of started runs, and leave them some days."""
    return [Kill(days) for days in sorted(random.sample(range(1, size.days - size.days // 6), kills))]


def choose_moments(kills: int) -> list[Kill]:
    """Kill workers that start and workers that run, that were chosen 0.01 to 1 second before."""
    return [
        Kill(0, random.choice([STARTING, STARTED]), 10 ** random.uniform(-2, 0))  # noqa: S311
        for _ in range(kills)
    ]


def build_lake(
    world: World, workers: int, kills: Sequence[Kill] = ()
) -> tuple[Figures, dict[tuple[str, date], str]]:
    """Build the results in a new lake; return the costs, and the versions of its files."""
    size = world.size
    with world.open_site(f"workers_{workers}_kills_{len(kills)}") as deployment:
        kill = deployment.kill_random_worker
        faults = [(each.days, partial(kill, each.status, each.delay_seconds)) for each in kills]
        figures = deployment.backfill(workers, faults)
        print(figures, flush=True)  # noqa: T201 (the measurement)
        versions = deployment.compute_versions()
        assert len(versions) == len(TABLES) * size.days
        assert deployment.count_materializations() == size.count_each_day_once()
    objects = size.days * size.objects_per_day
    # only the days that were being read at a kill are read again
    assert 0 <= figures.requests["GET results"] - objects <= len(kills) * size.objects_per_day
    return figures, versions


@pytest.mark.slow
def test_workers_build_the_same_lake_although_some_are_killed(
    tmp_path: Path, rounds: Callable[[int], int]
) -> None:
    """One of two workers is killed; or many of eight, which are compared with eight that nothing disturbs."""
    count = rounds(1)
    runs = count + 1  # a run is lost twice at most
    size = Size(schedulers=4, days=6, days_per_run=3, poll_seconds=2, has_automation=False)
    workers, undisturbed, kills = 2, 1, choose_days(size, 1)
    if count > 1:
        size = replace(size, schedulers=1, days=runs, days_per_run=1)
        workers, undisturbed, kills = 8, 8, choose_moments(count)
    with open_world(replace(size, days_per_run=ceil(size.days / undisturbed)), tmp_path) as world:
        _, expected = build_lake(world, undisturbed)
        world.size = size
        figures, versions = build_lake(world, workers, kills)

    assert versions == expected
    # a new run replaces each killed one, unless its steps had ended
    assert runs + 0.9 * figures.kills <= figures.runs <= runs + figures.kills
    assert figures.kills > 0.9 * count, "a run can end just before its worker is killed"
    assert not figures.other_failures


@pytest.mark.long
def test_a_backfill_survives_restarts_of_the_database_and_of_the_daemon(tmp_path: Path) -> None:
    size = Size(schedulers=4, days=8, days_per_run=2, poll_seconds=2)
    with open_world(size, tmp_path) as world, world.open_site("restarts") as deployment:
        faults = [
            (1, world.postgres.restart),
            (3, deployment.kill_daemon),
            (4, deployment.kill_random_worker),
            (4, deployment.kill_starting_worker),  # that of the next run, or of the retry
        ]
        figures = deployment.backfill(2, faults)

        print(figures, flush=True)  # noqa: T201 (the measurement)
        assert deployment.count_materializations() == size.count_each_day_once()
        assert len(deployment.compute_versions()) == len(TABLES) * size.days


@pytest.mark.long
def test_runs_that_share_days_build_the_lake_of_runs_with_whole_days(tmp_path: Path) -> None:
    size = Size(schedulers=6, days=4, days_per_run=2, poll_seconds=2)
    with open_world(size, tmp_path) as world:
        with world.open_site("whole") as deployment:
            deployment.backfill(1)
            expected = deployment.compute_versions()
        world.size = replace(size, shards=4, runs_per_day=2)
        with world.open_site("shared") as deployment:
            figures = deployment.backfill(2, [(0, deployment.kill_random_worker)])
            print(figures, flush=True)  # noqa: T201 (the measurement)

            assert deployment.compute_versions() == expected
            assert deployment.lake.shards(SENSOR_CONTRIBUTIONS, LAST) == world.size.shards
            assert deployment.count_materializations() == size.count_each_day_once()
            assert figures.runs == 2 * 2 + 2 + 1  # shares, the last runs of both ranges, and a retry


@pytest.mark.long
def test_any_number_of_workers_takes_the_cpu_time_of_one(tmp_path: Path) -> None:
    schedulers, days = map(int, SCALE.split("x"))
    size = Size(schedulers, days, days_per_run=max(3, days // 8), poll_seconds=30, has_automation=False)
    with open_world(size, tmp_path) as world:
        one, expected = build_lake(world, 1)
        others = [build_lake(world, workers, choose_days(size, min(5, days // 3))) for workers in (2, 8)]

    for figures, versions in others:
        assert versions == expected
        # a small fleet cannot pass: each kill costs the start of another process
        assert figures.cpu_seconds <= 1.1 * one.cpu_seconds
        assert max(figures.detected_after) < 60
