"""Queries about what the lake knows of these days: recorded, read and computed, and what is missing."""

from dataclasses import dataclass, replace
from datetime import timedelta

from assets.report.query.daily import POINTS, RUNS, render_results
from assets.report.query.result import Count, Day, Instant, Minutes, Query
from assets.report.query.scope import ReportScope, sql_timestamp

BLIND_MINUTES = 60
"""Stretches without a result count as blind time from this length on."""

LEVEL_TOTAL, LEVEL_SCHEDULER, LEVEL_DAY = "total", "scheduler", "day"

_LATE = timedelta(hours=3)
"""Extraction and computation of a day are expected this long after its end at the latest."""


@dataclass(frozen=True)
class Knowledge:
    """How much is known of some days: in total, of one scheduler, or of one day.

    Attributes:
        level: `total`, `scheduler` or `day`.
        scheduler_arn: the scheduler; None on other levels.
        day: the day; None on other levels.
        days: the number of days that have begun.
        executions: recorded executions.
        results: recorded executions that returned a result.
        results_read: those whose result object was read.
        results_unread: the others.
        first_unread: start of the earliest window without a read result.
        last_unread: end of the latest one.
        executions_not_computed: recorded executions that `execution_health` does not count.
        points: points in the result lines that were read.
        points_computed: those of them in `anomaly_fragments`.
        days_recorded: days with recorded executions or a response without executions.
        days_not_recorded: the other days.
        health_days_not_computed: days on which `execution_health` lacks recorded executions.
        event_days_not_computed: days whose points are not in `anomaly_events`.
        running_days_not_computed: days that `equipment_health` lacks.
        days_not_computed: days that lack any of the three.
    """

    level: str
    scheduler_arn: str | None
    day: Day
    days: Count
    executions: Count
    results: Count
    results_read: Count
    results_unread: Count
    first_unread: Instant
    last_unread: Instant
    executions_not_computed: Count
    points: Count
    points_computed: Count
    days_recorded: Count
    days_not_recorded: Count
    first_not_recorded: Day
    last_not_recorded: Day
    health_days_not_computed: Count
    event_days_not_computed: Count
    running_days_not_computed: Count
    days_not_computed: Count
    first_not_computed: Day
    last_not_computed: Day
    first_unread_day: Day
    last_unread_day: Day


@dataclass(frozen=True)
class BlindTime:
    """Stretches of an hour or more in which no result of a scheduler was read."""

    scheduler_arn: str
    periods: Count
    minutes: Minutes
    longest_minutes: Minutes
    longest_since: Instant


@dataclass(frozen=True)
class SchedulerObjects:
    """The result objects of one scheduler in one state; objects without a record are `not_read`."""

    scheduler_arn: str
    scheduler_name: str | None
    state: str
    objects: Count


@dataclass(frozen=True)
class ObjectsInState:
    """The result objects of all schedulers in one state; `error` is one of their errors."""

    state: str
    objects: Count
    schedulers: Count
    since: Instant
    until: Instant
    error: str | None


def build_knowledge_query(scope: ReportScope) -> Query[Knowledge]:
    """Select one row in total, per scheduler, and per day."""
    return Query(
        "knowledge",
        "Recorded, read and computed: in total, by scheduler, by day",
        Knowledge,
        _render_knowledge(scope),
        render_results(scope, [RUNS, POINTS]),
    )


def build_knowledge_before_query(scope: ReportScope) -> Query[Knowledge]:
    """Select the same for the previous days."""
    previous = replace(scope, first=scope.first - scope.length, last=scope.first - timedelta(days=1))
    return Query(
        "knowledge_before",
        "Recorded, read and computed in the previous days",
        Knowledge,
        _render_knowledge(previous),
        render_results(previous, [RUNS, POINTS]),
    )


