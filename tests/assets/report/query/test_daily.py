"""The shared results of the report are those of the SQL that the page prints, in any order of the rows."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.report.query import daily
from assets.report.query.daily import POINTS, RUNS, DailyResult, store_results
from assets.report.query.scope import ReportScope
from assets.tables import ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, RESULT_OBJECTS, Table

DAYS = [date(2026, 10, 5), date(2026, 10, 6)]
SCOPE = ReportScope(DAYS[1], DAYS[1])
MINUTE = timedelta(minutes=1)
Rows = dict[Table, list[dict[str, Any]]]

EXECUTIONS = st.fixed_dictionaries(
    {
        "minutes": st.sampled_from([5, 5, 5, 10, 0, None]),
        "status": st.sampled_from(["SUCCESS", "SUCCESS", "SUCCESS", "FAILED", "IN_PROGRESS", None]),
        "key": st.sampled_from(["k", "k", "k", "moved", None]),
        "state": st.sampled_from(["read", "read", "missing", None]),
        "etag": st.sampled_from(["e", "e", None]),
        "error": st.sampled_from([None, None, "denied"]),
        "name": st.sampled_from(["pump", "pump", "pump", None]),
        "lines": st.lists(st.tuples(st.integers(-1, 7), st.sampled_from([0, 1, None])), max_size=3),
    }
)
"""What is drawn of an execution; `key` differs from that of its object if it is not `k`."""

HISTORIES = st.fixed_dictionaries(
    {
        (arn, day): st.dictionaries(st.integers(0, 5), EXECUTIONS, max_size=5)
        for arn in ("a", "b")
        for day in DAYS
    }
)
"""The executions of each scheduler and day by the number of their window."""


def build_rows(histories: dict[tuple[str, date], dict[int, dict[str, Any]]]) -> Rows:
    """Return the rows of the tables in the order of their keys."""
    rows: Rows = {INFERENCE_EXECUTIONS: [], RESULT_OBJECTS: [], ANOMALY_PREDICTIONS: []}
    for (arn, day), windows in sorted(histories.items(), key=lambda item: item[0][::-1]):
        for number, drawn in sorted(windows.items()):
            start = datetime(day.year, day.month, day.day, tzinfo=UTC) + number * 5 * MINUTE
            key = {"scheduler_arn": arn, "data_start_time": start, "data_date": day}
            execution = {
                **key,
                "scheduler_name": drawn["name"],
                "status": drawn["status"],
                "data_end_time": None if drawn["minutes"] is None else start + drawn["minutes"] * MINUTE,
                "result_s3_bucket": drawn["key"] and "b",
                "result_s3_key": drawn["key"],
            }
            rows[INFERENCE_EXECUTIONS].append(execution)
            if drawn["state"]:
                found = {name: drawn[name] for name in ("state", "etag", "error")}
                rows[RESULT_OBJECTS].append({**key, **found, "result_s3_bucket": "b", "result_s3_key": "k"})
            rows[ANOMALY_PREDICTIONS] += [
                {**key, "timestamp": start + minute * MINUTE, "prediction": prediction}
                for minute, prediction in sorted(dict(drawn["lines"]).items())
            ]
    return rows


def open_tables(rows: Rows) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table, values in rows.items():
        fields = [field.with_nullable(True) for field in table.schema]
        typed = pa.Table.from_pylist(values, pa.schema([*fields, pa.field("data_date", pa.date32())]))  # noqa: F841
        connection.execute(f"CREATE TABLE {table.name} AS FROM typed")
    return connection


def store(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Store the results as the report does, and return the statements."""
    statements: list[str] = []

    def run_query(statement: str) -> pa.Table:
        statements.append(statement)
        relation = connection.sql(statement)
        return relation.to_arrow_table() if relation is not None else pa.table({})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daily, "_ROWS_AT_ONCE", 6)
        store_results(SCOPE, run_query)
    return statements


def compare(connection: duckdb.DuckDBPyConnection, result: DailyResult) -> None:
    both = ReportScope(*DAYS)
    stored, printed = (
        connection.sql(f"FROM ({source}) ORDER BY ALL").fetchall()
        for source in (f"FROM {result.name}", result.render(both))
    )
    assert stored == printed


@settings(max_examples=12)
@given(histories=HISTORIES, order=st.randoms(use_true_random=False), is_shuffled=st.booleans())
def test_results_are_those_of_the_printed_sql(histories: Any, order: Any, *, is_shuffled: bool) -> None:
    rows = build_rows(histories)
    if is_shuffled:
        for values in rows.values():
            order.shuffle(values)
    connection = open_tables(rows)
    store(connection)
    compare(connection, RUNS)
    compare(connection, POINTS)


def draw_execution(lines: dict[int, int]) -> dict[str, Any]:
    found = {"state": "read", "etag": "e", "error": None, "name": "pump", "key": "k"}
    return {**found, "minutes": 5, "status": "SUCCESS", "lines": [*lines.items()]}


@pytest.mark.parametrize(
    ("change", "recomputed"),
    [
        pytest.param(lambda rows: rows, 0, id="in order, with a time that two executions share"),
        pytest.param(lambda rows: rows[::-1], 1, id="in reverse order"),
        pytest.param(lambda rows: [*rows[::2], *rows[1::2]], 1, id="not contiguous"),
    ],
)
def test_only_days_that_are_not_in_order_are_computed_again(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], recomputed: int
) -> None:
    lines = {0: 0, 1: 1, 5: 0}
    rows = build_rows({("a", DAYS[1]): {number: draw_execution(lines) for number in range(4)}})
    connection = open_tables({table: change(values) for table, values in rows.items()})
    statements = store(connection)

    for result, expected in ((RUNS, 4), (POINTS, 9)):
        again = [
            statement for statement in statements if statement.startswith(f"INSERT INTO {result.name}\n")
        ]
        assert len(again) == recomputed
        compare(connection, result)
        (values,) = connection.sql(f"FROM {result.name}").fetchall()
        assert expected in values


def test_rows_in_order_are_not_sorted() -> None:
    connection = open_tables(build_rows({("a", DAYS[1]): {0: draw_execution({0: 0})}}))
    store(connection)
    for result in (RUNS, POINTS):
        ((_, plan),) = connection.sql(f"EXPLAIN {result.render_in_order(SCOPE)}").fetchall()
        assert "Streaming Window" in plan
