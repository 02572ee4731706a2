"""Every SQL statement of the docs runs in DuckDB, and statements for Athena return the same rows.

Athena cannot run here. sqlglot parses each statement as Athena SQL and translates it to DuckDB. Spark runs
its translation on the tables of `ledger ddl`.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import expressions as exp

from assets.tables import TABLES
from pipelines.cli.demo import environment
from pipelines.operations.query import connect, execute
from resources.lake.lake import Lake
from tests.support.engine_world import World, build_rows, write_rows
from tests.support.engines import Spark

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```sql\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PARTITIONED = {table.name for table in TABLES if table.partitioned}


def _list_sql_blocks(page: str) -> list[str]:
    return FENCE.findall((ROOT / "docs" / "how-to" / page).read_text())


def _list_duckdb_recipes() -> list[str]:
    return [
        block
        for block in _list_sql_blocks("sql-recipes.md")
        if "-- Athena" not in block and "EXPLAIN" not in block
    ]


ALL = [
    *_list_sql_blocks("sql-recipes.md"),
    *(block for block in _list_sql_blocks("query-the-lake.md") if "s3://" not in block),
]
FOR_DUCKDB = [block for block in ALL if not block.startswith("-- Athena")]
FOR_BOTH = [block for block in _list_sql_blocks("sql-recipes.md") if not block.startswith("--")]
FOR_RECIPES = [block.removeprefix("-- DuckDB\n") for block in _list_duckdb_recipes()]
PAIRS = [
    (duckdb_statement, athena_statement)
    for duckdb_statement, athena_statement in zip(
        _list_sql_blocks("sql-recipes.md"), _list_sql_blocks("sql-recipes.md")[1:], strict=False
    )
    if athena_statement.startswith("-- Athena")
]


def _build_id(block: str) -> str:
    return " ".join(block.split())[:60]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Rows in every table, for the week of the recipes and one day before and after it."""
    world = World(Lake(str(tmp_path_factory.mktemp("recipes") / "lake")))
    days = [date(2026, 9, 30) + timedelta(days=number) for number in range(9)]
    for table in TABLES:
        if table.partitioned:
            for day in days:
                write_rows(world, table, day, [row | _override_values(row) for row in build_rows(table, day)])
        else:
            rows = [row | _override_values(row) for day in days for row in build_rows(table, day)]
            write_rows(world, table, None, rows)
    return world


def _override_values(row: dict[str, Any]) -> dict[str, Any]:
    """Return values that the recipes filter on, to replace generated ones."""
    number = len(str(row)) % 4
    values = {
        "status": ("SUCCESS", "FAILED", "SUCCESS", "IN_PROGRESS")[number],
        "failed_reason": f"No data from 2026-10-0{number}T00:0{number}:00 to 2026-10-0{number}T00:05:00",
        "prediction": number % 2,
        "prediction_reason": ("NO_ANOMALY_DETECTED", "ANOMALY_DETECTED", None, "MACHINE_OFF")[number],
        "contribution": number / 4,
        "sensors": 4,
        "scheduler_name": "pump-1",  # all schedulers have the same name
    }
    return {name: value for name, value in values.items() if name in row}


@pytest.fixture(scope="module")
def connection(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(world.lake) as opened:
        yield opened


def _execute(connection: duckdb.DuckDBPyConnection, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in execute(connection, statement).to_pylist()]


@pytest.mark.parametrize("statement", FOR_DUCKDB, ids=_build_id)
def test_a_recipe_returns_rows_in_duckdb(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    assert _execute(connection, statement)


@pytest.mark.parametrize("statement", FOR_DUCKDB, ids=_build_id)
def test_a_recipe_runs_on_an_empty_lake(tmp_path: Path, statement: str) -> None:
    with connect(Lake(str(tmp_path))) as connection:
        _execute(connection, statement)


@pytest.mark.parametrize("statement", ALL, ids=_build_id)
def test_a_recipe_filters_every_partitioned_table_on_the_day(statement: str) -> None:
    parsed = sqlglot.parse_one(statement.removeprefix("-- DuckDB\nEXPLAIN ANALYZE\n"), read="duckdb")
    for select in parsed.find_all(exp.Select):
        tables = {table.name for table in select.find_all(exp.Table) if table.parent_select is select}
        days = [column for column in select.find_all(exp.Column) if column.name == "data_date"]
        where = select.args.get("where")
        filtered = [
            column for column in days if where is not None and column.find_ancestor(exp.Where) is where
        ]
        assert len({column.table for column in filtered}) >= len(tables & PARTITIONED)


@pytest.mark.parametrize("statement", FOR_RECIPES, ids=_build_id)
def test_the_order_of_a_recipe_is_unique(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    parsed = sqlglot.parse_one(statement, read="duckdb")
    aliases = {column.alias: column.this for column in parsed.selects if column.alias}
    keys = [ordered.this for ordered in parsed.args["order"].expressions]
    sort_keys = [key if key.args.get("table") else aliases.get(key.name, key) for key in keys]
    key_columns = [exp.alias_(key.copy(), f"key_{number}") for number, key in enumerate(sort_keys)]
    parsed = parsed.select(*key_columns).limit(10_000)

    key_rows = [row[-len(keys) :] for row in _execute(connection, parsed.sql("duckdb"))]

    assert len(set(key_rows)) == len(key_rows) > 0


@pytest.mark.parametrize("statement", FOR_BOTH, ids=_build_id)
def test_a_recipe_parsed_as_athena_sql_returns_the_same_rows(
    connection: duckdb.DuckDBPyConnection, statement: str
) -> None:
    [athena_statement] = sqlglot.transpile(statement, read="athena", write="duckdb")

    assert _execute(connection, athena_statement) == _execute(connection, statement)


@pytest.mark.parametrize(
    ("duckdb_statement", "athena_statement"),
    PAIRS,
    ids=[_build_id(athena_statement) for _, athena_statement in PAIRS],
)
def test_an_athena_recipe_returns_the_rows_of_its_duckdb_recipe(
    connection: duckdb.DuckDBPyConnection, duckdb_statement: str, athena_statement: str
) -> None:
    [translated] = sqlglot.transpile(athena_statement, read="athena", write="duckdb")

    assert _execute(connection, translated) == _execute(connection, duckdb_statement)


@pytest.mark.spark
def test_spark_returns_the_same_rows(world: World, spark: Any, connection: duckdb.DuckDBPyConnection) -> None:
    engine = Spark(world.lake, list(TABLES), spark, "recipes")
    for statement in FOR_BOTH:
        [translated] = sqlglot.transpile(statement, read="athena", write="spark")

        rows = [tuple(map(_round_value, row.values())) for row in engine._ask(translated).to_pylist()]

        expected = [tuple(map(_round_value, row)) for row in _execute(connection, statement)]
        assert rows == expected, statement


def _round_value(value: Any) -> Any:
    """Round numbers and convert instants, because engines differ in precision and time zone."""
    if hasattr(value, "timestamp"):
        return value.timestamp()
    return round(float(value), 6) if not isinstance(value, str | date | None) else value


@pytest.mark.docs
@pytest.mark.parametrize("statement", FOR_DUCKDB, ids=_build_id)
def test_a_recipe_returns_rows_on_the_lake_of_the_demo(statement: str) -> None:
    if not environment.CONFIG.exists():
        pytest.skip("run `make demo` first")
    with connect(Lake(str(environment.FOLDER / "lake"))) as connection:
        assert execute(connection, statement).num_rows
