"""The page as a Dagster asset.

A day's page shows that day and the six before it. It is made again whenever that day's health comes out
differently, so what late data changes is told by the page that first told otherwise.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from hashlib import blake2b
from zoneinfo import ZoneInfo

import dagster as dg

from assets.framework.automation import upstream_content_changed
from assets.framework.partitioned_run import PartitionedRun, PartitionResult, translate_to_failure
from assets.framework.partitions import daily_partitions
from assets.framework.time_windows import Days
from assets.report.model.page import Page, build_page
from assets.report.query.answers import Figure, RunQuery
from assets.report.query.scope import ReportScope
from assets.report.render.html import render_html, render_thumbnail
from assets.report.request import default_days, file_name, newest_day
from assets.tables import EQUIPMENT_HEALTH, EXECUTION_HEALTH
from resources.clock import Clock
from resources.config.equipment import EquipmentRegistry, load_equipment
from resources.config.settings import Settings
from resources.config.silences import Silence, load_silences
from resources.lake.lake import Lake
from resources.storage.report_store import ReportStore

NAME = "anomaly_report"
LATEST = "latest.html"

OpenQuery = Callable[[], AbstractContextManager[RunQuery]]


@dataclass(frozen=True)
class ReportOptions:
    """The settings that reports depend on; `folder` is a path or an S3 URI."""

    folder: str
    time_zone: str
    registry: str
    silences: str
    gap_steps: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "ReportOptions":
        """Take what reports need from the settings."""
        return cls(
            folder=settings.report.folder,
            time_zone=settings.report.time_zone,
            registry=settings.equipment.registry,
            silences=settings.alerts.silences,
            gap_steps=settings.events.gap_steps,
        )

    def scope(self, first: date, last: date) -> ReportScope:
        """Return the scope of a range of days."""
        return ReportScope(first, last, ZoneInfo(self.time_zone), gap_steps=self.gap_steps)


@dataclass(frozen=True)
class _Desk:
    """All that a page is made with."""

    ask: RunQuery
    registry: EquipmentRegistry
    silences: list[Silence]
    shown: ReportOptions
    now: datetime
    newest: date


def build(history: Days, shown: ReportOptions) -> list[dg.AssetsDefinition]:
    """Declare the asset; its resources are `lake`, `asking` and `clock`."""

    @dg.asset(
        name=NAME,
        deps=[dg.AssetKey(EQUIPMENT_HEALTH.name), dg.AssetKey(EXECUTION_HEALTH.name)],
        partitions_def=daily_partitions(history),
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=upstream_content_changed(),
        group_name="reporting",
        kinds={"html"},
        description="The page that people read: what needs attention, and whether the data can be trusted."
        " One page a day, of that day and the six before it; latest.html is the newest.",
    )
    def anomaly_report(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        asking: dg.ResourceParam[OpenQuery],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        run = PartitionedRun(context)
        with translate_to_failure(), asking() as ask:
            desk = _Desk(
                ask,
                load_equipment(shown.registry),
                load_silences(shown.silences),
                shown,
                clock(),
                newest_day(lake, clock().date()),
            )
            run.process(context.partition_keys, partial(_page, desk))
        return run.finish({"pages": len(context.partition_keys)}, {})

    return [anomaly_report]


def _page(desk: _Desk, key: str) -> list[PartitionResult]:
    last = date.fromisoformat(key)
    page = build_page(desk.shown.scope(*default_days(last)), desk.ask, desk.registry, desk.silences, desk.now)
    text = render_html(page)
    reports = ReportStore(desk.shown.folder)
    path = reports.write(f"{file_name(page.scope)}.html", text)
    if last == desk.newest:
        reports.write(LATEST, text)
    timeless = text.replace(page.made_at, "")  # when it was made is no content
    version = blake2b(timeless.encode(), digest_size=16).hexdigest()
    return [PartitionResult(dg.AssetKey(NAME), version, _metadata(page, path, len(text.encode())))]


def _metadata(page: Page, path: str, size: int) -> dict[str, dg.MetadataValue | int | float]:
    """Numbers worth plotting, where the page is, and how it looks."""
    events, lasting, _ = page.event_figures
    figures: dict[str, Figure] = {
        "events": events,
        "events_not_over": lasting,
        "anomalous_share_of_running_time": page.fleet_share,
        "share_of_executions_with_result": page.watched,
    }
    return {
        "page": dg.MetadataValue.path(path),
        "machines": len(page.cards),
        "machines_that_need_attention": page.urgent,
        **{name: figure.value for name, figure in figures.items() if figure.value is not None},
        "bytes": size,
        "strips": dg.MetadataValue.md(f"![The strips of the page]({render_thumbnail(page)})"),
    }
