"""The page as a Dagster asset: the page of a day covers that day and the six before it.

The page is rewritten whenever the health of a day that it shows changes, so late data updates all pages that
it affects.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg

from assets.framework.asset_specs import OWNERS
from assets.framework.automation import upstream_content_changed
from assets.framework.materializations import PartitionResult
from assets.framework.metadata import build_metadata
from assets.framework.partitioned_run import PartitionedRun, handle_errors, select_partitions
from assets.framework.partitions import daily_partitions, parse_days
from assets.framework.time_windows import Days
from assets.report.query.daily import RunQuery
from assets.report.query.result import Figure
from assets.report.query.scope import ReportScope
from assets.report.request import DEFAULT_DAYS, build_file_name, find_newest_day, get_default_range
from assets.tables import EQUIPMENT_HEALTH, EXECUTION_HEALTH
from resources.clock import Clock
from resources.config.equipment import EquipmentRegistry, load_equipment
from resources.config.sections import AlertSettings, EquipmentSettings
from resources.config.settings import Settings
from resources.config.silences import Silence, load_silences
from resources.lake.lake import Lake
from resources.storage.open import to_uri
from resources.storage.report_store import ReportStore

if TYPE_CHECKING:
    from assets.report.model.page import Page

GROUP = "report"
NAME = "anomaly_report"
LATEST = "latest.html"

OpenQuery = Callable[[], AbstractContextManager[RunQuery]]


@dataclass(frozen=True)
class ReportOptions:
    """The settings that reports depend on.

    `folder` is a path or an S3 URI; `bucket_owner` the account that must own its bucket, None: any.
    """

    folder: str
    time_zone: str
    equipment: EquipmentSettings
    alerts: AlertSettings
    gap_steps: float
    min_event_minutes: float = 0.0
    history: Days | None = None
    bucket_owner: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "ReportOptions":
        """Take what reports need from the settings."""
        return cls(
            folder=settings.report.folder,
            time_zone=settings.report.time_zone,
            equipment=settings.equipment,
            alerts=settings.alerts,
            gap_steps=settings.events.gap_steps,
            min_event_minutes=settings.events.min_duration_minutes,
            history=Days(settings.history.start_date, settings.history.end_date),
            bucket_owner=settings.report.expected_bucket_owner,
        )

    @property
    def folder_uri(self) -> str:
        """The folder as a URI."""
        return to_uri(self.folder)

    def load_registry(self) -> EquipmentRegistry:
        """Read the equipment registry; raises what `load_equipment` raises."""
        return load_equipment(self.equipment.registry, self.equipment.expected_bucket_owner)

    def load_silences(self) -> list[Silence]:
        """Read the silences; raises what the function of this name raises."""
        return load_silences(self.alerts.silences, self.alerts.expected_bucket_owner)

    def build_scope(self, first: date, last: date, now: datetime) -> ReportScope:
        """Return the scope of a range of days, with all machines, for a page created now."""
        return ReportScope(
            first,
            last,
            ZoneInfo(self.time_zone),
            gap_steps=self.gap_steps,
            min_event_seconds=60 * self.min_event_minutes,
            as_of=now,
            history=self.history,
        )


@dataclass(frozen=True)
class _PageInputs:
    """What all pages of a run share."""

    run_query: RunQuery
    registry: EquipmentRegistry
    silences: list[Silence]
    options: ReportOptions
    now: datetime
    newest_day: date

    @property
    def store(self) -> ReportStore:
        """The folder of the pages."""
        return ReportStore(self.options.folder, self.options.bucket_owner)

    def build_scope(self, last: date) -> ReportScope:
        """Return the scope of the page of a day."""
        return self.options.build_scope(*get_default_range(last), self.now)

    def has_page(self, last: date) -> bool:
        """Return whether the page of a day was written."""
        return self.store.has(_get_file_name(self.build_scope(last)))


def _get_file_name(scope: ReportScope) -> str:
    return f"{build_file_name(scope)}.html"


def build(history: Days, options: ReportOptions) -> list[dg.AssetsDefinition]:
    """Declare the asset; its resources are `lake`, `open_query` and `clock`."""

    @dg.asset(
        name=NAME,
        deps=[dg.AssetKey(EQUIPMENT_HEALTH.name), dg.AssetKey(EXECUTION_HEALTH.name)],
        partitions_def=daily_partitions(history),
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=upstream_content_changed(),
        group_name=GROUP,
        owners=OWNERS,
        tags={"domain": GROUP, "layer": "report"},
        kinds={"html", "duckdb"},
        metadata=build_metadata({"dagster/uri": options.folder_uri}),
        description="HTML report of one day and the six before it: machines that need attention,"
        " data quality, scores, events and failures. latest.html is the page of the newest day.",
    )
    def anomaly_report(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        open_query: dg.ResourceParam[OpenQuery],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        with handle_errors(context), open_query() as run_query:
            run = PartitionedRun(context)
            now = clock()
            inputs = _PageInputs(
                run_query,
                options.load_registry(),
                options.load_silences(),
                options,
                now,
                find_newest_day(lake, now.date()),
            )
            keys = select_partitions(context, lake, EXECUTION_HEALTH)
            dependents = find_dependent_pages(parse_days(keys), lake.days(EXECUTION_HEALTH))
            keys += [str(day) for day in dependents if inputs.has_page(day)]
            run.process(keys, partial(_write_page, inputs))
            return run.finish({"pages": len(keys)})

    return [anomaly_report]


def find_dependent_pages(days: Collection[date], recorded: Iterable[date]) -> list[date]:
    """Return the recorded days, in order, whose pages show one of some other days.

    A page shows its own week, and compares it with the week before.
    """
    later = {day + timedelta(number) for day in days for number in range(1, 2 * DEFAULT_DAYS)} - set(days)
    return sorted(later.intersection(recorded))


def _write_page(inputs: _PageInputs, partition_key: str) -> list[PartitionResult]:
    # imported here, so that definitions load without the modules of the page
    from assets.report.model.page import build_page  # noqa: PLC0415
    from assets.report.query.data import read_report_data  # noqa: PLC0415
    from assets.report.render.html import render_html, render_thumbnail  # noqa: PLC0415

    last = date.fromisoformat(partition_key)
    scope = inputs.build_scope(last)
    data = read_report_data(scope, inputs.run_query)
    page = build_page(data, inputs.registry, inputs.silences, inputs.now)
    html = render_html(page)
    reports = inputs.store
    path = reports.write(_get_file_name(page.scope), html)
    if last == inputs.newest_day:
        reports.write(LATEST, html)
    content = html.replace(page.created_at, "")  # the creation time alone is no new content
    version = blake2b(content.encode(), digest_size=16).hexdigest()
    metadata = _build_metadata(page, path, len(html.encode()), render_thumbnail(page))
    summary = f"{len(page.cards):,} machines, {page.urgent:,} need attention: {path}"
    return [PartitionResult(NAME, version, metadata, summary)]


def _build_metadata(
    page: "Page", path: str, size: int, thumbnail: str
) -> dict[str, dg.MetadataValue | int | float]:
    """Return numbers to plot, the path of the page and a thumbnail of its charts."""
    figures: dict[str, Figure[Any]] = {
        **({"events": page.event_totals.events} if page.counts_events else {}),
        **({"ongoing_events": page.event_totals.open} if page.counts_events else {}),
        "anomalous_share_of_running_time": page.fleet_share,
        "share_of_executions_with_result": page.result_share,
    }
    return {
        "page": dg.MetadataValue.path(path),
        "machines": len(page.cards),
        "machines_that_need_attention": page.urgent,
        "machines_not_fully_known": page.not_fully_known,
        **{name: figure.value for name, figure in figures.items() if figure.value is not None},
        "bytes": size,
        "score_charts": dg.MetadataValue.md(f"![Score charts]({thumbnail})"),
    }
