"""Result runs that are killed repeatedly end with the lake of an undisturbed run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.framework.row_content import compute_content_version
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, ResultSettings, Settings
from resources.lake.lake import Lake
from sandbox.fleet import History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import EXTRACTION, Location, use_s3_at
from tests.support.paths import ROOT

DAYS = [date(2026, 9, day) for day in range(25, 28)]
NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
TABLES = (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)
RESULTS = [dg.AssetKey(ANOMALY_PREDICTIONS.name)]
PLACE = {"region": "eu-west-1", "schedulers": ("boiler-1", "turbine-2")}
CHILD = """
import sys
from pathlib import Path
import dagster as dg
from tests.pipelines.runs.test_killed_results import DAYS, RESULTS, locate
url, lake = sys.argv[1:]
with dg.DagsterInstance.ephemeral() as instance:
    result = locate(url, Path(lake), instance).run(DAYS[0], DAYS[-1], assets=RESULTS)
    sys.exit(not result.success)
"""


def locate(url: str, lake: Path, instance: dg.DagsterInstance) -> Location:
    settings = Settings(
        lake=LakeSettings(uri=str(lake)),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        results=ResultSettings(concurrency=4),
        sources=(ApiSettings(endpoint_url=url, **PLACE),),
    )
    return Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(str(lake)))


@pytest.fixture(scope="module")
def service() -> Iterator[Handle]:
    first, last = (datetime.combine(day, datetime.min.time(), UTC) for day in (DAYS[0], DAYS[-1]))
    with run_sandbox(build_fleet(seed=4, history=History(first, last + timedelta(days=1))), NOW) as handle:
        yield handle


@pytest.fixture(autouse=True)
def _caller(service: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3_at(service.s3_url, monkeypatch)


def kill_when(happened: Callable[[], bool], command: list[str]) -> None:
    """Start a run and kill it when a condition holds."""
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while not happened():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "the condition never held"
            time.sleep(0.002)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"


@pytest.mark.slow
def test_a_repeatedly_killed_run_ends_with_the_same_lake(service: Handle, tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    with dg.DagsterInstance.ephemeral() as instance:
        location = locate(service.url, calm, instance)
        assert location.run(DAYS[0], DAYS[-1], assets=EXTRACTION).success
        shutil.copytree(calm, rough)
        assert location.run(DAYS[0], DAYS[-1], assets=RESULTS).success
    lake, expected = Lake(str(rough)), Lake(str(calm))
    command = [sys.executable, "-c", CHILD, service.url, str(rough)]

    def is_written(table: Table, day: date) -> Callable[[], bool]:
        return Path(lake.path(table, day)).exists

    # after the first rows of a day; after its contributions, before its object records; after a complete day
    for happened in (
        is_written(ANOMALY_PREDICTIONS, DAYS[0]),
        is_written(SENSOR_CONTRIBUTIONS, DAYS[0]),
        is_written(RESULT_OBJECTS, DAYS[1]),
    ):
        kill_when(happened, command)
        for day in DAYS:
            for row in lake.read(RESULT_OBJECTS, day).to_pylist() if lake.has(RESULT_OBJECTS, day) else ():
                assert row["state"] == "read", "recorded objects were read and their rows are in the lake"

    assert subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.DEVNULL).returncode == 0

    for day in DAYS:
        for table in TABLES:
            rows, expected_rows = lake.read(table, day), expected.read(table, day)
            assert compute_content_version(table, rows) == compute_content_version(table, expected_rows), (
                table.name,
                day,
            )
        assert lake.read(INFERENCE_EXECUTIONS, day).num_rows
        assert lake.read(SENSOR_CONTRIBUTIONS, day).num_rows
    left = [path.name for path in rough.rglob("*") if path.is_file() and not path.name.startswith("part-")]
    assert [name for name in left if not name.startswith((".", "_"))] == [], "nothing that engines would read"
