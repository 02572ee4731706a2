"""The query about executions that a bucket shows: whether its results agree with their keys and prefixes."""

from dataclasses import dataclass

from assets.report.query.result import Count, Query
from assets.report.query.scope import ReportScope


@dataclass(frozen=True)
class BucketResults:
    """What the contents of a bucket's results show.

    Attributes:
        prefixes: output prefixes, each of which counts as one scheduler.
        compared: results with lines, whose times were compared with the key.
        outside: those with lines outside of their data window.
        without_end: executions whose end is not known.
        with_sensors: results whose sensors were compared.
        alternating: schedulers whose results of a day alternate between sets of sensors.
    """

    prefixes: Count
    compared: Count
    outside: Count
    without_end: Count
    with_sensors: Count
    alternating: Count


def build_bucket_query(scope: ReportScope) -> Query[BucketResults]:
    """Select one row: how the results of buckets agree with their keys, by the rules of the checks."""
    return Query(
        "buckets",
        "Results of buckets: times outside of their window, and signs of shared output prefixes",
        BucketResults,
        f"""\
WITH executions AS (
  SELECT scheduler_arn, data_start_time, data_end_time, output_s3_bucket, output_s3_prefix,
         coalesce(data_end_time, data_start_time + INTERVAL 1 HOUR) AS latest_end
  FROM inference_executions
  WHERE {scope.sql_days} AND {scope.sql_schedulers} AND 'bucket' IN (source, outcome_source)
), lines AS (
  SELECT scheduler_arn, data_start_time, min(timestamp) AS first_line, max(timestamp) AS last_line
  FROM anomaly_predictions SEMI JOIN executions USING (scheduler_arn, data_start_time)
  WHERE {scope.sql_days}
  GROUP BY scheduler_arn, data_start_time
), sets AS (
  SELECT scheduler_arn, data_start_time, bit_xor(hash(diagnostic_name)) AS sensors
  FROM (SELECT DISTINCT scheduler_arn, data_start_time, diagnostic_name
        FROM sensor_contributions SEMI JOIN executions USING (scheduler_arn, data_start_time)
        WHERE {scope.sql_days})
  GROUP BY scheduler_arn, data_start_time
), steps AS (
  SELECT scheduler_arn, data_start_time::DATE AS day, sensors,
         sensors <> lag(sensors) OVER (PARTITION BY scheduler_arn, data_start_time::DATE
                                       ORDER BY data_start_time) AS is_change
  FROM sets
), days AS (
  SELECT scheduler_arn FROM steps GROUP BY scheduler_arn, day
  HAVING count(DISTINCT sensors) < 1 + count(*) FILTER (is_change)
)
SELECT (SELECT count(DISTINCT (output_s3_bucket, output_s3_prefix)) FROM executions) AS prefixes,
       (SELECT count(*) FROM lines) AS compared,
       (SELECT count(*) FROM lines JOIN executions USING (scheduler_arn, data_start_time)
        WHERE first_line < data_start_time OR last_line > latest_end) AS outside,
       (SELECT count(*) FROM executions WHERE data_end_time IS NULL) AS without_end,
       (SELECT count(*) FROM sets) AS with_sensors,
       (SELECT count(DISTINCT scheduler_arn) FROM days) AS alternating""",
    )
