"""One body of questions, all engines: every table has the same types and gives the same answers in each.

The answers are held against those of plain Python over the rows that were written.
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
from tests.support.engine_process import SPARKS
from tests.support.engine_questions import Engine, Open, Plain, asked
from tests.support.engine_world import DAYS, World, build, made, write
from tests.support.engines import ENGINES

ROOT = Path(__file__).resolve().parents[2]
LATER = replace(
    INFERENCE_EXECUTIONS,
    version=2,
    columns=(
        *INFERENCE_EXECUTIONS.columns,
        Column("attempts", pa.int64(), "how often it was tried", "attempts"),
        Column("noted_at", pa.timestamp("ms", tz="UTC"), "when somebody wrote it down", "UTC"),
        Column("note", pa.string(), "what was written down"),
    ),
)
"""The table as a later version could have it."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Read it, do not change it."""
    return build(tmp_path_factory.mktemp("world") / "lake")


@pytest.fixture(scope="session")
def truth(world: World) -> dict[str, Any]:
    return asked(Plain(world), TABLES)


def test_every_engine_answers_every_question_about_every_table_alike(
    engine: Open, world: World, truth: dict[str, Any]
) -> None:
    found = asked(engine(world.lake, list(TABLES)), TABLES)

    assert {name for name in truth if found[name] != truth[name]} == set()
    assert found.keys() == truth.keys()


def test_the_questions_have_answers(truth: dict[str, Any]) -> None:
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


def test_a_table_without_any_file_is_empty_and_has_the_same_types(engine: Open, tmp_path: Path) -> None:
    empty = World(Lake(str(tmp_path / "lake")))

    found = asked(engine(empty.lake, list(TABLES)), TABLES)

    assert found == asked(Plain(empty), TABLES)


@pytest.fixture
def grown(tmp_path: Path) -> World:
    """A day written by an older version of the table, and one by a later one that has more columns."""
    grown = World(Lake(str(tmp_path / "lake")))
    write(grown, INFERENCE_EXECUTIONS, DAYS[1], made(INFERENCE_EXECUTIONS, DAYS[1]))
    write(grown, LATER, DAYS[2], made(LATER, DAYS[2]))
    return grown


def test_days_of_an_older_version_have_null_where_a_column_came_later(
    engine: Open, grown: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.tables.TABLES", (LATER,))  # for the one engine that finds tables by name
    added = {"attempts": None, "noted_at": None, "note": None}
    grown.truth[LATER.name] = [added | row for row in grown.truth[LATER.name]]

    assert _of_one_table(engine(grown.lake, [LATER]), LATER) == _of_one_table(Plain(grown), LATER)


def test_software_of_the_older_version_passes_over_what_came_later(engine: Open, grown: World) -> None:
    table = INFERENCE_EXECUTIONS

    assert _of_one_table(engine(grown.lake, [table]), table) == _of_one_table(Plain(grown), table)


def _of_one_table(engine: Engine, table: Table) -> dict[str, Any]:
    return {
        "schema": engine.schema(table),
        "rows": sorted(engine.rows(table), key=repr),
        "nulls": engine.nulls(table),
        "days": engine.between_days(table, [(day, day) for day in DAYS]),
    }


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_a_machine_in_another_zone_gets_the_same_answers(
    world: World, truth: dict[str, Any], zone: str
) -> None:
    told = _told(world, zone, list(ENGINES))

    for name in ENGINES:
        assert told[name] == _as_text(truth), name


@pytest.mark.spark
def test_spark_on_a_machine_in_another_zone_gets_the_same_answers(
    world: World, truth: dict[str, Any]
) -> None:
    told = _told(world, "America/New_York", ["Spark"])["Spark"]

    assert told == {name: answer for name, answer in _as_text(truth).items() if name in told}
    assert {table.name for table in SPARKS} <= {name.partition(":")[0] for name in told}


def _told(world: World, zone: str, engines: list[str]) -> dict[str, Any]:
    """Ask in a process of its own: engines look at the zone of the machine once, when they start."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.engine_process", world.uri, *engines],
        cwd=ROOT,
        env=os.environ | {"TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("zone of the machine") != "UTC"
    return found


def _as_text(answers: dict[str, Any]) -> dict[str, str]:
    return {name: repr(answer) for name, answer in answers.items()}
