"""The import contracts, the length of functions, and the imports of tests."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from tests.support.paths import ROOT

LONGEST_FUNCTION = 50
MODULES = sorted(
    path
    for floor in ("lookout_ledger", "pipelines", "assets", "resources", "sandbox")
    for path in (ROOT / floor).rglob("*.py")
)


def get_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_imports_run_downward_only_and_the_sandbox_is_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # it would disable the loggers of later tests
    monkeypatch.setattr("importlinter.cli.logging_config.dictConfig", lambda _: None)

    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == EXIT_STATUS_SUCCESS


def test_resources_do_not_import_dagster() -> None:
    importing = [
        get_name(path)
        for path in MODULES
        if path.is_relative_to(ROOT / "resources")
        and any(
            alias.name.split(".")[0] == "dagster"
            for node in ast.walk(parse(path))
            if isinstance(node, ast.Import)
            for alias in node.names
        )
    ]

    assert importing == []


def test_each_module_has_a_docstring() -> None:
    assert [get_name(path) for path in MODULES if not ast.get_docstring(parse(path))] == []


def count_text_lines(node: ast.AST) -> int:
    """The lines of texts such as SQL, beyond the first line of each."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return (node.end_lineno or 0) - node.lineno
    return sum(map(count_text_lines, ast.iter_child_nodes(node)))


def count_body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of code: options in the signature are declarations, and a text such as SQL is one line."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    return (function.end_lineno or 0) - body[0].lineno + 1 - sum(map(count_text_lines, body))


def test_the_body_of_a_function_has_at_most_50_lines() -> None:
    too_long = {
        f"{get_name(path)} {node.name}"
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and count_body_lines(node) > LONGEST_FUNCTION
    }

    assert too_long == set()


def test_tests_share_helpers_only_in_tests_support() -> None:
    importing = [
        f"{get_name(path)}:{node.lineno} {node.module}"
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"from tests\.(?!support)", path.read_text())  # parsing all would take longer
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests.")
        if not node.module.startswith("tests.support")
    ]

    assert importing == []
