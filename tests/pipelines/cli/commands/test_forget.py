"""`ledger forget`: the plan, the confirmation, the result, the tombstone, and how to lift it."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets.tables import EXECUTION_SOURCES, FORGET_OPERATIONS, INFERENCE_EXECUTIONS, TABLES
from resources.config.settings import ArchiveSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.factory import open_source
from tests.support.command_line import RunLedger
from tests.support.forgetting import DAYS, Execution, World, read_bytes, write_copy, write_file

DUMPS = 'kind = "archive"\nuri = "dumps/"\n'
HOURS = (1, 5, 9, 30)


@pytest.fixture
def world(lake: Lake, tmp_path: Path, settings: Callable[..., Path]) -> World:
    """A lake from two files that overlap in four executions."""
    executions = [Execution(each, hour) for each in "ab" for hour in HOURS]
    write_copy(tmp_path / "results", executions)
    first = write_file(tmp_path / "dumps" / "first.json", dict.fromkeys(executions, "SUCCESS"))
    second = write_file(tmp_path / "dumps" / "second.json", dict.fromkeys(executions[:4], "IN_PROGRESS"))
    settings(DUMPS, end="2026-10-07")
    world = World(lake, tmp_path / "results")
    world.extract([first, second])
    world.compute()
    return world


def test_a_dry_run_shows_the_plan_and_changes_nothing(world: World, ledger: RunLedger) -> None:
    before = read_bytes(world.lake)
    done = ledger("forget", "--file", "dumps/first.json", "--dry-run")
    assert done.code == 0, done.err
    assert "inference_executions: 4 rows of 2 days, 2026-10-05 to 2026-10-06" in done.text
    assert "anomaly_predictions: 12 rows of 2 days" in done.text
    assert "4 executions are read again from other sources" in done.text
    assert "second.json: 4" in done.text
    assert read_bytes(world.lake) == before


@pytest.mark.usefixtures("world")
def test_it_asks_before_it_removes_rows(ledger: RunLedger) -> None:
    done = ledger("forget", "--file", "dumps/first.json")
    assert done.code == 2
    assert "--yes" in done.err


def test_it_removes_what_only_the_file_returned_and_reads_the_rest_again(
    world: World, ledger: RunLedger
) -> None:
    done = ledger("forget", "--file", "dumps/first.json", "--yes", "--json")
    assert done.code == 0, done.err
    tables = {table["table"]: table["rows"] for table in done.json["tables"]}
    assert tables["inference_executions"] == 4
    assert (done.json["executions_reread"], done.json["executions_kept"]) == (4, 0)
    statuses = [
        status for day in DAYS for status in world.lake.read(INFERENCE_EXECUTIONS, day)["status"].to_pylist()
    ]
    assert statuses == ["IN_PROGRESS"] * 4
    (operation,) = done.json["operations"]
    assert operation["state"] == "complete"
    assert "!" not in done.err
    with dg.DagsterInstance.get() as instance:
        for name in ("inference_executions", "execution_health"):
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == {*map(str, DAYS)}


def test_a_repetition_has_nothing_to_do_and_leaves_equal_bytes(
    world: World, ledger: RunLedger, tmp_path: Path
) -> None:
    (tmp_path / "home" / "dagster.yaml").write_text("storage: [")
    done = ledger("forget", "--file", "dumps/first.json", "--yes")
    assert done.code == 0
    assert "! The Dagster UI shows the old content of the days: " in done.err
    before = read_bytes(world.lake)
    done = ledger("forget", "--file", "dumps/first.json", "--yes")
    assert done.code == 0, done.err
    assert "Nothing is left to forget" in done.text
    assert read_bytes(world.lake) == before


def test_the_file_is_skipped_until_it_is_lifted(world: World, ledger: RunLedger, tmp_path: Path) -> None:
    before = world.read()
    ledger("forget", "--file", "dumps/first.json", "--yes")
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "copy.json"
    copy.write_bytes((tmp_path / "dumps" / "first.json").read_bytes())
    done = ledger("import", str(copy), "--json")
    assert done.code == 1
    (problem,) = done.json["problems"]
    (operation,) = ledger("forget", "--json").json["operations"]
    assert f"ledger forget --lift {operation['operation_id']}" in problem
    assert not done.json["copied"]
    dumps = open_source(ArchiveSettings(uri=str(tmp_path / "dumps")), DEFAULT_LIMITS)
    (notice,) = world.extract([dumps])
    assert "first.json" in notice
    assert f"--lift {operation['operation_id']}" in notice
    assert sum(world.lake.read(INFERENCE_EXECUTIONS, day).num_rows for day in DAYS) == 4
    done = ledger("forget", "--lift", operation["operation_id"])
    assert done.code == 0, done.err
    assert "ledger backfill" in done.text
    world.extract([dumps])
    assert world.read()["inference_executions"] == before["inference_executions"]
    assert world.read()["execution_sources"] == before["execution_sources"]


def test_a_day_and_a_scheduler_can_be_forgotten(world: World, ledger: RunLedger) -> None:
    done = ledger("forget", "--scheduler", "pump-1", "--to", "2026-10-05", "--yes", "--json")
    assert done.code == 0, done.err
    left = [
        (row["scheduler_name"], row["data_start_time"].day)
        for day in DAYS
        for row in world.lake.read(INFERENCE_EXECUTIONS, day).to_pylist()
    ]
    assert sorted({*left}) == [("fan-2", 5), ("fan-2", 6), ("pump-1", 6)]
    names = {row["scheduler_arn"] for row in world.lake.read(EXECUTION_SOURCES).to_pylist()}
    assert len(names) == 2


def test_status_and_certificate_show_each_use(world: World, ledger: RunLedger, tmp_path: Path) -> None:
    ledger("forget", "--file", "dumps/second.json", "--yes")
    (operation,) = world.lake.read(FORGET_OPERATIONS).to_pylist()
    assert operation["operation_id"] in ledger("status").text
    (shown,) = ledger("status", "--json").json["forgotten"]
    assert shown["operation_id"] == operation["operation_id"]
    names = [str(tmp_path / f"c.{form}") for form in ("json", "html", "md")]
    done = ledger("certify", *(part for name in names for part in ("--out", name)))
    assert done.code == 0, done.err
    for name in names:
        assert operation["operation_id"] in Path(name).read_text()
    assert ledger("certify", "--verify", names[0]).code == 0
    ledger("forget", "--lift", operation["operation_id"])
    changes = ledger("certify", "--verify", names[0])
    assert changes.code == 1
    assert "forget_operations" in changes.out


@pytest.mark.usefixtures("world")
def test_a_wrong_selection_is_an_error(ledger: RunLedger) -> None:
    for options, message in (
        (["--file", "dumps/other.json"], "the lake knows no such source"),
        (["--scheduler", "pomp-1"], "Cannot find a scheduler that matches"),
        (["--source", "dumps/", "--file", "dumps/first.json"], "Cannot combine"),
        (["--lift", "a1"], "there is no such operation"),
    ):
        done = ledger("forget", *options, "--yes")
        assert done.code == 2, options
        assert message in done.err


def test_a_folder_selects_all_its_files(world: World, ledger: RunLedger) -> None:
    done = ledger("forget", "--source", "dumps/", "--yes", "--json")
    assert done.code == 0, done.err
    assert len(done.json["sources"]) == 2
    for table in TABLES:
        if table.partitioned:
            assert not any(world.lake.read(table, day).num_rows for day in DAYS), table.name
    assert not world.lake.read(EXECUTION_SOURCES).num_rows
