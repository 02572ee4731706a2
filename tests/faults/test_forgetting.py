"""`ledger forget` that is killed at every write ends with the lake of an undisturbed one."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from assets.executions.tombstones import read_operations
from assets.tables import INFERENCE_EXECUTIONS
from resources.lake.lake import Lake
from resources.sources.base import Source
from resources.storage.local import LocalStorage
from resources.storage.s3 import S3Storage
from tests.support.forgetting import (
    DAYS,
    Execution,
    World,
    build_operation,
    find_differences,
    write_copy,
    write_file,
)
from tests.support.kills import AFTER_S3, BEFORE_S3, DISK, run_killed
from tests.support.s3_server import Bucket
from tests.support.state_machines import check_machine

HOURS = (1, 5, 30)


class Killed(BaseException):
    """The process ends here."""


def write_sources(folder: Path) -> list[Source]:
    """Return a file, a file with other outcomes of some of its executions, and a bucket with some results."""
    executions = [Execution(each, hour) for each in "ab" for hour in HOURS]
    write_copy(folder / "results", executions)
    return [
        write_file(folder / "a.json", dict.fromkeys(executions, "SUCCESS")),
        write_file(folder / "b.json", dict.fromkeys(executions[:2], "IN_PROGRESS")),
        write_copy(folder / "copy", executions[3:5]),
    ]


def fail_at(
    patch: pytest.MonkeyPatch, storage: type[LocalStorage | S3Storage], number: int, *, after_write: bool
) -> None:
    """Kill the process at an update, before or after it replaces the file."""
    update: Callable[..., Any] = storage.update
    count = 0

    def update_or_die(self: Any, name: str, change: Callable[..., Any]) -> Any:
        nonlocal count
        count += 1
        if count == number and not after_write:
            raise Killed
        result = update(self, name, change)
        if count == number:
            raise Killed
        return result

    patch.setattr(storage, "update", update_or_die)


def list_keys(lake: Lake) -> set[tuple[str, Any]]:
    rows = (row for day in DAYS for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist())
    return {(row["scheduler_arn"], row["data_start_time"]) for row in rows}


def kill_at_every_write(
    world: World,
    undisturbed: World,
    sources: list[Source],
    storage: type[LocalStorage | S3Storage],
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Forget, and kill the process at its first update, then at its second, and so on; return the kills."""
    operation = build_operation(world.lake, sources[0])
    remaining = list_keys(undisturbed.lake)
    kills = 0
    while kills < 200:
        with monkeypatch.context() as patch:
            fail_at(patch, storage, kills + 1, after_write=kills % 2 == 0)
            try:
                world.forget(operation, sources)
            except Killed:
                kills += 1
            else:
                return kills
        present = list_keys(world.lake)
        shown = {start for _, start in present}
        assert {start for _, start in remaining} <= shown, "an execution of another source disappeared"
    return kills


def check(world: World, undisturbed: World) -> None:
    assert not find_differences(world.read(), undisturbed.read())
    ours, theirs = read_operations(world.lake), read_operations(undisturbed.lake)
    assert ours == theirs
    assert ours[0].completed_at


def test_a_kill_at_every_write_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = write_sources(tmp_path)
    undisturbed = World(Lake(str(tmp_path / "undisturbed")), tmp_path / "results")
    undisturbed.extract(sources)
    undisturbed.compute()
    shutil.copytree(tmp_path / "undisturbed", tmp_path / "killed")
    world = World(Lake(str(tmp_path / "killed")), tmp_path / "results")
    undisturbed.forget(build_operation(undisturbed.lake, sources[0]), sources)
    assert kill_at_every_write(world, undisturbed, sources, LocalStorage, monkeypatch) > 20
    check(world, undisturbed)


