"""The page counts what contradicts a bucket, by the rules of the checks."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from assets.report.query.buckets import build_bucket_query
from assets.report.query.scope import ReportScope
from assets.tables import ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, SENSOR_CONTRIBUTIONS, Table

DAY, START, MINUTE = date(2026, 10, 5), datetime(2026, 10, 5, tzinfo=UTC), timedelta(minutes=1)


def build_table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    built = pa.Table.from_pylist(rows, table.schema)
    return built.append_column("data_date", pa.array([DAY] * len(rows), pa.date32()))


def count(source: str, lines: dict[int, int], models: str, *, ends: bool = True) -> tuple[Any, ...]:
    """Count with one result every five minutes: minute of the line by start, and the letter of its model."""
    key = [
        {"scheduler_arn": "a", "data_start_time": START + 5 * number * MINUTE}
        for number in range(len(models))
    ]
    place = {"output_s3_bucket": "b", "output_s3_prefix": "p/", "source": source, "outcome_source": source}
    connection = duckdb.connect()
    executions = [
        {**row, **place, "data_end_time": row["data_start_time"] + 5 * MINUTE if ends else None}
        for row in key
    ]
    predictions = [
        {"scheduler_arn": "a", "data_start_time": START + start * MINUTE, "timestamp": START + line * MINUTE}
        for start, line in lines.items()
    ]
    sensors = [
        {**row, "timestamp": row["data_start_time"], "diagnostic_name": f"{model}\\{number}"}
        for row, model in zip(key, models, strict=True)
        for number in range(3)
    ]
    for table, rows in (
        (INFERENCE_EXECUTIONS, executions),
        (ANOMALY_PREDICTIONS, predictions),
        (SENSOR_CONTRIBUTIONS, sensors),
    ):
        connection.register(table.name, build_table(table, rows))
    query = build_bucket_query(ReportScope(DAY, DAY))
    (row,) = query.read_rows(connection.sql(query.sql).arrow().read_all(), UTC)
    figures = (row.prefixes, row.compared, row.outside, row.without_end, row.with_sensors, row.alternating)
    return tuple(figure.value for figure in figures)


@pytest.mark.parametrize(
    ("source", "lines", "models", "ends", "expected"),
    [
        pytest.param("bucket", {0: 0, 5: 10}, "aabb", True, (1, 2, 0, 0, 4, 0), id="nothing contradicts"),
        pytest.param("bucket", {0: 6, 5: 4}, "aa", True, (1, 2, 2, 0, 2, 0), id="lines outside"),
        pytest.param("bucket", {0: 60}, "a", False, (1, 1, 0, 1, 1, 0), id="an unknown end"),
        pytest.param("bucket", {}, "abab", True, (1, 0, 0, 0, 4, 1), id="alternating sensors"),
        pytest.param("api", {0: 60}, "abab", True, (0, 0, 0, 0, 0, 0), id="not from a bucket"),
    ],
)
def test_contradictions_in_a_bucket_are_counted(
    source: str, lines: dict[int, int], models: str, expected: tuple[int, ...], *, ends: bool
) -> None:
    assert count(source, lines, models, ends=ends) == expected
