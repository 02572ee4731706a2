"""Fixtures that build code locations over saved responses and over the sandbox's service."""

import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
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
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.fleet import Fleet
from sandbox.service import Handle, run_sandbox
from tests.support import live_service
from tests.support.code_location import DAYS, Location, build_archive_location
from tests.support.live_service import PLACES, BuildLiveLocation, write_profiles
from tests.support.scheduled_location import FIRST, BuildScheduledLocation, ScheduledLocation


@pytest.fixture(autouse=True)
def _no_retry_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_assets, "RETRY_DELAY_SECONDS", 0)


@pytest.fixture(autouse=True)
def _no_reports_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile for each account. The sandbox takes the access key as the account."""
    file = tmp_path / "credentials"
    write_profiles(file)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def service(small_fleet: Fleet, accounts: None) -> Iterator[Handle]:  # noqa: ARG001 (its keys open it)
    with run_sandbox(small_fleet, live_service.NOW, s3=False) as handle:
        yield handle


@pytest.fixture
def locate(tmp_path: Path, instance: dg.DagsterInstance) -> Callable[..., Location]:
    """Build a code location over folders of saved responses."""
    return partial(build_archive_location, tmp_path / "lake", instance)


@pytest.fixture
def live(tmp_path: Path, instance: dg.DagsterInstance, accounts: None) -> BuildLiveLocation:  # noqa: ARG001
    """Build a code location over a service."""

    def build(
        url: str,
        places: Sequence[tuple[str, str]] = PLACES,
        clock: datetime = live_service.NOW,
        lake: Path = tmp_path / "lake",
        **options: Any,
    ) -> Location:
        sources = tuple(
            ApiSettings(profile=account, region=region, endpoint_url=url, **options)
            for account, region in places
        )
        settings = Settings(
            lake=LakeSettings(uri=str(lake)),
            history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
            sources=sources,
        )
        definitions = build_defs({"clock": lambda: clock}, settings=settings)
        return Location(definitions, instance, Lake(settings.lake.uri))

    return build


@pytest.fixture
def schedule_location(tmp_path: Path, instance: dg.DagsterInstance) -> BuildScheduledLocation:
    """Build a code location whose refresh schedule the test evaluates."""

    def build(*sources: Any, **history: Any) -> ScheduledLocation:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(**{"start_date": FIRST} | history),
            sources=sources,
        )
        return ScheduledLocation(settings, instance)

    return build


@pytest.fixture
def local_lake_uri(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


@pytest.fixture
def s3_lake_uri(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A lake in its own bucket, on its own server."""
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
