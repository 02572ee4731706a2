"""The archive source reads pages that the AWS CLI saved from the sandbox."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from sandbox.fleet import Fleet
from sandbox.service import run_sandbox
from tests.support.code_location import Location
from tests.support.live_service import NOW, BuildLiveLocation
from tests.support.run_results import read_rows

ACCOUNT, REGION = "123456789012", "eu-west-1"
SOURCE_COLUMNS = ("source", "outcome_source")


@pytest.fixture
def aws() -> str:
    """The path of the AWS CLI; skips the test if it is not installed."""
    program = shutil.which("aws")
    if program is None:
        pytest.skip("the AWS CLI is not installed (pip install awscli in a separate environment)")
    return program


def save_pages(aws: str, url: str, scheduler: str, folder: Path) -> None:
    """Save each page with a separate command, with the token of the previous page."""
    command = [
        aws,
        "lookoutequipment",
        "list-inference-executions",
        "--endpoint-url",
        url,
        "--region",
        REGION,
    ]
    env = os.environ | {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "x", "TZ": "Asia/Kolkata"}
    number, token = 1, None
    while number == 1 or token:
        page = folder / f"{scheduler}-page-{number}.json"
        words = ["--inference-scheduler-name", scheduler, "--max-results", "200", "--output", "json"]
        words += ["--next-token", token] if token else []
        with page.open("wb") as saved:
            subprocess.run([*command, *words], env=env, stdout=saved, check=True)
        token = json.loads(page.read_text()).get("NextToken")
        number += 1


@pytest.mark.slow
def test_pages_saved_by_the_aws_cli_give_the_rows_of_the_api_source(
    aws: str,
    tmp_path: Path,
    live: BuildLiveLocation,
    locate: Callable[..., Location],
    small_fleet: Fleet,
) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    with run_sandbox(small_fleet, NOW, s3=False) as handle:
        api_location = live(handle.url, [(ACCOUNT, REGION)], lake=tmp_path / "asked")
        assert api_location.run().success
        for scheduler in small_fleet.list_schedulers(NOW):
            if scheduler.arn.split(":")[3:5] == [REGION, ACCOUNT]:
                save_pages(aws, handle.url, scheduler.name, folder)

    archive_location = locate(folder, clock=NOW, end_date=date(2026, 10, 9))
    assert archive_location.run().success

    def list_rows(location: Location) -> list[dict[str, object]]:
        return [
            {name: value for name, value in row.items() if name not in SOURCE_COLUMNS}
            for row in read_rows(location.lake).values()
        ]

    assert len(list(folder.iterdir())) > 3
    assert list_rows(archive_location) == list_rows(api_location)
