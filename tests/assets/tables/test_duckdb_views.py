"""DuckDB views: the same columns with and without files."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.tables import INFERENCE_EXECUTIONS, TABLES, Table
from assets.tables.duckdb_views import render_view

MOMENT = datetime(2026, 10, 6, 12, 30, tzinfo=UTC)
SAMPLES: dict[pa.DataType, Any] = {
    pa.string(): "text",
    pa.int64(): 7,
    pa.float64(): 0.5,
    pa.bool_(): True,
    pa.timestamp("ms", tz="UTC"): MOMENT,
    pa.list_(pa.date32()): [date(2026, 10, 6)],
}

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def write(table: Table, lake: Path) -> str:
    """Write a file with one row, and return the glob pattern of the files."""
    row = {column.name: SAMPLES[column.type] for column in table.columns}
    folder = lake / table.name / ("data_date=2026-10-06" if table.partitioned else "")
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], schema=table.schema), folder / "part-0.parquet")
    return str(lake / table.name / ("*/part-0.parquet" if table.partitioned else "part-0.parquet"))


def describe(statement: str, name: str) -> list[tuple[str, str]]:
    with duckdb.connect() as connection:
        connection.execute(statement)
        return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {name}").fetchall()]


@every_table
def test_empty_view_has_the_same_columns_as_a_view_over_files(table: Table, tmp_path: Path) -> None:
    over_files = render_view(table, write(table, tmp_path))
    assert describe(render_view(table, None), table.name) == describe(over_files, table.name)


@every_table
def test_view_has_every_column_and_the_partition_as_a_date(table: Table) -> None:
    columns = describe(render_view(table, None), table.name)
    partition = [("data_date", "DATE")] if table.partitioned else []
    assert [name for name, _ in columns] == [*table.schema.names, *(name for name, _ in partition)]
    assert columns[len(table.columns) :] == partition


@every_table
def test_view_without_files_has_no_rows(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute(render_view(table, None))
        assert connection.execute(f"SELECT count(*) FROM {table.name}").fetchall() == [(0,)]  # noqa: S608


def test_view_returns_the_rows_of_a_day(tmp_path: Path) -> None:
    files = write(INFERENCE_EXECUTIONS, tmp_path)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(render_view(INFERENCE_EXECUTIONS, files))
        query = (
            "SELECT status, epoch_ms(data_start_time) FROM inference_executions WHERE data_date = DATE '{}'"
        )
        matching_rows = connection.execute(query.format("2026-10-06")).fetchall()
        other_rows = connection.execute(query.format("2026-10-07")).fetchall()
    assert matching_rows == [("text", int(MOMENT.timestamp() * 1000))]
    assert other_rows == []


def test_view_can_be_replaced(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(render_view(INFERENCE_EXECUTIONS, None))
        connection.execute(render_view(INFERENCE_EXECUTIONS, write(INFERENCE_EXECUTIONS, tmp_path)))
        assert connection.execute("SELECT count(*) FROM inference_executions").fetchall() == [(1,)]


def test_quote_in_the_path_is_escaped(tmp_path: Path) -> None:
    files = write(INFERENCE_EXECUTIONS, tmp_path / "the plant's lake")
    with duckdb.connect() as connection:
        connection.execute(render_view(INFERENCE_EXECUTIONS, files))
        assert connection.execute("SELECT count(*) FROM inference_executions").fetchall() == [(1,)]


def test_file_without_rows_gives_no_rows(tmp_path: Path) -> None:
    files = write(INFERENCE_EXECUTIONS, tmp_path)
    other = tmp_path / INFERENCE_EXECUTIONS.name / "data_date=2026-10-07"
    other.mkdir()
    pq.write_table(INFERENCE_EXECUTIONS.schema.empty_table(), other / "part-0.parquet")
    with duckdb.connect() as connection:
        connection.execute(render_view(INFERENCE_EXECUTIONS, files))
        actual = connection.execute("SELECT data_date FROM inference_executions").fetchall()
    assert actual == [(date(2026, 10, 6),)]
