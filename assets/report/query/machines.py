"""What a page asks about machines: scores, events, sensors, health."""

from assets.report.query.question import Question
from assets.report.query.scope import ReportScope, sql_timestamp


def by_equipment(scope: ReportScope) -> Question:
    """Ask how each machine did."""
    return Question(
        "equipment",
        "How each machine did",
        "equipment",
        {
            "running_minutes": "minutes",
            "off_minutes": "minutes",
            "unknown_minutes": "minutes",
            "anomalous_minutes": "minutes",
            "anomalous_share": "share",
            "events": "count",
            "anomalous_hours_7d": "count",
            "anomalous_hours_7d_share": "share",
            "anomalous_share_before": "share",
            "events_per_day": "rate",
            "events_per_day_before": "rate",
            "model_version": "version",
        },
        f"""\
SELECT equipment, any_value(site) AS site, any_value(criticality) AS criticality,
       string_agg(DISTINCT scheduler_arns, ',' ORDER BY scheduler_arns) AS scheduler_arns,
       sum(running_minutes) AS running_minutes, sum(off_minutes) AS off_minutes,
       sum(unknown_minutes) AS unknown_minutes, sum(anomalous_minutes) AS anomalous_minutes,
       sum(anomalous_minutes) / nullif(sum(running_minutes), 0) AS anomalous_share,
       sum(events)::BIGINT AS events, sum(events) / count(*) AS events_per_day,
       arg_max(anomalous_hours_7d, data_date) AS anomalous_hours_7d,
       arg_max(anomalous_hours_7d_share, data_date) AS anomalous_hours_7d_share,
       arg_min(anomalous_share_28d, data_date) AS anomalous_share_before,
       arg_min(events_per_day_28d, data_date) AS events_per_day_before,
       arg_max(model_version, data_date) AS model_version
FROM equipment_health
WHERE {scope.in_days} AND {scope.of_equipment}
GROUP BY equipment
ORDER BY equipment""",
    )


def last_day(scope: ReportScope) -> Question:
    """Ask the same for the last day alone."""
    return Question(
        "last_day",
        "How each machine did on the last day",
        "equipment",
        {
            "running_minutes": "minutes",
            "anomalous_minutes": "minutes",
            "anomalous_share": "share",
            "events": "count",
        },
        f"""\
SELECT equipment, running_minutes, anomalous_minutes, anomalous_share, events
FROM equipment_health
WHERE data_date = DATE '{scope.last}' AND {scope.of_equipment}
ORDER BY equipment""",
    )


def events(scope: ReportScope) -> Question:
    """Ask for the events that reach into the days."""
    return Question(
        "events",
        "Anomaly events that reach into these days",
        "event_id",
        {
            "start_time": "instant",
            "end_time": "instant",
            "duration_seconds": "seconds",
            "points": "count",
            "peak_score": "score",
            "mean_score": "score",
            "even_share": "share",
            "model_version": "version",
        },
        f"""\
SELECT event_id, scheduler_arn, scheduler_name, start_time, end_time, duration_seconds, points,
       peak_score, mean_score, 1 / nullif(sensors, 0) AS even_share, model_version, state,
       (SELECT string_agg(told.event_id, ',') FROM event_notifications told
        WHERE told.current_event_id = anomaly_events.event_id) AS told_as
FROM anomaly_events
WHERE {_overlapping(scope)}
ORDER BY start_time DESC, event_id""",
    )


def event_counts(scope: ReportScope) -> Question:
    """Ask how many these are."""
    return Question(
        "event_counts",
        "How many events there are, and how they stand",
        "event_counts",
        {
            "events": "count",
            "began": "count",
            "open": "count",
            "cut": "count",
            "schedulers": "count",
            "anomalous_seconds": "seconds",
        },
        f"""\
SELECT 'all' AS event_counts, count(*) AS events,
       count(*) FILTER (start_time >= {sql_timestamp(scope.start)}) AS began,
       count(*) FILTER (state = 'open') AS open, count(*) FILTER (state = 'cut') AS cut,
       count(DISTINCT scheduler_arn) AS schedulers, sum(duration_seconds) AS anomalous_seconds
FROM anomaly_events
WHERE {_overlapping(scope)}""",
    )


