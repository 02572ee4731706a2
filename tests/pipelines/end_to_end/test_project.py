"""Two projects as a new user makes them, with separate processes and outside of the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resources.config.loader import CHECKOUT
from tests.support.command_line import CommandResult

pytestmark = pytest.mark.slow

LARGE = {"boto3", "duckdb", "jinja2", "obstore", "pandas", "pyarrow.dataset", "rich", "sqlalchemy", "typer"}
IMPORT_DEFINITIONS = (
    "import gc, sys, pipelines.definitions\n"
    f"print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()), {LARGE} & {{*sys.modules}})"
)


def run(folder: Path, *arguments: str, **environ: str) -> CommandResult:
    """Run a program of the environment in a folder, without variables of another project."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("LEDGER_", "DAGSTER_"))
    }
    program = str(Path(sys.executable).with_name(arguments[0]))
    done = subprocess.run(
        [program, *arguments[1:]],
        cwd=folder,
        env=inherited | {"HOME": str(folder.parent)} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, dumps: Any) -> tuple[Path, Path]:
    """Create two projects; the first has imported saved responses."""
    parent = tmp_path_factory.mktemp("projects")
    first, second = parent / "plant a", parent / "plant b"
    for folder in (first, second):
        assert run(parent, "ledger", "init", str(folder)).code == 0
    imported = run(first, "ledger", "import", str(dumps[0]), "--yes", "--json")
    assert imported.json["history"] == {"start_date": "2026-10-06", "end_date": "2026-10-08"}
    (command,) = imported.json["next_steps"]
    done = run(first, *command.split(), "--only", "executions,report", "--yes")
    assert done.code == 0, done.out + done.err
    return first, second


def test_projects_share_nothing(projects: tuple[Path, Path]) -> None:
    first, second = projects
    shared = [CHECKOUT / name for name in (".dagster", ".env", "data/lake")]
    before = [path.exists() for path in shared]

    counted = run(
        first, "ledger", "sql", "--format", "csv", "SELECT count(*) > 0 AS any FROM inference_executions"
    )
    assert counted.out == "any\ntrue\n"
    assert sorted(path.name for path in first.iterdir()) == [".dagster", "data", "ledger.toml"]
    assert [path.name for path in second.iterdir()] == ["ledger.toml"]
    assert [path for path in first.rglob("*") if path.stat().st_mode & 0o007] == [], "others have access"
    answer = run(first, "ledger", "status", "--json").json
    assert (answer["from"], answer["to"]) == ("2026-10-06", "2026-10-07")
    assert "no sources are set" in run(second, "ledger", "status").err
    assert f"Dagster instance at {first / '.dagster'}" in run(first, "ledger", "doctor").out
    assert [path.exists() for path in shared] == before


def test_dg_uses_the_home_that_init_prints_and_warns_about_another(projects: tuple[Path, Path]) -> None:
    first, _ = projects
    environ = {"LEDGER_CONFIG": str(first / "ledger.toml"), "DAGSTER_HOME": str(first / ".dagster")}
    runs = first / ".dagster" / "storage"
    before = set(runs.iterdir())

    done = run(CHECKOUT, "dg", "launch", "--assets", "inference_schedulers", **environ)

    assert done.code == 0, done.err
    assert "To keep its runs apart" not in done.err
    assert set(runs.iterdir()) - before

    environ["DAGSTER_HOME"] = str(CHECKOUT / ".dagster")
    program = [sys.executable, "-c", IMPORT_DEFINITIONS]
    warned = subprocess.run(
        program, cwd=CHECKOUT, env=os.environ | environ, capture_output=True, text=True, check=True
    )
    assert f"export DAGSTER_HOME={first / '.dagster'}" in warned.stderr
    assert warned.stdout == "True True set()\n", (
        "a large library is imported, or garbage is not collected, or collections look at imports"
    )
