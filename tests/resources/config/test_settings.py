"""The settings: valid values, their origin, and the errors of invalid ones."""

import json
import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from pydantic import BaseModel

from resources.config.loader import CHECKOUT, find_config_file
from resources.config.settings import EXAMPLE_TOML, ArchiveSettings, HistorySettings, Settings, load_settings
from resources.errors import ConfigurationError

TODAY = date(2026, 1, 15)
ARCHIVE = '[[sources]]\nkind = "archive"\nuri = "dumps"\n'

Load = Callable[..., Settings]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    return folder.resolve()


@pytest.fixture
def load(root: Path) -> Load:
    """Load `text` as the ledger.toml of the checkout (None: no file), with only these variables."""

    def load(text: str | bytes | None = None, **environ: str) -> Settings:
        if text is not None:
            (root / "ledger.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_settings(environ, root, TODAY)

    return load


@pytest.fixture
def error_message(load: Load) -> Callable[..., str]:
    """The message of the expected error; it has no internals of pydantic or Python."""

    def error_message(text: str | bytes | None = None, **environ: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            load(text, **environ)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return check_readable(str(caught.value))

    return error_message


def check_readable(message: str) -> str:
    for noise in ("pydantic", "Traceback", "input_value", "type=", "https://errors.", "Input should"):
        assert noise not in message
    message.encode()  # a terminal can print it
    return message


# --- Without a file ---------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_apply(load: Load, root: Path) -> None:
    settings = load()
    assert settings.config_file is None
    assert settings.lake.uri == str(root / "data" / "lake")
    assert settings.history == HistorySettings(
        start_date=date(2025, 1, 1), end_date=None, lookback_days=7, settle_after_minutes=180
    )
    assert settings.report.time_zone == "UTC"
    assert settings.sources == ()


def test_defaults_are_the_checkout_and_the_environment_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("LEDGER_")]:
        monkeypatch.delenv(name)
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    monkeypatch.setenv("LEDGER_CONFIG", str(empty))
    monkeypatch.setenv("LEDGER_HISTORY__LOOKBACK_DAYS", "3")
    settings = load_settings()
    assert settings.history.lookback_days == 3
    assert settings.lake.uri == str(empty.parent / "data" / "lake")


def test_settings_in_the_current_folder_are_used_unless_a_variable_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config_file({}) == CHECKOUT / "ledger.toml"
    (tmp_path / "ledger.toml").write_text("[history]\nlookback_days = 3\n")
    (tmp_path / "other.toml").write_text("")

    assert find_config_file({}) == tmp_path / "ledger.toml"
    assert load_settings({}).config_file == tmp_path / "ledger.toml"
    assert load_settings({}).history.lookback_days == 3
    assert find_config_file({"LEDGER_CONFIG": "other.toml"}) == tmp_path / "other.toml"
    assert load_settings({"LEDGER_CONFIG": "other.toml"}).config_file == tmp_path / "other.toml"


def test_the_checkout_is_the_default_folder_if_the_current_folder_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert find_config_file({}) == CHECKOUT / "ledger.toml"


def test_without_sources_and_file_the_error_names_the_file_to_write(load: Load, root: Path) -> None:
    with pytest.raises(ConfigurationError, match="no sources") as caught:
        load().require_sources()
    assert str(root / "ledger.toml") in caught.value.where
    assert f"write {root / 'ledger.toml'}" in caught.value.next_step
    assert EXAMPLE_TOML in caught.value.next_step


def test_without_sources_in_the_file_the_error_shows_what_to_add(load: Load, root: Path) -> None:
    with pytest.raises(ConfigurationError, match="no sources") as caught:
        load("[history]\nlookback_days = 3\n").require_sources()
    assert f"add to {root / 'ledger.toml'}" in caught.value.next_step
    assert EXAMPLE_TOML in caught.value.next_step


def test_an_empty_list_in_the_environment_is_reported_as_the_reason(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="no sources") as caught:
        load(ARCHIVE, LEDGER_SOURCES="[]").require_sources()
    assert "LEDGER_SOURCES" in caught.value.where
    assert "LEDGER_SOURCES='[{" in caught.value.next_step


@pytest.mark.parametrize(
    "before", ["", "[lake]\nuri = 'lake'\n", ARCHIVE], ids=["alone", "appended", "second"]
)
def test_the_example_is_valid(load: Load, root: Path, before: str) -> None:
    settings = load(before + EXAMPLE_TOML)
    assert settings.require_sources()[-1] == ArchiveSettings(kind="archive", uri=str(root / "dumps"))


# --- The file ---------------------------------------------------------------------------------------------


def test_all_settings_can_be_in_the_file(load: Load, root: Path) -> None:
    settings = load("""
        [lake]
        uri = "s3://plant/lake/"
        [history]
        start_date = "2025-03-01"
        end_date = "2026-10-08"
        lookback_days = 1
        settle_after_minutes = 0
        [report]
        time_zone = "Europe/Berlin"
        [[sources]]
        kind = "archive"
        uri = "s3://plant/dumps/"
        time_zone = "Asia/Kolkata"
        [[sources]]
        kind = "archive"
        uri = "one.json"
        time_zone = "+05:30"
    """)
    assert settings.config_file == root / "ledger.toml"
    assert settings.lake.uri == "s3://plant/lake"
    assert settings.history == HistorySettings(
        start_date=date(2025, 3, 1), end_date=date(2026, 10, 8), lookback_days=1, settle_after_minutes=0
    )
    assert settings.report.time_zone == "Europe/Berlin"
    assert settings.require_sources() == (
        ArchiveSettings(uri="s3://plant/dumps/", time_zone="Asia/Kolkata"),
        ArchiveSettings(uri=str(root / "one.json"), time_zone="+05:30"),
    )


def test_a_date_needs_no_quotes(load: Load) -> None:
    settings = load("[history]\nstart_date = 2025-02-03\nend_date = 2025-02-04\n")
    assert (settings.history.start_date, settings.history.end_date) == (date(2025, 2, 3), date(2025, 2, 4))


def test_the_history_can_start_today(load: Load) -> None:
    assert load(f"[history]\nstart_date = {TODAY}\n").history.start_date == TODAY


def test_a_byte_order_mark_is_accepted(load: Load) -> None:
    assert load(b"\xef\xbb\xbf" + ARCHIVE.encode()).sources


def test_settings_are_immutable(load: Load) -> None:
    settings = load(ARCHIVE)
    for model, name in [(settings, "sources"), (settings.lake, "uri"), (settings.sources[0], "uri")]:
        with pytest.raises(ValueError, match="frozen"):
            setattr(model, name, "elsewhere")


def test_the_environment_can_name_another_file(load: Load, tmp_path: Path) -> None:
    other = tmp_path / "plant" / "a.toml"
    other.parent.mkdir()
    other.write_text(ARCHIVE)
    settings = load("unreadable, and never read", LEDGER_CONFIG=str(other))
    assert settings.config_file == other
    assert settings.sources[0].uri == str(tmp_path / "plant" / "dumps")


def test_the_file_that_the_environment_names_is_relative_to_the_working_directory(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text(ARCHIVE)
    monkeypatch.chdir(tmp_path)
    assert load(LEDGER_CONFIG="a.toml").config_file == tmp_path / "a.toml"


# --- The environment --------------------------------------------------------------------------------------


def test_the_environment_overrides_single_keys_of_the_file(load: Load, root: Path) -> None:
    settings = load(
        '[lake]\nuri = "a"\n[history]\nstart_date = 2025-03-01\nlookback_days = 3\n[report]\ntime_zone="UTC"',
        LEDGER_LAKE__URI="b",
        LEDGER_HISTORY__START_DATE="2025-04-01",
        LEDGER_HISTORY__END_DATE="2025-05-01",
        LEDGER_HISTORY__SETTLE_AFTER_MINUTES="5",
        LEDGER_REPORT__TIME_ZONE="Asia/Tokyo",
    )
    assert settings.lake.uri == str(root / "b")
    assert settings.history == HistorySettings(
        start_date=date(2025, 4, 1), end_date=date(2025, 5, 1), lookback_days=3, settle_after_minutes=5
    )
    assert settings.report.time_zone == "Asia/Tokyo"


def test_sources_in_the_environment_replace_all_sources_of_the_file(load: Load, root: Path) -> None:
    sources = json.dumps([{"kind": "archive", "uri": "x"}, {"kind": "archive", "uri": "s3://b/y"}])
    settings = load(ARCHIVE, LEDGER_SOURCES=sources)
    assert [source.uri for source in settings.sources] == [str(root / "x"), "s3://b/y"]


def test_an_overridden_value_can_be_invalid_in_the_file(load: Load) -> None:
    text = '[history]\nlookback_days = "soon"\n[[sources]]\nkind = "none"\n'
    settings = load(text, LEDGER_HISTORY__LOOKBACK_DAYS="2", LEDGER_SOURCES="[]")
    assert settings.history.lookback_days == 2


@pytest.mark.parametrize("name", ["LEDGER_CAPTURES", "LEDGER_HOME_DIR", "LEDGERX__Y", "OTHER__KEY"])
def test_variables_of_other_software_are_ignored(load: Load, name: str) -> None:
    assert load(**{name: "x"}) == load()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("LEDGER_HISTROY__START_DATE", "LEDGER_HISTORY__START_DATE", id="section"),
        pytest.param("LEDGER_HISTORY__LOOKBAK_DAYS", "LEDGER_HISTORY__LOOKBACK_DAYS", id="key"),
        pytest.param("LEDGER_lake__uri", "LEDGER_LAKE__URI", id="lower-case"),
        pytest.param("LEDGER_LAKE_URI", "LEDGER_LAKE__URI", id="one-underscore-too-few"),
        pytest.param("LEDGER_SOURCES__0__URI", "LEDGER_SOURCES", id="one-source-alone"),
    ],
)
def test_a_misspelled_variable_is_an_error(error_message: Callable[..., str], name: str, meant: str) -> None:
    message = error_message(**{name: "x"})
    assert message.startswith(f"{name}: is not a known setting")
    assert f'did you mean "{meant}"?' in message
    assert "where: environment" in message


