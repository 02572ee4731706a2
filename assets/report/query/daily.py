"""Results that several queries share, computed some days at a time.

A query reads them by name. The page prints their SQL within each query, over all days of the query. The
report computes them once and some days at a time, which bounds its memory. Both give the same rows, because
no row depends on another day.

The files of a day are sorted by key. So the report compares each row with the previous one of the file, which
needs no sort and no table of distinct values. It verifies the order of the rows, and computes days that are
not in order with the SQL of the page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from assets.report.query.scope import ReportScope
from assets.tables import INFERENCE_EXECUTIONS

RunQuery = Callable[[str], pa.Table]
"""Runs a SQL statement over the lake's tables; a statement without a result returns no columns."""

_ROWS_AT_ONCE = 500_000
"""The executions that are joined together. With more, DuckDB needs more memory."""

POINT_CONDITION = (
    "(prediction IN (0, 1)"
    "\n    OR prediction_reason IN ('NO_ANOMALY_DETECTED', 'ANOMALY_DETECTED', 'MACHINE_OFF'))"
    "\n    AND epoch_us(timestamp) - epoch_us(data_start_time) BETWEEN 0 AND 3600000000"
)
"""The rows of `anomaly_predictions` that `anomaly_fragments` counts as points, one for each timestamp.

Microseconds are compared, because DuckDB adds an interval with a calendar, which takes longer than the rest.
"""


@dataclass(frozen=True)
class DailyResult:
    """A shared result.

    Attributes:
        name: its name in queries.
        render: returns its SQL for the days of a scope.
        render_in_order: returns faster SQL for rows in the order of the key. Its column `is_exact` is true if
            they were in this order; otherwise, the result is not that of `render`.
        render_windows: returns the SQL of the temporary table that `render_in_order` reads, some days at a
            time. DuckDB compares adjacent rows of tables and files only, not those of a join. None: it reads
            files, all days at once.
    """

    name: str
    render: Callable[[ReportScope], str]
    render_in_order: Callable[[ReportScope], str]
    render_windows: Callable[[ReportScope], str] | None = None


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


def _render_runs_in_order(_scope: ReportScope) -> str:
    """Render runs from the stored windows. A row is kept if it starts a run or is the last one."""
    return f"""\
  WITH kept AS (
    SELECT *, lag(data_end_time) OVER () AS previous_end, row_number() OVER () AS number,
           coalesce(lag(day) OVER () <> day, true) AS is_first, lead(day) OVER () IS NULL AS is_last,
           coalesce(NOT is_first AND data_start_time <= lag(data_start_time) OVER (), false) AS is_unordered,
           coalesce(NOT is_first AND previous_end = data_start_time AND data_end_time > data_start_time
             AND lag(outcome) OVER () = outcome, false) AS continues
    FROM {_WINDOWS}
    QUALIFY is_unordered OR is_last OR NOT continues
  ), runs AS (
    SELECT scheduler_arn, scheduler_name, data_date, status, state, error, data_start_time, continues,
           CASE WHEN is_last THEN data_end_time
                ELSE lead(CASE WHEN continues THEN data_end_time ELSE previous_end END) OVER history
                END AS data_end_time,
           CASE WHEN is_last THEN 1
                ELSE lead(number + continues::BIGINT) OVER history - number END AS executions
    FROM kept
    WINDOW history AS (ORDER BY number)
  ), verified AS (
    SELECT count(*) FILTER (is_unordered) = 0
           AND count(*) FILTER (is_first) = count(DISTINCT (scheduler_arn, data_date)) AS is_exact
    FROM kept
  )
  SELECT * EXCLUDE (continues) FROM runs CROSS JOIN verified WHERE NOT continues"""


def _render_stored_windows(scope: ReportScope) -> str:
    """Render one row per recorded execution, with hashes of 64 bits for comparisons of long texts."""
    return f"""\
    SELECT *, hash(scheduler_arn, data_date) AS day, hash(status, state, error, scheduler_name) AS outcome
    FROM (
{_render_windows(scope, ("data_start_time", _LOCATION_HASH))}
    )"""


_WINDOWS = "windows_in_order"
_LOCATION = ("scheduler_arn", "data_date", "data_start_time", "result_s3_bucket", "result_s3_key")
_LOCATION_HASH = "hash(scheduler_arn, result_s3_bucket, result_s3_key) AS location"


