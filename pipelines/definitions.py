"""The code location: assets, checks and jobs, bound to the settings of a project."""

# ruff: noqa: E402 (these settings hold for the imports)
import gc
import os
import sys

_collects_garbage = gc.isenabled()
gc.disable()  # what is imported and defined here is never garbage; looking for it takes a sixth of the time
# NumPy starts threads for linear algebra when it is imported, and nothing here needs them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from assets.alerts import assets as alerts
from assets.anomalies import assets as anomalies
from assets.anomalies.events import EventRule
from assets.checks import definitions as checks
from assets.checks.context import CheckSettings
from assets.executions import assets as executions
from assets.executions.service_state import get_service_state
from assets.framework.asset_names import AssetNames
from assets.framework.asset_specs import add_locations
from assets.framework.executor import connected_executor
from assets.framework.time_windows import Days
from assets.health import assets as health
from assets.report import assets as report_asset
from assets.report.assets import ReportOptions
from pipelines.automation import (
    archive_sensor,
    event_alerts,
    failure_alerts,
    lost_runs,
    schedules,
    sensors,
)
from pipelines.operations.stages import STAGES
from resources.clock import utc_now
from resources.config.equipment import load_equipment
from resources.config.loader import CHECKOUT, HOME_NAME
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.results.fetcher import ResultFetcher
from resources.sources.factory import open_sources
from resources.storage.permissions import restrict_new_files

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

FULL_PIPELINE = "full_pipeline"


def build_defs(
    overrides: Mapping[str, Any] | None = None, *, settings: Settings | None = None
) -> dg.Definitions:
    """Build new definitions.

    Args:
        overrides: replaces resources by name: `lake`, `open_query`, `sources`, `results`, `registry`,
            `clock`.
        settings: default: the settings of this process.

    Raises:
        ConfigurationError: the settings are invalid.
    """
    # Dagster marks the parameter as beta; the dependency is pinned and the behavior is tested.
    warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
    settings = settings or load_settings()
    lake = (overrides or {}).get("lake") or Lake.from_settings(settings)
    names = AssetNames(settings.dagster.key_prefix, settings.dagster.group_prefix)
    assets = names.add_prefixes(_build_assets(settings, lake))
    check_settings = CheckSettings(
        _get_history(settings),
        timedelta(minutes=settings.history.settle_after_minutes),
        settings.history.lookback_days,
        timedelta(minutes=settings.alerts.late_after_minutes),
    )
    return dg.Definitions(
        assets=assets,
        asset_checks=checks.build_checks(check_settings, assets),
        jobs=[
            _build_pipeline_job(names),
            schedules.build_refresh_job(names),
            archive_sensor.build_archive_job(names),
        ],
        schedules=[schedules.build_refresh_schedule(settings, names), schedules.build_check_schedule()],
        sensors=[
            sensors.build_automation_sensor(),
            lost_runs.build_lost_runs_sensor(),
            archive_sensor.build_archive_sensor(
                settings.history, names, has_archives=_has_archives(settings)
            ),
            *failure_alerts.build_failure_sensors(settings.alerts),
            event_alerts.build_event_sensor(settings, names),
        ],
        executor=connected_executor,
        resources={
            "lake": lake,
            "open_query": partial(_open_query, lake),
            "sources": lambda: open_sources(settings),
            "results": lambda: ResultFetcher.from_settings(settings),
            "registry": lambda: load_equipment(
                settings.equipment.registry, settings.equipment.expected_bucket_owner
            ),
            "clock": utc_now,
            **(overrides or {}),
        },
    )


def _open_query(lake: Lake) -> AbstractContextManager[Callable[[str], pa.Table]]:
    from pipelines.operations.query import open_query  # noqa: PLC0415 (imports DuckDB)

    return open_query(lake)


def _build_pipeline_job(names: AssetNames) -> "UnresolvedAssetJobDefinition":
    """Declare the job for a range of days, in the launchpad or with `dg launch --job`."""
    return dg.define_asset_job(
        FULL_PIPELINE,
        selection=dg.AssetSelection.assets(
            *(key for stage in STAGES for key in names.build_keys(stage.assets))
        ),
        description="Build all tables and the report for a day or a range of days, in one run.",
    )


def _get_history(settings: Settings) -> Days:
    return Days(settings.history.start_date, settings.history.end_date)


def _build_assets(settings: Settings, lake: Lake) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    history = _get_history(settings)
    settle_after = timedelta(minutes=settings.history.settle_after_minutes)
    rule = EventRule(settings.events.gap_steps, timedelta(minutes=settings.events.min_duration_minutes))
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *executions.build(
            history, settle_after, settings.limits.max_calls_per_run, _build_freshness_policy(settings)
        ),
        *anomalies.build(history, rule),
        *health.build(history, settle_after, rule),
        *report_asset.build(history, ReportOptions.from_settings(settings)),
        *alerts.build(event_alerts.NAME),
    ]
    return add_locations(assets, lake)


def _has_archives(settings: Settings) -> bool:
    try:
        return any(source.files for source in open_sources(settings))
    except ConfigurationError:  # definitions load without usable sources; the extraction reports the error
        return False


def _build_freshness_policy(settings: Settings) -> dg.FreshnessPolicy | None:
    """Expect regular materializations while the schedule starts runs; None: no more data is expected.

    The decision is made when the definitions are loaded; reload them after the end of the service.
    """
    try:
        service = get_service_state(open_sources(settings))
    except ConfigurationError:  # definitions load without usable sources; the extraction reports the error
        return None
    last_day = service.get_last_expected_day(settings.history.end_date)
    if last_day is not None and last_day < utc_now().date():
        return None
    return dg.FreshnessPolicy.time_window(timedelta(minutes=settings.alerts.late_after_minutes))


def _load_defs() -> dg.Definitions:
    restrict_new_files()
    settings = load_settings()
    project = settings.config_file.parent if settings.config_file else CHECKOUT
    if project != CHECKOUT and os.environ.get("DAGSTER_HOME") == str(CHECKOUT / HOME_NAME):
        dg.get_dagster_logger().warning(
            "DAGSTER_HOME is that of the checkout, but the project is %s. To keep its runs apart, run:"
            " export DAGSTER_HOME=%s",
            project,
            project / HOME_NAME,
        )
    return build_defs(settings=settings)


try:
    defs = _load_defs()
finally:
    # Later collections, of which the exit has several, do not look at it: each takes a tenth of a second.
    if "duckdb" not in sys.modules:  # at the exit, DuckDB reports its objects that were not collected
        gc.freeze()
    if _collects_garbage:
        gc.enable()
