"""The file of silences: valid entries, and the errors of invalid ones."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.config.silences import EXAMPLE, Silence, load_silences
from resources.errors import ConfigurationError

VALID = 'equipment = "Pump 7"\nuntil = 2026-10-05T14:00:00Z\nwho = "shift lead"\nwhy = "bearing"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "silences.toml"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_without_a_file_there_are_no_silences(file: Path) -> None:
    assert load_silences(file) == []


@pytest.mark.parametrize("text", ["", "silences = []\n", "# nothing yet\n"])
def test_a_file_without_entries_has_no_silences(file: Path, text: str) -> None:
    file.write_text(text)

    assert load_silences(str(file)) == []


def test_the_example_is_a_valid_entry(file: Path) -> None:
    file.write_text(EXAMPLE)

    assert load_silences(file) == [
        Silence(
            who="shift lead",
            why="bearing replacement",
            since=utc(2026, 10, 5, 6),
            until=utc(2026, 10, 5, 14),
            equipment="Pump 7",
        )
    ]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ('equipment = "Pump 7"', "equipment Pump 7"),
        ('scheduler = "pump-*"', "scheduler pump-*"),
        ('event = "0f3a"', "event 0f3a"),
        ('run = "anomaly_*"', "run anomaly_*"),
        ('check = "data_fresh"', "check data_fresh"),
    ],
)
def test_the_target_is_equipment_a_scheduler_an_event_a_run_or_check(
    file: Path, target: str, text: str
) -> None:
    file.write_text("[[silences]]\n" + VALID.replace('equipment = "Pump 7"', target))

    assert load_silences(file)[0].target == text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-10-05T16:00:00+02:00", utc(2026, 10, 5, 14)),
        ('"2026-10-05T14:00:00Z"', utc(2026, 10, 5, 14)),
        ("2026-10-05 14:00:00Z", utc(2026, 10, 5, 14)),
        ("2026-10-05", utc(2026, 10, 6)),
        ('"2026-10-05"', utc(2026, 10, 6)),
    ],
)
def test_until_is_a_time_with_its_zone_or_the_end_of_a_date(
    file: Path, written: str, expected: datetime
) -> None:
    file.write_text("[[silences]]\n" + VALID.replace("2026-10-05T14:00:00Z", written))

    assert load_silences(file)[0].until == expected


def test_from_a_date_means_its_start(file: Path) -> None:
    file.write_text("[[silences]]\nfrom = 2026-10-05\n" + VALID)

    assert load_silences(file)[0].since == utc(2026, 10, 5)


def test_a_silence_is_active_from_its_start_until_its_exclusive_end() -> None:
    silence = Silence("a", "b", until=utc(2026, 10, 5, 14), since=utc(2026, 10, 5, 6), equipment="p")

    assert [silence.is_active(utc(2026, 10, 5, hour)) for hour in (5, 6, 13, 14)] == [
        False,
        True,
        True,
        False,
    ]
    assert Silence("a", "b", until=utc(2026, 10, 5), equipment="p").is_active(utc(1970, 1, 1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[silences]]\n" + VALID.replace("who", "whoo"), "silences[0].whoo: is not a known key"),
        ("[[silences]]\n" + VALID.replace("who", "whoo"), 'did you mean "who"?'),
        ("[[silences]]\n" + VALID.replace("who", "whoo"), "silences[0].who: is missing"),
        ("[[silences]]\n" + VALID + 'scheduler = "p"\n', "has equipment and scheduler"),
        ("[[silences]]\n" + VALID.replace('equipment = "Pump 7"', ""), "but has none"),
        ("[[silences]]\n" + VALID + 'check = "data_fresh"\n', "has equipment and check"),
        (
            "[[silences]]\n" + VALID.replace('equipment = "Pump 7"', "run = 3"),
            "silences[0].run: must be text",
        ),
        ("[[silences]]\n" + VALID.replace("14:00:00Z", "14:00:00"), "has no time zone"),
        ("[[silences]]\n" + VALID.replace("2026-10-05T14:00:00Z", '"tomorrow"'), "must be a date or a time"),
        ("[[silences]]\n" + VALID.replace("2026-10-05T14:00:00Z", "14:00:00"), "must be a date or a time"),
        ("[[silences]]\nfrom = 2026-10-06\n" + VALID, "is not later than from"),
        ("[[silences]]\n" + VALID.replace('"bearing"', '" "'), "silences[0].why: must be text"),
        ("[[silences]]\n" + VALID.replace('"Pump 7"', "7"), "silences[0].equipment: must be text"),
        ("[[silence]]\n" + VALID, 'did you mean "silences"?'),
        ("[silences]\n" + VALID, "must be a list of tables"),
        ("silences = 3\n", "must be a list of tables"),
    ],
)
def test_an_invalid_entry_is_rejected_with_its_location_and_fix(file: Path, text: str, problem: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        load_silences(file)

    assert problem in str(caught.value)
    assert str(file) in str(caught.value)
    assert "[[silences]]" in caught.value.next_step


def test_all_errors_are_reported_at_once(file: Path) -> None:
    file.write_text("[[silences]]\n[[silences]]\nevent = 1\n")

    with pytest.raises(ConfigurationError, match=r"silences\[0\]\.who(.|\n)*silences\[1\]\.who"):
        load_silences(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"\xff\xfe\x00", "is not UTF-8"), (b"\x00", "is not TOML"), (b"silences = [", "is not TOML")],
)
def test_a_file_that_is_not_toml_is_rejected(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=rf"Cannot read the file of alerts\.silences: it {problem}"):
        load_silences(file)


def test_a_folder_instead_of_the_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot read the file of alerts\.silences"):
        load_silences(tmp_path)
