"""The card of each machine: its figures and its score charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.report.formatting import pluralize
from assets.report.model.attention import AttentionItem
from assets.report.model.charts import ScoreChart, draw_chart, get_position
from assets.report.model.fleet import Fleet, Machine, Scheduler
from assets.report.model.knowledge import Extent, find_result_extent
from assets.report.query.data import ReportData
from assets.report.query.machines import ModelStart
from assets.report.query.result import Figure, Statement
from assets.report.query.scope import ReportScope

MAX_TICK_LABELS = 8
"""With more days than this, only every second, third, ... midnight has a label."""

LAST_LABEL_POSITION = 92
"""The last position, in percent, at which a label fits into a chart on a phone."""

Spans = Mapping[str, Sequence[tuple[datetime, datetime]]]


@dataclass(frozen=True)
class Tick:
    """A local midnight; `position` is a percentage of the chart's width."""

    position: float
    label: str


@dataclass(frozen=True)
class ModelChange:
    """A new model version; `position` is a percentage of the chart's width."""

    position: float
    version: Figure[int]
    since: Figure[datetime]


@dataclass(frozen=True)
class SchedulerChart:
    """The score chart of one scheduler of a machine; `description` is its text alternative."""

    scheduler: str
    chart: ScoreChart
    model_changes: tuple[ModelChange, ...]
    description: str
    notes: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Card:
    """A machine with its figures and charts.

    Attributes:
        machine: the machine.
        severity: its severity; `none` if it has no finding.
        extent: how much of its results is known; empty if all.
        figures: label and figure of what is known.
        charts: one chart per scheduler.
    """

    machine: Machine
    severity: str
    extent: str
    figures: tuple[tuple[str, Figure[Any]], ...]
    charts: tuple[SchedulerChart, ...]


def build_cards(data: ReportData, fleet: Fleet, attention: Sequence[AttentionItem]) -> list[Card]:
    """Return a card for each machine, in the order of the attention items, then the others."""
    severities: dict[str, str] = {}
    for item in attention:
        severities.setdefault(item.machine.key, item.severity.word)
    order = {key: number for number, key in enumerate(severities)}
    bins = _split_by_scheduler(data.score_bins)
    spans = _group_event_spans(data)
    machines = sorted(fleet.machines, key=lambda machine: order.get(machine.key, len(order)))
    return [
        Card(
            machine,
            severities.get(machine.key, "none"),
            "" if (extent := _find_extent(data, machine)) is Extent.KNOWN else f"results {extent}",
            tuple(_list_figures(data, machine, extent)),
            tuple(_build_chart(data, scheduler, bins, spans) for scheduler in machine.schedulers),
        )
        for machine in machines
    ]


def list_ticks(scope: ReportScope) -> list[Tick]:
    """Return the midnights within the range, in the reader's time zone, with the labels that fit."""
    label_step = -(-len(scope.days) // MAX_TICK_LABELS)
    first = scope.start.astimezone(scope.zone).date()
    ticks = []
    for number in range(len(scope.days) + 1):
        day = first + timedelta(days=number)
        midnight = datetime(day.year, day.month, day.day, tzinfo=scope.zone)
        if scope.start <= midnight < scope.end:
            position = round(100 * get_position(scope, midnight), 2)
            is_labelled = number % label_step == 0 and position <= LAST_LABEL_POSITION
            ticks.append(Tick(position, f"{day:%a} {day.day}" if is_labelled else ""))
    if ticks and ticks[0].position > 0 and len(scope.days) == 1:  # name both local days of a single UTC day
        ticks.insert(0, Tick(0, f"{first:%a} {first.day}"))
    return ticks


def _find_extent(data: ReportData, machine: Machine) -> Extent:
    """Return how much of the results of a machine is known, over all its schedulers."""
    rows = [data.scheduler_knowledge.get(scheduler.arn) for scheduler in machine.schedulers]
    known = [row for row in rows if row]
    extents = {find_result_extent(row) for row in known}
    if machine.key not in data.equipment:
        extents = {Extent.NOT_COMPUTED if extent.is_countable else extent for extent in extents}
    if len(extents) == 1 and not extents & {Extent.KNOWN}:
        return extents.pop()
    is_partial = len(extents) != 1 or any(
        row.running_days_not_computed or row.event_days_not_computed for row in known
    )
    is_blind = any(scheduler.arn in data.blind_time for scheduler in machine.schedulers)
    return Extent.PARTLY if is_partial or is_blind or data.knowledge.days_not_recorded else Extent.KNOWN


def _list_figures(data: ReportData, machine: Machine, extent: Extent) -> list[tuple[str, Figure[Any]]]:
    totals = data.equipment.get(machine.key, data.no_equipment)
    figures: list[tuple[str, Figure[Any]]] = []
    if extent.is_countable:
        figures = [
            ("anomalous", totals.anomalous_share),
            (pluralize(totals.events.value, "event"), totals.events),
            ("running", totals.running_minutes),
        ]
        if totals.off_minutes:
            figures.append(("off", totals.off_minutes))
    slots = [data.schedulers[item.arn] for item in machine.schedulers if item.arn in data.schedulers]
    shares = [row.result_share for row in slots if row.result_share.value is not None]
    if len(shares) == 1:
        figures.append(("with a result", shares[0]))
    return figures


def _split_by_scheduler(bins: pa.Table) -> Mapping[str, pa.Table]:
    arns = bins["scheduler_arn"]
    return {arn: bins.filter(pc.equal(arns, arn)) for arn in arns.unique().to_pylist()}


def _group_event_spans(data: ReportData) -> Spans:
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for event in data.events:
        span = (event.start_time.get_value(), event.end_time.get_value())
        spans.setdefault(event.scheduler_arn, []).append(span)
    return spans


def _build_chart(
    data: ReportData, scheduler: Scheduler, bins: Mapping[str, pa.Table], spans: Spans
) -> SchedulerChart:
    rows = bins.get(scheduler.arn, data.score_bins.slice(0, 0))
    events = spans.get(scheduler.arn, [])
    chart = draw_chart(data.scope, rows, events)
    starts = [model for model in data.models if model.scheduler_arn == scheduler.arn]
    changes = tuple(_build_model_change(data.scope, start) for start in starts[1:])
    counted = f"{len(events)} {pluralize(len(events), 'event')}"
    description = f"score over time, {counted}" if chart.known else "no results read for these days"
    notes: list[Statement] = [("model ", change.version, " since ", change.since) for change in changes]
    if knowledge := data.scheduler_knowledge.get(scheduler.arn):
        if knowledge.results_unread:
            unread = (knowledge.results_unread, " of ", knowledge.results, " result objects not read")
            notes.append(unread)
        if knowledge.days_not_computed:
            notes.append((knowledge.days_not_computed, " of ", knowledge.days, " recorded days not computed"))
    if chart.known and not chart.has_scores:
        notes.append(("this format has no scores",))
    return SchedulerChart(scheduler.name, chart, changes, f"{scheduler.name}: {description}", tuple(notes))


def _build_model_change(scope: ReportScope, start: ModelStart) -> ModelChange:
    position = round(100 * get_position(scope, start.since.get_value()), 2)
    return ModelChange(position, start.model_version, start.since)
