"""A model of power loss: record the operations of storage code, and build every state a crash can leave.

`record_operations` wraps the functions of `os` that change folders or flush. `list_crash_states` applies the
rules of POSIX, which no journal mode of a file system weakens:

- The content of a file survives only if the file was flushed afterwards; else any part of it may survive.
- An entry of a folder (create, replace, link, delete) survives only if the folder was flushed afterwards.
  Otherwise each entry survives or not, independently of all others and in any order.
- A replacement is atomic: readers find the old or the new file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

Tree = dict[str, bytes | None]
"""The content of each file by path; None: a folder."""


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        kind: `make`, `write`, `enter`, `remove`, `flush` or `acknowledge`.
        path: the path that it changes.
        origin: the path whose file `enter` gives to `path`.
        content: what `write` wrote; what `acknowledge` promises at `path`.
    """

    kind: str
    path: str
    origin: str = ""
    content: bytes = b""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}" + (f" <- {self.origin}" if self.origin else "")


@dataclass
class Recording:
    """The operations below a root, in order; paths are relative to the root."""

    root: Path
    operations: list[Operation] = field(default_factory=list)
    _written: dict[str, bytes] = field(default_factory=dict)

    def acknowledge(self, file: Path) -> None:
        """Record that the caller was promised the present content of a file."""
        self.operations.append(Operation("acknowledge", self._name(file), content=file.read_bytes()))

    def add(self, kind: str, path: Any, origin: Any = "") -> None:
        """Record an operation on a path below the root."""
        name = self._name(path)
        if name.endswith(".lock") or name.startswith(".."):
            return
        if origin:
            self._record_content(Path(origin))
        self.operations.append(Operation(kind, name, self._name(origin) if origin else ""))

    def flush(self, path: Path) -> None:
        """Record a flush of a file or folder."""
        if path.is_file():
            self._record_content(path)
        self.add("flush", path)

    def _record_content(self, file: Path) -> None:
        name, content = self._name(file), file.read_bytes()
        if self._written.get(name) != content:
            self._written[name] = content
            self.operations.append(Operation("write", name, content=content))

    def _name(self, path: Any) -> str:
        return os.path.relpath(path, self.root)


@contextmanager
def record_operations(root: Path) -> Iterator[Recording]:
    """Record what the code inside does to files below an existing folder."""
    recording = Recording(root)

    def wrap(name: str, note: Callable[..., None], *, before: bool = False) -> None:
        original = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            if before:
                note(*args)
            result = original(*args, **options)
            if not before:
                note(*args)
            return result

        patch.setattr(os, name, call)

    with pytest.MonkeyPatch.context() as patch:
        wrap("mkdir", lambda path, *_: recording.add("make", path))
        wrap("replace", lambda origin, target: recording.add("enter", target, origin), before=True)
        wrap("link", lambda origin, target: recording.add("enter", target, origin), before=True)
        wrap("unlink", lambda path: recording.add("remove", path))
        wrap("fsync", lambda number: recording.flush(Path(os.readlink(f"/proc/self/fd/{number}"))))  # noqa: PTH115
        yield recording


@dataclass(frozen=True)
class Crash:
    """A state after a power loss.

    Attributes:
        after: the number of operations before it.
        lost: those of them that did not survive.
        tree: the files and folders.
    """

    after: int
    lost: tuple[Operation, ...]
    tree: Tree


def list_crash_states(operations: list[Operation]) -> Iterator[Crash]:
    """Yield every state, by the number of operations before the crash, then by the number of lost ones."""
    base: Tree = {".": None}
    pending: list[Operation] = []
    for count, operation in enumerate(operations, 1):
        if operation.kind == "flush":
            durable = [each for each in pending if _is_flushed_by(each, operation)]
            pending = [each for each in pending if each not in durable]
            base = _apply(base, durable)
        elif operation.kind != "acknowledge":
            pending.append(operation)
        for size in range(len(pending) + 1):
            for lost in combinations(pending, size):
                kept = [each for each in pending if each not in lost]
                for tree in _tear(_apply(base, kept), lost):
                    yield Crash(count, lost, _reachable(tree))


def _is_flushed_by(operation: Operation, flush: Operation) -> bool:
    if operation.kind == "write":
        return operation.path == flush.path
    return os.path.dirname(operation.path) == flush.path.replace(".", "", flush.path == ".")  # noqa: PTH120


def _apply(tree: Tree, operations: list[Operation]) -> Tree:
    tree = dict(tree)
    for operation in operations:
        match operation.kind:
            case "make":
                tree[operation.path] = None
            case "write":
                tree[operation.path] = operation.content
            case "enter":
                tree[operation.path] = tree.get(operation.origin, b"")
            case "remove":
                tree.pop(operation.path, None)
    return tree


def _tear(tree: Tree, lost: tuple[Operation, ...]) -> Iterator[Tree]:
    """Yield the tree with each part of a lost content that may survive; `enter` then names that part."""
    yield tree
    for operation in lost:
        if operation.kind == "write":
            for size in (0, len(operation.content) // 2, len(operation.content) - 1):
                part = operation.content[:size]
                yield {path: part if content == b"" else content for path, content in tree.items()}


def _reachable(tree: Tree) -> Tree:
    """Drop what lies in a folder that did not survive."""
    return {path: content for path, content in tree.items() if all(up in tree for up in _parents(path))}


@cache
def _parents(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents]


@dataclass(frozen=True)
class Loss:
    """A broken promise: the file, and the crash that shows it."""

    path: str
    crash: Crash

    def describe(self, operations: list[Operation]) -> str:
        """Return the shortest trace."""
        done = "\n  ".join(str(operation) for operation in operations[: self.crash.after])
        lost = ", ".join(str(operation) for operation in self.crash.lost)
        return f"{self.path} is lost or torn by a power loss after\n  {done}\nif it loses: {lost}"


def find_loss(operations: list[Operation]) -> tuple[int, Loss | None]:
    """Check every crash state; return their number, and the loss with the shortest trace.

    Each acknowledged file must have the content of its last acknowledgment, or a complete later one.
    """
    promised: dict[int, dict[str, set[bytes]]] = {}
    allowed: dict[str, set[bytes]] = {}
    written: dict[str, bytes] = {}
    for count, operation in enumerate(operations, 1):
        if operation.kind == "write":
            written[operation.path] = operation.content
        elif operation.kind == "enter" and operation.path in allowed:
            allowed[operation.path] = {*allowed[operation.path], written[operation.origin]}
        elif operation.kind == "acknowledge":
            allowed[operation.path] = {operation.content}
        promised[count] = dict(allowed)
    states = 0
    for crash in list_crash_states(operations):
        states += 1
        for path, contents in promised[crash.after].items():
            if crash.tree.get(path) not in contents:
                return states, Loss(path, crash)
        complete = {*written.values(), None}  # also files that were not acknowledged yet are complete
        for path, content in crash.tree.items():
            if content not in complete and not Path(path).name.startswith("."):
                return states, Loss(path, crash)
    return states, None


def materialize(tree: Tree, folder: Path) -> None:
    """Create the files and folders of a state in an empty folder."""
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir(exist_ok=True)
        else:
            (folder / path).write_bytes(content)
