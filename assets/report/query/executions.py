"""What a page asks about executions: what became of them, how new they are, why they failed."""

from collections.abc import Mapping

from assets.health.slots import REASONS
from assets.report.formatting import Kind
from assets.report.query.question import Question
from assets.report.query.scope import ReportScope, sql_timestamp

_SUMS = ",\n       ".join(f"sum({name})::BIGINT AS {name}" for name in ("expected", *REASONS))
_DUE = "nullif(sum(expected - not_running - after_service_end), 0)"
_SLOTS = f"""\
{_SUMS},
       sum(succeeded) / {_DUE} AS watched,
       sum(succeeded + failed_missing_input + failed_other) / nullif(sum(expected), 0) AS coverage,
       median(lateness_median_minutes) AS lateness_median_minutes,
       max(lateness_max_minutes) AS lateness_max_minutes"""
_SLOT_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("expected", *REASONS), "count"),
    "watched": "share",
    "coverage": "share",
    "lateness_median_minutes": "minutes",
    "lateness_max_minutes": "minutes",
}


def slots(scope: ReportScope) -> Question:
    """Ask what became of every slot, over all."""
    return Question(
        "slots",
        "What became of every expected execution",
        "slots",
        {**_SLOT_KINDS, "schedulers": "count"},
        f"""\
SELECT 'all' AS slots, count(DISTINCT scheduler_arn) AS schedulers,
       {_SLOTS}
FROM execution_health
WHERE {scope.in_days} AND {scope.of_schedulers}""",
    )


def by_day(scope: ReportScope) -> Question:
    """Ask the same for each day."""
    return Question(
        "days",
        "The same, day by day",
        "data_date",
        {"data_date": "day", **_SLOT_KINDS},
        f"""\
SELECT data_date,
       {_SLOTS}
FROM execution_health
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY data_date
ORDER BY data_date""",
    )


def by_scheduler(scope: ReportScope) -> Question:
    """Ask the same for each scheduler."""
    return Question(
        "schedulers",
        "The same, scheduler by scheduler",
        "scheduler_arn",
        {**_SLOT_KINDS, "longest_silence_minutes": "minutes"},
        f"""\
SELECT scheduler_arn, any_value(scheduler_name) AS scheduler_name,
       max(longest_silence_minutes) AS longest_silence_minutes,
       {_SLOTS}
FROM execution_health
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY scheduler_arn
ORDER BY scheduler_arn""",
    )


def recorded(scope: ReportScope) -> Question:
    """Ask how new the executions of each scheduler are."""
    return Question(
        "recorded",
        "What is recorded of each scheduler, how new it is, and where it comes from",
        "scheduler_arn",
        {
            "executions": "count",
            "newest_result": "instant",
            "newest_window": "instant",
            "blind_minutes": "minutes",
            "recorded_at": "instant",
        },
        f"""\
SELECT scheduler_arn, any_value(scheduler_name) AS scheduler_name,
       any_value(account_id) AS account_id, any_value(region) AS region,
       count(*) AS executions,
       max(data_end_time) FILTER (status = 'SUCCESS') AS newest_result,
       max(data_end_time) AS newest_window,
       date_diff('minute', max(data_end_time) FILTER (status = 'SUCCESS'), max(data_end_time))
         AS blind_minutes,
       max(recorded_at) AS recorded_at,
       string_agg(DISTINCT outcome_source, ', ' ORDER BY outcome_source) AS sources
FROM inference_executions
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY scheduler_arn
ORDER BY scheduler_arn""",
    )


def objects(scope: ReportScope) -> Question:
    """Ask what became of reading the result objects."""
    return Question(
        "objects",
        "Result objects, and whether they could be read",
        "row",
        {"objects": "count", "lines": "count", "rejected": "count"},
        f"""\
SELECT scheduler_arn || ' ' || state AS row, scheduler_arn, any_value(scheduler_name) AS scheduler_name,
       state, count(*) AS objects, sum("rows")::BIGINT AS lines, sum(rejected)::BIGINT AS rejected,
       any_value(error) AS error
FROM result_objects
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY scheduler_arn, state
ORDER BY scheduler_arn, state""",
    )


