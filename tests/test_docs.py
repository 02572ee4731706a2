"""The documentation: every command in it works, every link leads somewhere.

The commands run on the lake of `make demo`, so CI runs these tests after the demo, with `-m docs`.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli.demo import environment as playground

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
RUN_BY_CI = {"make setup", "make demo", "make dev", "make test", "make check"}


TUTORIAL = ROOT / "docs" / "tutorial.md"


def blocks(language: str, *pages: Path) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [block for page in pages for block in pattern.findall(page.read_text())]


CONSOLE = [line.removeprefix("$ ") for block in blocks("console", *PAGES) for line in block.splitlines()]
COMMANDS = [
    line
    for block in blocks("sh", *(page for page in PAGES if page != TUTORIAL))
    for line in block.splitlines()
    if line
]


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


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """That of someone who has run the demo and keeps its service running."""
    if not playground.CONFIG.exists():
        pytest.skip("run `make demo` first: the commands are about its lake")
    with playground.run_service() as found:
        yield found | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def shell(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("make")])
def test_a_command_runs(command: str, environment: dict[str, str]) -> None:
    done = shell(command, environment)

    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.docs
def test_the_tutorial_runs_from_start_to_end(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("LEDGER_CONFIG", "DAGSTER_HOME"):
        environment = {key: value for key, value in environment.items() if key != name}
    environment["HOME"] = str(tmp_path)

    done = shell("\n".join(blocks("sh", TUTORIAL)), environment)

    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "tutorial" / "report.html").exists()


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in CONSOLE if "sandbox serve" not in command])
def test_a_command_beside_the_sandbox_runs(command: str, environment: dict[str, str]) -> None:
    if command.startswith("aws ") and shutil.which("aws") is None:
        pytest.skip("no AWS CLI on this machine")

    done = shell(command.replace("./box.env", str(playground.EXPORTS)), environment)

    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in CONSOLE if "sandbox serve" in command])
def test_the_sandbox_starts_as_told(command: str, environment: dict[str, str], tmp_path: Path) -> None:
    exports = tmp_path / "box.env"
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command.replace('box.env', str(exports))} --no-s3"], cwd=ROOT, env=environment
    )
    try:
        deadline = time.monotonic() + 60
        while not exports.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        assert "AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT" in exports.read_text()
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.docs
@pytest.mark.parametrize("program", blocks("python", *PAGES))
def test_a_program_runs(program: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
