"""`ledger backfill --workers`: the daemon, a run launcher, and workers that die."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.framework.partitions import RANGE
from assets.tables import ANOMALY_EVENTS, EXECUTION_HEALTH, INFERENCE_EXECUTIONS, SENSOR_CONTRIBUTIONS, Table
from pipelines.runs import instance as local
from pipelines.runs.backfill import BACKFILL_TAG, STAGE_TAG
from resources.lake.lake import Lake
from sandbox.fleet import Fleet
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import use_s3_at
from tests.support.helm_chart import read_values, render_instance
from tests.support.site import Site, wait_until

pytestmark = pytest.mark.long
pytest.importorskip("kubernetes_validate", reason="pip install -e '.[deploy-check]'")
from tests.support.kubernetes_api import KubernetesApi, run_kubernetes_api  # noqa: E402

FIRST, LAST = date(2026, 10, 6), date(2026, 10, 7)
END = datetime(2026, 10, 8, tzinfo=UTC)
TABLES = (INFERENCE_EXECUTIONS, SENSOR_CONTRIBUTIONS, EXECUTION_HEALTH, ANOMALY_EVENTS)
EXECUTIONS = dg.AssetKey(INFERENCE_EXECUTIONS.name)
STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture(scope="module")
def service(small_fleet: Fleet) -> Iterator[Handle]:
    with run_sandbox(small_fleet, END) as handle, pytest.MonkeyPatch.context() as environment:
        use_s3_at(handle.s3_url, environment)
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield handle


def build_settings(service: Handle) -> str:
    return f"""\
[history]
start_date = "{FIRST}"
end_date = "{END.date()}"
[[sources]]
kind = "api"
region = "eu-west-1"
endpoint_url = "{service.url}"
schedulers = ["boiler-1", "turbine-2"]
"""


def start_backfill(site: Site, *options: str) -> "subprocess.Popen[str]":
    words = [str(Path(sys.executable).with_name("ledger")), "backfill", "--yes", "--json", *options]
    return subprocess.Popen(
        words, env=site.environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, errors = process.communicate(timeout=600)
    assert output, errors
    result: dict[str, Any] = json.loads(output)
    return result


def read_content(site: Site, table: Table) -> list[dict[str, Any]]:
    """Return all rows in order, without the times and runs that recorded them."""
    lake = Lake(str(site.folder / "data" / "lake"))
    rows = [row for day in lake.days(table) or [None] for row in lake.read(table, day).to_pylist()]
    assert rows
    own = ("recorded_", "first_recorded")
    return sorted(({k: v for k, v in row.items() if not k.startswith(own)} for row in rows), key=repr)


@pytest.fixture(scope="module")
def calm(service: Handle, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The result of a backfill in one process."""
    site = Site(tmp_path_factory.mktemp("calm"))
    site.set_up(build_settings(service)).dispose()
    result = finish(start_backfill(site, "--from", str(FIRST), "--to", str(LAST)))
    assert result["outcome"] == "succeeded", result
    return site


