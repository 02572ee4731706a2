"""Every command of the documentation works, and every link has a target.

The commands run on the lake of `make demo`, so CI runs these tests after the demo, with `-m docs`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pipelines.cli.demo import environment as demo
from tests.support.command_line import run_in_this_process

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
RUN_BY_CI = {"make setup", "make demo", "make dev", "make test", "make check"}


SHELL_SYNTAX = {"|", "||", "&&", ">", "<"}
TUTORIAL = ROOT / "docs" / "tutorial.md"


def list_blocks(language: str, *pages: Path) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [block for page in pages for block in pattern.findall(page.read_text())]


CONSOLE = [line.removeprefix("$ ") for block in list_blocks("console", *PAGES) for line in block.splitlines()]
COMMANDS = list(
    dict.fromkeys(
        line
        for block in list_blocks("sh", *(page for page in PAGES if page != TUTORIAL))
        for line in block.splitlines()
        if line
    )
)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_ci_runs_every_make_target_of_the_docs(command: str) -> None:
    assert command in RUN_BY_CI
    assert command in (ROOT / ".ci" / "run").read_text()


def test_make_help_lists_the_targets_that_ci_runs() -> None:
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {f"make {verb}" for verb in re.findall(r"^  make (\w+)", help_text, re.MULTILINE)} >= RUN_BY_CI


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_an_existing_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())

    assert [link for link in links if "://" not in link and not has_target(page, link)] == []


def has_target(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in list_anchors(target))


@cache
def list_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tutorial_installs_the_sandbox_that_its_commands_start() -> None:
    assert "python -m sandbox serve" in "".join(list_blocks("sh", TUTORIAL))
    assert "make sandbox" in "".join(list_blocks("text", TUTORIAL)), "CI has the extra anyway"


def test_the_index_links_to_every_guide() -> None:
    index = (ROOT / "docs" / "README.md").read_text()

    guides = [page.name for page in (ROOT / "docs" / "how-to").iterdir()]
    assert [name for name in guides if f"(how-to/{name})" not in index] == []


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """The environment after `make demo`, with the service of the demo running."""
    if not demo.CONFIG.exists():
        pytest.skip("run `make demo` first: the commands use its lake")
    with demo.run_service() as service_environment:
        yield service_environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run_in_shell(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("make")])
def test_a_command_runs(
    command: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = command.removesuffix(" || true")
    words = shlex.split(plain, comments=True)
    if words[0] == "ledger" and not SHELL_SYNTAX & {*words}:  # it needs no shell, and no start of a process
        monkeypatch.chdir(ROOT)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        done = run_in_this_process(words[1:], capsys)
        assert done.code == 0 or (done.code == 1 and plain != command), done.err[-2000:]
    else:
        shell = run_in_shell(command, environment)
        assert shell.returncode == 0, shell.stderr[-2000:]


@pytest.mark.docs
def test_the_tutorial_runs_from_start_to_end_without_any_aws_settings(tmp_path: Path) -> None:
    folder = tmp_path / "tutorial"
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    done = run_in_shell("\n".join(list_blocks("sh", TUTORIAL)), variables)

    assert done.returncode == 0, done.stderr[-2000:]
    assert "||" not in "".join(list_blocks("sh", TUTORIAL))
    without, with_results = (
        (folder / name).read_text() for name in ("without-results.html", "with-results.html")
    )
    assert "Unable to locate credentials" in without
    assert 'data-cell="1 events"' not in without
    assert 'data-cell="1 events"' in with_results
    assert "<h2>Not known</h2>" not in with_results
    assert "Days that are extracted or in saved responses: 2026-10-04 to 2026-10-07" in done.stdout
    assert "http://127.0.0.1:3001" in (folder / "dev.log").read_text(), "the UI is at the chosen port"


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in CONSOLE if "sandbox serve" not in command])
def test_a_command_with_a_running_sandbox_runs(command: str, environment: dict[str, str]) -> None:
    if command.startswith("aws ") and shutil.which("aws") is None:
        pytest.skip("no AWS CLI on this machine")

    done = run_in_shell(command.replace("./box.env", str(demo.EXPORTS)), environment)

    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.docs
@pytest.mark.parametrize("command", [command for command in CONSOLE if "sandbox serve" in command])
def test_the_sandbox_starts_as_documented(command: str, environment: dict[str, str], tmp_path: Path) -> None:
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
@pytest.mark.parametrize("program", list_blocks("python", *PAGES))
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
    assert done.stdout.strip() or "print(" not in program