# --- Paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environ", "start"),
    [
        pytest.param('[lake]\nuri = "here"', {}, "plant", id="file: its own folder"),
        pytest.param("", {"LEDGER_LAKE__URI": "here"}, "checkout", id="environment: the checkout"),
        pytest.param('[lake]\nuri = "x"', {"LEDGER_LAKE__URI": "here"}, "checkout", id="both: the checkout"),
    ],
)
def test_a_relative_path_starts_at_its_origin(
    root: Path, text: str, environ: Mapping[str, str], start: str
) -> None:
    config = root.parent / "plant" / "ledger.toml"
    config.parent.mkdir()
    config.write_text(text)
    settings = load_settings({"LEDGER_CONFIG": str(config), **environ}, root, TODAY)
    assert settings.lake.uri == str(root.parent / start / "here")


def test_paths_in_the_environment_start_at_the_checkout(root: Path) -> None:
    config = root.parent / "ledger.toml"
    config.write_text(ARCHIVE)
    environ = {"LEDGER_CONFIG": str(config), "LEDGER_SOURCES": '[{"kind": "archive", "uri": "dumps"}]'}
    assert load_settings(environ, root, TODAY).sources[0].uri == str(root / "dumps")


def test_default_paths_are_in_the_folder_of_the_settings(root: Path) -> None:
    config = root.parent / "ledger.toml"
    config.write_text("")
    settings = load_settings({"LEDGER_CONFIG": str(config)}, root, TODAY)
    assert settings.lake.uri == str(root.parent / "data" / "lake")
    assert settings.report.folder == str(root.parent / "data" / "reports")
    assert settings.equipment.registry == str(root.parent / "equipment.toml")
    assert settings.alerts.silences == str(root.parent / "silences.toml")
    assert load_settings({}, root, TODAY).alerts.silences == str(root / "silences.toml")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("lake/", "{root}/lake", id="slash at the end"),
        pytest.param("../lake", "{parent}/lake", id="folder above"),
        pytest.param("{parent}/lake", "{parent}/lake", id="absolute"),
        pytest.param("~/lake", "{home}/lake", id="home"),
        pytest.param("s3://bucket", "s3://bucket", id="bucket alone"),
        pytest.param("s3://bucket/lake//", "s3://bucket/lake", id="prefix"),
        pytest.param("S3://Bucket/Lake", "s3://Bucket/Lake", id="scheme in capitals"),
    ],
)
def test_the_lake_becomes_absolute_without_a_slash_at_the_end(
    load: Load, root: Path, monkeypatch: pytest.MonkeyPatch, written: str, expected: str
) -> None:
    home = root.parent / "home"
    monkeypatch.setenv("HOME", str(home))
    places = {"root": root, "parent": root.parent, "home": home}
    settings = load(f"[lake]\nuri = '{written.format(**places)}'\n")
    assert settings.lake.uri == expected.format(**places)


