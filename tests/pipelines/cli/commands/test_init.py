"""`ledger init`: a new project in a folder."""

from pathlib import Path

import pytest

from resources.config.settings import load_settings
from tests.support.command_line import RunLedger


@pytest.fixture
def folder(tmp_path: Path, ledger: RunLedger, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 (sets both)
    """An empty current folder, and an environment without the variables of a project."""
    monkeypatch.delenv("LEDGER_CONFIG")
    monkeypatch.delenv("DAGSTER_HOME")
    path = tmp_path / "plant a"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def test_the_settings_are_valid_and_the_next_steps_name_the_project(ledger: RunLedger, folder: Path) -> None:
    done = ledger("init")

    assert done.code == 0, done.err
    assert [path.name for path in folder.iterdir()] == ["ledger.toml"]
    assert load_settings().config_file == folder / "ledger.toml"
    assert load_settings().lake.uri == str(folder / "data" / "lake")
    assert "ledger import" in done.out
    assert f"export LEDGER_CONFIG='{folder / 'ledger.toml'}' DAGSTER_HOME='{folder / '.dagster'}'" in done.out
    assert "  cd " not in done.out
    assert "!" not in done.out


def test_a_folder_is_created_and_entered(ledger: RunLedger, folder: Path) -> None:
    done = ledger("init", "deep/er")

    assert (folder / "deep" / "er" / "ledger.toml").exists()
    assert f"cd '{folder / 'deep' / 'er'}'" in done.out


def test_existing_settings_are_not_replaced(ledger: RunLedger, folder: Path) -> None:
    (folder / "ledger.toml").write_text("# mine\n")

    done = ledger("init")

    assert done.code == 2
    assert "Cannot create a project: the file exists" in done.err
    assert (folder / "ledger.toml").read_text() == "# mine\n"


def test_a_file_in_place_of_the_folder_is_refused(ledger: RunLedger, folder: Path) -> None:
    (folder / "file").touch()

    assert "it is not a folder" in ledger("init", "file").err
    assert ledger("init", "file/below").code == 2


def test_variables_that_select_another_project_are_named(
    ledger: RunLedger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_CONFIG", str(folder.parent / "ledger.toml"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder.parent / "home"))

    done = ledger("init")

    assert "! LEDGER_CONFIG is set" in done.out
    assert "! DAGSTER_HOME is set" in done.out
