"""A killed run that is resumed, and the requests that the service counted."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from assets.executions import assets as execution_assets
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.fleet import History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import EXTRACTION, Location
from tests.support.live_service import PLACES, get_visible_statuses
from tests.support.paths import ROOT
from tests.support.run_results import LIST_EXECUTIONS, build_resume_options, read_rows

pytestmark = pytest.mark.usefixtures("accounts")

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
DAYS = [date(2026, 9, day) for day in range(21, 31)]
PLACE = PLACES[0]
FLEET = build_fleet(
    seed=4, history=History(datetime(2026, 9, 21, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC))
)
CHILD = """
import sys
from pathlib import Path
import dagster as dg
from assets.executions import assets
from tests.pipelines.runs.test_killed import DAYS, locate
assets.DAYS_PER_BATCH = 1
url, lake, home = sys.argv[1:]
locate(url, Path(lake), dg.DagsterInstance.local_temp(home)).run(DAYS[0], DAYS[-1])
"""


def locate(url: str, lake: Path, instance: dg.DagsterInstance) -> Location:
    settings = Settings(
        lake=LakeSettings(uri=str(lake)),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        sources=(ApiSettings(profile=PLACE[0], region=PLACE[1], endpoint_url=url),),
    )
    clock = {"clock": lambda: datetime.now(UTC)}
    return Location(build_defs(clock, settings=settings), instance, Lake(str(lake)))


def kill_after_requests(process: subprocess.Popen[bytes], service: Handle, requests: int) -> None:
    deadline = time.monotonic() + 300
    while service.count(operation=LIST_EXECUTIONS) < requests:
        assert process.poll() is None and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    counted = -1
    while counted != (
        counted := service.count(operation=LIST_EXECUTIONS)
    ):  # what was on its way is counted late
        time.sleep(1)


def count_materializations(instance: dg.DagsterInstance) -> dict[str, int]:
    """Return how often each day of the executions was recorded, over all runs."""
    records = instance.fetch_materializations(dg.AssetKey("inference_executions"), limit=1000).records
    return Counter(str(record.partition_key) for record in records)


def resume_in_new_run(location: Location, killed: dg.DagsterRun) -> bool:
    """Resume as `run_retries` and a person do."""
    return location.run(DAYS[0], DAYS[-1], **build_resume_options(killed.run_id)).success


def resume_same_run(location: Location, killed: dg.DagsterRun) -> bool:
    """Resume as run monitoring does with `max_resume_run_attempts`: `dagster api resume_run`."""
    job = location.definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(EXTRACTION), asset_check_selection=set()
    )
    events = execute_run_iterator(InMemoryJob(job), killed, location.instance, resume_from_failure=True)
    days = [event.partition for event in events if event.is_step_materialization and event.partition]
    assert days
    run = location.instance.get_run_by_id(killed.run_id)
    return run is not None and run.is_success


@pytest.mark.slow
@pytest.mark.parametrize("resume", [resume_in_new_run, resume_same_run])
def test_a_killed_run_that_is_resumed_fetches_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: Callable[[Location, dg.DagsterRun], bool]
) -> None:
    lake, home = tmp_path / "lake", tmp_path / "home"
    home.mkdir()
    with run_sandbox(FLEET, NOW, s3=False, faults=["slow:ListInferenceExecutions:seconds=0.1"]) as service:
        command = [sys.executable, "-c", CHILD, service.url, str(lake), str(home)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            kill_after_requests(process, service, requests=4 * 4 + 2)
        service.clear_faults()
        before, listings = (
            service.count(operation=LIST_EXECUTIONS),
            service.count(operation="ListInferenceSchedulers"),
        )
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            location = locate(service.url, lake, instance)
            (killed,) = instance.get_runs()
            missing = [day for day in DAYS if not location.lake.read(EXTRACTION_COVERAGE, day).num_rows]
            assert 0 < len(missing) < len(DAYS)
            monkeypatch.setattr(execution_assets, "DAYS_PER_BATCH", 1)

            assert resume(location, killed)

            assert count_materializations(instance) == dict.fromkeys(map(str, DAYS), 1)
            schedulers = [
                scheduler
                for scheduler in FLEET.list_schedulers(NOW)
                if (scheduler.account, scheduler.region) == PLACE
            ]
            assert service.count(operation=LIST_EXECUTIONS) - before == len(schedulers) * len(missing)
            assert service.count(operation="ListInferenceSchedulers") - listings == 1, "once a run"
        recorded = {key: row["status"] for key, row in read_rows(location.lake).items()}
        assert recorded == {
            key: status
            for key, status in get_visible_statuses(FLEET, NOW).items()
            if key[0] in {scheduler.arn for scheduler in schedulers} and key[1].date() in DAYS
        }
        assert location.lake.days(INFERENCE_EXECUTIONS) == DAYS
