"""Saved responses on their way into a source's folder: nothing twice, nothing replaced, nothing half."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, count
from pathlib import Path

from resources.clock import unique_id
from resources.errors import ConfigurationError
from resources.storage.files import open_store


@dataclass(frozen=True)
class Copy:
    """One file and where it goes; `same` has its content already, and then it goes nowhere."""

    origin: Path
    target: Path | None
    same: Path | None = None


def plan_copies(origins: Sequence[Path], top: Path, folder: Path) -> list[Copy]:
    """Choose where files go that belong together, such as the pages of one dump.

    They keep their names and stay together: where one of them has the name of another file that is there
    already, all go to a new subfolder. What is there with the same content, under any name, is not copied.

    Args:
        origins: the files.
        top: the file or folder that they were named by.
        folder: of the source.
    """
    there = (
        _by_size(Path(file.uri) for file in open_store(str(folder)).find(str(folder)))
        if folder.is_dir()
        else {}
    )
    names = {origin: origin.relative_to(top) if top.is_dir() else Path(origin.name) for origin in origins}
    same = {origin: _same(origin, there) for origin in origins}
    fresh = [origin for origin in origins if same[origin] is None]
    stem = top.name.partition(".")[0] or "import"
    for below in chain([Path()], (Path(f"{stem}-{n}") for n in count(2))):
        if not any((folder / below / names[origin]).exists() for origin in fresh):
            return [_copy(origin, folder / below / names[origin], same[origin]) for origin in origins]
    raise AssertionError  # count has no end


def copy_files(copies: Iterable[Copy]) -> list[Copy]:
    """Copy the files, each whole or not at all; return those that were copied.

    Raises:
        ConfigurationError: the folder cannot be written to; what was copied before stays.
    """
    done = []
    for one in copies:
        if one.target is not None:
            _copied(one.origin, one.target)
            done.append(one)
    return done


def _copy(origin: Path, target: Path, same: Path | None) -> Copy:
    return Copy(origin, None if same else target, same)


def _by_size(files: Iterator[Path]) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for file in files:
        found.setdefault(file.stat().st_size, []).append(file)
    return found


def _same(origin: Path, there: Mapping[int, Sequence[Path]]) -> Path | None:
    alike = there.get(origin.stat().st_size, ())
    return next((file for file in alike if _digest(file) == _digest(origin)), None) if alike else None


def _digest(file: Path) -> bytes:
    return blake2b(file.read_bytes()).digest()


def _copied(origin: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{unique_id()}.tmp")  # sources pass over hidden names
        try:
            shutil.copy2(origin, temporary)
            os.link(temporary, target)  # unlike a rename this replaces nothing, whoever came in between
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise ConfigurationError(
            f"a saved response cannot be copied: {problem.strerror or problem}",
            where=str(problem.filename or target),
            next_step="make room there, or make that folder writable, and import again: what was copied is"
            " not copied twice",
        ) from None
