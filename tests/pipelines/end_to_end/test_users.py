"""Two users in an empty folder, as separate processes: one has saved responses, one also a bucket.

They run the commands of the tutorial. Then a daemon runs while new responses arrive. All numbers of their
pages are recomputed in plain Python from the files and the objects.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from sandbox.dumps import split_into_pages, write_dump
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.forms import Form
from sandbox.schedulers import sort_newest_first
from sandbox.service import run_sandbox
from tests.support.command_line import CommandResult
from tests.support.page_cells import Cell, Element, parse_page, print_number
from tests.support.paths import ROOT
from tests.support.plain_report import PlainReport, Row, read_executions
from tests.support.site import Process, wait_until

pytestmark = pytest.mark.slow

DAY, FOUR_HOURS = timedelta(days=1), timedelta(hours=4)
FIRST, SPLIT, LAST = date(2026, 10, 1), date(2026, 10, 6), date(2026, 10, 7)
START = datetime(2026, 10, 1, tzinfo=UTC)
NAMES = ("blower-1", "chiller-1", "fan-2", "mill-1", "mixer-1", "turbine-1")
LOCATION = """
from functools import partial
from pipelines.automation import archive_sensor, sensors
archive_sensor.TICK_SECONDS, archive_sensor.QUIET_SECONDS = 10, 1
sensors.build_automation_sensor = partial(sensors.build_automation_sensor, 10)
from pipelines.definitions import build_defs
defs = build_defs()
"""
DAEMON = """
from dagster._daemon import controller
from dagster._daemon.cli import main
controller.DEFAULT_DAEMON_INTERVAL_SECONDS, controller.RELOAD_WORKSPACE_INTERVAL = 10, 3600
main()
"""
"""The code location and the daemon as documented, which look every ten seconds instead of every minute.

