"""Everything that one report reads from the lake, as one typed result."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar

import pyarrow as pa

from assets.report.query import buckets, executions, knowledge, machines
from assets.report.query.buckets import BucketResults
from assets.report.query.daily import POINTS, RunQuery, store_results
from assets.report.query.executions import (
    FailureCause,
    RejectedCounts,
    SchedulerRecords,
    SchedulerSlots,
    SettingChange,
    SlotCounts,
    SlotDay,
)
from assets.report.query.knowledge import BlindTime, Knowledge, ObjectsInState, SchedulerObjects
from assets.report.query.machines import (
    AnomalyTotals,
    EquipmentChange,
    EquipmentTotals,
    EventRow,
    EventSensor,
    EventTotals,
    ModelStart,
)
from assets.report.query.result import Query
from assets.report.query.scope import ReportScope
from resources.sources.bucket import KIND as BUCKET_KIND

RowT = TypeVar("RowT")

_BINS, _BINS_OF_LARGE_FLEET = 672, 336
_LARGE_FLEET = 40
"""With more schedulers than this, each chart has half the bins, which keeps the page small."""


@dataclass(frozen=True)
class ReportData:
    """The query results of one report.

    Attributes:
        scope: the days and machines that were read.
        slots: all expected executions by reason.
        days: the same by day, oldest first.
        schedulers: the same by scheduler ARN.
        recorded: recorded executions by scheduler ARN.
        knowledge: how much is known of all days and schedulers.
        knowledge_before: the same for the previous days.
        scheduler_knowledge: the same by scheduler ARN.
        day_knowledge: the same by day.
        blind_time: periods without a result, by scheduler ARN.
        objects: result objects by scheduler and state.
        object_states: result objects by state.
        rejected: rejected lines and summaries.
        buckets: what the results of buckets show, one row; none without executions of buckets.
        equipment: totals by equipment name.
        no_equipment: the totals of a machine without a row in `equipment_health`: dashes only.
        last_day: totals of the last day, by equipment name.
        score_bins: one row per scheduler and bin of time, drawn by the score charts.
        models: model versions by scheduler, oldest first.
        event_totals: numbers of events.
        events: events that overlap the days, newest first.
        sensors: the top sensors of each event by `event_id`, largest contribution first.
        causes: causes of failures, most frequent first.
        changes: comparison with the previous days, by equipment name.
        fleet_change: the same comparison over all machines.
        settings: changes of scheduler settings, oldest first.
        queries: every query that was run, in the order in which the page prints the SQL.
    """

    scope: ReportScope
    slots: SlotCounts
    days: tuple[SlotDay, ...]
    schedulers: Mapping[str, SchedulerSlots]
    recorded: Mapping[str, SchedulerRecords]
    knowledge: Knowledge
    knowledge_before: Knowledge
    scheduler_knowledge: Mapping[str, Knowledge]
    day_knowledge: Mapping[date, Knowledge]
    blind_time: Mapping[str, BlindTime]
    objects: tuple[SchedulerObjects, ...]
    object_states: Mapping[str, ObjectsInState]
    rejected: RejectedCounts
    buckets: Sequence[BucketResults]
    equipment: Mapping[str, EquipmentTotals]
    no_equipment: EquipmentTotals
    last_day: Mapping[str, AnomalyTotals]
    score_bins: pa.Table
    models: tuple[ModelStart, ...]
    event_totals: EventTotals
    events: tuple[EventRow, ...]
    sensors: Mapping[str, Sequence[EventSensor]]
    causes: tuple[FailureCause, ...]
    changes: Mapping[str, EquipmentChange]
    fleet_change: EquipmentChange
    settings: tuple[SettingChange, ...]
    queries: tuple[Query[Any], ...]


@dataclass
class _Reader:
    """Runs queries and records them in order."""

    scope: ReportScope
    run_query: RunQuery
    queries: list[Query[Any]] = field(default_factory=list)

    def read_table(self, query: Query[Any]) -> pa.Table:
        self.queries.append(query)
        return self.run_query(query.body)

    def read(self, query: Query[RowT]) -> tuple[RowT, ...]:
        return query.read_rows(self.read_table(query), self.scope.zone)


class _KnowledgeByLevel:
    """The rows of the knowledge query by level."""

    def __init__(self, rows: Sequence[Knowledge]) -> None:
        (self.total,) = (row for row in rows if row.level == knowledge.LEVEL_TOTAL)
        self.by_scheduler = {row.scheduler_arn: row for row in rows if row.scheduler_arn is not None}
        self.by_day = {row.day.value: row for row in rows if row.day.value is not None}


def read_report_data(scope: ReportScope, run_query: RunQuery) -> ReportData:
    """Run all queries of a report.

    Args:
        scope: the days and machines to read; the number of bins is chosen here.
        run_query: runs a SQL statement over the lake's tables.
    """
    store_results(scope, run_query)
    scope = replace(scope, bins=_choose_bins(scope, run_query))
    reader = _Reader(scope, run_query)
    equipment_query = machines.build_equipment_query(scope)
    changes_query = machines.build_changes_query(scope)
    blank_equipment = equipment_query.build_row({"equipment": ""}, 0, scope.zone)
    blank_change = changes_query.build_row({"equipment": ""}, 0, scope.zone)
    return ReportData(  # the arguments run the queries in the order in which the page prints them
        scope=scope,
        slots=reader.read(executions.build_slots_query(scope))[0],
        days=reader.read(executions.build_days_query(scope)),
        schedulers=_index(reader.read(executions.build_schedulers_query(scope)), "scheduler_arn"),
        recorded=_index(records := reader.read(executions.build_recorded_query(scope)), "scheduler_arn"),
        knowledge=(known := _KnowledgeByLevel(reader.read(knowledge.build_knowledge_query(scope)))).total,
        scheduler_knowledge=known.by_scheduler,
        day_knowledge=known.by_day,
        knowledge_before=_KnowledgeByLevel(reader.read(knowledge.build_knowledge_before_query(scope))).total,
        blind_time=_index(reader.read(knowledge.build_blind_time_query(scope)), "scheduler_arn"),
        objects=reader.read(knowledge.build_objects_query(scope)),
        object_states=_index(reader.read(knowledge.build_object_states_query(scope)), "state"),
        rejected=reader.read(executions.build_rejected_query(scope))[0],
        buckets=reader.read(buckets.build_bucket_query(scope)) if _has_bucket(records) else (),
        equipment=_index(reader.read(equipment_query), "equipment"),
        no_equipment=blank_equipment,
        last_day=_index(reader.read(machines.build_last_day_query(scope)), "equipment"),
        score_bins=reader.read_table(machines.build_score_bins_query(scope)),
        models=reader.read(machines.build_models_query(scope)),
        event_totals=reader.read(machines.build_event_totals_query(scope))[0],
        events=reader.read(machines.build_events_query(scope)),
        sensors=_group_by_event(reader.read(machines.build_sensors_query(scope))),
        causes=reader.read(executions.build_causes_query(scope)),
        changes=(changes := _index(reader.read(changes_query), "equipment")),
        fleet_change=changes.get("", blank_change),
        settings=reader.read(executions.build_settings_query(scope)),
        queries=tuple(reader.queries),
    )


def _has_bucket(records: Iterable[SchedulerRecords]) -> bool:
    """Return whether a bucket shows the outcome of any execution; only then are its results compared."""
    return any(BUCKET_KIND in (row.sources or "").split(", ") for row in records)


def _choose_bins(scope: ReportScope, run_query: RunQuery) -> int:
    counts = run_query(
        f"SELECT count(DISTINCT scheduler_arn) AS schedulers FROM {POINTS.name} WHERE {scope.sql_days}"
    )
    return _BINS_OF_LARGE_FLEET if counts["schedulers"][0].as_py() > _LARGE_FLEET else _BINS


def _index(rows: Iterable[RowT], column: str) -> dict[str, RowT]:
    return {getattr(row, column): row for row in rows}


def _group_by_event(rows: Iterable[EventSensor]) -> Mapping[str, Sequence[EventSensor]]:
    groups: dict[str, list[EventSensor]] = {}
    for row in rows:
        groups.setdefault(row.event_id, []).append(row)
    return groups
