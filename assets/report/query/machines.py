"""Queries about machines: totals, events, sensors, scores, model versions."""

from dataclasses import dataclass
from datetime import datetime

from assets.report.query.result import Count, Instant, Minutes, Query, Score, Seconds, Share, Version
from assets.report.query.scope import ReportScope, sql_timestamp


@dataclass(frozen=True)
class AnomalyTotals:
    """Running and anomalous time of one machine."""

    equipment: str
    running_minutes: Minutes
    anomalous_minutes: Minutes
    anomalous_share: Share
    events: Count


@dataclass(frozen=True)
class EquipmentTotals(AnomalyTotals):
    """The same over all days; `scheduler_arns` are separated by commas."""

    off_minutes: Minutes
    scheduler_arns: str | None


@dataclass(frozen=True)
class EventRow:
    """One anomaly event; `notified_ids` are the ids of its notifications, separated by commas."""

    event_id: str
    scheduler_arn: str
    scheduler_name: str | None
    state: str
    notified_ids: str | None
    start_time: Instant
    end_time: Instant
    duration_seconds: Seconds
    peak_score: Score
    mean_score: Score
    even_share: Share
    model_version: Version


@dataclass(frozen=True)
class EventTotals:
    """Numbers of events."""

    events: Count
    open: Count


@dataclass(frozen=True)
class EventSensor:
    """One of the top sensors of an event."""

    event_id: str
    component: str | None
    sensor: str
    contribution: Share


@dataclass(frozen=True)
class ModelStart:
    """A model version of a scheduler, and the first window that it evaluated within the days."""

    scheduler_arn: str
    model_version: Version
    since: Instant


@dataclass(frozen=True)
class EquipmentChange:
    """A machine in these days and in the previous ones; `equipment` is empty for the total."""

    equipment: str
    anomalous_share: Share
    anomalous_share_before: Share
    events: Count
    events_before: Count
    running_minutes: Minutes


@dataclass(frozen=True)
class ScoreBin:
    """One bin of time of a score chart; the charts read these rows as an Arrow table."""

    scheduler_arn: str
    bin: int
    points: int
    score: float | None
    anomalous: int
    off: int
    first_time: datetime
    last_time: datetime


def build_equipment_query(scope: ReportScope) -> Query[EquipmentTotals]:
    """Select one row per machine: its totals over all days."""
    return Query(
        "equipment",
        "Totals by machine",
        EquipmentTotals,
        f"""\
SELECT equipment, any_value(site) AS site, any_value(criticality) AS criticality,
       string_agg(DISTINCT scheduler_arns, ',' ORDER BY scheduler_arns) AS scheduler_arns,
       sum(running_minutes) AS running_minutes, sum(off_minutes) AS off_minutes,
       sum(unknown_minutes) AS unknown_minutes, sum(anomalous_minutes) AS anomalous_minutes,
       sum(anomalous_minutes) / nullif(sum(running_minutes), 0) AS anomalous_share,
       sum(events)::BIGINT AS events
FROM equipment_health
WHERE {scope.sql_days} AND {scope.sql_equipment}
GROUP BY equipment
ORDER BY equipment""",
    )


def build_last_day_query(scope: ReportScope) -> Query[AnomalyTotals]:
    """Select one row per machine: its totals of the last day."""
    return Query(
        "last_day",
        "Totals of the last day by machine",
        AnomalyTotals,
        f"""\
SELECT equipment, running_minutes, anomalous_minutes, anomalous_share, events
FROM equipment_health
WHERE data_date = DATE '{scope.last}' AND {scope.sql_equipment}
ORDER BY equipment""",
    )


def build_events_query(scope: ReportScope) -> Query[EventRow]:
    """Select one row per event that overlaps the days, newest first."""
    return Query(
        "events",
        "Anomaly events that overlap these days",
        EventRow,
        f"""\
SELECT event_id, scheduler_arn, scheduler_name, start_time, end_time, duration_seconds, points,
       peak_score, mean_score, 1 / nullif(sensors, 0) AS even_share, model_version, state,
       (SELECT string_agg(notified.event_id, ',') FROM event_notifications notified
        WHERE notified.current_event_id = anomaly_events.event_id) AS notified_ids
FROM anomaly_events
WHERE {_build_overlap_condition(scope)}
ORDER BY start_time DESC, event_id""",
    )


