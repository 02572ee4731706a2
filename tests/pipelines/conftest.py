"""Fixtures of the code location over a small fleet, with real files, lakes and Dagster instances."""

import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from moto.server import ThreadedMotoServer

from assets.executions import assets as execution_assets
from assets.report.assets import ReportOptions
from pipelines.definitions import build_defs
from resources.config.loader import CHECKOUT
from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake

NOW = datetime(2026, 10, 9, 12, tzinfo=UTC)
DAYS = [date(2026, 10, day) for day in range(5, 9)]
"""The two days of the small fleet, and an empty day before and after them."""

EXTRACTION = [dg.AssetKey("inference_executions"), dg.AssetKey("inference_schedulers")]
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class Location:
    """Definitions with their instance and lake."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    lake: Lake

    def run(
        self,
        first: date = DAYS[0],
        last: date = DAYS[-1],
        tags: dict[str, str] | None = None,
        *,
        assets: Sequence[dg.AssetKey] = EXTRACTION,
        checks: bool = False,
        **options: Any,
    ) -> dg.ExecuteInProcessResult:
        """Materialize a range of days in this process.

        Args:
            first: the first day.
            last: the last day.
            tags: further tags of the run.
            assets: the assets; default: the extraction.
            checks: whether to run the asset checks.
            options: further arguments of `execute_in_process`.
        """
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(assets), asset_check_selection=None if checks else set()
        )
        span = {START: first.isoformat(), END: last.isoformat()}
        return job.execute_in_process(
            instance=self.instance, tags=span | (tags or {}), raise_on_error=False, **options
        )

    def get_materializations(
        self, result: dg.ExecuteInProcessResult, asset: str = "inference_executions"
    ) -> dict[str, Any]:
        """Return the materializations of a run by day, in the order of the log."""
        entries = self.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        return {
            str(event.partition): event.step_materialization_data.materialization
            for event in events
            if event.asset_key == dg.AssetKey(asset)
        }

    def status(self, asset: str = "inference_executions") -> dict[str, str]:
        """Return the status of each day in the Dagster UI."""
        partitions = self.definitions.resolve_assets_def(asset).partitions_def
        statuses = self.instance.get_status_by_partition(
            dg.AssetKey(asset), [day.isoformat() for day in DAYS], partitions
        )
        return {day: status.value if status else "MISSING" for day, status in (statuses or {}).items()}


def call_s3_at(url: str, environment: pytest.MonkeyPatch) -> None:
    """Point boto3 to the S3 of the sandbox, without the credentials of this machine."""
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL"):
        environment.delenv(name, raising=False)
    environment.setenv("AWS_ENDPOINT_URL_S3", url)
    environment.setenv("AWS_ACCESS_KEY_ID", "123456789012")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _retry_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_assets, "RETRY_DELAY_SECONDS", 0)


@pytest.fixture(autouse=True)
def _keep_pages_out_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_options = ReportOptions.from_settings

    def read_with_other_folder(settings: Settings) -> ReportOptions:
        options = read_options(settings)
        is_default = Path(options.folder) == CHECKOUT / "data" / "reports"
        return replace(options, folder=str(tmp_path / "reports")) if is_default else options

    monkeypatch.setattr(ReportOptions, "from_settings", read_with_other_folder)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def locate(tmp_path: Path, instance: dg.DagsterInstance) -> Callable[..., Location]:
    """Return a function that builds a code location over folders of saved responses."""

    def make(*folders: Path, clock: datetime = NOW, zone: str | None = None, **history: Any) -> Location:
        bounds = {"start_date": DAYS[0], "end_date": date(2026, 10, 9)} | history
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(**bounds),
            sources=tuple(ArchiveSettings(uri=str(folder), time_zone=zone) for folder in folders),
        )
        definitions = build_defs({"clock": lambda: clock}, settings=settings)
        return Location(definitions, instance, Lake(settings.lake.uri))

    return make


@pytest.fixture
def local_lake_uri(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


@pytest.fixture
def s3_lake_uri(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start an S3 server with an empty bucket for the lake."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # servers of one process share their state: start with an empty one
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lake")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.Session().client("s3").create_bucket(Bucket="plant")
    yield "s3://plant/lake"
    server.stop()
