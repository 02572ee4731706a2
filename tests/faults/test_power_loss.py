"""Every state that a power loss can leave: no acknowledged row is lost, and every file is complete.

A killed process leaves the page cache, so tests with signals cannot show this. These tests record the
operations of real commits and enumerate the states after a crash at each of them.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from assets.certificate.evidence import Selection
from pipelines.operations import certification
from pipelines.operations.certification import certify
from resources.config.settings import Settings
from resources.lake.lake import Lake
from resources.storage import local, recording_store, report_store
from resources.storage.file_import import copy_files, plan_copies
from resources.storage.recording_store import open_recording_store
from tests.support.power_loss import (
    Loss,
    Operation,
    find_loss,
    list_crash_states,
    materialize,
    record_operations,
)
from tests.support.readings import READINGS

FIRST_DAY = date(2026, 1, 1)
UNIQUE = re.compile(r"[0-9a-f]{32}")
"""The part of the name of a temporary file that differs each time."""


def build_rows(*names: str) -> pa.Table:
    return pa.Table.from_pylist([{"name": name} for name in names], schema=READINGS.schema)


def append(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda existing: pa.concat_tables([existing, build_rows(name)])


def record_commits(root: Path, days: int, updates: int) -> list[Operation]:
    """Record updates of several days, of which the last is left unacknowledged."""
    lake = Lake(str(root / "lake"))
    with record_operations(root) as recording:
        for number in range(updates):
            day = FIRST_DAY + timedelta(days=number % days)
            recording.acknowledge(Path(lake.update(READINGS, day, append(f"reading {number}")).path))
        lake.update(READINGS, FIRST_DAY, append("last"))
    return recording.operations


def test_no_power_loss_loses_an_acknowledged_row(tmp_path: Path) -> None:
    states, loss = find_loss(record_commits(tmp_path, days=8, updates=20))
    assert loss is None, loss.describe([])
    assert states > 200


def test_a_repeated_recording_has_the_same_bytes(tmp_path: Path) -> None:
    recordings = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        operations = record_commits(tmp_path / name, days=2, updates=4)
        recordings.append([(UNIQUE.sub("*", str(each)), each.content) for each in operations])
    assert recordings[0] == recordings[1]


@pytest.mark.slow
def test_ten_thousand_states_lose_nothing(tmp_path: Path) -> None:
    states = 0
    for days in range(1, 31):
        root = tmp_path / f"{days}"
        root.mkdir()
        checked, loss = find_loss(record_commits(root, days, updates=33))
        assert loss is None
        states += checked
    assert states >= 10_000


def test_after_any_power_loss_the_lake_is_read_and_updated(tmp_path: Path) -> None:
    (tmp_path / "recorded").mkdir()
    operations = record_commits(tmp_path / "recorded", days=2, updates=3)
    trees = {str(sorted(crash.tree.items())): crash.tree for crash in list_crash_states(operations)}
    for number, tree in enumerate(trees.values()):
        root = tmp_path / f"after-{number}"
        root.mkdir()
        materialize(tree, root)
        lake = Lake(str(root / "lake"))
        before = lake.read(READINGS, FIRST_DAY)["name"].to_pylist()
        after = lake.update(READINGS, FIRST_DAY, append("next")).rows["name"].to_pylist()
        assert after == [*before, "next"]
        assert not list(root.rglob("*.tmp"))[1:], "at most the orphan of another day is left"


def test_no_power_loss_loses_an_imported_file(tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    for number in range(3):
        file = dumps / f"plant-{number}" / "dump.json"
        file.parent.mkdir(parents=True)
        file.write_text(f'{{"number": {number}}}')
    with record_operations(tmp_path) as recording:
        origins = sorted(dumps.rglob("*.json"))
        for copy in copy_files(plan_copies(origins, dumps, tmp_path / "project" / "archive")):
            assert copy.target
            recording.acknowledge(copy.target)
    assert find_loss(recording.operations)[1] is None


def write_recording(root: Path, acknowledge: Callable[[Path], None]) -> None:
    store = open_recording_store(str(root / "recording"))
    for number in range(3):
        name = f"pump-{number % 2}/{number:05}.warc.gz"
        store.create(name, bytes([number]) * 50)
        acknowledge(root / "recording" / name)


def write_certificates(root: Path, acknowledge: Callable[[Path], None]) -> None:
    """Write a certificate twice; the second replaces the first."""
    lake = Lake(str(root / "lake"))
    selection = Selection(FIRST_DAY, FIRST_DAY)
    for number in range(2):
        outputs = [root / "out" / "certificates" / name for name in ("c.json", "c.html", "c.md")]
        now = datetime(2026, 2, 1 + number, tzinfo=UTC)
        for path in certify(lake, Settings(), selection, now, outputs, iter).files:
            acknowledge(Path(path))


def write_row_groups(root: Path, acknowledge: Callable[[Path], None]) -> None:
    lake = Lake(str(root / "lake"))
    for number in range(4):

        def merge(groups: Iterator[pa.Table], number: int = number) -> Iterator[pa.Table]:
            yield from (group.cast(READINGS.schema) for group in groups)
            yield build_rows(f"reading {number}")

        lake.update_row_groups(READINGS, FIRST_DAY, merge)
        acknowledge(Path(lake.path(READINGS, FIRST_DAY)))


WRITERS = {"recording": write_recording, "certificate": write_certificates, "row groups": write_row_groups}


def find_loss_of(writer: str, root: Path) -> tuple[int, Loss | None]:
    with record_operations(root) as recording:
        WRITERS[writer](root, recording.acknowledge)
    return find_loss(recording.operations)


@pytest.mark.parametrize("writer", WRITERS)
def test_no_power_loss_loses_what_a_writer_acknowledged(tmp_path: Path, writer: str) -> None:
    states, loss = find_loss_of(writer, tmp_path)
    assert loss is None, loss.describe([])
    assert states > 20


local_flush = local._flush


def _flush_nothing(_path: Path) -> None:
    pass


def _delete_target(temporary: Path) -> None:
    local_flush(temporary)
    if temporary.suffix == ".tmp":
        temporary.with_name(temporary.name[1:].rsplit(".", 2)[0]).unlink(missing_ok=True)


MUTANTS: dict[str, dict[str, Callable[..., None]]] = {
    "files are not flushed": {"_flush": lambda path: None if path.is_file() else local_flush(path)},
    "folders are not flushed": {"_flush_folder": _flush_nothing},
    "new folders are not flushed": {"make_folders": lambda path: path.mkdir(parents=True, exist_ok=True)},
    "the old file is deleted first": {
        "_flush": _delete_target,
    },
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_missing_step_is_found_with_its_shortest_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    for name, function in MUTANTS[mutant].items():
        monkeypatch.setattr(local, name, function)
    operations = record_commits(tmp_path, days=2, updates=4)
    _, loss = find_loss(operations)
    assert loss is not None
    assert "part-0.parquet is lost or torn by a power loss after" in loss.describe(operations)


@pytest.mark.parametrize("mutant", [name for name in MUTANTS if name != "the old file is deleted first"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_missing_step_of_each_writer_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, mutant: str
) -> None:
    for module in (local, recording_store, report_store, certification):
        for name, function in MUTANTS[mutant].items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, function)
    assert find_loss_of(writer, tmp_path)[1] is not None
