"""The image: its Dockerfile, and a deployment made by the commands of the Dockerfile."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.dumps import Manifest
from tests.support.paths import ROOT
from tests.support.tools import run_tool

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def read_instructions(name: str) -> list[str]:
    """Return the arguments of all instructions with a name; continued lines are joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def list_copied() -> list[str]:
    """Return the files and folders that the image copies from the checkout."""
    sources = [words.split() for words in read_instructions("COPY")]
    words = [word for copied in sources for word in copied[:-1] if "--from=build" not in copied]
    return [word for word in words if not word.startswith("--")]


def test_the_context_contains_what_the_image_copies_and_nothing_else() -> None:
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().split()

    assert lines[0] == "*"
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(list_copied())
    assert all((ROOT / path).exists() for path in list_copied())


def test_the_image_runs_without_privileges_and_gets_the_signals() -> None:
    (user,) = read_instructions("USER")
    (command,) = read_instructions("CMD")

    assert int(user) > 0
    assert command.startswith("[")  # exec form: no shell between the signal and Dagster


@pytest.mark.deploy
@pytest.mark.parametrize("path", ["Dockerfile", "ecs/Dockerfile"])
def test_hadolint_finds_nothing(path: str) -> None:
    result = run_tool("hadolint", ROOT / "deploy" / path)

    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.deploy
def test_hadolint_finds_an_unpinned_package(tmp_path: Path) -> None:
    broken = (
        DOCKERFILE.read_text()
        .replace("-m pip install", "-m pip install requests &&")
        .replace(" uv \\", " \\")
    )
    (tmp_path / "Dockerfile").write_text(broken.replace("python:3.11-slim-bookworm", "python"))

    assert run_tool("hadolint", tmp_path / "Dockerfile").returncode == 1


@pytest.mark.deploy
def test_the_commands_of_the_image_install_a_location_that_runs_in_any_folder(
    tmp_path: Path, dumps: tuple[Path, Manifest]
) -> None:
    build, venv = tmp_path / "build", tmp_path / "venv"
    build.mkdir()
    for path in list_copied():
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        (build / path).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / path, build / path)
    (install,) = [line for line in read_instructions("RUN") if "pip install" in line]
    tools = tmp_path / "tools"  # the Python of the base image
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    inherited = re.compile("PYTHON|VIRTUAL_ENV|DAGSTER|LEDGER|UV_COMPILE")
    clean = {name: value for name, value in os.environ.items() if not inherited.match(name)}
    clean["PATH"] = f"{tools / 'bin'}:/usr/bin:/bin"
    install = install.replace("/opt/venv", str(venv))
    subprocess.run(["/bin/sh", "-ec", install], cwd=build, env=clean, check=True, stdout=subprocess.DEVNULL)

    project = tmp_path / "etc"
    project.mkdir()
    (project / "ledger.toml").write_text(
        '[history]\nstart_date = "2026-10-06"\nend_date = "2026-10-08"\n'
        f'[[sources]]\nkind = "archive"\nuri = "{dumps[0]}"\n'
    )
    home = tmp_path / "dagster_home"
    environment = {
        "PATH": f"{venv / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "DAGSTER_HOME": str(home),
        "LEDGER_CONFIG": str(project / "ledger.toml"),
    }
    for command in (
        "dagster definitions validate --module-name pipelines.definitions",
        "ledger backfill --from 2026-10-06 --to 2026-10-06 --only executions --yes",
    ):
        home.mkdir(exist_ok=True)
        result = subprocess.run(
            command.split(), cwd="/", env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
    assert list(project.glob("data/lake/inference_executions/data_date=2026-10-06/*.parquet"))
