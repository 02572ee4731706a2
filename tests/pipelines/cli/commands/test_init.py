"""`ledger init`: a new project in a folder."""

from datetime import date
from io import StringIO
from pathlib import Path

import pytest

from resources.config.settings import BucketSettings, load_settings
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


def write_results(folder: Path) -> None:
    for day in ("2026-09-10", "2026-09-12"):
        file = folder / f"{day}T00:00:00Z" / "results.jsonl"
        file.parent.mkdir(parents=True)
        file.touch()


def test_a_copy_of_a_bucket_becomes_the_source_and_its_days_the_history(
    ledger: RunLedger,
    folder: Path,  # noqa: ARG001 (the current folder)
    tmp_path: Path,
) -> None:
    write_results(tmp_path / "output")

    done = ledger("init", "--bucket", str(tmp_path / "output"), "--copy-of", "s3://plant/output/")

    assert done.code == 0, done.err
    settings = load_settings()
    (source,) = settings.sources
    assert isinstance(source, BucketSettings)
    assert (source.uri, source.copy_of) == (str(tmp_path / "output"), "s3://plant/output/")
    assert settings.history.start_date == date(2026, 9, 10)
    assert "ledger plan --from 2026-09-10 --to 2026-09-12" in done.out
    assert "ledger backfill --from 2026-09-10 --to 2026-09-12" in done.out
    assert ledger("plan", "--from", "2026-09-10", "--to", "2026-09-12").code == 0


def test_a_bucket_without_results_is_written_with_a_warning(
    ledger: RunLedger, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "output").mkdir()

    done = ledger("init", "--bucket", str(tmp_path / "output"))

    assert done.code == 0, done.err
    assert "Cannot find the days of the results" in done.out
    assert (folder / "ledger.toml").exists()


def test_an_endpoint_becomes_the_source(ledger: RunLedger, folder: Path) -> None:  # noqa: ARG001
    assert ledger("init", "--api", "eu-west-1").code == 0
    (source,) = load_settings().sources
    assert (source.kind, getattr(source, "region", None)) == ("api", "eu-west-1")


@pytest.mark.parametrize("options", [("--copy-of", "s3://a/"), ("--bucket", "b", "--api", "eu-west-1")])
def test_options_that_exclude_each_other_are_refused(
    ledger: RunLedger, folder: Path, options: tuple[str, ...]
) -> None:
    assert "Cannot combine these options" in ledger("init", *options).err
    assert not (folder / "ledger.toml").exists()


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["1"], None),
        (["2", "s3://no-such-bucket/output/"], "bucket"),
        (["3", "output", "s3://plant/output/"], "bucket"),
        (["4", "eu-west-1"], "api"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_terminal_asks_what_the_user_has(
    ledger: RunLedger, folder: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], kind: str | None
) -> None:
    write_results(folder / "output")

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("\n".join(answers) + "\n"))
    done = ledger("init")
    assert done.code == 0, done.err
    assert "What do you have?" in done.out
    assert [source.kind for source in load_settings().sources] == ([kind] if kind else [])