def build_event_totals_query(scope: ReportScope) -> Query[EventTotals]:
    """Select one row: the numbers of events."""
    return Query(
        "event_totals",
        "Number of anomaly events",
        EventTotals,
        f"""\
SELECT count(*) AS events,
       count(*) FILTER (start_time >= {sql_timestamp(scope.start)}) AS began,
       count(*) FILTER (state = 'open') AS open, count(*) FILTER (state = 'cut') AS cut,
       count(DISTINCT scheduler_arn) AS schedulers, sum(duration_seconds) AS anomalous_seconds
FROM anomaly_events
WHERE {_build_overlap_condition(scope)}""",
    )


def build_sensors_query(scope: ReportScope) -> Query[EventSensor]:
    """Select one row per event and top sensor, largest contribution first."""
    shape = '[{"component": "VARCHAR", "sensor": "VARCHAR", "contribution": "DOUBLE"}]'
    return Query(
        "sensors",
        "Top sensors of each event",
        EventSensor,
        f"""\
SELECT event_id, rank,
       sensor.component AS component, sensor.sensor AS sensor, sensor.contribution AS contribution
FROM (
  SELECT event_id, generate_subscripts(top, 1) AS rank, unnest(top) AS sensor
  FROM (
    SELECT event_id, from_json(top_sensors, '{shape}') AS top
    FROM anomaly_events
    WHERE {_build_overlap_condition(scope)}
  )
)
ORDER BY event_id, rank""",
    )


def build_score_bins_query(scope: ReportScope) -> Query[ScoreBin]:
    """Select one row per scheduler and bin; the maximum score keeps every peak."""
    start, width = sql_timestamp(scope.start), scope.bin_seconds
    return Query(
        "score_bins",
        "Score charts: the highest score in each bin of time",
        ScoreBin,
        f"""\
SELECT scheduler_arn, floor((epoch(timestamp) - epoch({start})) / {width})::BIGINT AS bin,
       count(*) AS points, max(anomaly_score) AS score, sum(prediction)::BIGINT AS anomalous,
       count(*) FILTER (prediction_reason = 'MACHINE_OFF') AS off,
       min(timestamp) AS first_time, max(timestamp) AS last_time
FROM anomaly_predictions
WHERE {scope.sql_days} AND {scope.sql_schedulers}
GROUP BY ALL
ORDER BY scheduler_arn, bin""",
    )


def build_models_query(scope: ReportScope) -> Query[ModelStart]:
    """Select one row per scheduler and model version, oldest first."""
    return Query(
        "models",
        "Model versions and their first window in these days",
        ModelStart,
        f"""\
SELECT scheduler_arn, model_version, min(data_start_time) AS since
FROM inference_executions
WHERE {scope.sql_days} AND {scope.sql_schedulers} AND model_version IS NOT NULL
GROUP BY scheduler_arn, model_version
ORDER BY scheduler_arn, since""",
    )


def build_changes_query(scope: ReportScope) -> Query[EquipmentChange]:
    """Select one row per machine and one for the total: these days and the previous ones."""
    in_range = f"data_date >= DATE '{scope.first}'"
    return Query(
        "changes",
        "These days and the previous days",
        EquipmentChange,
        f"""\
SELECT coalesce(equipment, '') AS equipment,
       sum(anomalous_minutes) FILTER ({in_range}) / nullif(sum(running_minutes) FILTER ({in_range}), 0)
         AS anomalous_share,
       sum(anomalous_minutes) FILTER (NOT {in_range})
         / nullif(sum(running_minutes) FILTER (NOT {in_range}), 0) AS anomalous_share_before,
       (sum(events) FILTER ({in_range}))::BIGINT AS events,
       (sum(events) FILTER (NOT {in_range}))::BIGINT AS events_before,
       sum(running_minutes) FILTER ({in_range}) AS running_minutes,
       sum(running_minutes) FILTER (NOT {in_range}) AS running_minutes_before
FROM equipment_health
WHERE {scope.sql_days_and_previous} AND {scope.sql_equipment}
GROUP BY ROLLUP (equipment)
ORDER BY 1""",
    )


def _build_overlap_condition(scope: ReportScope) -> str:
    return (
        f"start_time < {sql_timestamp(scope.end)} AND end_time > {sql_timestamp(scope.start)}"
        f" AND {scope.sql_schedulers}"
    )
