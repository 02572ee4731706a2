"""The sandbox's service as a source of a code location."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resources.config.settings import ApiSettings
from sandbox.fleet import Fleet
from tests.support.code_location import Location
from tests.support.run_results import read_rows

PLACES = (
    ("111122223333", "us-east-1"),
    ("111122223333", "eu-west-1"),
    ("123456789012", "eu-west-1"),
    ("123456789012", "ap-northeast-2"),
)
"""The accounts and regions of the small fleet."""

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
"""The fixed time of the service, half a day after the last execution of the small fleet."""


BuildLiveLocation = Callable[..., Location]


def get_visible_statuses(fleet: Fleet, clock: datetime) -> dict[tuple[str, object], str]:
    """Return the status by key of all executions that the service returns at a time."""
    return {
        (summary["InferenceSchedulerArn"], summary["DataStartTime"]): summary["Status"]
        for scheduler in fleet.list_schedulers(clock)
        for summary in scheduler.executions(clock)
    }


def read_statuses(location: Location) -> dict[tuple[str, object], object]:
    return {key: row["status"] for key, row in read_rows(location.lake).items()}


def build_api_settings(url: str, **more: Any) -> ApiSettings:
    return ApiSettings(profile=PLACES[0][0], region=PLACES[0][1], endpoint_url=url, **more)


def write_profiles(file: Path) -> None:
    """Write AWS credentials with one profile for each account. The access key is the account."""
    accounts = dict.fromkeys(account for account, _ in PLACES)
    file.write_text(
        "".join(f"[{name}]\naws_access_key_id={name}\naws_secret_access_key=x\n" for name in accounts)
    )
