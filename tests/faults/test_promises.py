"""The table of promises in the docs names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "docs/explanation/reliability.md", CHECKOUT / "SECURITY.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promise_names_an_existing_test(page: Path) -> None:
    lines = page.read_text().splitlines()
    headers = [n for n, line in enumerate(lines[1:]) if line.startswith("| ---")]
    assert headers
    rows = [line for n, line in enumerate(lines) if line.startswith("| ") and {n, n - 1}.isdisjoint(headers)]
    assert rows
    for row in rows:
        match = re.search(r"`(tests/[\w/]+\.py)::(\w+)` \|$", row)
        assert match, row
        file, name = match.groups()
        tree = ast.parse((CHECKOUT / file).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{file} has no {name}"