def test_an_s3_prefix_of_an_archive_is_kept_unchanged(load: Load) -> None:
    """`s3://b/x` and `s3://b/x/` are different prefixes."""
    settings = load('[[sources]]\nkind = "archive"\nuri = "s3://b/x/"\n')
    assert settings.sources[0].uri == "s3://b/x/"


# --- Errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "problem", "fix"),
    [
        pytest.param(
            '[history]\nstrat_date = "2025-01-01"',
            "history.strat_date",
            'is not a known key (did you mean "start_date"?)',
            "start_date, end_date, lookback_days",
            id="unknown key",
        ),
        pytest.param(
            '[histroy]\nstart_date = "2025-01-01"',
            "histroy",
            'is not a known section (did you mean "history"?)',
            "lake, history, report, schedule",
            id="unknown section",
        ),
        pytest.param(
            "lookback_days = 7",
            "lookback_days",
            'did you mean "history.lookback_days"?',
            "lake, history, report, schedule",
            id="key outside its section",
        ),
        pytest.param(
            'config_file = "x"',
            "config_file",
            "is not a known section",
            "lake, history",
            id="not for the file",
        ),
        pytest.param(
            ARCHIVE + 'region = "eu-west-1"',
            "sources[0].region",
            "is not a known key",
            "kind, uri, time_zone",
            id="unknown key of a source",
        ),
        pytest.param(
            'lake = "data"',
            "lake",
            'must be a table of keys and values, not "data"',
            "write [lake]",
            id="no table",
        ),
        pytest.param(
            "[[history]]\nlookback_days = 7",
            "history",
            "must be a table of keys and values, not a list",
            "write [history]",
            id="section in double brackets",
        ),
        pytest.param(
            '[sources]\nkind = "archive"',
            "sources",
            "must be a list of tables, not a table",
            "write [[sources]]",
            id="sources in single brackets",
        ),
        pytest.param(
            'sources = ["dumps"]',
            "sources[0]",
            'must be a table of keys and values, not "dumps"',
            "write [[sources]]",
            id="source is a text",
        ),
        pytest.param("[lake]\nuri = 3", "lake.uri", "must be text, not 3", 'uri = "data/lake"', id="no text"),
        pytest.param('[lake]\nuri = " "', "lake.uri", "is empty", 'uri = "data/lake"', id="empty path"),
        pytest.param(
            '[lake]\nuri = "gs://bucket"',
            "lake.uri",
            "gs:// is not supported",
            "use a local path",
            id="other cloud",
        ),
        pytest.param(
            '[lake]\nuri = "file:///data"',
            "lake.uri",
            "without file://",
            'uri = "data/lake"',
            id="file scheme",
        ),
        pytest.param(
            '[lake]\nuri = "s3:/bucket"',
            "lake.uri",
            "bucket right after s3://",
            'uri = "data/lake"',
            id="one slash",
        ),
        pytest.param(
            '[lake]\nuri = "s3:///x"',
            "lake.uri",
            "bucket right after s3://",
            'uri = "data/lake"',
            id="no bucket",
        ),
        pytest.param(
            '[lake]\nuri = "~no-such-user/x"',
            "lake.uri",
            "not a usable path",
            'uri = "data/lake"',
            id="unknown home",
        ),
        pytest.param(
            "[history]\nstart_date = 2026-01-16",
            "history.start_date",
            "2026-01-16 is in the future (today is 2026-01-15 in UTC)",
            'start_date = "2025-01-01"',
            id="start in the future",
        ),
        pytest.param(
            '[history]\nstart_date = "01.02.2025"',
            "history.start_date",
            'must be a day written as YYYY-MM-DD, not "01.02.2025"',
            'start_date = "2025-01-01"',
            id="date in another style",
        ),
        pytest.param(
            "[history]\nstart_date = 20250101",
            "history.start_date",
            "must be a day written as YYYY-MM-DD, not 20250101",
            'start_date = "2025-01-01"',
            id="date as a number",
        ),
        pytest.param(
            "[history]\nstart_date = 2025-01-01T00:00:00Z",
            "history.start_date",
            "must be a day written as YYYY-MM-DD",
            'start_date = "2025-01-01"',
            id="date with a time of day",
        ),
        pytest.param(
            "[history]\nstart_date = 2025-06-01\nend_date = 2025-06-01",
            "history.end_date",
            "2025-06-01 must be later than history.start_date, which is 2025-06-01",
            'end_date = "2025-06-02"',
            id="end on the start",
        ),
        pytest.param(
            '[history]\nend_date = "2024-12-31"',
            "history.end_date",
            "later than history.start_date, which is 2025-01-01",
            'end_date = "2025-01-02"',
            id="end before the default start",
        ),
        pytest.param(
            "[history]\nlookback_days = 0",
            "history.lookback_days",
            "must be at least 1, not 0",
            "lookback_days = 7",
            id="too few days",
        ),
        pytest.param(
            "[history]\nlookback_days = 99999999999999999999",
            "history.lookback_days",
            "not 99999999999999999999",
            "lookback_days = 7",
            id="more days than a date can go back",
        ),
        pytest.param(
            "[history]\nsettle_after_minutes = -1",
            "history.settle_after_minutes",
            "must be at least 0, not -1",
            "settle_after_minutes = 180",
            id="negative minutes",
        ),
        pytest.param(
            "[history]\nsettle_after_minutes = 7.5",
            "history.settle_after_minutes",
            "must be a whole number, not 7.5",
            "settle_after_minutes = 180",
            id="fraction",
        ),
        pytest.param(
            '[history]\nlookback_days = "soon"',
            "history.lookback_days",
            'must be a whole number, not "soon"',
            "lookback_days = 7",
            id="text for a number",
        ),
        pytest.param(
            "[history]\nlookback_days = true",
            "history.lookback_days",
            "must be a whole number, not true",
            "lookback_days = 7",
            id="truth value for a number",
        ),
        pytest.param(
            '[report]\ntime_zone = "europe/berlin"',
            "report.time_zone",
            'not an IANA time zone (did you mean "Europe/Berlin"?)',
            'time_zone = "Europe/Berlin"',
            id="zone in lower case",
        ),
        pytest.param(
            '[report]\ntime_zone = "+02:00"',
            "report.time_zone",
            '"+02:00" is not an IANA time zone',
            'time_zone = "Europe/Berlin"',
            id="offset for a report",
        ),
        pytest.param(
            '[report]\ntime_zone = "localtime"',
            "report.time_zone",
            '"localtime" is not an IANA time zone',
            'time_zone = "Europe/Berlin"',
            id="zone of this machine alone",
        ),
        pytest.param(
            '[report]\ntime_zone = "../UTC"',
            "report.time_zone",
            "not an IANA",
            'time_zone = "E',
            id="zone is a path",
        ),
        pytest.param(
            ARCHIVE + 'time_zone = "+25:00"',
            "sources[0].time_zone",
            '"+25:00" is not an IANA time zone',
            'time_zone = "Europe/Berlin"',
            id="offset beyond all zones",
        ),
        pytest.param(
            ARCHIVE + '[[sources]]\nkind = "archiv"\nuri = "x"',
            "sources[1].kind",
            '"archiv" is not a known kind (did you mean "archive"?); known are archive',
            'kind = "archive"',
            id="unknown kind",
        ),
        pytest.param(
            '[[sources]]\nuri = "dumps"',
            "sources[0].kind",
            "is missing",
            'kind = "archive"',
            id="missing kind",
        ),
        pytest.param(
            '[[sources]]\nkind = "archive"',
            "sources[0].uri",
            "is missing",
            'uri = "dumps/"',
            id="missing uri",
        ),
    ],
)
def test_an_error_in_the_file_has_its_location_and_fix(
    error_message: Callable[..., str], root: Path, text: str, key: str, problem: str, fix: str
) -> None:
    message = error_message(text)
    assert message.startswith(f"{key}: ")
    assert problem in message
    assert f"where: {root / 'ledger.toml'}" in message
    assert fix in message


