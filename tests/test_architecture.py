"""The tree shows the architecture: imports run downward only, and modules say what belongs in them."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    path
    for floor in ("lookout_ledger", "pipelines", "assets", "resources", "sandbox")
    for path in (ROOT / floor).rglob("*.py")
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_run_downward_only_and_the_sandbox_stands_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == EXIT_STATUS_SUCCESS


def test_the_lake_and_the_sources_know_nothing_of_dagster() -> None:
    knowing = [
        name(path)
        for path in (ROOT / "resources").rglob("*.py")
        if any(
            alias.name.split(".")[0] == "dagster"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        )
    ]

    assert knowing == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
