"""The documentation: every command in it works, every link leads somewhere.

The commands run on the lake of `make demo`, so CI runs these tests after the demo, with `-m docs`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
DEMO = ROOT / "data" / "demo" / "ledger.toml"
RUN_BY_CI = {"make setup", "make demo", "make dev", "make test", "make check"}


def blocks(language: str) -> list[str]:
    found = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [block for page in PAGES for block in found.findall(page.read_text())]


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_a_verb_of_make_is_run_by_ci(command: str) -> None:
    assert command in RUN_BY_CI
    assert command in (ROOT / ".ci" / "run").read_text()


def test_the_verbs_are_those_that_make_help_lists() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {f"make {verb}" for verb in re.findall(r"^  make (\w+)", told, re.MULTILINE)} >= RUN_BY_CI


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("make")])
def test_a_command_runs(command: str) -> None:
    if not DEMO.exists():
        pytest.skip("run `make demo` first: the commands are about its lake")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=ROOT,
        env=os.environ | {"LEDGER_CONFIG": str(DEMO), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.docs
@pytest.mark.parametrize("program", blocks("python"))
def test_a_program_runs(program: str) -> None:
    if not DEMO.exists():
        pytest.skip("run `make demo` first: the programs are about its lake")

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