@pytest.mark.slow
def test_a_kill_at_every_write_in_s3(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = write_sources(tmp_path)
    worlds = [World(Lake(f"{bucket.uri}/{name}"), tmp_path / "results") for name in ("killed", "undisturbed")]
    for world in worlds:
        world.extract(sources)
        world.compute()
    worlds[1].forget(build_operation(worlds[1].lake, sources[0]), sources)
    assert kill_at_every_write(*worlds, sources, S3Storage, monkeypatch) > 20
    check(*worlds)


# --- Any sequence of extractions, forgetting and changes of shards ------------------------------------------

FILES = {
    name: [Execution(scheduler, hour) for scheduler, hour in executions]
    for name, executions in {
        "first": [("a", 1), ("a", 5), ("b", 30)],
        "second": [("a", 5), ("b", 1), ("b", 30)],
        "third": [("c", 5), ("a", 30)],
    }.items()
}
names = st.sampled_from(sorted(FILES))
steps = st.one_of(st.none(), st.integers(0, 60))
places = st.integers(0, 1)


class ForgetModel(RuleBasedStateMachine):
    """Lakes with the real tables; the model is the set of the sources that are recorded and not forgotten."""

    root: ClassVar[str]
    places: ClassVar[list[str]]
    forgets: ClassVar[int] = 0

    @initialize(selected=st.sets(names, min_size=2))
    def create(self, selected: set[str]) -> None:
        self.folder = Path(tempfile.mkdtemp())
        root = self.root or str(self.folder)
        self.world = World(
            Lake(f"{root}/{self.folder.name}", lock_timeout_seconds=60), self.folder / "results"
        )
        self.sources = {
            name: write_file(self.folder / f"{name}.json", dict.fromkeys(executions, "FAILED"))
            for name, executions in FILES.items()
        }
        self.recorded: set[str] = set()
        self.forgotten: set[str] = set()
        self.extract(selected)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def expect(self, forgotten: set[str]) -> set[tuple[str, Any]]:
        shown = (FILES[name] for name in self.recorded - forgotten)
        return {(each.arn, each.start) for executions in shown for each in executions}

    def run_killed(self, place: int, step: int | None, run: Callable[[], object]) -> None:
        if step is not None:
            with patch.object(tempfile, "tempdir", str(self.folder)):
                run_killed(self.places[place % len(self.places)], step, run)

    @rule(selected=st.sets(names, min_size=1))
    def extract(self, selected: set[str]) -> None:
        self.world.extract([self.sources[name] for name in sorted(selected)])
        self.recorded |= selected

    @rule()
    def compute(self) -> None:
        self.world.compute()

    def has_source(self) -> bool:
        return bool(self.recorded - self.forgotten)

    @precondition(has_source)
    @rule(data=st.data(), step=steps, place=places)
    def forget(self, data: st.DataObject, step: int | None, place: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.recorded - self.forgotten)))
        operation = replace(build_operation(self.world.lake, self.sources[name]), operation_id=name)
        sources = [self.sources[each] for each in sorted(self.recorded)]
        remaining = self.expect(self.forgotten | {name})
        self.run_killed(place, step, lambda: self.world.forget(operation, sources))
        assert remaining <= list_keys(self.world.lake) <= self.expect(self.forgotten)
        self.world.forget(operation, sources)
        self.forgotten.add(name)
        type(self).forgets += 1

    @rule(day=st.sampled_from(DAYS), shards=st.integers(1, 3), step=steps, place=places)
    def change_the_shards(self, day: Any, shards: int, step: int | None, place: int) -> None:
        lake = self.world.lake
        self.run_killed(place, step, lambda: lake.reshard(INFERENCE_EXECUTIONS, day, shards))
        lake.reshard(INFERENCE_EXECUTIONS, day, shards)

    @precondition(has_source)
    @rule(data=st.data())
    def forget_while_a_reader_has_the_file(self, data: st.DataObject) -> None:
        path = Path(self.world.lake.path(INFERENCE_EXECUTIONS, DAYS[0]))
        if self.root or not path.exists():
            return
        with pq.ParquetFile(path) as reader:
            count = reader.metadata.num_rows
            self.forget(data, None, 0)
            assert reader.read().num_rows == count

    @invariant()
    def has_the_executions_of_the_model(self) -> None:
        if hasattr(self, "world"):
            assert list_keys(self.world.lake) == self.expect(self.forgotten)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["on disk", "in S3"])
def test_any_sequence_leaves_the_executions_of_the_sources_that_are_not_forgotten(
    store: str, request: pytest.FixtureRequest, rounds: Callable[[int], int]
) -> None:
    class Model(ForgetModel):
        root = "" if store == "on disk" else request.getfixturevalue("bucket").uri
        places = [DISK] if store == "on disk" else [BEFORE_S3, AFTER_S3]

    check_machine(Model, rounds(5), steps=6)
    assert Model.forgets > 2