@pytest.mark.parametrize(
    ("name", "value", "key", "problem", "fix"),
    [
        ("LEDGER_LAKE__URI", "", "lake.uri", "is empty", "set LEDGER_LAKE__URI=data/lake"),
        ("LEDGER_LAKE__URI", "caf\udce9", "lake.uri", "must be text", "set LEDGER_LAKE__URI=data/lake"),
        ("LEDGER_LAKE__URI", "gs://x", "lake.uri", "gs:// is not", "set LEDGER_LAKE__URI=data/lake"),
        (
            "LEDGER_HISTORY__START_DATE",
            "2027-01-01",
            "history.start_date",
            "is in the future",
            "set LEDGER_HISTORY__START_DATE=2025-01-01",
        ),
        (
            "LEDGER_HISTORY__LOOKBACK_DAYS",
            "soon",
            "history.lookback_days",
            'must be a whole number, not "soon"',
            "set LEDGER_HISTORY__LOOKBACK_DAYS=7",
        ),
        (
            "LEDGER_REPORT__TIME_ZONE",
            "Berlin",
            "report.time_zone",
            'did you mean "Europe/Berlin"?',
            "set LEDGER_REPORT__TIME_ZONE=Europe/Berlin",
        ),
        ("LEDGER_SOURCES", "{}", "sources", "must be a list of tables", "set LEDGER_SOURCES='[{"),
        (
            "LEDGER_SOURCES",
            '[{"kind": "bucke"}]',
            "sources[0].kind",
            "known are archive, api",
            "set LEDGER_SOURCES='[{",
        ),
        ("LEDGER_SOURCES", '[{"kind": "archive"}]', "sources[0].uri", "is missing", "set LEDGER_SOURCES='[{"),
    ],
    ids=[
        "empty path",
        "path that is no UTF-8",
        "other cloud",
        "start in the future",
        "text for a number",
        "no zone",
        "sources are no list",
        "unknown kind",
        "missing uri",
    ],
)
def test_an_error_in_the_environment_names_the_variable(
    error_message: Callable[..., str], name: str, value: str, key: str, problem: str, fix: str
) -> None:
    message = error_message(ARCHIVE, **{name: value})
    assert message.startswith(f"{key}: ")
    assert problem in message
    assert f"where: environment variable {name}\n" in message
    assert fix in message
    assert "ledger.toml" not in message


