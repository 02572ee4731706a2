"""Every order of the requests of concurrent writers in S3, with crashes, lost responses and duplicates."""

from collections.abc import Callable
from typing import BinaryIO

import pytest

from resources.storage import s3
from resources.storage.base import OpenFile, WriteFile
from resources.storage.s3 import S3Storage
from tests.support.writers import KEY, Execution, Outcome, explore


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "sleep_up_to", lambda _seconds: None)


def read_names(content: bytes) -> frozenset[str]:
    return frozenset(content.decode().split())


def upsert(*names: str) -> Callable[[S3Storage], Outcome]:
    """Return an update that adds names, and writes nothing if all exist, as `Lake.update` does."""

    def change(open_file: OpenFile) -> tuple[Outcome, WriteFile | None]:
        try:
            existing = read_names(open_file().read())
        except FileNotFoundError:
            existing = frozenset()
        merged = existing | set(names)
        if merged == existing:
            return Outcome(merged, changed=False), None

        def write(sink: BinaryIO) -> None:
            sink.write(" ".join(sorted(merged)).encode())

        return Outcome(merged, changed=True), write

    return lambda storage: storage.update(KEY, change)


def find_broken_promise(execution: Execution, names: list[tuple[str, ...]]) -> str | None:
    """Return the first promise that an execution breaks."""
    store = execution.store
    final = read_names(store.content.data) if store.content else frozenset()
    for earlier, later in zip(store.states, store.states[1:], strict=False):
        if not read_names(earlier) <= read_names(later):
            return "a stored row disappeared"
    for writer, outcome in execution.outcomes.items():
        if not set(names[writer]) <= final:
            return "an acknowledged row is lost"
        if outcome.changed is not (writer in store.stored_by):
            return "`changed` is wrong"
    return None


def check_all(names: list[tuple[str, ...]], *, faults: int) -> tuple[int, str | None]:
    """Explore; return the number of executions, and the first broken promise."""
    count = 0
    for execution in explore([upsert(*entry) for entry in names], faults=faults):
        count += 1
        if broken := find_broken_promise(execution, names):
            return count, broken
    return count, None


@pytest.mark.parametrize(
    "names", [[("a",), ("b",)], [("a",), ("a",)], [("a",), ("a", "b")]], ids=["apart", "equal", "overlapping"]
)
def test_two_writers_with_two_faults_lose_nothing(names: list[tuple[str, ...]]) -> None:
    count, broken = check_all(names, faults=2)
    assert broken is None
    assert count > 100


def test_a_repeated_exploration_has_the_same_executions() -> None:
    first, second = (
        [(execution.trace, execution.store.states) for execution in explore([upsert("a")] * 2, faults=1)]
        for _ in range(2)
    )
    assert first == second


def test_three_writers_without_faults_lose_nothing() -> None:
    count, broken = check_all([("a",), ("b",), ("c",)], faults=0)
    assert broken is None
    assert count > 50


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([("a",), ("a",), ("a", "b")], marks=pytest.mark.slow, id="overlapping"),
        pytest.param([("a",), ("b",), ("c",)], marks=pytest.mark.long, id="apart"),
    ],
)
def test_three_writers_with_a_fault_lose_nothing(names: list[tuple[str, ...]]) -> None:
    assert check_all(names, faults=1)[1] is None


CONFLICT = ["0: GET", "1: GET", "0: PUT", "1: PUT"]
LOST = ["0: GET", "0: PUT", "1: GET", "1: PUT, response lost", "1: PUT", "1: GET"]
REPLACED = ["0: GET", "0: PUT, response lost", "0: PUT", "1: GET", "1: PUT", "0: GET"]
MUTANTS: dict[str, tuple[dict[str, object], str, list[str]]] = {
    "writes are unconditional": ({}, "a stored row disappeared", CONFLICT),
    "a lost response is a conflict": (
        {"_read_update_ids": lambda _stored: []},
        "`changed` is wrong",
        LOST,
    ),
    "only the last update is remembered": ({"_MAX_UPDATE_IDS": 1}, "`changed` is wrong", REPLACED),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_protocol_is_found_with_its_shortest_trace(
    monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    changes, expected, shortest = MUTANTS[mutant]
    for name, value in changes.items():
        monkeypatch.setattr(s3, name, value)
    names: list[tuple[str, ...]] = [("a",), ("b",)]
    found = [
        (len(execution.trace), execution.trace, broken)
        for execution in explore(
            [upsert(*entry) for entry in names],
            faults=1,
            checks_conditions=mutant != "writes are unconditional",
        )
        if (broken := find_broken_promise(execution, names))
    ]
    assert min(found)[1:] == (shortest, expected)
