"""The help teaches: each command has a purpose and examples."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import COMMANDS, app, load_command
from pipelines.cli.json_output import JSON_OUTPUT, list_json_fields

ROOT = Path(__file__).resolve().parents[3]


def list_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in COMMANDS:
        command = load_command(name)
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            yield (name,), command
        else:
            yield from (((name, subname), subcommand) for subname, subcommand in subcommands.items())


ALL = dict(list_commands())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_has_a_purpose_and_an_example(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"])

    assert done.exit_code == 0
    assert re.search(rf"Examples?: • ledger {' '.join(words)}", " ".join(done.output.split()))
    assert ALL[words].help


def test_examples_have_only_existing_options() -> None:
    for command in ALL.values():
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        for example in re.findall(r"`(ledger [^`&|]+)", command.epilog):
            assert {*re.findall(r" (--[a-z-]+)", example)} <= known, example


def test_ledger_help_lists_the_commands_in_groups() -> None:
    done = CliRunner().invoke(app, ["--help"])

    for group in ("Get started", "Extract", "Query and report", "Integrate and maintain"):
        assert f"─ {group} ─" in done.output
    assert {words[0] for words in ALL} <= set(re.findall(r"^│ (\w+) ", done.output, re.MULTILINE))
    assert "130: stopped by Ctrl-C" in done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_line_equals_the_first_line_of_the_help_of_its_command(name: str) -> None:
    assert (load_command(name).help or "").splitlines()[0] == COMMANDS[name].help


def test_ledger_help_imports_no_command_and_no_large_library() -> None:
    script = (
        "import sys\n"
        "from pipelines.cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith('pipelines.cli.commands.')"
        " or name in ('dagster', 'pyarrow', 'duckdb', 'boto3', 'msgspec')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])

    assert done.output == f"lookout-ledger {version('lookout-ledger')}\n"


def test_every_json_option_has_a_declared_output_and_each_field_a_meaning() -> None:
    with_json = {
        " ".join(words)
        for words, command in ALL.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert with_json == set(JSON_OUTPUT)
    assert [field for field in list_json_fields() if not field.meaning.endswith(".")] == []


@pytest.mark.parametrize(
    "words",
    [
        ["bakfill"],
        ["plan", "--form", "2026-10-01"],
        ["plan", "--from", "2026-10-01", "--to", "2026-10-02", "--calls-per-second", "fast"],
        ["backfill", "--max-calls", "0"],
        ["import"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_code_2(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)

    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "--help" in done.output


@pytest.mark.parametrize(
    "shell",
    ["bash", pytest.param("zsh", marks=pytest.mark.slow), pytest.param("fish", marks=pytest.mark.slow)],
)
def test_the_shell_can_complete_commands_and_options(shell: str) -> None:
    """As `--install-completion` sets it up: the shell calls the program with the words so far."""
    ledger = str(Path(sys.executable).with_name("ledger"))
    variables = {
        "bash": {"COMP_WORDS": "ledger backfill --sk", "COMP_CWORD": "2"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "ledger backfill --sk"},
        "fish": {"_TYPER_COMPLETE_ARGS": "ledger backfill --sk", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    done = subprocess.run(
        [ledger],
        env=os.environ | {"_LEDGER_COMPLETE": f"complete_{shell}"} | variables[shell],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "--skip-settled" in done.stdout, done.stderr