def test_workers_on_kubernetes_build_the_lake_of_one_process_although_one_is_killed(
    service: Handle, calm: Site, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    site.set_up(build_settings(service)).dispose()
    with run_kubernetes_api(tmp_path, site.environment) as (api, kubeconfig):
        config = render_instance(read_values(), str(kubeconfig))
        config["run_launcher"]["config"]["job_image"] = "lookout-ledger"  # else: that of the code server
        config["run_monitoring"]["poll_interval_seconds"] = 2  # 30 in the values
        (site.home / "dagster.yaml").write_text(yaml.safe_dump(config))
        with dg.DagsterInstance.from_config(str(site.home)) as instance, site.daemon() as daemon:
            wait_until(lambda: is_healthy(instance), daemon)
            options = ("--from", str(FIRST), "--to", str(LAST), "--workers", "2", "--days-per-run", "1")
            process = start_backfill(site, *options)
            killed = kill_one(api, instance, "results")
            result = finish(process)

            assert result["outcome"] == "succeeded", json.dumps(result, indent=1)
            assert [stage["outcome"] for stage in result["stages"]] == ["succeeded"] * 5
            runs = list(instance.get_runs(dg.RunsFilter(tags={BACKFILL_TAG: result["backfill_id"]})))
            retry = next(run for run in runs if run.tags.get("dagster/parent_run_id") == killed)
            assert retry.status is dg.DagsterRunStatus.SUCCESS
            assert not list_overlaps(instance, "executions")  # the pool holds on a fresh instance
    for table in TABLES:
        assert read_content(site, table) == read_content(calm, table), table.name


def is_healthy(instance: dg.DagsterInstance) -> bool:
    name = "QUEUED_RUN_COORDINATOR"
    return instance.get_daemon_statuses([name])[name].healthy


def kill_one(api: KubernetesApi, instance: dg.DagsterInstance, stage: str) -> str:
    """Kill the process of a started run of a stage, as the loss of a node does; return the id of the run."""

    def find() -> dg.DagsterRun | None:
        wanted = dg.RunsFilter(tags={STAGE_TAG: stage}, statuses=[STARTED])
        return next(iter(instance.get_runs(wanted)), None)

    run: dg.DagsterRun = wait_until(find)
    api.kill(f"dagster-run-{run.run_id}")
    return run.run_id


def list_overlaps(instance: dg.DagsterInstance, stage: str) -> list[tuple[str, str]]:
    """Return the pairs of runs of a stage over different days that were active at the same time."""
    records = instance.get_run_records(dg.RunsFilter(tags={STAGE_TAG: stage}))
    spans = [(r.start_time, r.end_time, r.dagster_run) for r in records if r.start_time and r.end_time]
    return [
        (one.run_id, other.run_id)
        for start, end, one in spans
        for begin, _, other in spans
        if start < begin < end and one.tags.get(RANGE[0]) != other.tags.get(RANGE[0])
    ]


def test_a_stopped_backfill_resumes_only_what_is_missing(service: Handle, calm: Site, tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.set_up(build_settings(service)) as instance, site.daemon() as daemon:
        assert "LocalRunLauncher" in local.INSTANCE
        wait_until(lambda: is_healthy(instance), daemon)
        options = ("--from", str(FIRST), "--to", str(LAST), "--workers", "2", "--days-per-run", "1")
        process = start_backfill(site, *options, "--only", "executions,results,anomalies")
        succeeded = [dg.DagsterRunStatus.SUCCESS]
        wait_until(lambda: list(instance.get_runs(dg.RunsFilter(tags={STAGE_TAG: "results"}))))
        before = len(
            list(instance.get_runs(dg.RunsFilter(tags={STAGE_TAG: "executions"}, statuses=succeeded)))
        )
        process.terminate()
        stopped = finish(process)
        assert stopped["outcome"] == "stopped"
        active = [STARTED, dg.DagsterRunStatus.QUEUED]
        of_backfill = {BACKFILL_TAG: stopped["backfill_id"]}  # automation starts runs too
        assert not list(instance.get_runs(dg.RunsFilter(tags=of_backfill, statuses=active)))

        resumed = finish(start_backfill(site, *stopped["resume_command"].split()[2:]))

        assert resumed["outcome"] == "succeeded", json.dumps(resumed, indent=1)
        after = len(
            list(instance.get_runs(dg.RunsFilter(tags={STAGE_TAG: "executions"}, statuses=succeeded)))
        )
        assert after == before == 3  # two ranges, and the schedulers
    assert read_content(site, SENSOR_CONTRIBUTIONS) == read_content(calm, SENSOR_CONTRIBUTIONS)


def test_a_run_that_a_power_loss_ended_is_recognized_when_the_daemon_starts(
    service: Handle, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    with site.set_up(build_settings(service)) as instance, ExitStack() as processes:
        daemon = processes.enter_context(site.daemon())
        wait_until(lambda: is_healthy(instance), daemon)
        options = ("--from", str(FIRST), "--to", str(LAST), "--workers", "1", "--only", "executions")
        process = start_backfill(site, *options)
        (run,) = wait_until(lambda: list(instance.get_runs(dg.RunsFilter(statuses=[STARTED]))))
        os.killpg(daemon.pid, signal.SIGKILL)  # with the code server and the run

        started = time.time()
        processes.enter_context(site.daemon())
        result = finish(process)

        assert result["outcome"] == "succeeded", json.dumps(result, indent=1)
        ended = instance.get_run_record_by_id(run.run_id)
        assert ended is not None and ended.end_time is not None
        assert ended.dagster_run.status is dg.DagsterRunStatus.FAILURE
        print(f"recognized {ended.end_time - started:.0f} s after the start of the daemon")  # noqa: T201
        records = instance.fetch_materializations(EXECUTIONS, limit=100).records
        assert sorted(str(record.partition_key) for record in records) == [str(FIRST), str(LAST)]


def test_workers_need_a_daemon(service: Handle, tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.set_up(build_settings(service)).dispose()

    process = start_backfill(site, "--from", str(FIRST), "--to", str(LAST), "--workers", "2")
    _, errors = process.communicate(timeout=120)

    assert process.returncode == 2
    assert "the Dagster daemon sends no heartbeat" in errors