def build_objects_query(scope: ReportScope) -> Query[SchedulerObjects]:
    """Select one row per scheduler and state of its result objects."""
    return Query(
        "objects",
        "Result objects by scheduler and state",
        SchedulerObjects,
        f"""\
SELECT scheduler_arn, any_value(scheduler_name) AS scheduler_name, state,
       sum(executions)::BIGINT AS objects, any_value(error) AS error
FROM {RUNS.name}
WHERE {scope.sql_days} AND state IS NOT NULL
GROUP BY scheduler_arn, state
ORDER BY scheduler_arn, state""",
        render_results(scope, [RUNS]),
    )


def build_object_states_query(scope: ReportScope) -> Query[ObjectsInState]:
    """Select one row per state of the result objects."""
    return Query(
        "object_states",
        "Result objects by state",
        ObjectsInState,
        f"""\
SELECT state, sum(executions)::BIGINT AS objects, count(DISTINCT scheduler_arn) AS schedulers,
       min(data_start_time) AS since, max(coalesce(data_end_time, data_start_time)) AS until,
       min(error) AS error
FROM {RUNS.name}
WHERE {scope.sql_days} AND state IS NOT NULL
GROUP BY state
ORDER BY state""",
        render_results(scope, [RUNS]),
    )


def build_blind_time_query(scope: ReportScope) -> Query[BlindTime]:
    """Select one row per scheduler that has blind time.

    Time is not blind if a result covers it, or if its day is computed and no execution is due in it.
    """
    day_before = replace(scope, first=scope.first - timedelta(days=1))
    until = sql_timestamp(scope.known_end)
    stale = f"WHEN {until} - newest > INTERVAL 3 HOUR THEN newest"
    is_past = scope.known_end == scope.end
    return Query(
        "blind_time",
        "Stretches of an hour or more without a result, by scheduler",
        BlindTime,
        f"""\
WITH runs AS (
  SELECT * FROM {RUNS.name} WHERE {day_before.sql_days}
), bounds AS (
  SELECT scheduler_arn, greatest({sql_timestamp(scope.start)}, min(seen)) AS since, {until} AS until
  FROM (SELECT scheduler_arn, data_start_time AS seen FROM runs
        UNION ALL SELECT scheduler_arn, valid_from FROM inference_schedulers)
  WHERE scheduler_arn IN (SELECT scheduler_arn FROM runs WHERE {scope.sql_days}
                          UNION SELECT scheduler_arn FROM execution_health
                          WHERE {scope.sql_days} AND {scope.sql_schedulers})
  GROUP BY scheduler_arn
), gaps AS (  -- time without a recorded execution
  SELECT scheduler_arn, since AS gap_start,
         coalesce(min(data_start_time), any_value(until)) AS gap_end
  FROM bounds LEFT JOIN runs USING (scheduler_arn) GROUP BY scheduler_arn, since
  UNION ALL
  SELECT scheduler_arn, data_end_time,
         coalesce(lead(data_start_time) OVER (PARTITION BY scheduler_arn ORDER BY data_start_time), until)
  FROM runs JOIN bounds USING (scheduler_arn)
), computed_days AS (
{_render_computed_days(scope)}
), explained_days AS (  -- days on which nothing that is due is missing
  SELECT bounds.scheduler_arn, data_date
  FROM bounds CROSS JOIN computed_days
  LEFT JOIN (SELECT * FROM execution_health WHERE {scope.sql_days}) health USING (scheduler_arn, data_date)
  LEFT JOIN (SELECT scheduler_arn, data_date, sum(executions) AS executions FROM runs GROUP BY ALL) recorded
    USING (scheduler_arn, data_date)
  WHERE is_final AND coalesce(unknown + not_extracted, 0) = 0
    AND coalesce(executions, 0) <= coalesce(expected, 0)
), fresh AS (  -- extraction that stopped explains nothing
  SELECT {until if is_past else f"CASE {stale} ELSE {until} END"} AS fresh_until
  FROM (SELECT max(data_end_time) AS newest FROM runs)
), known AS (
  SELECT scheduler_arn, data_start_time AS known_start, data_end_time AS known_end
  FROM runs WHERE state = 'read'
  UNION ALL
  SELECT scheduler_arn, greatest(gap_start, data_date::TIMESTAMPTZ),
         least(gap_end, data_date::TIMESTAMPTZ + INTERVAL 1 DAY, fresh_until)
  FROM gaps JOIN explained_days USING (scheduler_arn) CROSS JOIN fresh
  WHERE gap_start < gap_end
    AND gap_start < data_date::TIMESTAMPTZ + INTERVAL 1 DAY AND gap_end > data_date::TIMESTAMPTZ
  UNION ALL
  SELECT scheduler_arn, until, until FROM bounds
), periods AS (
  SELECT scheduler_arn, least(known_start, until) AS period_end,
         greatest(since, max(known_end) OVER earlier) AS period_start
  FROM known JOIN bounds USING (scheduler_arn)
  WINDOW earlier AS (PARTITION BY scheduler_arn ORDER BY known_start, known_end
                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT scheduler_arn, count(*) AS periods,
       sum(date_diff('minute', period_start, period_end))::DOUBLE AS minutes,
       max(date_diff('minute', period_start, period_end))::DOUBLE AS longest_minutes,
       arg_max(period_start, date_diff('minute', period_start, period_end)) AS longest_since
FROM periods
WHERE period_end - period_start >= INTERVAL {BLIND_MINUTES} MINUTE
GROUP BY scheduler_arn
ORDER BY scheduler_arn""",
        render_results(day_before, [RUNS]),
    )