def _render_windows(scope: ReportScope, location: Sequence[str] = _LOCATION) -> str:
    """Render one row per recorded execution; `location` are the expressions that find its result object."""
    added = "".join(f", {expression}" for expression in location if " AS " in expression)
    names = ", ".join(expression.rpartition(" AS ")[2] for expression in location)
    return f"""\
      SELECT scheduler_arn, scheduler_name, data_date, data_start_time, data_end_time, status, error,
             CASE WHEN coalesce(status, 'SUCCESS') <> 'SUCCESS' THEN NULL
                  WHEN result_s3_bucket IS NULL OR result_s3_key IS NULL
                  THEN CASE WHEN status = 'SUCCESS' THEN 'no_location' END
                  ELSE coalesce(object.state, 'not_read') END AS state
      FROM (SELECT *{added} FROM inference_executions
            WHERE {scope.sql_days} AND {scope.sql_schedulers}) execution
      LEFT JOIN (SELECT {", ".join(location)}, error,
                        CASE WHEN etag IS NULL THEN state ELSE 'read' END AS state
                 FROM result_objects WHERE {scope.sql_days}) object
        USING ({names})"""


def _render_points(scope: ReportScope) -> str:
    """Render the number of points of each scheduler and day."""
    return f"""\
  SELECT scheduler_arn, data_date, count(DISTINCT timestamp) AS points
  FROM anomaly_predictions
  WHERE {scope.sql_days} AND {scope.sql_schedulers} AND {POINT_CONDITION}
  GROUP BY scheduler_arn, data_date"""


def _render_points_in_order(scope: ReportScope) -> str:
    """Render the same for rows whose times never decrease within a scheduler and day.

    Equal times are then adjacent.
    """
    return f"""\
  SELECT scheduler_arn, data_date, count(*) FILTER (is_first OR timestamp > previous) AS points,
         count(*) FILTER (is_first) = 1
           AND count(*) FILTER (NOT is_first AND timestamp < previous) = 0 AS is_exact
  FROM (
    SELECT scheduler_arn, data_date, timestamp, lag(timestamp) OVER () AS previous,
           coalesce(lag(day) OVER () <> day, true) AS is_first
    FROM (
      SELECT scheduler_arn, data_date, timestamp, hash(scheduler_arn, data_date) AS day
      FROM anomaly_predictions
      WHERE {scope.sql_days} AND {scope.sql_schedulers} AND {POINT_CONDITION}
    )
  )
  GROUP BY scheduler_arn, data_date"""


RUNS = DailyResult("execution_runs", _render_runs, _render_runs_in_order, _render_stored_windows)
POINTS = DailyResult("daily_points", _render_points, _render_points_in_order)


def render_results(scope: ReportScope, results: Sequence[DailyResult]) -> Mapping[str, str]:
    """Render the SQL of shared results by name, for all days of a scope."""
    return {result.name: result.render(scope) for result in results}


def store_results(scope: ReportScope, run_query: RunQuery) -> None:
    """Compute the shared results of the days and the previous days, as temporary tables."""
    both = replace(scope, first=scope.first - scope.length)
    for result in (RUNS, POINTS):
        run_query(f"CREATE OR REPLACE TEMP TABLE {result.name} AS\n{result.render(both)}\nWITH NO DATA")
        for days in _split(both, run_query) if result.render_windows else [both]:
            _store_days(result, days, run_query)


def _store_days(result: DailyResult, scope: ReportScope, run_query: RunQuery) -> None:
    """Add the rows of some days; days whose rows are not in order are computed one by one."""
    if result.render_windows:
        run_query(f"CREATE OR REPLACE TEMP TABLE {_WINDOWS} AS\n{result.render_windows(scope)}")
    run_query(f"CREATE OR REPLACE TEMP TABLE in_order AS\n{result.render_in_order(scope)}")
    run_query(
        f"INSERT INTO {result.name} SELECT * EXCLUDE (is_exact) FROM in_order"
        " WHERE data_date NOT IN (SELECT data_date FROM in_order WHERE NOT is_exact)"
    )
    others = run_query("SELECT DISTINCT data_date FROM in_order WHERE NOT is_exact ORDER BY data_date")
    for day in others["data_date"].to_pylist():
        run_query(f"INSERT INTO {result.name}\n{result.render(replace(scope, first=day, last=day))}")


def _split(scope: ReportScope, run_query: RunQuery) -> list[ReportScope]:
    """Split days with executions into ranges with up to `_ROWS_AT_ONCE` of them, or of one day."""
    counted = run_query(
        f"SELECT data_date, count(*) AS rows FROM {INFERENCE_EXECUTIONS.name}"
        f" WHERE {scope.sql_days} GROUP BY data_date ORDER BY data_date"
    )
    parts: list[ReportScope] = []
    size = 0
    for day, count in zip(counted["data_date"].to_pylist(), counted["rows"].to_pylist(), strict=True):
        size += count
        if parts and size <= _ROWS_AT_ONCE:
            parts[-1] = replace(parts[-1], last=day)
        else:
            parts.append(replace(scope, first=day, last=day))
            size = count
    return parts
