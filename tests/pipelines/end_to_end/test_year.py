"""A year of fifteen schedulers in one run, started in the Dagster UI or with `dg launch`."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.tables import INFERENCE_EXECUTIONS
from resources.lake.lake import Lake
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.live_service import PLACES, get_visible_statuses
from tests.support.paths import ROOT
from tests.support.run_results import LIST_EXECUTIONS
from tests.support.site import DagsterUi, Site, wait_until

pytestmark = pytest.mark.usefixtures("accounts")

FIRST, LAST = date(2025, 10, 8), date(2026, 10, 7)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
ASSET = {"path": [INFERENCE_EXECUTIONS.name]}
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
REEXECUTE = """
mutation Again($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
STATUSES = """
query Statuses($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { status startKey endKey } }
      }
    }
  }
}"""


@pytest.fixture(scope="module")
def plants() -> Fleet:
    """The whole fleet with hourly executions: a twelfth of the data, but as many days and events."""
    fleet = build_fleet(
        seed=3, history=History(datetime(2025, 10, 8, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    )
    hourly = (
        replace(scheduler, schedules=tuple(replace(era, frequency="PT1H") for era in scheduler.schedules))
        for scheduler in fleet.schedulers
    )
    return replace(fleet, schedulers=tuple(hourly))


@pytest.fixture(scope="module")
def service(plants: Fleet) -> Iterator[Handle]:
    assert len(plants.schedulers) == 15
    with run_sandbox(plants, NOW, s3=False) as handle:
        yield handle


@pytest.fixture
def site(tmp_path: Path, service: Handle) -> Site:
    service.reset()
    return Site(tmp_path)


@pytest.fixture
def instance(site: Site, service: Handle) -> Iterator[dg.DagsterInstance]:
    sources = "".join(
        f'[[sources]]\nkind = "api"\nprofile = "{account}"\nregion = "{region}"\n'
        f'endpoint_url = "{service.url}"\n'
        for account, region in PLACES
    )
    history = f'start_date = "{FIRST}"\nend_date = "{LAST + timedelta(days=1)}"\n'
    with site.set_up(f'[lake]\nuri = "lake"\n[history]\n{history}{sources}') as opened:
        yield opened


def count_recorded(site: Site) -> int:
    return int(Lake(str(site.folder / "lake")).dataset(INFERENCE_EXECUTIONS).count_rows())


def count_visible(plants: Fleet) -> int:
    return sum(FIRST <= start.date() <= LAST for _, start in get_visible_statuses(plants, NOW))  # type: ignore[attr-defined]


def list_failed_days(pages: DagsterUi) -> list[str]:
    """Return the days that the Dagster UI shows as failed."""
    ranges = pages.query(STATUSES, key=ASSET)["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    return [
        day.isoformat()
        for range_ in ranges
        if range_["status"] == "FAILED"
        for day in DAYS
        if range_["startKey"] <= day.isoformat() <= range_["endKey"]
    ]


def get_finished_run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run is not None and run.is_finished else None


@pytest.mark.long
def test_a_backfill_of_a_year_shows_failed_days_and_a_retry_runs_only_those(
    site: Site, instance: dg.DagsterInstance, service: Handle, plants: Fleet
) -> None:
    lake = Lake(str(site.folder / "lake"))
    broken = [DAYS[40], DAYS[200]]
    for day in broken:
        file = Path(lake.path(INFERENCE_EXECUTIONS, day))
        file.parent.mkdir(parents=True)
        file.write_bytes(b"not Parquet")
    with site.webserver() as pages, site.daemon() as daemon:
        params = {"assetSelection": [ASSET], "partitionNames": [day.isoformat() for day in DAYS]}
        response = pages.query(BACKFILL, params=params)["launchPartitionBackfill"]
        assert response["__typename"] == "LaunchBackfillSuccess", response
        run_filter = dg.RunsFilter(tags={"dagster/backfill": response["backfillId"]})
        (run,) = wait_until(lambda: instance.get_runs(run_filter), daemon)
        run = wait_until(lambda: get_finished_run(instance, run.run_id), daemon)

        assert run.status is dg.DagsterRunStatus.FAILURE
        assert list_failed_days(pages) == [day.isoformat() for day in broken]
        assert len(lake.days(INFERENCE_EXECUTIONS)) == len(DAYS)
        for day in broken:
            Path(lake.path(INFERENCE_EXECUTIONS, day)).unlink()
        requests_before = service.count(operation=LIST_EXECUTIONS)

        params = {"parentRunId": run.run_id, "strategy": "FROM_FAILURE"}
        response = pages.query(REEXECUTE, params=params)["launchRunReexecution"]
        assert response["__typename"] == "LaunchRunSuccess", response
        run_id = response["run"]["runId"]
        run = wait_until(lambda: get_finished_run(instance, run_id), daemon)

        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert list_failed_days(pages) == []
        assert count_recorded(site) == count_visible(plants)
        assert service.count(operation=LIST_EXECUTIONS) - requests_before == len(
            plants.list_schedulers(NOW)
        ) * len(broken)


@pytest.mark.long
@pytest.mark.usefixtures("instance")
def test_dg_launch_records_every_execution_of_a_year(site: Site, plants: Fleet) -> None:
    words = ["launch", "--assets", INFERENCE_EXECUTIONS.name, "--partition-range", f"{FIRST}...{LAST}"]
    command = [str(Path(sys.executable).with_name("dg")), *words]

    done = subprocess.run(
        command, cwd=ROOT, env=site.environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert count_recorded(site) == count_visible(plants)
