"""A year of fifteen schedulers in one go, as Dagster's pages and its command line start it."""

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
from tests.support.site import Pages, Site, until

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
AGAIN = """
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
    """The whole fleet, hourly: a twelfth of the data, and as many days and events."""
    whole = build_fleet(
        seed=3, history=History(datetime(2025, 10, 8, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    )
    slow = (
        replace(one, schedules=tuple(replace(era, frequency="PT1H") for era in one.schedules))
        for one in whole.schedulers
    )
    return replace(whole, schedulers=tuple(slow))


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


def recorded(site: Site) -> int:
    return int(Lake(str(site.folder / "lake")).dataset(INFERENCE_EXECUTIONS).count_rows())


def there(plants: Fleet) -> int:
    return sum(FIRST <= start.date() <= LAST for _, start in get_visible_statuses(plants, NOW))  # type: ignore[attr-defined]


def failed(pages: Pages) -> list[str]:
    """The days that the page of the asset shows as failed."""
    ranges = pages.ask(STATUSES, key=ASSET)["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    return [
        day.isoformat()
        for one in ranges
        if one["status"] == "FAILED"
        for day in DAYS
        if one["startKey"] <= day.isoformat() <= one["endKey"]
    ]


def ended(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run is not None and run.is_finished else None


@pytest.mark.long
def test_a_year_from_the_pages_tells_which_days_failed_and_does_those_alone_again(
    site: Site, instance: dg.DagsterInstance, service: Handle, plants: Fleet
) -> None:
    lake = Lake(str(site.folder / "lake"))
    broken = [DAYS[40], DAYS[200]]
    for day in broken:
        file = Path(lake.path(INFERENCE_EXECUTIONS, day))
        file.parent.mkdir(parents=True)
        file.write_bytes(b"no parquet")
    with site.webserver() as pages, site.daemon() as daemon:
        params = {"assetSelection": [ASSET], "partitionNames": [day.isoformat() for day in DAYS]}
        told = pages.ask(BACKFILL, params=params)["launchPartitionBackfill"]
        assert told["__typename"] == "LaunchBackfillSuccess", told
        mine = dg.RunsFilter(tags={"dagster/backfill": told["backfillId"]})
        (run,) = until(lambda: instance.get_runs(mine), daemon)
        run = until(lambda: ended(instance, run.run_id), daemon)

        assert run.status is dg.DagsterRunStatus.FAILURE
        assert failed(pages) == [day.isoformat() for day in broken]
        assert len(lake.days(INFERENCE_EXECUTIONS)) == len(DAYS)
        for day in broken:
            Path(lake.path(INFERENCE_EXECUTIONS, day)).unlink()
        asked = service.count(operation=LIST_EXECUTIONS)

        params = {"parentRunId": run.run_id, "strategy": "FROM_FAILURE"}
        told = pages.ask(AGAIN, params=params)["launchRunReexecution"]
        assert told["__typename"] == "LaunchRunSuccess", told
        run_id = told["run"]["runId"]
        run = until(lambda: ended(instance, run_id), daemon)

        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert failed(pages) == []
        assert recorded(site) == there(plants)
        assert service.count(operation=LIST_EXECUTIONS) - asked == len(plants.listed(NOW)) * len(broken)


@pytest.mark.long
@pytest.mark.usefixtures("instance")
def test_a_year_from_the_command_line_of_dagster_is_what_there_is(site: Site, plants: Fleet) -> None:
    words = ["launch", "--assets", INFERENCE_EXECUTIONS.name, "--partition-range", f"{FIRST}...{LAST}"]
    command = [str(Path(sys.executable).with_name("dg")), *words]

    done = subprocess.run(
        command, cwd=ROOT, env=site.environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert recorded(site) == there(plants)
