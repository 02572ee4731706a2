"""A signal to the process of a run stops each asset before its next day."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.operations.stages import STAGES
from resources.config.loader import CHECKOUT
from resources.config.settings import (
    ArchiveSettings,
    HistorySettings,
    LakeSettings,
    ReportSettings,
    Settings,
)
from resources.lake.lake import Lake
from sandbox.dumps import Manifest
from tests.support.code_location import DAYS, NOW, Location

DAILY_ASSETS = [asset for stage in STAGES for asset in stage.daily_assets]
OTHER_ASSETS = [asset for stage in STAGES for asset in stage.other_assets]
TYPICAL_ASSETS = {"inference_executions", "anomaly_predictions", "anomaly_events", "anomaly_report"}
"""One asset of each kind of run: from sources, from result objects, over a range, and unpartitioned."""

CHILD = """
import sys, time
from pathlib import Path
import dagster as dg
from assets.framework import materializations
from resources.lake.lake import Lake
from tests.pipelines.runs.test_interrupts import locate

folder, dumps, asset = sys.argv[1:]
report, update = materializations.PartitionResult.materialization, Lake.update

def wait():
    Path(folder, "started").touch()
    time.sleep(3)

def report_slowly(self, *arguments):
    materialization = report(self, *arguments)
    wait()
    return materialization

def update_slowly(self, table, day, merge, **options):
    if day is None and table.name == asset:
        wait()
    return update(self, table, day, merge, **options)

materializations.PartitionResult.materialization = report_slowly
Lake.update = update_slowly
with dg.DagsterInstance.local_temp(str(Path(folder, "home"))) as instance:
    locate(Path(folder), Path(dumps), instance).run(assets=[dg.AssetKey(asset)])
"""


def locate(folder: Path, dumps: Path, instance: dg.DagsterInstance) -> Location:
    settings = Settings(
        lake=LakeSettings(uri=str(folder / "lake")),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        report=ReportSettings(folder=str(folder / "reports")),
        sources=(ArchiveSettings(uri=str(dumps)),),
    )
    return Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(settings.lake.uri))


@pytest.fixture(scope="module")
def project(
    dumps: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """A lake in which every stage is recorded."""
    folder = tmp_path_factory.mktemp("interrupts")
    (folder / "home").mkdir()
    with (
        pytest.MonkeyPatch.context() as environment,
        dg.DagsterInstance.local_temp(str(folder / "home")) as instance,
    ):
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        location = locate(folder, dumps[0], instance)
        assets = [dg.AssetKey(asset) for asset in (*DAILY_ASSETS, *OTHER_ASSETS)]
        assert location.run(assets=assets).success
        yield folder, dumps[0]


def interrupt(project: tuple[Path, Path], asset: str, number: signal.Signals) -> tuple[dg.DagsterRun, int]:
    """Run an asset in a process, send a signal during its first day, and return the run and its days."""
    folder, dumps = project
    marker = folder / "started"
    marker.unlink(missing_ok=True)
    command = [sys.executable, "-c", CHILD, str(folder), str(dumps), asset]
    log = folder / "log"
    with log.open("w") as output, subprocess.Popen(command, cwd=CHECKOUT, stderr=output) as process:
        deadline = time.monotonic() + 200
        while not marker.exists():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=100) == 0, log.read_text()[-3000:]
    with dg.DagsterInstance.local_temp(str(folder / "home")) as instance:
        run = instance.get_runs(limit=1)[0]
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        return run, len(events)


@pytest.mark.parametrize(
    "asset",
    [
        pytest.param(asset, marks=pytest.mark.slow if asset in TYPICAL_ASSETS else pytest.mark.long)
        for asset in [*DAILY_ASSETS, *OTHER_ASSETS]
    ],
)
def test_ctrl_c_stops_each_asset_before_its_next_day(project: tuple[Path, Path], asset: str) -> None:
    run, recorded = interrupt(project, asset, signal.SIGINT)

    assert run.status is dg.DagsterRunStatus.CANCELED
    assert recorded == 0, "the signal arrived before the first day was reported"


@pytest.mark.slow
def test_sigterm_without_a_request_fails_the_run(project: tuple[Path, Path]) -> None:
    run, recorded = interrupt(project, DAILY_ASSETS[0], signal.SIGTERM)

    assert run.status is dg.DagsterRunStatus.FAILURE
    assert recorded == 0