The daemon does not restart the code server every minute.
"""


@dataclass(frozen=True)
class User:
    """The project of a user, and an environment without AWS settings except those that the user sets."""

    folder: Path
    aws: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
        home = str(self.folder.parent / "home")
        return {"PATH": path, "HOME": home, "AWS_EC2_METADATA_DISABLED": "true", **self.aws}

    def run(self, *arguments: str, code: int = 0) -> CommandResult:
        """Run `ledger` in the project, and check the exit code."""
        done = subprocess.run(
            ["ledger", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def report(self, truth: PlainReport, *options: str) -> str:
        """Return the report of the days of the truth."""
        days = ("--from", str(truth.first), "--to", str(truth.last))
        return self.run("report", *days, *options, "--out", "-").out

    @contextmanager
    def run_daemon(self) -> Iterator[Process]:
        """Run the daemon with the variables that `ledger init` prints; at the end, kill all its processes."""
        parent = self.folder.parent
        (parent / "location.py").write_text(LOCATION)
        (parent / "daemon.py").write_text(DAEMON)
        own = {
            "LEDGER_CONFIG": str(self.folder / "ledger.toml"),
            "DAGSTER_HOME": str(self.folder / ".dagster"),
        }
        command = [sys.executable, "daemon.py", "run", "-f", str(parent / "location.py"), "-d", str(ROOT)]
        with (parent / "daemon.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=parent,
                env=self.environment | own,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """Six schedulers during the last week of the service; one was deleted and created again, one paused."""
    return build_fleet(7, History(START, START + 7 * DAY))


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "project", {})


def save_responses(fleet: Fleet, folder: Path, first: date, last: date) -> int:
    """Save a response per scheduler every four hours, each with the last eight; return their number."""
    taken = datetime(first.year, first.month, first.day, tzinfo=UTC)
    count = 0
    while taken.date() <= last:
        taken += FOUR_HOURS
        for name in NAMES:
            at = taken + timedelta(minutes=3)
            summaries = [
                summary
                for scheduler in fleet.schedulers
                if scheduler.name == name
                for summary in scheduler.executions(at, at - 2 * FOUR_HOURS, min(at, fleet.history.end))
            ]
            file = folder / name / f"{at:%Y-%m-%dT%H%M}.json"
            write_dump(file, Form.CLI_V2, split_into_pages(sort_newest_first(summaries)), taken_at=at)
            count += 1
    return count


def lose_objects(client: Any, fleet: Fleet) -> set[tuple[str, str]]:
    """Delete the results of one scheduler in one hour, and return their locations."""
    (scheduler,) = (scheduler for scheduler in fleet.schedulers if scheduler.name == "blower-1")
    at = START + DAY
    lost = {
        (result["Bucket"], result["Key"])
        for summary in scheduler.executions(at + DAY, at, at + timedelta(hours=2))
        if (result := summary.get("CustomerResultObject"))
    }
    for bucket, key in lost:
        client.delete_object(Bucket=bucket, Key=key)
    assert len(lost) > 4
    return lost


def start_project(user: User, responses: Path) -> None:
    """Run the commands of the tutorial up to the backfill."""
    user.folder.parent.joinpath("home").mkdir()
    user.folder.mkdir()
    assert "ledger import" in user.run("init").out
    imported = user.run("import", str(responses), "--yes", "--json").json
    assert imported["problems"] == []
    assert (imported["from"], imported["to"]) == (str(FIRST), str(SPLIT))
    (command,) = imported["next_steps"]
    done = user.run(*command.split()[1:], "--yes")
    assert ("predictions" in done.out) == bool(user.aws), "nothing is said about results that were not read"


def check_pages(user: User, truth: PlainReport, page: Element) -> str:
    """Compare all numbers of the page and of the Markdown, and return the Markdown."""
    markdown = user.report(truth, "--format", "markdown")
    assert {cell.query for cell in page.list_cells()} >= {
        "slots",
        "days",
        "schedulers",
        "causes",
        "knowledge",
    }
    assert list_differences(page, truth) == []
    check_machines(page, truth)
    check_sensors(page, truth)
    check_heads(page, markdown, truth)
    check_markdown(page, markdown)
    return markdown


def list_differences(page: Element, truth: PlainReport) -> list[str]:
    """Return the numbers that differ from the recomputed ones; those of sensors are compared by event."""
    cells = [cell for cell in page.list_cells() if cell.query != "sensors"]
    return [
        f"{cell}, not {expected}"
        for cell in cells
        if cell.text.replace("\u202f", " ") != (expected := expect(cell, truth.rows))
    ]


def expect(cell: Cell, rows: Mapping[str, list[Row]]) -> str:
    return print_number(rows[cell.query][cell.row - 1][cell.column], cell.column)


def check_machines(page: Element, truth: PlainReport) -> None:
    """The numbers of a scheduler are printed next to its name."""
    by_scheduler = {"schedulers", "recorded", "equipment", "last_day"}
    seen = set()
    for item in [
        *page.find("section", identifier="attention").find_all("li"),
        *page.find_all("article", "card"),
    ]:
        name = item.find("a", "name").text if item.tag == "li" else item.find("h3").text
        arns = {truth.arns[cell.row - 1] for cell in item.list_cells() if cell.query in by_scheduler}
        assert {truth.get_name(arn) for arn in arns} <= {name}
        seen |= arns
    assert seen == set(truth.arns)
    titles = [
        f"{card.find('h3').text} {card.find('p', 'place').text}" for card in page.find_all("article", "card")
    ]
    assert len(titles) == len(set(titles)) == len(truth.arns)


def check_sensors(page: Element, truth: PlainReport) -> None:
    events = sorted(truth.events, key=lambda event: event["state"] != "open")
    articles = list(page.find_all("article", "event-row"))
    assert len(articles) == min(len(events), 12)
    for event, article in zip(events, articles, strict=False):
        shares = [
            cell.text.replace("\u202f", " ") for cell in article.list_cells() if cell.query == "sensors"
        ]
        sensors = event["top_sensors"] or []
        even = event["even_share"]
        above = [sensor for sensor in sensors[:5] if sensor["contribution"] > even] or sensors[:1]
        assert shares == [print_number(sensor["contribution"], "contribution") for sensor in above]
        assert [item.text for item in article.find_all("span", "sensor")] == [
            sensor["diagnostic_name"] for sensor in above
        ]


def check_heads(page: Element, markdown: str, truth: PlainReport) -> None:
    """The numbers at the top that count machines have no SQL."""
    heads = {item.find("dt").text: item.find("dd").text for item in page.find("dl", "heads").find_all("div")}
    machines, unknown = len(truth.arns), truth.count_not_fully_known()
    urgent = len(list(page.find("section", identifier="attention").find_all("li", "warning")))
    urgent += len(list(page.find("section", identifier="attention").find_all("li", "alert")))
    assert heads["need attention"] == f"{urgent} of {machines} machines; {unknown} not fully known"
    assert f"{urgent} of {machines} machines need attention, {unknown} not fully known" in markdown
    assert urgent >= unknown
    share = page.find("p", "verdict").find("a", "n").text
    assert heads["executions with a result"] == f"{share} known"
    assert f"{share} of the executions due are known to have returned a result" in markdown


def check_markdown(page: Element, markdown: str) -> None:
    """The Markdown says of each machine, cause and event what the page says."""
    plain = re.sub(r"\\(.)", r"\1", markdown).replace("\u202f", " ")
    for item in page.find("section", identifier="attention").find_all("li"):
        finding = item.find("div", "why").find("p").text.replace("\u202f", " ")
        assert f"{item.find('a', 'name').text}" in plain and f": {finding}" in plain
    verdict = page.find("p", "verdict").text.replace("\u202f", " ")
    assert verdict.replace(".", "", 1) in plain.replace("**", "").replace(
        ".", "", 1
    ) or verdict in plain.replace("**", "")
    for cause in list(page.find("ul", "causes").find_all("li"))[:5]:
        assert f"- {cause.find('a', 'n').text} × {cause.find('bdi').text}" in plain
    for event in list(page.find_all("article", "event-row"))[:10]:
        start, duration = (
            cell for cell in event.list_cells() if cell.column in {"start_time", "duration_seconds"}
        )
        assert re.search(rf"\| {start.text} \| .*\| {duration.text}".replace("\u202f", " "), plain)


def check_tables(user: User, truth: PlainReport) -> None:
    """`ledger sql` and `ledger status` say the same."""
    executions = truth.executions
    statuses = user.run(
        "sql", "--format", "json", "SELECT status, count(*) AS n FROM inference_executions GROUP BY 1"
    ).json
    assert {row["status"]: row["n"] for row in statuses} == {
        status: sum(execution.status == status for execution in executions)
        for status in {execution.status for execution in executions}
    }
    status = user.run("status", "--json").json
    assert (status["from"], status["to"]) == (str(truth.first), str(truth.last))
    assert len(status["schedulers"]) == len(truth.arns)
    unread = sum(item.status == "SUCCESS" and not truth.is_read(item) for item in executions)
    texts = [item["text"] for item in status["unknown"]]
    assert any(text.startswith(f"{unread:,} of ") for text in texts) == bool(unread), texts


def check_no_claim_about_results(page: Element, markdown: str) -> None:
    """Without a single result, no sentence has a number, a "none" or a trend of anomalies or running time."""
    heads = {item.find("dt").text: item.find("dd").text for item in page.find("dl", "heads").find_all("div")}
    assert heads["anomaly events"] == heads["anomalous running time"] == "not read"
    cells = page.list_cells()
    about_results = {"event_totals", "events", "sensors", "equipment", "last_day", "changes", "models"}
    assert not {cell.query for cell in cells} & about_results
    for chart in page.find_all("svg", "strip"):
        assert "no results read" in chart.attributes["aria-label"]
        assert not list(chart.find_all("path"))
    assert page.find("p", "verdict").text.startswith("Incomplete.")
    shown = [
        page.find("section", identifier=name).text for name in ("attention", "machines", "events", "changes")
    ]
    for text in (*shown, markdown):
        for claim in (
            "No event",
            "No finding",
            "No change",
            "healthy",
            "normal",
            "anomalous for",
            "running time",
        ):
            assert claim not in text, text


def wait_for_newest_page(user: User, truth: PlainReport, daemon: Any) -> Element:
    """Wait until the page that the daemon writes has the numbers of the new days, and return it."""
    pages = user.folder / "data" / "reports"
    newest, latest = pages / f"report-{truth.first}--{truth.last}.html", pages / "latest.html"
    seen, page = "", None

    def read_current() -> Element | None:
        nonlocal seen, page
        text = newest.read_text() if newest.exists() else ""
        if text != seen:
            seen, page = text, parse_page(text)
            page = None if list_differences(page, truth) else page
        return page if page and latest.read_text() == text else None  # a later run may be writing both

    return wait_until(read_current, daemon)


def live(
    user: User, fleet: Fleet, responses: Path, objects: Any
) -> Iterator[tuple[PlainReport, Element, str]]:
    """Yield the page before and after new responses arrive while the daemon runs."""
    assert save_responses(fleet, responses, FIRST, SPLIT) == 216
    start_project(user, responses)
    truth = PlainReport(read_executions(responses), objects(), FIRST, SPLIT)
    page = parse_page(user.report(truth))
    yield truth, page, check_pages(user, truth, page)
    with user.run_daemon() as daemon:
        save_responses(fleet, responses, SPLIT + DAY, LAST)
        truth = PlainReport(read_executions(responses), objects(), FIRST, LAST)
        page = wait_for_newest_page(user, truth, daemon)
    yield truth, page, check_pages(user, truth, page)
    check_tables(user, truth)


def test_a_user_without_aws(user: User, fleet: Fleet, tmp_path: Path) -> None:
    for _, page, markdown in live(user, fleet, tmp_path / "responses", lambda: None):
        check_no_claim_about_results(page, markdown)


def test_a_user_with_a_bucket_of_results(user: User, fleet: Fleet, tmp_path: Path) -> None:
    with run_sandbox(fleet, START + 8 * DAY) as service:
        keys = {"AWS_ACCESS_KEY_ID": "123456789012", "AWS_SECRET_ACCESS_KEY": "sandbox"}
        client = boto3.Session().client(
            "s3",
            endpoint_url=service.s3_url,
            region_name="eu-west-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="sandbox",  # noqa: S106
        )
        environment = keys | {"AWS_ENDPOINT_URL_S3": service.s3_url, "AWS_DEFAULT_REGION": "eu-west-1"}
        user = User(user.folder, environment)
        responses = tmp_path / "responses"
        lost = lose_objects(client, fleet)

        def read_objects() -> dict[tuple[str, str], tuple[bytes, datetime]]:
            return {
                execution.location: (response["Body"].read(), response["LastModified"])
                for execution in read_executions(responses)
                if execution.location and execution.location not in lost
                for bucket, key in [execution.location]
                for response in [client.get_object(Bucket=bucket, Key=key)]
            }

        for truth, page, _ in live(user, fleet, responses, read_objects):
            assert truth.events
            assert page.find("section", identifier="gaps").text
