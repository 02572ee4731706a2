"""Every statement in the docs runs in DuckDB; what Athena shall run means the same in DuckDB's words.

Athena itself cannot run here: sqlglot reads each statement as Athena's and writes it for DuckDB, and Spark
runs what sqlglot writes for it over the tables of `ledger ddl`.
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
from tests.support.engine_world import World, made, write
from tests.support.engines import Spark

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```sql\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PARTITIONED = {table.name for table in TABLES if table.partitioned}


def _blocks(page: str) -> list[str]:
    return FENCE.findall((ROOT / "docs" / "how-to" / page).read_text())


def _recipes_of_duckdb() -> list[str]:
    return [
        block for block in _blocks("sql-recipes.md") if "-- Athena" not in block and "EXPLAIN" not in block
    ]


ALL = [*_blocks("sql-recipes.md"), *(block for block in _blocks("query-the-lake.md") if "s3://" not in block)]
FOR_DUCKDB = [block for block in ALL if not block.startswith("-- Athena")]
FOR_BOTH = [block for block in _blocks("sql-recipes.md") if not block.startswith("--")]
FOR_RECIPES = [block.removeprefix("-- DuckDB\n") for block in _recipes_of_duckdb()]
PAIRS = [
    (mine, theirs)
    for mine, theirs in zip(_blocks("sql-recipes.md"), _blocks("sql-recipes.md")[1:], strict=False)
    if theirs.startswith("-- Athena")
]


def _name(block: str) -> str:
    return " ".join(block.split())[:60]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Rows in every table, of the week that the recipes name and a day on either side."""
    world = World(Lake(str(tmp_path_factory.mktemp("recipes") / "lake")))
    days = [date(2026, 9, 30) + timedelta(days=number) for number in range(9)]
    for table in TABLES:
        if table.partitioned:
            for day in days:
                write(world, table, day, [row | _telling(row) for row in made(table, day)])
        else:
            rows = [row | _telling(row) for day in days for row in made(table, day)]
            write(world, table, None, rows)
    return world


def _telling(row: dict[str, Any]) -> dict[str, Any]:
    """Values that recipes look for, in place of those made by rule."""
    turn = len(str(row)) % 4
    named = {
        "status": ("SUCCESS", "FAILED", "SUCCESS", "IN_PROGRESS")[turn],
        "failed_reason": f"No data from 2026-10-0{turn}T00:0{turn}:00 to 2026-10-0{turn}T00:05:00",
        "prediction": turn % 2,
        "prediction_reason": ("NO_ANOMALY_DETECTED", "ANOMALY_DETECTED", None, "MACHINE_OFF")[turn],
        "contribution": turn / 4,
        "sensors": 4,
        "scheduler_name": "pump-1",  # all of them are namesakes
    }
    return {name: value for name, value in named.items() if name in row}


@pytest.fixture(scope="module")
def connection(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(world.lake) as opened:
        yield opened


def _answers(connection: duckdb.DuckDBPyConnection, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in execute(connection, statement).to_pylist()]


@pytest.mark.parametrize("statement", FOR_DUCKDB, ids=_name)
def test_a_recipe_has_an_answer_in_duckdb(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    assert _answers(connection, statement)


@pytest.mark.parametrize("statement", FOR_DUCKDB, ids=_name)
def test_a_recipe_runs_over_a_lake_without_any_file(tmp_path: Path, statement: str) -> None:
    with connect(Lake(str(tmp_path))) as connection:
        _answers(connection, statement)


@pytest.mark.parametrize("statement", ALL, ids=_name)
def test_a_recipe_filters_every_partitioned_table_on_the_day(statement: str) -> None:
    parsed = sqlglot.parse_one(statement.removeprefix("-- DuckDB\nEXPLAIN ANALYZE\n"), read="duckdb")
    for select in parsed.find_all(exp.Select):
        named = {table.name for table in select.find_all(exp.Table) if table.parent_select is select}
        days = [column for column in select.find_all(exp.Column) if column.name == "data_date"]
        where = select.args.get("where")
        filtered = [
            column for column in days if where is not None and column.find_ancestor(exp.Where) is where
        ]
        assert len({column.table for column in filtered}) >= len(named & PARTITIONED)


@pytest.mark.parametrize("statement", FOR_RECIPES, ids=_name)
def test_no_two_rows_of_an_answer_are_level_in_its_order(
    connection: duckdb.DuckDBPyConnection, statement: str
) -> None:
    parsed = sqlglot.parse_one(statement, read="duckdb")
    shown = {column.alias: column.this for column in parsed.selects if column.alias}
    keys = [ordered.this for ordered in parsed.args["order"].expressions]
    meant = [key if key.args.get("table") else shown.get(key.name, key) for key in keys]
    wanted = [exp.alias_(key.copy(), f"key_{place}") for place, key in enumerate(meant)]
    parsed = parsed.select(*wanted).limit(10_000)

    of_rows = [row[-len(keys) :] for row in _answers(connection, parsed.sql("duckdb"))]

    assert len(set(of_rows)) == len(of_rows) > 0


@pytest.mark.parametrize("statement", FOR_BOTH, ids=_name)
def test_a_recipe_read_as_athenas_gives_the_same_answer(
    connection: duckdb.DuckDBPyConnection, statement: str
) -> None:
    [theirs] = sqlglot.transpile(statement, read="athena", write="duckdb")

    assert _answers(connection, theirs) == _answers(connection, statement)


@pytest.mark.parametrize(("mine", "theirs"), PAIRS, ids=[_name(theirs) for _, theirs in PAIRS])
def test_a_recipe_of_athenas_own_gives_the_same_answer(
    connection: duckdb.DuckDBPyConnection, mine: str, theirs: str
) -> None:
    [translated] = sqlglot.transpile(theirs, read="athena", write="duckdb")

    assert _answers(connection, translated) == _answers(connection, mine)


@pytest.mark.spark
def test_spark_gives_the_same_answers(
    world: World, spark: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    engine = Spark(world.lake, list(TABLES), spark, "recipes")
    for statement in FOR_BOTH:
        [translated] = sqlglot.transpile(statement, read="athena", write="spark")

        found = [tuple(map(_rounded, row.values())) for row in engine._ask(translated).to_pylist()]

        expected = [tuple(map(_rounded, row)) for row in _answers(connection, statement)]
        assert found == expected, statement


def _rounded(value: Any) -> Any:
    """Engines divide decimals to different digits, and hand instants over in different zones."""
    if hasattr(value, "timestamp"):
        return value.timestamp()
    return round(float(value), 6) if not isinstance(value, str | date | None) else value


@pytest.mark.docs
@pytest.mark.parametrize("statement", FOR_DUCKDB, ids=_name)
def test_a_recipe_has_an_answer_on_the_lake_of_the_demo(statement: str) -> None:
    if not environment.CONFIG.exists():
        pytest.skip("run `make demo` first")
    with connect(Lake(str(environment.FOLDER / "lake"))) as connection:
        assert execute(connection, statement).num_rows