@pytest.mark.parametrize("value", ["", "dumps/", "[{", "[" * 100_000], ids=["empty", "path", "cut", "nested"])
def test_sources_that_are_not_json_are_rejected_with_an_example(
    error_message: Callable[..., str], value: str
) -> None:
    message = error_message('[[sources]]\nkind = "invalid, but overridden"', LEDGER_SOURCES=value)
    assert message.startswith("LEDGER_SOURCES: is not JSON: ")
    assert """LEDGER_SOURCES='[{"kind": "archive", "uri": "dumps/"}]'""" in message


def test_all_errors_are_reported_at_once_on_separate_lines(
    error_message: Callable[..., str], root: Path
) -> None:
    message = error_message(
        '[lake]\nurl = "x"\n[history]\nstart_date = 2030-01-01\n[[sources]]\nkind = "archive"\n',
        LEDGER_HISTORY__LOOKBACK_DAYS="-1",
        LEDGER_LAKES__URI="x",
    )
    assert "Cannot use the settings: 5 errors" in message
    lines = [line for line in message.splitlines() if line.startswith("  - ")]
    file = root / "ledger.toml"
    assert {line.split(": ")[0] for line in lines} == {
        "  - LEDGER_LAKES__URI (environment)",
        f"  - lake.url ({file})",
        f"  - history.start_date ({file})",
        "  - history.lookback_days (environment variable LEDGER_HISTORY__LOOKBACK_DAYS)",
        f"  - sources[0].uri ({file})",
    }
    assert 'write uri = "dumps/"' in message
    assert "set LEDGER_HISTORY__LOOKBACK_DAYS=7" in message