def object_states(scope: ReportScope) -> Question:
    """Ask the same over all schedulers."""
    return Question(
        "object_states",
        "Result objects of all schedulers",
        "state",
        {"objects": "count"},
        f"""\
SELECT state, count(*) AS objects
FROM result_objects
WHERE {scope.in_days} AND {scope.of_schedulers}
GROUP BY state
ORDER BY state""",
    )


def causes(scope: ReportScope) -> Question:
    """Ask why executions failed, and whether they did so before."""
    shape = '[{"cause": "VARCHAR", "count": "BIGINT"}]'
    late = f"data_date >= DATE '{scope.first}'"
    return Question(
        "causes",
        "Failed executions by cause, in these days and as many before",
        "cause",
        {
            "executions": "count",
            "executions_before": "count",
            "schedulers": "count",
            "first_day": "day",
            "last_day": "day",
        },
        f"""\
SELECT one.cause AS cause,
       coalesce(sum(one.count) FILTER ({late}), 0)::BIGINT AS executions,
       CASE WHEN (SELECT count(*) FROM execution_health
                  WHERE {scope.with_before} AND NOT {late} AND {scope.of_schedulers}) > 0
            THEN coalesce(sum(one.count) FILTER (NOT {late}), 0)::BIGINT END AS executions_before,
       count(DISTINCT scheduler_arn) FILTER ({late}) AS schedulers,
       string_agg(DISTINCT scheduler_name, ', ' ORDER BY scheduler_name) FILTER ({late}) AS scheduler_names,
       min(data_date) FILTER ({late}) AS first_day, max(data_date) FILTER ({late}) AS last_day
FROM (
  SELECT scheduler_arn, scheduler_name, data_date, unnest(from_json(failures_by_cause, '{shape}')) AS one
  FROM execution_health
  WHERE {scope.with_before} AND {scope.of_schedulers}
)
GROUP BY one.cause
ORDER BY executions DESC, executions_before DESC, cause""",
    )


def put_aside(scope: ReportScope) -> Question:
    """Ask how much could not be used."""
    return Question(
        "put_aside",
        "What could not be used, and was put aside",
        "put_aside",
        {"lines": "count", "summaries": "count"},
        f"""\
SELECT 'all' AS put_aside,
       (SELECT count(*) FROM rejected_results WHERE {scope.in_days} AND {scope.of_schedulers}) AS lines,
       (SELECT count(*) FROM rejected_executions) AS summaries""",
    )


def settings(scope: ReportScope) -> Question:
    """Ask which settings of schedulers changed."""
    shown = f"valid_from >= {sql_timestamp(scope.start)} AND valid_from < {sql_timestamp(scope.end)}"
    return Question(
        "settings",
        "Settings of schedulers that changed",
        "row",
        {"valid_from": "instant", "model_version": "version", "model_version_before": "version"},
        f"""\
SELECT scheduler_arn || ' ' || valid_from::VARCHAR AS row, *
FROM (
  SELECT scheduler_arn, scheduler_name, valid_from,
         model_version, lag(model_version) OVER history AS model_version_before,
         data_upload_frequency, lag(data_upload_frequency) OVER history AS data_upload_frequency_before,
         data_delay_offset_minutes,
         lag(data_delay_offset_minutes) OVER history AS data_delay_offset_minutes_before,
         status, lag(status) OVER history AS status_before,
         row_number() OVER history AS number
  FROM inference_schedulers
  WHERE {scope.of_schedulers}
  WINDOW history AS (PARTITION BY scheduler_arn ORDER BY valid_from)
)
WHERE {shown}
ORDER BY valid_from, scheduler_arn""",
    )
