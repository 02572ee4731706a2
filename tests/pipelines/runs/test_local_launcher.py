"""Runs of one machine whose process ended without a report."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from pipelines.automation import lost_runs
from pipelines.runs import local_launcher
from pipelines.runs.instance import INSTANCE
from pipelines.runs.local_launcher import (
    BOOT_TAG,
    PROCESS_TAG,
    LocalRunLauncher,
    build_process_tags,
    read_boot_tag,
)

STARTING = dg.DagsterRunStatus.STARTING
STARTED = dg.DagsterRunStatus.STARTED
LOCAL_SERVER = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "/tmp/none"})}  # noqa: S108


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(INSTANCE)
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


def monitor(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """Return the status of the run after one pass of the daemon's run monitoring."""
    daemon: Any = SimpleNamespace(instance=instance, create_request_context=lambda: None)
    assert [error for error in execute_run_monitoring_iteration(daemon, logging.getLogger()) if error] == []
    return instance.get_run_by_id(run.run_id).status


def test_a_run_of_an_earlier_boot_has_failed(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=STARTED, tags={**LOCAL_SERVER, BOOT_TAG: "earlier"})

    assert monitor(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_of_this_boot_that_reported_no_process_yet_is_running(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=STARTED, tags=LOCAL_SERVER | read_boot_tag())

    assert monitor(instance, run) is STARTED


def test_a_run_lives_as_long_as_the_process_that_it_reported(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]"
) -> None:
    run = create_run_for_test(instance, status=STARTED, tags=LOCAL_SERVER | read_boot_tag())
    instance.report_engine_event("Started process for run", run, EngineEventData.in_process(process.pid))

    assert monitor(instance, run) is STARTED
    process.kill()
    process.wait()
    assert monitor(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_does_not_live_on_in_another_process_with_its_pid(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(instance, status=STARTED, tags=LOCAL_SERVER | read_boot_tag())
    instance.report_engine_event("Started process for run", run, EngineEventData.in_process(process.pid))
    assert [monitor(instance, run) for _ in range(2)] == [STARTED, STARTED]

    monkeypatch.setattr(LocalRunLauncher, "_find_pid", lambda *_: os.getpid())

    assert monitor(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_whose_process_hides_its_start_is_running(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = create_run_for_test(instance, status=STARTED, tags=build_process_tags())
    monkeypatch.setattr(local_launcher, "_PROCESSES", tmp_path)

    assert monitor(instance, run) is STARTED


def test_an_interactive_run_lives_as_long_as_its_process(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]"
) -> None:
    own = build_process_tags()
    tags = {PROCESS_TAG: own[PROCESS_TAG].replace(str(os.getpid()), str(process.pid))}
    run = create_run_for_test(instance, status=STARTED, tags=tags)

    assert monitor(instance, run) is STARTED
    process.kill()
    process.wait()
    assert monitor(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_fails_that_loses_its_process_before_it_starts(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(instance, status=STARTING, tags=LOCAL_SERVER | read_boot_tag())
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", run.job_name), run.run_id)
    instance.report_engine_event("Started process for run", run, EngineEventData.in_process(process.pid))

    def check(launch_seconds: int) -> dg.DagsterRunStatus:
        monkeypatch.setattr(lost_runs, "LAUNCH_SECONDS", launch_seconds)
        lost_runs.build_lost_runs_sensor()(dg.build_sensor_context(instance=instance))
        return instance.get_run_by_id(run.run_id).status

    assert check(0) is STARTING
    process.kill()
    process.wait()
    assert check(60) is STARTING, "the launch can still be in progress"
    assert check(0) is dg.DagsterRunStatus.FAILURE


def test_starting_runs_stay_if_the_code_server_cannot_open_the_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = "run_launcher: {module: no_such_module, class: Launcher}\n"
    (tmp_path / "dagster.yaml").write_text(f"{launcher}run_monitoring: {{enabled: true}}\n")
    monkeypatch.setattr(lost_runs, "LAUNCH_SECONDS", 0)
    with dg.DagsterInstance.from_config(str(tmp_path)) as broken:
        run = create_run_for_test(broken, status=STARTING, tags=LOCAL_SERVER | read_boot_tag())
        broken.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", run.job_name), run.run_id)

        reason = lost_runs.build_lost_runs_sensor()(dg.build_sensor_context(instance=broken))

        assert "cannot open the run launcher" in str(reason)
        assert broken.get_run_by_id(run.run_id).status is STARTING


def test_an_interactive_run_of_another_host_is_not_judged(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=STARTED, tags={PROCESS_TAG: "elsewhere 1"})

    assert monitor(instance, run) is STARTED


def test_a_server_in_another_container_gets_time_to_restart(instance: dg.DagsterInstance) -> None:
    server = {GRPC_INFO_TAG: json.dumps({"host": "127.1.1.1", "port": 1})}  # nothing listens there
    run = create_run_for_test(instance, status=STARTED, tags=server | read_boot_tag())

    statuses = [monitor(instance, run) for _ in range(4)]

    assert statuses == [STARTED, STARTED, STARTED, dg.DagsterRunStatus.FAILURE]


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert local_launcher._is_alive(1)