def test_an_invalid_start_is_reported_once(error_message: Callable[..., str]) -> None:
    message = error_message('[history]\nstart_date = "2030-01-01"\nend_date = "2029-01-01"\n')
    assert message.startswith("history.start_date: ")
    assert "end_date" not in message


@pytest.mark.parametrize(
    "text",
    [
        ARCHIVE + 'aws_secret_access_key = "wJalrXUtnFEMI"',
        '[lake]\nuri = "s3://AKIA:wJalrXUtnFEMI@bucket/lake"',
        'sources = {secret = "wJalrXUtnFEMI"}',
    ],
    ids=["unknown key", "in an address", "in a table"],
)
def test_a_secret_is_rejected_without_repeating_it(error_message: Callable[..., str], text: str) -> None:
    assert "wJalrXUtnFEMI" not in error_message(text)


# --- Files that cannot be read ----------------------------------------------------------------------------


def test_invalid_toml_is_reported_with_its_line_and_column(
    error_message: Callable[..., str], root: Path
) -> None:
    message = error_message("[lake]\nuri = data/lake\n")
    assert "is not TOML" in message
    assert "line 2, column 7" in message
    assert f"where: {root / 'ledger.toml'}" in message
    assert "put text in quotes" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\n# caf\xe9".encode("latin-1"), 2), (ARCHIVE.encode("utf-16"), 1)],
    ids=["latin-1", "utf-16"],
)
def test_text_that_is_not_utf8_is_rejected(
    error_message: Callable[..., str], root: Path, text: bytes, line: int
) -> None:
    message = error_message(text)
    assert f"is not UTF-8 text: line {line} has other bytes" in message
    assert f"where: {root / 'ledger.toml'}" in message
    assert "save the file as UTF-8" in message


