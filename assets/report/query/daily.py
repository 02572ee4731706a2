"""Results that several queries share, computed some days at a time.

A query reads them by name. The page prints their SQL within each query, over all days of the query. The
report computes them once and some days at a time, which bounds its memory. Both give the same rows, because
no row depends on another day.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pyarrow as pa

from assets.report.query.scope import ReportScope
from assets.tables import ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, Table

RunQuery = Callable[[str], pa.Table]
"""Runs a SQL statement over the lake's tables; a statement without a result returns no columns."""

_ROWS_AT_ONCE = 250_000
"""The rows of the source that are processed together. With more, DuckDB needs more memory and CPU time."""

POINT_CONDITION = (
    "(prediction IN (0, 1)"
    "\n    OR prediction_reason IN ('NO_ANOMALY_DETECTED', 'ANOMALY_DETECTED', 'MACHINE_OFF'))"
    "\n    AND timestamp BETWEEN data_start_time AND data_start_time + INTERVAL 1 HOUR"
)
"""The rows of `anomaly_predictions` that `anomaly_fragments` counts as points, one for each timestamp."""


@dataclass(frozen=True)
class DailyResult:
    """A shared result.

    Attributes:
        name: its name in queries.
        source: the table with most of the rows that it reads.
        render: returns its SQL for the days of a scope.
    """

    name: str
    source: Table
    render: Callable[[ReportScope], str]


def _render_runs(scope: ReportScope) -> str:
    """Render runs: recorded executions of a day that follow each other without a gap, with equal outcomes.

    `state` is null if the executions returned no result. A run of one execution may lack its end.
    """
    outcome = ("status", "state", "error", "scheduler_name")
    equal = " AND ".join(f"lag({name}) OVER history IS NOT DISTINCT FROM {name}" for name in outcome)
    return f"""\
  SELECT scheduler_arn, scheduler_name, data_date, status, state, error, data_start_time,
         CASE WHEN lead(number) OVER history IS NULL THEN last_end
              ELSE lead(previous_end) OVER history END AS data_end_time,
         coalesce(lead(number) OVER history, executions + 1) - number AS executions
  FROM (
    SELECT *, lag(data_end_time) OVER history AS previous_end, row_number() OVER history AS number,
           count(*) OVER day AS executions, last_value(data_end_time) OVER day AS last_end,
           coalesce(previous_end = data_start_time AND data_end_time > data_start_time
             AND {equal}, false) AS continues
    FROM (
{_render_windows(scope)}
    )
    WINDOW history AS (PARTITION BY scheduler_arn, data_date ORDER BY data_start_time),
           day AS (PARTITION BY scheduler_arn, data_date ORDER BY data_start_time
                   ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  )
  WHERE NOT continues
  WINDOW history AS (PARTITION BY scheduler_arn, data_date ORDER BY data_start_time)"""


def _render_windows(scope: ReportScope) -> str:
    """Render one row per recorded execution."""
    return f"""\
      SELECT scheduler_arn, scheduler_name, data_date, data_start_time, data_end_time, status, error,
             CASE WHEN coalesce(status, 'SUCCESS') <> 'SUCCESS' THEN NULL
                  WHEN result_s3_bucket IS NULL OR result_s3_key IS NULL
                  THEN CASE WHEN status = 'SUCCESS' THEN 'no_location' END
                  WHEN object.state = 'read' OR object.etag IS NOT NULL THEN 'read'
                  ELSE coalesce(object.state, 'not_read') END AS state
      FROM (SELECT * FROM inference_executions WHERE {scope.sql_days} AND {scope.sql_schedulers}) execution
      LEFT JOIN (SELECT scheduler_arn, data_date, data_start_time, result_s3_bucket, result_s3_key,
                        state, etag, error
                 FROM result_objects WHERE {scope.sql_days}) object
        USING (scheduler_arn, data_date, data_start_time, result_s3_bucket, result_s3_key)"""


def _render_points(scope: ReportScope) -> str:
    """Render the number of points of each scheduler and day."""
    return f"""\
  SELECT scheduler_arn, data_date, count(DISTINCT timestamp) AS points
  FROM anomaly_predictions
  WHERE {scope.sql_days} AND {scope.sql_schedulers} AND {POINT_CONDITION}
  GROUP BY scheduler_arn, data_date"""


RUNS = DailyResult("execution_runs", INFERENCE_EXECUTIONS, _render_runs)
POINTS = DailyResult("daily_points", ANOMALY_PREDICTIONS, _render_points)


def render_results(scope: ReportScope, results: Sequence[DailyResult]) -> Mapping[str, str]:
    """Render the SQL of shared results by name, for all days of a scope."""
    return {result.name: result.render(scope) for result in results}


def store_results(scope: ReportScope, run_query: RunQuery) -> None:
    """Compute the shared results of the days and the previous days, as temporary tables."""
    both = replace(scope, first=scope.first - scope.length)
    for result in (RUNS, POINTS):
        counted = run_query(
            f"SELECT data_date, count(*) AS rows FROM {result.source.name}"
            f" WHERE {both.sql_days} GROUP BY data_date ORDER BY data_date"
        )
        parts = _split(counted["data_date"].to_pylist(), counted["rows"].to_pylist())
        statement = f"CREATE OR REPLACE TEMP TABLE {result.name} AS"
        for first, last in parts or [(scope.first, scope.first)]:
            run_query(f"{statement}\n{result.render(replace(scope, first=first, last=last))}")
            statement = f"INSERT INTO {result.name}"


def _split(days: Sequence[date], rows: Sequence[int]) -> list[tuple[date, date]]:
    """Split days into ranges with up to `_ROWS_AT_ONCE` rows, or of one day."""
    parts: list[tuple[date, date]] = []
    size = 0
    for day, count in zip(days, rows, strict=True):
        size += count
        if parts and size <= _ROWS_AT_ONCE:
            parts[-1] = parts[-1][0], day
        else:
            parts.append((day, day))
            size = count
    return parts
