"""The code location that tests run in this process, and what its runs recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake

NOW = datetime(2026, 10, 9, 12, tzinfo=UTC)
DAYS = [date(2026, 10, day) for day in range(5, 9)]
"""The two days of the small fleet, and one day without executions before and after them."""

EXTRACTION = [dg.AssetKey("inference_executions"), dg.AssetKey("inference_schedulers")]
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class Location:
    """Definitions, the Dagster instance of their runs, and their lake."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    lake: Lake

    @cached_property
    def without_checks(self) -> dg.Definitions:
        """The same definitions without asset checks, sensors and schedules."""
        return dg.Definitions(
            assets=self.definitions.assets,
            jobs=self.definitions.jobs,
            resources=self.definitions.resources,
            executor=self.definitions.executor,
        )

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
        """Materialize assets over a range of days, as the launchpad does.

        Args:
            first: the first day.
            last: the last day.
            tags: run tags, in addition to those of the range.
            assets: the assets to materialize.
            checks: whether the run executes the asset checks.
            options: further arguments of `execute_in_process`.
        """
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(assets), asset_check_selection=None if checks else set()
        )
        span = {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
        return job.execute_in_process(
            instance=self.instance, tags=span | (tags or {}), raise_on_error=False, **options
        )

    def get_materializations(
        self, result: dg.ExecuteInProcessResult, asset: str = "inference_executions"
    ) -> dict[str, Any]:
        """Return the materializations of a run by day, in log order."""
        entries = self.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        return {
            str(event.partition): event.step_materialization_data.materialization
            for event in events
            if event.asset_key == dg.AssetKey(asset)
        }

    def get_partition_statuses(self, asset: str = "inference_executions") -> dict[str, str]:
        """Return the status of each day of `DAYS` as the Dagster UI shows it."""
        partitions = self.definitions.resolve_assets_def(asset).partitions_def
        statuses = self.instance.get_status_by_partition(
            dg.AssetKey(asset), [day.isoformat() for day in DAYS], partitions
        )
        return {day: status.value if status else "MISSING" for day, status in (statuses or {}).items()}


def build_archive_location(
    lake: Path,
    instance: dg.DagsterInstance,
    *folders: Path,
    clock: datetime = NOW,
    zone: str | None = None,
    **history: Any,
) -> Location:
    """Build a code location over folders of saved responses."""
    bounds = {"start_date": DAYS[0], "end_date": date(2026, 10, 9)} | history
    settings = Settings(
        lake=LakeSettings(uri=str(lake)),
        history=HistorySettings(**bounds),
        sources=tuple(ArchiveSettings(uri=str(folder), time_zone=zone) for folder in folders),
    )
    definitions = build_defs({"clock": lambda: clock}, settings=settings)
    return Location(definitions, instance, Lake(settings.lake.uri))


def use_s3_at(url: str, environment: pytest.MonkeyPatch) -> None:
    """Point boto3 to the sandbox's S3, with one account and no AWS settings of this machine."""
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL"):
        environment.delenv(name, raising=False)
    environment.setenv("AWS_ENDPOINT_URL_S3", url)
    environment.setenv("AWS_ACCESS_KEY_ID", "123456789012")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
