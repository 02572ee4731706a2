"""The table of promises in the docs names tests that exist, and their numbers of rounds."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
RELIABILITY = CHECKOUT / "docs/explanation/reliability.md"
PAGES = [RELIABILITY, CHECKOUT / "SECURITY.md"]


def list_promises(page: Path) -> Iterator[tuple[list[str], ast.FunctionDef | None]]:
    """Return the cells of each row, and the test that its last cell names."""
    lines = page.read_text().splitlines()
    headers = [n for n, line in enumerate(lines[1:]) if line.startswith("| ---")]
    assert headers
    rows = [line for n, line in enumerate(lines) if line.startswith("| ") and {n, n - 1}.isdisjoint(headers)]
    assert rows
    for row in rows:
        match = re.search(r"`(tests/[\w/]+\.py)::(\w+)` \|$", row)
        assert match, row
        nodes = ast.walk(ast.parse((CHECKOUT / match[1]).read_text()))
        functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        yield row.strip("| ").split(" | "), functions.get(match[2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promise_names_an_existing_test(page: Path) -> None:
    for cells, test in list_promises(page):
        assert test, cells[-1]


def test_the_rounds_of_each_promise_are_those_of_its_test() -> None:
    promises = [(cells, test) for cells, test in list_promises(RELIABILITY) if len(cells) == 5]
    assert promises
    for (promise, _, rounds, *_), test in promises:
        assert test
        calls = [node for node in ast.walk(test) if isinstance(node, ast.Call)]
        defaults = {call.args[-1] for call in calls if ast.unparse(call.func) in {"rounds", "select_steps"}}
        assert re.findall(r"^\d+", rounds) == sorted(set(map(ast.unparse, defaults))), promise
