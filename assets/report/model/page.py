"""The page: all sections in reading order, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assets.report.formatting import format_days, format_timestamp
from assets.report.model.attention import AttentionItem, Severity, rank_machines
from assets.report.model.data_quality import DataQuality, assess_data_quality
from assets.report.model.fleet import build_fleet
from assets.report.model.incidents import Cause, Changes, Event, list_causes, list_changes, list_events
from assets.report.model.knowledge import (
    Extent,
    KnowledgeGap,
    describe_execution_gaps,
    describe_result_gaps,
    describe_running_gaps,
    find_result_extent,
    find_unknown_schedulers,
    list_gaps,
)
from assets.report.model.machine_cards import Card, Tick, build_cards, list_ticks
from assets.report.model.silencing import SilenceMatcher, SilenceSummary
from assets.report.query.data import ReportData
from assets.report.query.machines import EventTotals
from assets.report.query.result import Figure, Query, Statement
from assets.report.query.scope import ReportScope
from resources.config.equipment import EquipmentRegistry
from resources.config.silences import Silence


@dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        scope: the days and machines.
        title: the days in words.
        zone: the time zone of all printed times.
        created_at: the time when the page was built, as printed.
        as_of: the end of the days, or the time of the page if that is earlier.
        gaps: what is not known of these days.
        extent: how much of the results is known.
        result_gaps: what qualifies statements about events; empty: nothing is missing.
        running_gaps: the same for statements about running time.
        execution_gaps: the same for statements about executions.
        gaps_before: the same for all statements about the previous days.
        results_read: the number of result objects that were read.
        not_fully_known: the number of machines of which something is not known.
        attention: what needs attention, the most urgent first.
        silenced: the same for findings that a silence covers.
        unused_silences: silences of these days that cover no finding.
        unaffected: the number of machines without a finding.
        urgent: the number of machines with an alert or a warning.
        fleet_share: the anomalous share of the running time of all machines.
        result_share: the share of the executions due that are known to have returned a result.
        has_unknown_outcomes: whether more of them may have returned one.
        event_totals: the numbers of events.
        data_quality: the section about data quality.
        cards: one card per machine.
        ticks: the time axis of all score charts.
        events: the printed events.
        events_omitted: the number of events that are not printed.
        causes: the printed causes of failures.
        causes_omitted: the number of causes that are not printed.
        changes: the comparison with the previous days.
        queries: the SQL of every number.
    """

    scope: ReportScope
    title: str
    zone: str
    created_at: str
    as_of: str
    gaps: tuple[KnowledgeGap, ...]
    extent: Extent
    result_gaps: Statement
    running_gaps: Statement
    execution_gaps: Statement
    gaps_before: Statement
    results_read: Figure[int]
    not_fully_known: int
    attention: tuple[AttentionItem, ...]
    silenced: tuple[AttentionItem, ...]
    unused_silences: tuple[SilenceSummary, ...]
    unaffected: int
    urgent: int
    fleet_share: Figure[float]
    result_share: Figure[float]
    has_unknown_outcomes: bool
    event_totals: EventTotals
    data_quality: DataQuality
    cards: tuple[Card, ...]
    ticks: tuple[Tick, ...]
    events: tuple[Event, ...]
    events_omitted: int
    causes: tuple[Cause, ...]
    causes_omitted: int
    changes: Changes
    queries: tuple[Query[Any], ...]

    @property
    def counts_events(self) -> bool:
        """Whether the number of events says anything."""
        return self.extent.is_countable or bool(self.event_totals.events)

    @property
    def running_word(self) -> str:
        """The state of the running time, where it has no value."""
        if not self.extent.is_countable:
            return str(self.extent)
        return "not computed" if self.running_gaps else "none"

    @property
    def execution_word(self) -> str:
        """The state of the share of executions with a result, where it has no value."""
        if self.extent is Extent.NOT_RECORDED:
            return "not recorded"
        return "not computed" if self.execution_gaps else "none due"

    @property
    def events_empty(self) -> Statement:
        """What the page says instead of events."""
        if not self.counts_events:
            return (f"Events are {self.extent}: ", *self.result_gaps) if self.result_gaps else ("No data",)
        text: Statement = ("No events in ", self.results_read, " result objects read")
        return (*text, "; ", *self.result_gaps) if self.result_gaps else text


def build_page(
    data: ReportData, registry: EquipmentRegistry, silences: Sequence[Silence], now: datetime
) -> Page:
    """Build the page of some query results.

    Args:
        data: the query results.
        registry: names machines and sensors.
        silences: all silences; those that overlap the days are printed with what they silence.
        now: the time of the page.
    """
    scope = data.scope
    as_of = min(now, scope.end)
    fleet = build_fleet(data, registry)
    matcher = SilenceMatcher(silences, scope, as_of)
    items = rank_machines(data, fleet, matcher)
    attention = tuple(item for item in items if item.silence is None)
    silenced = tuple(item for item in items if item.silence is not None)
    unknown = find_unknown_schedulers(data)
    before = data.knowledge_before
    events, events_omitted = list_events(data, fleet, matcher)
    causes, causes_omitted = list_causes(data)
    return Page(
        scope=scope,
        title=format_days(scope.first, scope.last),
        zone=str(scope.zone),
        created_at=format_timestamp(now, scope.zone),
        as_of=format_timestamp(as_of, scope.zone),
        gaps=tuple(list_gaps(data)),
        extent=find_result_extent(data.knowledge),
        result_gaps=describe_result_gaps(data.knowledge),
        running_gaps=describe_running_gaps(data.knowledge),
        execution_gaps=describe_execution_gaps(data.knowledge),
        gaps_before=describe_running_gaps(before) or describe_execution_gaps(before),
        results_read=data.knowledge.results_read,
        not_fully_known=sum(
            any(scheduler.arn in unknown for scheduler in machine.schedulers) for machine in fleet.machines
        ),
        attention=attention,
        silenced=silenced,
        unused_silences=tuple(matcher.list_unused({item.silence for item in silenced if item.silence})),
        unaffected=len(fleet.machines) - len({item.machine.key for item in items}),
        urgent=sum(item.severity >= Severity.WARNING for item in attention),
        fleet_share=data.fleet_change.anomalous_share,
        result_share=data.slots.result_share,
        has_unknown_outcomes=data.slots.has_unknown_outcomes,
        event_totals=data.event_totals,
        data_quality=assess_data_quality(data, fleet),
        cards=tuple(build_cards(data, fleet, (*attention, *silenced))),
        ticks=tuple(list_ticks(scope)),
        events=tuple(events),
        events_omitted=events_omitted,
        causes=tuple(causes),
        causes_omitted=causes_omitted,
        changes=list_changes(data, fleet),
        queries=data.queries,
    )
