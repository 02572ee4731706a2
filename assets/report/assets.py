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
from assets.framework.given import Clock
from assets.framework.partitioned_run import Materialized, PartitionedRun, told_to_people
from assets.framework.partitions import daily
from assets.framework.time_windows import Days
from assets.report.model.page import Page, page_of
from assets.report.query.answers import Ask, Figure
from assets.report.query.scope import Scope
from assets.report.render.html import html, thumbnail
from assets.report.request import name_of, newest_day, usual_days
from assets.tables import EQUIPMENT_HEALTH, EXECUTION_HEALTH
from resources.config.equipment import Registry, load_registry
from resources.config.silences import Silence, load_silences
from resources.lake.lake import Lake
from resources.storage.report_store import Reports

NAME = "anomaly_report"
LATEST = "latest.html"

Asking = Callable[[], AbstractContextManager[Ask]]


@dataclass(frozen=True)
class Shown:
    """What the settings say of pages."""

    folder: str
    time_zone: str
    registry: str
    silences: str
    gap_steps: float

    def scope(self, first: date, last: date) -> Scope:
        """Return the scope of a range of days."""
        return Scope(first, last, ZoneInfo(self.time_zone), gap_steps=self.gap_steps)


@dataclass(frozen=True)
class _Desk:
    """All that a page is made with."""

    ask: Ask
    registry: Registry
    silences: list[Silence]
    shown: Shown
    now: datetime
    newest: date


def build(history: Days, shown: Shown) -> list[dg.AssetsDefinition]:
    """Declare the asset; its resources are `lake`, `asking` and `clock`."""

    @dg.asset(
        name=NAME,
        deps=[dg.AssetKey(EQUIPMENT_HEALTH.name), dg.AssetKey(EXECUTION_HEALTH.name)],
        partitions_def=daily(history),
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
        asking: dg.ResourceParam[Asking],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        run = PartitionedRun(context)
        with told_to_people(), asking() as ask:
            desk = _Desk(
                ask,
                load_registry(shown.registry),
                load_silences(shown.silences),
                shown,
                clock(),
                newest_day(lake, clock().date()),
            )
            run.work(context.partition_keys, partial(_page, desk))
        return run.end({"pages": len(context.partition_keys)}, {})

    return [anomaly_report]


def _page(desk: _Desk, key: str) -> list[Materialized]:
    last = date.fromisoformat(key)
    page = page_of(desk.shown.scope(*usual_days(last)), desk.ask, desk.registry, desk.silences, desk.now)
    text = html(page)
    reports = Reports(desk.shown.folder)
    path = reports.write(f"{name_of(page.scope)}.html", text)
    if last == desk.newest:
        reports.write(LATEST, text)
    timeless = text.replace(page.made_at, "")  # when it was made is no content
    version = blake2b(timeless.encode(), digest_size=16).hexdigest()
    return [Materialized(dg.AssetKey(NAME), version, _metadata(page, path, len(text.encode())))]


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
        "strips": dg.MetadataValue.md(f"![The strips of the page]({thumbnail(page)})"),
    }