def _render_computed_days(scope: ReportScope) -> str:
    """Render one row per day in `execution_health`; a day is final if it was computed after its end."""
    late = sql_timestamp(scope.known_end - _LATE)
    return f"""\
  SELECT data_date, max(recorded_at) >= data_date::TIMESTAMPTZ + INTERVAL 1 DAY
                    OR data_date::TIMESTAMPTZ + INTERVAL 1 DAY > {late} AS is_final
  FROM execution_health WHERE {scope.sql_days}
  GROUP BY data_date"""


def _render_knowledge(scope: ReportScope) -> str:
    here = f"{scope.sql_days} AND {scope.sql_schedulers}"
    return f"""\
WITH recorded AS (
  SELECT scheduler_arn, data_date, sum(executions) AS executions,
         sum(executions) FILTER (status IN ('SUCCESS', 'FAILED') OR status IS NULL AND state IS NOT NULL)
           AS outcomes,
         sum(executions) FILTER (status = 'SUCCESS' OR status IS NULL AND state IS NOT NULL) AS succeeded,
         coalesce(sum(executions) FILTER (state IS NOT NULL), 0) AS results,
         coalesce(sum(executions) FILTER (state = 'read'), 0) AS results_read,
         min(data_start_time) FILTER (state <> 'read') AS first_unread,
         max(coalesce(data_end_time, data_start_time)) FILTER (state <> 'read') AS last_unread
  FROM {RUNS.name}
  WHERE {scope.sql_days}
  GROUP BY scheduler_arn, data_date
), computed_days AS (
{_render_computed_days(scope)}
), health AS (
  SELECT scheduler_arn, data_date, is_final, expected, succeeded AS computed_successes,
         succeeded + failed_missing_input + failed_other AS computed_outcomes
  FROM execution_health JOIN computed_days USING (data_date)
  WHERE {here}
), fragments AS (  -- with the anomalous ones that no event covers
  SELECT scheduler_arn, data_date, sum(points)::BIGINT AS points_computed,
         (sum(points) FILTER (first_time < data_date::TIMESTAMPTZ + INTERVAL 1 DAY))::BIGINT AS points_of_day,
         count(*) FILTER (state = 'anomalous' AND last_time < data_date::TIMESTAMPTZ + INTERVAL 1 DAY
           AND epoch(last_time) - epoch(first_time) >= {scope.min_event_seconds:g} AND NOT EXISTS (
             SELECT 1 FROM anomaly_events event WHERE event.scheduler_arn = fragment.scheduler_arn
             AND event.start_time <= first_time AND event.end_time >= last_time)) AS not_in_events
  FROM anomaly_fragments fragment
  WHERE {here}
  GROUP BY scheduler_arn, data_date
), running AS (
  SELECT unnest(string_split(scheduler_arns, ',')) AS scheduler_arn, data_date,
         running_minutes + off_minutes AS known_minutes
  FROM equipment_health
  WHERE {scope.sql_days} AND {scope.sql_equipment}
), responses AS (
  SELECT scheduler_arn, data_date, true AS has_response FROM extraction_coverage WHERE {here}
), scheduler_days AS (
  SELECT *, greatest(coalesce(executions, 0) - coalesce(expected, 0),
                     coalesce(outcomes, 0) - coalesce(computed_outcomes, 0),
                     abs(coalesce(succeeded, 0) - coalesce(computed_successes, 0)))
           AS executions_not_computed,
         coalesce(points, 0) <> coalesce(points_computed, 0) AS lacks_fragments,
         lacks_fragments OR coalesce(not_in_events, 0) > 0 AS lacks_events,
         lacks_fragments OR (coalesce(executions, 0) > 0 OR points > 0) AND (known_minutes IS NULL
           OR known_minutes = 0 AND coalesce(points_of_day, 0) > 1) AS lacks_running
  FROM recorded FULL JOIN health USING (scheduler_arn, data_date)
  FULL JOIN (SELECT * FROM {POINTS.name} WHERE {scope.sql_days}) USING (scheduler_arn, data_date)
  FULL JOIN fragments USING (scheduler_arn, data_date)
  FULL JOIN (SELECT * FROM running WHERE {scope.sql_schedulers}) USING (scheduler_arn, data_date)
  FULL JOIN responses USING (scheduler_arn, data_date)
), days AS (
  SELECT day::DATE AS data_date
  FROM generate_series(DATE '{scope.first}', DATE '{scope.last_begun}', INTERVAL 1 DAY) begun (day)
), facts AS (
  SELECT *, scheduler_arn IS NOT NULL AS is_recorded,
         coalesce(executions_not_computed > 0 OR NOT is_final, false) AS lacks_health,
         lacks_health OR lacks_events OR lacks_running AS lacks_any
  FROM days LEFT JOIN scheduler_days USING (data_date)
)
SELECT CASE WHEN grouping(scheduler_arn) = 0 THEN '{LEVEL_SCHEDULER}'
            WHEN grouping(data_date) = 0 THEN '{LEVEL_DAY}' ELSE '{LEVEL_TOTAL}' END AS level,
       scheduler_arn, data_date AS day, count(DISTINCT data_date) AS days,
       coalesce(sum(executions), 0)::BIGINT AS executions,
       coalesce(sum(results), 0)::BIGINT AS results,
       coalesce(sum(results_read), 0)::BIGINT AS results_read,
       coalesce(sum(results - results_read), 0)::BIGINT AS results_unread,
       min(first_unread) AS first_unread, max(last_unread) AS last_unread,
       min(data_date) FILTER (results > results_read) AS first_unread_day,
       max(data_date) FILTER (results > results_read) AS last_unread_day,
       coalesce(sum(executions_not_computed), 0)::BIGINT AS executions_not_computed,
       coalesce(sum(points), 0)::BIGINT AS points,
       coalesce(sum(points_computed), 0)::BIGINT AS points_computed,
       count(DISTINCT data_date) FILTER (is_recorded) AS days_recorded,
       count(DISTINCT data_date) FILTER (NOT is_recorded) AS days_not_recorded,
       min(data_date) FILTER (NOT is_recorded) AS first_not_recorded,
       max(data_date) FILTER (NOT is_recorded) AS last_not_recorded,
       count(DISTINCT data_date) FILTER (lacks_health) AS health_days_not_computed,
       count(DISTINCT data_date) FILTER (lacks_events) AS event_days_not_computed,
       count(DISTINCT data_date) FILTER (lacks_running) AS running_days_not_computed,
       count(DISTINCT data_date) FILTER (lacks_any) AS days_not_computed,
       min(data_date) FILTER (lacks_any) AS first_not_computed,
       max(data_date) FILTER (lacks_any) AS last_not_computed
FROM facts
GROUP BY GROUPING SETS ((), (scheduler_arn), (data_date))
ORDER BY level, scheduler_arn, day"""