def test_a_missing_file_is_reported_with_its_path_and_the_variable(
    error_message: Callable[..., str], tmp_path: Path
) -> None:
    message = error_message(LEDGER_CONFIG=str(tmp_path / "none.toml"))
    assert "the file does not exist" in message
    assert f"where: {tmp_path / 'none.toml'}" in message
    assert "unset LEDGER_CONFIG" in message


def test_a_directory_is_rejected_with_the_file_to_name(
    error_message: Callable[..., str], tmp_path: Path
) -> None:
    message = error_message(LEDGER_CONFIG=str(tmp_path))
    assert "the file that LEDGER_CONFIG names: is a directory" in message
    assert f"where: {tmp_path}\n" in message
    assert str(tmp_path / "ledger.toml") in message


@pytest.mark.parametrize("path", ["ledger.toml/x", "~no-such-user/x"], ids=["below a file", "unknown home"])
def test_an_unreadable_file_is_rejected(error_message: Callable[..., str], root: Path, path: str) -> None:
    name = path if path.startswith("~") else str(root / path)
    message = error_message("", LEDGER_CONFIG=name)
    assert "the file that LEDGER_CONFIG names: cannot be read" in message
    assert f"where: {name}" in message


def test_an_unreadable_file_does_not_hide_a_misspelled_variable(error_message: Callable[..., str]) -> None:
    message = error_message("[lake", LEDGER_LAEK__URI="x", LEDGER_HISTORY__END_DATE="2024-01-01")
    assert "Cannot use the settings: 2 errors" in message  # the end date is not checked: the start is unknown
    assert "LEDGER_LAEK__URI" in message
    assert "is not TOML" in message


