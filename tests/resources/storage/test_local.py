"""Local files of a lake: replaced at once, and refused where something else is in their place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from resources.errors import ConfigurationError
from resources.storage.base import OpenFile, WriteFile
from resources.storage.local import LocalStorage, write_atomically, write_text_atomically


def test_an_atomic_write_replaces_the_file_or_leaves_it_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "page"
    with write_atomically(file) as temporary:
        temporary.write_text("old")
    with pytest.raises(TypeError), write_atomically(file) as temporary:
        temporary.write_text(1)  # type: ignore[arg-type]
    with pytest.raises(FileExistsError), write_atomically(file, overwrite=False) as temporary:
        temporary.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page", "old")]


def test_text_is_written_through_links_and_pipes(tmp_path: Path) -> None:
    """Such as `--out /dev/stdout`, which a rename would replace."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    read_end, write_end = os.pipe()
    write_text_atomically(Path(f"/dev/fd/{write_end}"), "text")
    assert os.read(read_end, 10) == b"text"
    os.close(read_end)
    os.close(write_end)


def write_byte(sink: BinaryIO) -> None:
    sink.write(b"x")


@pytest.mark.parametrize(("kind", "create"), [("folder", Path.mkdir), ("named pipe", os.mkfifo)])
def test_what_is_in_the_place_of_a_lock_file_is_named(
    tmp_path: Path, kind: str, create: Callable[[Path], None]
) -> None:
    (tmp_path / "table").mkdir()
    create(tmp_path / "table" / ".lock")
    with pytest.raises(ConfigurationError, match=f"a {kind} is in the place of the lock file") as caught:
        LocalStorage(tmp_path, timeout_seconds=1).update("table/file", lambda _: (None, write_byte))
    assert caught.value.where == str(tmp_path / "table" / ".lock")
    assert list((tmp_path / "table").iterdir()) == [tmp_path / "table" / ".lock"]


def test_a_link_in_the_place_of_a_lock_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="a link is in the place of the lock file"):
        LocalStorage(tmp_path / "lake", timeout_seconds=1).update("file", lambda _: (None, write_byte))
    assert not (tmp_path / "elsewhere").exists()


def test_a_lake_that_is_removed_during_a_run_is_an_error(tmp_path: Path) -> None:
    """Otherwise, later updates would create it again, without its earlier days."""
    storage = LocalStorage(tmp_path / "lake", timeout_seconds=1)
    storage.update("table/file", lambda _: (None, write_byte))

    def remove(_: OpenFile) -> tuple[None, WriteFile]:
        shutil.rmtree(tmp_path / "lake")
        return None, write_byte

    attempts: list[Callable[[], object]] = [
        lambda: storage.update("table/file", remove),
        lambda: storage.update("table/file", lambda _: (None, write_byte)),
        lambda: storage.open("table/file"),
        lambda: storage.exists("table/file"),
        lambda: storage.list_values("table/", ""),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigurationError, match="was removed while this run used it") as caught:
            attempt()
        assert caught.value.where == f"lake.uri = {tmp_path / 'lake'}"
        assert not (tmp_path / "lake").exists()


def test_a_pipe_in_the_place_of_a_file_of_the_lake_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="is a folder or a special file"):
        LocalStorage(tmp_path, timeout_seconds=1).open("file")
