"""`ledger import`: saved responses are previewed, then copied or registered once."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from resources.config.settings import ArchiveSettings, load_settings
from resources.config.template import render_template
from resources.sources.archive import ArchiveSource
from tests.support.command_line import RunLedger

FOLDER = 'kind = "archive"\nuri = "archive/"'


@pytest.fixture
def archive(tmp_path: Path, settings: Callable[..., Path]) -> Path:
    settings(FOLDER)
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def whole(dumps: Any, tmp_path: Path) -> Path:
    """Return one complete saved response."""
    problems = {*dumps[1].incomplete, *dumps[1].unreadable, *dumps[1].unusable}
    paths = sorted(file.path for file in dumps[1].files if file.path.suffix == ".json")
    chosen = next(path for path in paths if path not in problems)
    copy = tmp_path / "mine" / "page.json"
    copy.parent.mkdir()
    shutil.copy(chosen, copy)
    return copy


def test_files_are_previewed_and_copied_and_the_next_command_has_their_days(
    ledger: RunLedger, archive: Path, dumps: Any
) -> None:
    done = ledger("import", str(dumps[0]), "--json")

    answer = done.json
    assert done.code == 1, "some files are broken on purpose"
    assert answer["files"] == len(dumps[1].files)
    assert (answer["from"], answer["to"]) == ("2026-10-06", "2026-10-07")
    assert "pump-1" in answer["schedulers"]
    assert any("Pages are missing" in problem for problem in answer["problems"])
    assert answer["next_steps"][-1] == "ledger backfill --from 2026-10-06 --to 2026-10-07"
    copied = {file.uri for file in ArchiveSource(str(archive)).list_files()}
    assert copied == set(answer["copied"])
    assert len(copied) > 10


def test_content_is_not_copied_twice(ledger: RunLedger, archive: Path, whole: Path) -> None:
    assert ledger("import", str(whole)).code == 0
    renamed = whole.with_name("other.json")
    whole.rename(renamed)

    done = ledger("import", str(renamed))

    assert done.code == 0
    assert "1 already present" in done.out
    assert len(list(archive.rglob("*.json"))) == 1


def test_a_file_of_the_same_name_is_never_replaced_and_pages_stay_together(
    ledger: RunLedger, archive: Path, whole: Path
) -> None:
    (archive / "page.json").write_text("{}")
    shutil.copy(whole, whole.with_name("page-2.json"))
    whole.with_name("page-2.json").write_bytes(whole.read_bytes() + b"\n")

    done = ledger("import", str(whole.parent), "--json")

    assert done.code == 0, done.out
    assert (archive / "page.json").read_text() == "{}"
    assert sorted(Path(name).relative_to(archive) for name in done.json["copied"]) == [
        Path("mine-2/page-2.json"),
        Path("mine-2/page.json"),
    ]


def test_a_dry_run_changes_nothing(ledger: RunLedger, archive: Path, whole: Path) -> None:
    done = ledger("import", str(whole), "--dry-run")

    assert done.code == 0
    assert "1 would be copied" in done.out
    assert list(archive.iterdir()) == []


def test_registering_only_appends_to_the_settings(
    ledger: RunLedger, settings: Callable[..., Path], whole: Path
) -> None:
    file = settings(FOLDER, more="# my comment\n")
    before = file.read_text()

    done = ledger("import", str(whole.parent), "--register")

    assert done.code == 0, done.err
    assert file.read_text().startswith(before.rstrip())
    assert str(whole.parent) in [source.uri for source in load_settings().sources]
    again = ledger("import", str(whole.parent), "--register", "--json")
    assert again.json["registered"] == []
    assert list(file.parent.glob(".*.tmp")) == []


def test_the_first_import_creates_the_settings(ledger: RunLedger, whole: Path, tmp_path: Path) -> None:
    done = ledger("import", str(whole))

    assert done.code == 0, done.err
    settings = load_settings()
    assert settings.sources[0].uri == str(whole)
    assert (settings.history.start_date, settings.history.end_date) == (date(2026, 10, 6), date(2026, 10, 8))
    written = (tmp_path / "ledger.toml").read_text().splitlines()
    assert [line for line in render_template().splitlines() if line not in written] == []
    assert done.out.splitlines()[-1] == "  ledger backfill --from 2026-10-06 --to 2026-10-06"


@pytest.mark.parametrize("is_link", [False, True], ids=["parent", "link"])
def test_a_folder_is_registered_as_the_user_names_it(
    ledger: RunLedger, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_link: bool
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "ledger.toml").write_text("")
    monkeypatch.chdir(project)
    monkeypatch.delenv("LEDGER_CONFIG")
    if is_link:
        (project / "saved").symlink_to(whole.parent)

    done = ledger("import", "saved" if is_link else "../mine", "--yes")

    assert done.code == 0, done.err
    assert f'uri = "{"saved/" if is_link else "../mine/"}"' in (project / "ledger.toml").read_text()
    assert [source.uri for source in load_settings().sources] == [str(whole.parent)]


@pytest.mark.usefixtures("archive")
def test_without_a_terminal_only_yes_changes_values_that_the_settings_set(
    ledger: RunLedger, settings: Callable[..., Path], whole: Path
) -> None:
    file = settings(FOLDER, start="2026-10-07", end="2026-10-09", more="# my comment\n")
    before = file.read_bytes()

    done = ledger("import", str(whole))
    assert 'set [history] start_date = "2026-10-06" in ledger.toml (now 2026-10-07)' in done.out
    assert file.read_bytes() == before

    done = ledger("import", str(whole), "--yes", "--json")
    assert done.json["history"] == {"start_date": "2026-10-06"}
    assert done.json["next_steps"] == ["ledger backfill --from 2026-10-06 --to 2026-10-06"]
    assert file.read_bytes().startswith(before.replace(b"2026-10-07", b"2026-10-06"))


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_on_a_terminal_the_settings_change_after_a_confirmation(
    ledger: RunLedger, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    terminal = StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)

    done = ledger("import", str(whole))

    assert done.code == code
    assert f"add {whole} as an archive source" in done.out
    assert 'set [history] start_date = "2026-10-06"' in done.out
    assert (tmp_path / "ledger.toml").exists() == (code == 0)


@pytest.mark.usefixtures("archive")
def test_a_variable_that_sets_the_history_is_named(
    ledger: RunLedger, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_HISTORY__START_DATE", "2026-10-07")

    done = ledger("import", str(whole), "--yes", "--json")

    assert done.json["history"] == {}
    assert done.json["next_steps"][0] == "set LEDGER_HISTORY__START_DATE=2026-10-06 (now 2026-10-07)"


@pytest.mark.usefixtures("archive")
def test_buckets_of_results_are_allowed_with_consent(ledger: RunLedger, whole: Path) -> None:
    bucket = "ireland-plant-inference"
    done = ledger("import", str(whole))
    assert f'set [results] allowed_buckets = ["{bucket}"] in ledger.toml' in done.out
    assert load_settings().results.allowed_buckets is None

    done = ledger("import", str(whole), "--yes", "--json")
    assert done.json["allowed_buckets"] == [bucket]
    assert load_settings().results.allowed_buckets == (bucket,)

    done = ledger("import", str(whole), "--yes", "--json")
    assert (done.json["allowed_buckets"], len(done.json["next_steps"])) == ([], 1)


@pytest.mark.usefixtures("archive")
def test_a_variable_that_sets_the_allowed_buckets_is_named(
    ledger: RunLedger, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_RESULTS__ALLOWED_BUCKETS", "plant-a plant-b")

    done = ledger("import", str(whole), "--yes", "--json")

    assert done.json["next_steps"][0].startswith(
        'set LEDGER_RESULTS__ALLOWED_BUCKETS="plant-a plant-b ireland-plant-inference"'
    )


def test_line_ends_comments_and_links_of_the_settings_stay(
    ledger: RunLedger, tmp_path: Path, whole: Path
) -> None:
    target = tmp_path / "shared.toml"
    before = b"# mine\r\n[history]\r\n# start_date\r\nlookback_days = 3 # days\r\n"
    target.write_bytes(before)
    file = tmp_path / "ledger.toml"
    file.symlink_to(target)

    done = ledger("import", str(whole), "--yes")

    assert done.code == 0, done.err
    assert file.is_symlink()
    assert target.read_bytes().startswith(before)
    assert target.read_bytes().count(b"\n") == target.read_bytes().count(b"\r\n") == 13


def test_the_settings_in_the_current_folder_are_written_if_there_are_none(
    ledger: RunLedger, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plant"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LEDGER_CONFIG")

    assert ledger("import", str(whole)).code == 0
    assert load_settings().config_file == folder / "ledger.toml"


def write_printed_response(file: Path) -> None:
    """Write a response as a notebook prints it, with a time without a zone."""
    arn = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/1"
    start = "datetime.datetime(2026, 10, 6, 0, 30, tzinfo=tzlocal())"
    file.write_text(
        f"{{'InferenceExecutionSummaries': [{{'InferenceSchedulerArn': '{arn}', 'Status': 'SUCCESS',"
        f" 'InferenceSchedulerName': 'pump-1', 'DataStartTime': {start}}}]}}"
    )


def test_files_are_read_in_the_time_zone_of_their_source(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "archive").mkdir()
    file = tmp_path / "page.json"
    write_printed_response(file)

    settings(FOLDER)
    done = ledger("import", str(file), "--dry-run")
    assert done.code == 1
    assert f"{file}: 1 summary rejected: data_start_time: " in done.text
    assert "has no time zone" in done.text

    settings(FOLDER + '\ntime_zone = "Europe/Berlin"')
    assert ledger("import", str(file), "--dry-run", "--json").json["from"] == "2026-10-05"
    assert ledger("import", str(file), "--dry-run", "--time-zone", "UTC").code == 2


def test_the_time_zone_of_a_new_source_is_written(ledger: RunLedger, tmp_path: Path) -> None:
    file = tmp_path / "page.json"
    write_printed_response(file)

    assert "Cannot use --time-zone" in ledger("import", str(file), "--time-zone", "Mars").err
    done = ledger("import", str(file), "--time-zone", "+02:00", "--json")

    assert done.json["from"] == "2026-10-05"
    assert load_settings().sources == (ArchiveSettings(uri=str(file), time_zone="+02:00"),)


def test_settings_that_cannot_be_extended_are_unchanged(
    ledger: RunLedger, tmp_path: Path, whole: Path
) -> None:
    file = tmp_path / "ledger.toml"
    file.write_text('sources = [{ kind = "archive", uri = "elsewhere/x.json" }]\n')
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.json").write_text("{}")

    done = ledger("import", str(whole))

    assert done.code == 2
    assert "add it by hand (nothing was changed)" in done.err
    assert file.read_text().startswith("sources = [")


def test_days_outside_the_history_come_with_the_settings_to_change(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path, whole: Path
) -> None:
    settings(FOLDER, start="2026-10-07", end="2026-10-08")
    (tmp_path / "archive").mkdir()

    answer = ledger("import", str(whole), "--dry-run", "--json").json

    assert (
        answer["next_steps"][0] == 'set [history] start_date = "2026-10-06" in ledger.toml (now 2026-10-07)'
    )
    assert answer["next_steps"][-1] == f"ledger backfill --from {answer['from']} --to {answer['to']}"


def test_a_prefix_in_s3_is_rejected_with_the_source_to_add(ledger: RunLedger) -> None:
    done = ledger("import", "s3://plants/saved/")

    assert done.code == 2
    assert 'kind = "archive", uri = "s3://plants/saved/"' in done.err


def test_the_current_folder_is_imported(
    ledger: RunLedger, archive: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole.parent)
    assert ledger("import", ".").code == 0
    assert [file.name for file in archive.iterdir()] == [whole.name]


@pytest.mark.parametrize("path", ["", "~no-such-user/a", "missing", "a" * 300, "missing\udcff"])
@pytest.mark.usefixtures("archive")
def test_a_path_that_does_not_exist_is_rejected_by_name(ledger: RunLedger, path: str) -> None:
    done = ledger("import", path)
    assert done.code == 2
    assert ("Cannot import" if path else "it is empty") in done.err


@pytest.mark.parametrize(
    ("make", "expected", "code"),
    [
        (None, "Cannot import", 2),
        ("no json at all", "is truncated or not JSON", 1),
        (json.dumps({"Datasets": []}), "has no InferenceExecutionSummaries", 1),
    ],
    ids=["missing", "broken", "another response"],
)
def test_files_that_are_not_saved_responses_are_reported_and_not_copied(
    ledger: RunLedger, archive: Path, tmp_path: Path, make: str | None, expected: str, code: int
) -> None:
    file = tmp_path / "thing.json"
    if make is not None:
        file.write_text(make)

    done = ledger("import", str(file))

    assert done.code == code
    assert expected in done.out + done.err
    assert list(archive.iterdir()) == []
