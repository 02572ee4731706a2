"""All engines read every table with the same types and give the same answers to the same questions.

The expected answers come from plain Python over the rows that were written.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.tables import INFERENCE_EXECUTIONS, TABLES, Column, Table
from resources.lake.lake import Lake
from tests.support.engine_process import SPARK_TABLES
from tests.support.engine_questions import Engine, Open, Plain, collect_answers
from tests.support.engine_world import DAYS, EMPTY_DAY, World, build_rows, write_rows, write_world
from tests.support.engines import ENGINES

ROOT = Path(__file__).resolve().parents[2]
LATER = replace(
    INFERENCE_EXECUTIONS,
    version=2,
    columns=(
        *INFERENCE_EXECUTIONS.columns,
        Column("attempts", pa.int64(), "how often it was tried", "attempts"),
        Column("noted_at", pa.timestamp("ms", tz="UTC"), "when the note was written", "UTC"),
        Column("note", pa.string(), "the text of the note"),
    ),
)
"""A possible later version of the table."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A lake with generated rows. Tests must not change it."""
    return write_world(tmp_path_factory.mktemp("world") / "lake")


@pytest.fixture(scope="session")
def truth(world: World) -> dict[str, Any]:
    return collect_answers(Plain(world), TABLES)


@pytest.fixture(scope="session", params=[(1,), (4, 1, 2)], ids=["one file", "mixed"])
def any_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same rows in days with one file, and in days with different numbers of files."""
    if request.param == (1,):
        world: World = request.getfixturevalue("world")
        return world
    return write_world(tmp_path_factory.mktemp("world") / "lake", request.param)


def test_days_have_the_numbers_of_files(any_world: World, request: pytest.FixtureRequest) -> None:
    found = [any_world.lake.shards(INFERENCE_EXECUTIONS, day) for day in (*DAYS, EMPTY_DAY)]
    assert (
        found
        == {
            "one file": [1, 1, 1, 1, 1],
            "mixed": [4, 1, 2, 4, 1],
        }[request.node.callspec.id]
    )


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_every_engine_gives_the_answers_of_plain_python(
    engine: Open, any_world: World, truth: dict[str, Any]
) -> None:
    _compare(engine, any_world, truth)


@pytest.mark.spark
@pytest.mark.parametrize(("engine", "any_world"), [("Spark", (4, 1, 2))], indirect=True)
def test_spark_gives_the_answers_of_plain_python(
    engine: Open, any_world: World, truth: dict[str, Any]
) -> None:
    _compare(engine, any_world, truth)


def _compare(engine: Open, any_world: World, truth: dict[str, Any]) -> None:
    answers = collect_answers(engine(any_world.lake, list(TABLES)), TABLES)

    assert {name for name in truth if answers[name] != truth[name]} == set()
    assert answers.keys() == truth.keys()


def test_the_questions_have_non_trivial_answers(truth: dict[str, Any]) -> None:
    assert len(truth["inference_executions: rows"]) == len(DAYS) * 18
    assert truth["a join of three tables"]
    assert {table.name for table in TABLES if not truth[f"{table.name}: rows"]} == set()
    for window in (
        "across midnight",
        "clocks go back in Berlin",
        "clocks go back in New York",
        "one millisecond",
    ):
        assert truth[f"inference_executions.data_start_time: {window}"] > 0
    assert truth["inference_executions: a day without rows"] == 0
    assert all(sum(truth[f"{table.name}: nulls"].values()) > 0 for table in TABLES if _nullable(table))


def _nullable(table: Table) -> bool:
    return any(not column.required for column in table.columns)


def test_a_table_without_any_file_is_empty_and_has_the_same_types(
    engine: Open, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    empty = World(Lake(str(tmp_path / "lake")))
    tables = SPARK_TABLES if request.node.get_closest_marker("spark") else TABLES

    answers = collect_answers(engine(empty.lake, list(tables)), tables)

    assert answers == collect_answers(Plain(empty), tables)


@pytest.fixture
def mixed_lake(tmp_path: Path) -> World:
    """A lake with one day of the current version and one day of a later version with more columns."""
    world = World(Lake(str(tmp_path / "lake")))
    write_rows(world, INFERENCE_EXECUTIONS, DAYS[1], build_rows(INFERENCE_EXECUTIONS, DAYS[1]))
    write_rows(world, LATER, DAYS[2], build_rows(LATER, DAYS[2]))
    return world


def test_days_of_an_older_version_have_null_in_later_columns(
    engine: Open, mixed_lake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.tables.TABLES", (LATER,))  # for pandas, which finds tables by name
    added = {"attempts": None, "noted_at": None, "note": None}
    mixed_lake.truth[LATER.name] = [added | row for row in mixed_lake.truth[LATER.name]]

    assert _collect_table_answers(engine(mixed_lake.lake, [LATER]), LATER) == _collect_table_answers(
        Plain(mixed_lake), LATER
    )


def test_an_older_version_ignores_later_columns(engine: Open, mixed_lake: World) -> None:
    table = INFERENCE_EXECUTIONS

    assert _collect_table_answers(engine(mixed_lake.lake, [table]), table) == _collect_table_answers(
        Plain(mixed_lake), table
    )


def _collect_table_answers(engine: Engine, table: Table) -> dict[str, Any]:
    return {
        "schema": engine.schema(table),
        "rows": sorted(engine.rows(table), key=repr),
        "nulls": engine.nulls(table),
        "days": engine.between_days(table, [(day, day) for day in DAYS]),
    }


@pytest.mark.parametrize("zone", ["America/New_York", pytest.param("Asia/Kolkata", marks=pytest.mark.slow)])
def test_a_machine_in_another_zone_gets_the_same_answers(
    world: World, truth: dict[str, Any], zone: str
) -> None:
    answers = _run_engines(world, zone, list(ENGINES))

    for name in ENGINES:
        assert answers[name] == _as_text(truth), name


@pytest.mark.spark
def test_spark_on_a_machine_in_another_zone_gets_the_same_answers(
    world: World, truth: dict[str, Any]
) -> None:
    answers = _run_engines(world, "America/New_York", ["Spark"])["Spark"]

    assert answers == {name: answer for name, answer in _as_text(truth).items() if name in answers}
    assert {table.name for table in SPARK_TABLES} <= {name.partition(":")[0] for name in answers}


def _run_engines(world: World, zone: str, engines: list[str]) -> dict[str, Any]:
    """Collect the answers in a separate process, because engines read the time zone only when they start."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.engine_process", world.uri, *engines],
        cwd=ROOT,
        env=os.environ | {"TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answers.pop("zone of the machine") != "UTC"
    return answers


def _as_text(answers: dict[str, Any]) -> dict[str, str]:
    return {name: repr(answer) for name, answer in answers.items()}
