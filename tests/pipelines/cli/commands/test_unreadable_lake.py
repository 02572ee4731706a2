"""A lake that cannot be read is an error of each command that reads it, not an empty lake."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lookout_ledger
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.storage import local
from tests.support.command_line import RunLedger
from tests.support.engine_world import DAYS, World, build_rows, write_rows

COMMANDS = [
    ["sql", "SELECT count(*) FROM inference_executions"],
    ["sql", "--out", "a.csv", "FROM inference_executions"],
    ["status"],
    ["status", "--json"],
    ["report", "--out", "-"],
    ["report", "--date", str(DAYS[0]), "--out", "-"],
    ["views"],
]


@pytest.fixture
def filled(lake: Lake, settings: Callable[..., Path], tmp_path: Path) -> Lake:
    (tmp_path / "dumps").mkdir()
    settings(f'kind = "archive"\nuri = "{tmp_path}/dumps"')
    world = World(lake)
    for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
        write_rows(world, table, DAYS[0], build_rows(table, DAYS[0]))
    return lake


def deny(monkeypatch: pytest.MonkeyPatch, denied: Path) -> None:
    """Let every access below a path fail, as for a user without permission; tests can run as root."""

    def guard(function: Callable[..., object]) -> Callable[..., object]:
        def guarded(path: object, *arguments: object, **options: object) -> object:
            if isinstance(path, str | os.PathLike) and str(path).startswith(f"{denied}{os.sep}"):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return guarded

    for name in ("listdir", "scandir", "stat", "open"):
        monkeypatch.setattr(os, name, guard(getattr(os, name)))
    monkeypatch.setattr(local.Path, "stat", guard(Path.stat))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_lake_without_permission_is_an_error_of_each_command(
    ledger: RunLedger, filled: Lake, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    deny(monkeypatch, filled.root)

    done = ledger(*words)

    assert done.code == 2, done
    assert "Cannot read the lake: Permission denied" in done.err and "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_file_in_place_of_the_lake_is_an_error_of_each_command(
    ledger: RunLedger, filled: Lake, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(filled.root)
    filled.root.write_text("no folder")

    done = ledger(*words)

    assert done.code == 2 and "Cannot read the lake: Not a directory" in done.err, done


def test_a_damaged_file_of_coverage_is_an_error_with_its_place(ledger: RunLedger, filled: Lake) -> None:
    Path(filled.path(EXTRACTION_COVERAGE, DAYS[0])).write_text("no Parquet")

    done = ledger("status")

    assert done.code == 2 and "Traceback" not in done.err, done
    assert f"extraction_coverage in the lake at {filled.uri}" in done.err


def test_doctor_says_that_recorded_data_cannot_be_read(ledger: RunLedger, filled: Lake) -> None:
    write_rows(World(filled), ARCHIVE_FILES, None, build_rows(ARCHIVE_FILES, DAYS[0]))
    Path(filled.path(EXTRACTION_COVERAGE, DAYS[0])).write_text("no Parquet")
    Path(filled.path(ARCHIVE_FILES)).write_text("no Parquet")

    findings = {finding["subject"]: finding for finding in ledger("doctor", "--json").json["findings"]}

    assert findings["lake"]["level"] == "ok"
    assert findings["recorded data, not known"]["level"] == "fail"
    assert findings["errors of saved responses, not known"]["level"] == "fail"


@pytest.fixture
def other_user(filled: Lake, tmp_path: Path) -> Iterator[int]:
    """A user that can reach the lake, but owns none of its files."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    lookout_ledger.read("inference_executions", lake=filled.uri, as_="arrow")  # imports what it needs
    for path in (tmp_path, *list(tmp_path.parents)[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    yield 65534
    os.seteuid(0)


@pytest.mark.parametrize("level", ["root", "table", "day"])
def test_another_user_without_permission_cannot_read_the_lake(
    filled: Lake, other_user: int, level: str
) -> None:
    day = Path(filled.path(INFERENCE_EXECUTIONS, DAYS[0])).parent
    {"root": filled.root, "table": day.parent, "day": day}[level].chmod(0o700)
    statement = "SELECT count(*) FROM inference_executions"

    os.seteuid(other_user)

    with pytest.raises(ConfigurationError, match="Cannot read the lake: Permission denied"):
        lookout_ledger.read("inference_executions", lake=filled.uri)
    with pytest.raises(ConfigurationError, match="Cannot read the lake: Permission denied"):
        lookout_ledger.sql(statement, lake=filled.uri)


def test_a_lake_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "new"))

    assert lake.days(INFERENCE_EXECUTIONS) == []
    lake.root.mkdir()
    assert lake.days(INFERENCE_EXECUTIONS) == []
    (lake.root / INFERENCE_EXECUTIONS.name).write_text("")
    with pytest.raises(ConfigurationError, match="Not a directory"):
        lake.days(INFERENCE_EXECUTIONS)
