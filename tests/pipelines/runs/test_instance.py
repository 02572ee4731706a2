"""The Dagster home of a project: its path, its creation, and the environment of subprocesses."""

import os
import runpy
import sys
from errno import ENOSPC
from pathlib import Path

import pytest
from dagster._core.secrets.env_file import get_env_var_dict
from sqlalchemy import create_engine, text

from pipelines.runs import instance as home
from pipelines.runs import launcher
from pipelines.runs.diagnostics import check_instance
from resources.config.loader import CHECKOUT
from resources.errors import ConfigurationError
from tests.support.paths import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; it has settings."""
    monkeypatch.delenv("LEDGER_CONFIG", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "ledger.toml").touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "project/.dagster"),
        ({"DAGSTER_HOME": ""}, "project/.dagster"),
        ({"DAGSTER_HOME": "  "}, "project/.dagster"),
        ({"LEDGER_CONFIG": "../other/x.toml"}, "other/.dagster"),
        ({"DAGSTER_HOME": "~/dagster"}, "user/dagster"),
        ({"DAGSTER_HOME": "relative"}, "project/relative"),
        ({"DAGSTER_HOME": "/srv/dagster", "LEDGER_CONFIG": "x.toml"}, "/srv/dagster"),
    ],
)
def test_the_home_is_next_to_the_settings_unless_a_variable_names_it(
    project: Path, environ: dict[str, str], expected: str
) -> None:
    assert home.find_home(environ).resolve() == project.parent / expected


def test_without_settings_the_home_is_in_the_checkout(project: Path) -> None:
    (project / "ledger.toml").unlink()

    assert home.find_home({}) == CHECKOUT / ".dagster"


def test_an_unknown_user_is_refused_and_named_with_the_variable(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "~unknown-user-name/x")

    home.select_home()
    with pytest.raises(ConfigurationError, match="Cannot use DAGSTER_HOME"):
        home.prepare_home()

    assert [path.name for path in project.iterdir()] == ["ledger.toml"]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_as_home_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (project / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", path)

    with pytest.raises(ConfigurationError, match="it is not a folder") as caught:
        home.prepare_home()

    assert caught.value.where == str(project / path)


def test_a_folder_that_cannot_be_written_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project / "home"
    folder.mkdir()
    (folder / "dagster.yaml").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not restrict root

    with pytest.raises(ConfigurationError, match="read-only"):
        home.prepare_home()


def test_selecting_the_home_creates_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "~/home")

    home.select_home()

    assert os.environ["DAGSTER_HOME"] == str(project.parent / "user" / "home")
    assert not (project.parent / "user").exists()
    assert [path.name for path in project.iterdir()] == ["ledger.toml"]


def test_preparing_writes_the_instance_file_once_and_keeps_an_existing_one(project: Path) -> None:
    home.prepare_home()
    file = project / ".dagster" / "dagster.yaml"
    assert file.read_text() == home.INSTANCE + home.STORAGE
    file.write_text("# mine\n")
    home.prepare_home()
    assert file.read_text() == "# mine\n"


def test_a_subprocess_in_another_folder_gets_absolute_paths(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = home.build_environment()
    assert environment["LEDGER_CONFIG"] == str(project / "ledger.toml")
    assert environment["DAGSTER_HOME"] == str(project / ".dagster")

    monkeypatch.setenv("LEDGER_CONFIG", "other.toml")
    assert home.build_environment()["LEDGER_CONFIG"] == str(project / "other.toml")


def test_dagster_home_of_the_environment_takes_precedence_over_the_env_file(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "CHECKOUT", tmp_path)
    home.set_up()
    variables = get_env_var_dict(str(tmp_path))
    assert variables == {"DAGSTER_HOME": str(project / ".dagster"), **home.TUNING}
    monkeypatch.delenv("DAGSTER_HOME")
    assert get_env_var_dict(str(tmp_path))["DAGSTER_HOME"] == str(tmp_path / ".dagster")
    assert (tmp_path / ".dagster" / "dagster.yaml").exists()


def test_a_full_disk_is_an_error_and_leaves_no_partial_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ConfigurationError, match="No space left on device") as caught:
        home.prepare_home()
    assert "free disk space" in caught.value.next_step

    def write_a_part(self: Path, text: str) -> None:
        self.write_bytes(text.encode()[:10])
        fail()

    monkeypatch.undo()
    folder = project / "new"
    monkeypatch.setattr(Path, "write_text", write_a_part)
    with pytest.raises(ConfigurationError, match="No space left on device"):
        home.create_home(folder)
    assert list(folder.iterdir()) == []


def test_errors_of_the_database_are_translated(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(project))
    database = create_engine("sqlite://")
    with database.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
        with (
            pytest.raises(ConfigurationError, match="instance: database or disk is full") as caught,
            home.translate_storage_errors(),
        ):
            connection.execute(text("CREATE TABLE one (a)"))
    database.dispose()
    assert caught.value.where == str(project)


@pytest.mark.parametrize("text", ["storage: [", "storage: {sqlite: 1}"])
def test_an_invalid_dagster_yaml_is_named(project: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(project))
    (project / "dagster.yaml").write_text(text)

    with pytest.raises(ConfigurationError, match="Cannot open the Dagster instance") as caught:
        home.open_instance().__enter__()

    assert caught.value.where == str(project / "dagster.yaml")


def test_other_errors_are_not_translated() -> None:
    with pytest.raises(KeyError), home.translate_storage_errors():
        raise KeyError


def test_a_checkout_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(home.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(home, "CHECKOUT", tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(home, "_write_missing", refuse)
    monkeypatch.setattr(home, "create_home", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"Cannot write \.env: Read-only file system"):
        home.set_up()


@pytest.fixture
def home_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the Dagster home, and streams and umask that a program may change."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv(home.HOME_VARIABLE, str(file))
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(os, "umask", lambda _: 0)
    return file


def test_doctor_reports_a_home_that_cannot_be_used(home_is_a_file: Path) -> None:
    (finding,) = check_instance(is_configured=False)
    assert str(home_is_a_file) in finding.message and "not a folder" in finding.message


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the module is imported already
def test_the_set_up_ends_with_a_message(home_is_a_file: Path) -> None:
    with pytest.raises(SystemExit, match="Cannot use the Dagster home") as caught:
        runpy.run_module("pipelines.runs.instance", run_name="__main__")
    assert str(home_is_a_file) in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_worker_with_invalid_settings_ends_with_a_message(
    home_is_a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_CONFIG", str(home_is_a_file / "ledger.toml"))
    monkeypatch.delitem(sys.modules, "pipelines.definitions")
    with pytest.raises(SystemExit, match=r"ledger\.toml"):
        runpy.run_module("pipelines.runs.worker", run_name="__main__")


def test_a_log_that_cannot_be_written_is_named(home_is_a_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="Cannot write the log of a run") as caught:
        launcher._create_log_path({home.HOME_VARIABLE: str(home_is_a_file)})
    assert str(home_is_a_file) in caught.value.where


@pytest.mark.parametrize("file", ["Dockerfile", "systemd/lookout-ledger-daemon.service"])
def test_the_daemon_of_each_deployment_waits_for_events_that_are_being_stored(file: str) -> None:
    name = "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS"
    assert f"{name}={home.TUNING[name]}" in (ROOT / "deploy" / file).read_text()
