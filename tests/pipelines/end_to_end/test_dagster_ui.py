"""The Dagster UI in Chromium, with a daemon: materialize a range, watch it, terminate it, re-execute it."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from assets.executions.assets import DAYS_PER_BATCH
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.lake.lake import Lake
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.browser import WAIT_MS, WIDE, run_chromium
from tests.support.live_service import PLACES, get_visible_statuses
from tests.support.run_results import read_rows
from tests.support.site import Process, Site, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("accounts")]

FIRST, LAST = date(2026, 9, 1), date(2026, 10, 5)
"""More days than one batch of a run. The fleet has executions on the last day of the first batch."""

DAYS = (LAST - FIRST).days + 1
NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
ACCOUNT, REGION = PLACES[3]
ASSET = "inference_executions"
SETTINGS = f"""\
[lake]
uri = "lake"
[history]
start_date = "{FIRST}"
end_date = "2026-10-06"
[[sources]]
kind = "api"
profile = "{ACCOUNT}"
region = "{REGION}"
endpoint_url = "{{url}}"
"""


@dataclass(frozen=True)
class Project:
    """A project over a simulated service, and a tab of the browser."""

    site: Site
    instance: dg.DagsterInstance
    service: Handle
    fleet: Fleet
    tab: "Page"
    url: str

    @property
    def lake(self) -> Lake:
        return Lake(str(self.site.folder / "lake"))

    def launch_backfill(self) -> None:
        self.tab.goto(f"{self.url}/assets/{ASSET}")
        self.tab.get_by_role("button", name="Materialize").first.click()
        dialog = self.tab.get_by_role("dialog")
        days = dialog.get_by_role("textbox").first
        days.fill(f"[{FIRST}...{LAST}]")
        days.press("Enter")
        dialog.get_by_text(f"{DAYS} partitions", exact=True).wait_for()
        dialog.get_by_role("button", name="Launch backfill").click()

    def open_run_of_backfill(self) -> str:
        """Open the only run of the backfill; return its ID."""
        run = self._wait_for_run(lambda run: "dagster/backfill" in run.tags)
        self.tab.goto(f"{self.url}/runs/{run}")
        return run

    def wait_for_status(self, status: str) -> None:
        self.tab.get_by_text(status, exact=True).first.wait_for()

    def terminate(self) -> None:
        self.tab.get_by_role("button", name="Terminate").click()
        self.tab.get_by_role("dialog").get_by_role("button", name=re.compile("^Terminate")).click()

    def re_execute(self, choice: str | None = None) -> str:
        """Re-execute the run of this page, completely or by a choice of the menu; return the new run's ID."""
        deadline = time.monotonic() + 2 * WAIT_MS / 1000
        parent = self.tab.url.rsplit("/", 1)[-1]
        while not self._request_re_execution(choice):  # a busy page loses clicks
            assert time.monotonic() < deadline
        run = self._wait_for_run(lambda run: run.parent_run_id == parent)
        self.tab.goto(f"{self.url}/runs/{run}")  # the page follows too, but on a busy machine it can fail to
        return run

    def _request_re_execution(self, choice: str | None) -> bool:
        """Click, and return whether the page requested a run."""
        from playwright.sync_api import TimeoutError as NoRequestError  # noqa: PLC0415 (of the extra `browser`)

        self.tab.reload()  # closes dialogs; the page closes them itself at some time after the end of a run
        button = self.tab.get_by_role("button", name="Re-execute")
        try:
            with self.tab.expect_request(lambda request: "Reexecution" in (request.post_data or "")):
                if choice is None:
                    button.click()
                else:
                    button.locator("xpath=following::button[1]").click()
                    self.tab.get_by_role("menuitem", name=choice).click()
        except NoRequestError:
            return False
        return True

    def _wait_for_run(self, is_searched: Callable[[dg.DagsterRun], bool]) -> str:
        """Wait for the only such run; automation and sensors of the daemon start others meanwhile."""
        (run,) = wait_until(lambda: [run.run_id for run in self.instance.get_runs() if is_searched(run)])
        return str(run)

    def get_status(self, run: str) -> dg.DagsterRunStatus:
        record = self.instance.get_run_by_id(run)
        assert record is not None
        return record.status

    def count_materialized_days(self) -> int:
        return len(self.instance.get_materialized_partitions(dg.AssetKey(ASSET)))

    def assert_complete_days(self, count: int) -> None:
        """Assert that the lake holds exactly the first days, each with all its executions."""
        days = self.lake.days(INFERENCE_EXECUTIONS)
        assert len(days) == count == len(self.lake.days(EXTRACTION_COVERAGE))
        recorded = {key: row["status"] for key, row in read_rows(self.lake).items()}
        visible = get_visible_statuses(self.fleet, NOW)
        assert recorded == {key: status for key, status in visible.items() if key[1].date() <= max(days)}
        assert recorded


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    history = History(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 6, tzinfo=UTC))
    whole = build_fleet(seed=1, history=history)
    hourly = tuple(scheduler for scheduler in whole.schedulers if scheduler.name in ("mill-1", "chiller-1"))
    fleet = replace(whole, schedulers=hourly)
    with run_chromium() as chromium, run_sandbox(fleet, NOW, s3=False) as service:
        site = Site(tmp_path)
        tab = chromium.new_page(viewport={"width": WIDE, "height": 1000})
        tab.set_default_timeout(WAIT_MS)
        settings = SETTINGS.format(url=service.url)
        with site.set_up(settings) as instance, site.webserver() as ui:
            yield Project(site, instance, service, fleet, tab, ui.url)


def test_a_range_is_materialized_terminated_and_re_executed_from_failure(project: Project) -> None:
    first_batch = len(project.fleet.schedulers)
    project.service.inject(f"slow:ListInferenceExecutions:seconds=300:after={first_batch}")
    project.launch_backfill()
    with project.site.daemon() as daemon:  # started now, it sees the backfill at once, not after its interval
        terminated = watch_and_terminate(project, daemon)
        assert project.get_status(terminated) is dg.DagsterRunStatus.CANCELED
        project.assert_complete_days(DAYS_PER_BATCH)

        project.service.clear_faults()
        project.service.inject("deny:ListInferenceExecutions")
        failed = project.re_execute()
        project.wait_for_status("Failure")
        assert project.get_status(failed) is dg.DagsterRunStatus.FAILURE
        project.assert_complete_days(DAYS_PER_BATCH)

        project.service.clear_faults()
        succeeded = project.re_execute("From failure")
        project.wait_for_status("Success")
        assert project.get_status(succeeded) is dg.DagsterRunStatus.SUCCESS
        project.assert_complete_days(DAYS)


def watch_and_terminate(project: Project, daemon: Process) -> str:
    run = project.open_run_of_backfill()
    project.wait_for_status("Started")
    wait_until(lambda: project.count_materialized_days() == DAYS_PER_BATCH, daemon)
    project.tab.get_by_text("ASSET_MATERIALIZATION", exact=True).first.wait_for()
    project.terminate()
    project.wait_for_status("Canceled")
    return run
