"""The help teaches, and the docs have every command and every option."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
DOCS = (ROOT / "docs" / "reference" / "command-line.md").read_text()


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, one in inner.items():
        yield from commands(one, (*words, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_is_documented_with_all_its_options(words: tuple[str, ...]) -> None:
    heading = next(
        (line for line in DOCS.splitlines() if line.startswith("## ") and " ".join(words) in line), None
    )
    assert heading, f"docs/reference/command-line.md has no section on ledger {' '.join(words)}"
    section = DOCS.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]

    options = [
        name for parameter in ALL[words].params for name in (*parameter.opts, *parameter.secondary_opts)
    ]
    assert [name for name in options if name.startswith("-") and f"`{name}`" not in section] == []


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_says_what_it_is_for_and_has_an_example(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"])

    assert done.exit_code == 0
    assert re.search(rf"Examples?: ledger {' '.join(words)}", " ".join(done.output.split()))
    assert ALL[words].help


def test_the_whole_lists_the_commands_in_groups() -> None:
    done = CliRunner().invoke(app, ["--help"])

    for group in ("Begin", "Extract", "Ask and report", "Take the lake elsewhere"):
        assert f"─ {group} ─" in done.output
    assert {words[0] for words in ALL} <= set(re.findall(r"^│ (\w+) ", done.output, re.MULTILINE))


@pytest.mark.parametrize(
    "words",
    [
        ["bakfill"],
        ["plan"],
        ["plan", "--form", "2026-10-01"],
        ["plan", "--from", "2026-10-01", "--to", "2026-10-02", "--calls-per-second", "fast"],
        ["backfill", "--max-calls", "0"],
        ["import"],
    ],
    ids=" ".join,
)
def test_a_slip_on_the_command_line_is_told_with_exit_code_2(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)

    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "--help" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_complete_commands_and_options(shell: str) -> None:
    """As `--install-completion` sets it up: the shell asks the program with the words so far."""
    ledger = str(Path(sys.executable).with_name("ledger"))
    asked = {
        "bash": {"COMP_WORDS": "ledger backfill --sk", "COMP_CWORD": "2"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "ledger backfill --sk"},
        "fish": {"_TYPER_COMPLETE_ARGS": "ledger backfill --sk", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    done = subprocess.run(
        [ledger],
        env=os.environ | {"_LEDGER_COMPLETE": f"complete_{shell}"} | asked[shell],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "--skip-settled" in done.stdout, done.stderr