def sensors(scope: ReportScope) -> Question:
    """Ask for the sensors of each event."""
    shape = '[{"component": "VARCHAR", "sensor": "VARCHAR", "contribution": "DOUBLE"}]'
    return Question(
        "sensors",
        "The sensors that contributed most to each event",
        "row",
        {"contribution": "share"},
        f"""\
SELECT event_id || ' ' || rank AS row, event_id, rank,
       sensor.component AS component, sensor.sensor AS sensor, sensor.contribution AS contribution
FROM (
  SELECT event_id, generate_subscripts(top, 1) AS rank, unnest(top) AS sensor
  FROM (
    SELECT event_id, from_json(top_sensors, '{shape}') AS top
    FROM anomaly_events
    WHERE {_overlapping(scope)}
  )
)
ORDER BY event_id, rank""",
    )


def strips(scope: ReportScope) -> Question:
    """Ask for the strips: no peak gets lost, for each step has its highest score."""
    start, width = sql_timestamp(scope.start), scope.bin_seconds
    return Question(
        "strips",
        "The strips: the highest score in each step of time",
        "bin",
        {},
        f"""\
SELECT scheduler_arn, floor((epoch(timestamp) - epoch({start})) / {width})::BIGINT AS bin,
       count(*) AS points, max(anomaly_score) AS score, sum(prediction)::BIGINT AS anomalous,
       count(*) FILTER (prediction_reason = 'MACHINE_OFF') AS off,
       min(timestamp) AS first_time, max(timestamp) AS last_time
FROM anomaly_predictions
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY ALL
ORDER BY scheduler_arn, bin""",
    )


def models(scope: ReportScope) -> Question:
    """Ask which model versions ran since when."""
    return Question(
        "models",
        "Model versions, and when each took over",
        "row",
        {"model_version": "version", "since": "instant"},
        f"""\
SELECT scheduler_arn || ' ' || coalesce(model_version::VARCHAR, 'none') AS row, scheduler_arn, model_version,
       min(data_start_time) AS since
FROM inference_executions
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY scheduler_arn, model_version
ORDER BY scheduler_arn, since""",
    )


def changes(scope: ReportScope) -> Question:
    """Ask for these days and as many before."""
    late = f"data_date >= DATE '{scope.first}'"
    return Question(
        "changes",
        "These days against as many days before",
        "equipment",
        {
            "anomalous_share": "share",
            "anomalous_share_before": "share",
            "events": "count",
            "events_before": "count",
            "running_minutes": "minutes",
            "running_minutes_before": "minutes",
        },
        f"""\
SELECT coalesce(equipment, '') AS equipment,
       sum(anomalous_minutes) FILTER ({late}) / nullif(sum(running_minutes) FILTER ({late}), 0)
         AS anomalous_share,
       sum(anomalous_minutes) FILTER (NOT {late}) / nullif(sum(running_minutes) FILTER (NOT {late}), 0)
         AS anomalous_share_before,
       (sum(events) FILTER ({late}))::BIGINT AS events,
       (sum(events) FILTER (NOT {late}))::BIGINT AS events_before,
       sum(running_minutes) FILTER ({late}) AS running_minutes,
       sum(running_minutes) FILTER (NOT {late}) AS running_minutes_before
FROM equipment_health
WHERE {scope.with_before} AND {scope.of_equipment}
GROUP BY ROLLUP (equipment)
ORDER BY 1""",
    )


def _overlapping(scope: ReportScope) -> str:
    return (
        f"start_time < {sql_timestamp(scope.end)} AND end_time > {sql_timestamp(scope.start)}"
        f" AND {scope.of_schedulers}"
    )