# --- Laws -------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "uri", "time_zone", "x"]) | st.text(max_size=4), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@how(deadline=None)  # the machine may be busy
@given(
    value=VALUES | st.lists(st.fixed_dictionaries({"kind": st.just("archive"), "uri": VALUES}), max_size=2)
)
def test_any_environment_gives_settings_or_a_readable_error(value: object) -> None:
    try:
        settings = load_settings({"LEDGER_SOURCES": json.dumps(value)}, Path("/nowhere"), TODAY)
    except ConfigurationError as error:
        message = check_readable(str(error))
    else:
        message = "no error: LEDGER_SOURCES is a valid list"
        assert isinstance(value, list)
        assert len(settings.sources) == len(value)
        assert all(source.uri.startswith(("/", "s3://")) for source in settings.sources)
    assert "LEDGER_SOURCES" in message


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ('[alerts]\nurls = ["json://a.example.com", "slack://A12/B34/C56"]', {}),
        ("", {"LEDGER_ALERTS__URLS": "json://a.example.com  slack://A12/B34/C56"}),
        (
            '[alerts]\nurls = ["json://b"]',
            {"LEDGER_ALERTS__URLS": "json://a.example.com slack://A12/B34/C56"},
        ),
    ],
    ids=["file", "environment", "both"],
)
def test_apprise_urls_are_a_list_or_words_in_the_environment(
    load: Load, text: str, environ: dict[str, str]
) -> None:
    assert load(text, **environ).alerts.urls == ("json://a.example.com", "slack://A12/B34/C56")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('["json://ok", "nosuch://s3cr3t"]', "alerts.urls[1] (nosuch): not an Apprise URL"),
        ('["s3cr3t"]', "alerts.urls[0]: not an Apprise URL"),
        ('["https://s3cr3t.example.com/hook"]', "use webhook_url"),
        ('{ a = "s3cr3t" }', "must be a list of Apprise URLs"),
        ("[5]", "must be a list of Apprise URLs"),
    ],
)
def test_an_invalid_apprise_url_is_named_without_its_content(
    error_message: Callable[..., str], value: str, problem: str
) -> None:
    message = error_message(f"[alerts]\nurls = {value}")
    assert problem in message
    assert "s3cr3t" not in message
    assert 'write urls = ["slack://TokenA/TokenB/TokenC/#plant"]' in message


def test_an_invalid_apprise_url_in_the_environment_names_the_variable(
    error_message: Callable[..., str],
) -> None:
    message = error_message("", LEDGER_ALERTS__URLS="nosuch://s3cr3t")
    assert "set LEDGER_ALERTS__URLS=slack://TokenA/TokenB/TokenC/#plant" in message
    assert "s3cr3t" not in message


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///path",
        "https://:443/x",
        "https://example.com:99999/x",
        "https://example.com:port/x",
        "https://[::1/x",
        "https://exa mple.com/x",
        "https://example.com/a b",
        "https://example.com/\\tx",
        "https://example.com/ü",
        "https://example..com/x",
        "https://-/x",
        "https://.../x",
        "https://me:pa55@example.com/x",
        "https://example.com:0/x",
        "ftp://example.com/x",
        "example.com/x",
    ],
)
@pytest.mark.parametrize("key", ["webhook_url", "dagster_url", "report_url"])
def test_a_web_address_that_cannot_be_requested_is_rejected(
    error_message: Callable[..., str], key: str, url: str
) -> None:
    message = error_message(f'[alerts]\n{key} = "{url}"')
    assert f"alerts.{key}: must be a URL that begins with https:// or http://" in message
    assert "pa55" not in message


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://10.0.0.1:8080/x?a=b#c",
        "https://[fd00::1]:8443/x",
        "https://a_host-1.example.com./%C3%BC",
        "http://localhost:3000",
    ],
)
def test_other_web_addresses_are_accepted(load: Load, url: str) -> None:
    assert load(f'[alerts]\nwebhook_url = "{url}"').alerts.webhook_url == url


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "{a=" * 5000 + "1" + "}" * 5000])
def test_deeply_nested_toml_is_rejected(error_message: Callable[..., str], value: str) -> None:
    message = error_message(f"x = {value}")
    assert "ledger.toml: is nested too deeply" in message
    assert "remove the deeply nested value" in message


def test_a_pipe_as_settings_is_not_waited_for(error_message: Callable[..., str], root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert "cannot be read: it is a named pipe" in error_message("", LEDGER_CONFIG=str(root / "pipe"))


def test_settings_without_end_are_rejected(error_message: Callable[..., str]) -> None:
    assert "it is larger than 10 MB" in error_message("", LEDGER_CONFIG="/dev/zero")


def test_alerts_have_a_minimum_duration_and_only_public_targets_by_default(load: Load) -> None:
    alerts = load("").alerts
    assert alerts.min_duration_minutes == 10
    assert not alerts.allow_private_addresses


def test_every_setting_has_a_description_and_an_example() -> None:
    """The documentation and the fixes in messages use them."""
    sections = [type(part) for _, part in Settings() if isinstance(part, BaseModel)]
    assert len(sections) > 5
    for section in (*sections, ArchiveSettings):
        for name, field in section.model_fields.items():
            assert field.description, name
            assert field.examples, name
