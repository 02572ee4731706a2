"""The copy of saved responses into the folder of a source, without duplicates and without overwriting."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from itertools import chain, count
from pathlib import Path

from resources.errors import ConfigurationError
from resources.storage.local import make_folders, write_atomically
from resources.storage.local_files import LocalFiles


@dataclass(frozen=True)
class Copy:
    """One file and its target; None if the source already has a file `same` with this content."""

    origin: Path
    target: Path | None
    same: Path | None = None


def plan_copies(origins: Sequence[Path], top: Path, folder: Path) -> list[Copy]:
    """Choose the targets of files that belong together, such as the pages of one dump.

    Files keep their names and stay together. If a name is taken by another file, all go to a new subfolder.
    A file with the same content as an existing one, under any name, is not copied.

    Args:
        origins: the files to copy.
        top: the file or folder that the user named.
        folder: the folder of the source.
    """
    existing = (
        _group_by_size(
            Path(file.uri) for file in LocalFiles().list_files(str(folder)) if file.problem is None
        )
        if folder.is_dir()
        else {}
    )
    names = {origin: origin.relative_to(top) if top.is_dir() else Path(origin.name) for origin in origins}
    same = {origin: _find_same_content(origin, existing) for origin in origins}
    fresh = [origin for origin in origins if same[origin] is None]
    stem = top.name.partition(".")[0] or "import"
    for below in chain([Path()], (Path(f"{stem}-{n}") for n in count(2))):
        if not any((folder / below / names[origin]).exists() for origin in fresh):
            return [
                Copy(origin, None if same[origin] else folder / below / names[origin], same[origin])
                for origin in origins
            ]
    raise AssertionError  # count has no end


def copy_files(copies: Iterable[Copy]) -> list[Copy]:
    """Copy each file atomically; return the copies that had a target.

    Raises:
        ConfigurationError: the folder cannot be written; earlier copies stay.
    """
    completed = []
    for copy in copies:
        if copy.target is not None:
            _copy_file(copy.origin, copy.target)
            completed.append(copy)
    return completed


def _group_by_size(files: Iterator[Path]) -> dict[int, list[Path]]:
    groups: dict[int, list[Path]] = {}
    for file in files:
        groups.setdefault(file.stat().st_size, []).append(file)
    return groups


def _find_same_content(origin: Path, existing: Mapping[int, Sequence[Path]]) -> Path | None:
    candidates = existing.get(origin.stat().st_size)
    if not candidates:
        return None
    digest = _digest(origin)
    return next((file for file in candidates if _digest(file) == digest), None)


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return file_digest(content, "blake2b").digest()


def _copy_file(origin: Path, target: Path) -> None:
    try:
        make_folders(target.parent)
        with write_atomically(target, overwrite=False) as temporary:
            shutil.copy2(origin, temporary)
    except OSError as problem:
        raise ConfigurationError(
            f"Cannot copy a saved response: {problem.strerror or problem}",
            where=str(problem.filename or target),
            next_step="free disk space or make that folder writable, and import again; completed copies are"
            " skipped",
        ) from None
