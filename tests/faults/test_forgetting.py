"""`ledger forget` that is killed at every write ends with the lake of an undisturbed one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
from tests.support.s3_server import Bucket

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
