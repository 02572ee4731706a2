"""The file of silences: what an entry may say, and what is said of a wrong one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.config.silences import EXAMPLE, Silence, load_silences
from resources.errors import ConfigurationError

SOUND = 'equipment = "Pump 7"\nuntil = 2026-10-05T14:00:00Z\nwho = "shift lead"\nwhy = "bearing"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "silences.toml"


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_without_a_file_nothing_is_silenced(file: Path) -> None:
    assert load_silences(file) == []


@pytest.mark.parametrize("text", ["", "silences = []\n", "# nothing yet\n"])
def test_a_file_without_entries_silences_nothing(file: Path, text: str) -> None:
    file.write_text(text)

    assert load_silences(str(file)) == []


def test_the_example_says_who_until_when_and_why(file: Path) -> None:
    file.write_text(EXAMPLE)

    assert load_silences(file) == [
        Silence(
            who="shift lead",
            why="bearing is replaced",
            since=moment(2026, 10, 5, 6),
            until=moment(2026, 10, 5, 14),
            equipment="Pump 7",
        )
    ]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ('equipment = "Pump 7"', "equipment Pump 7"),
        ('scheduler = "pump-*"', "scheduler pump-*"),
        ('event = "0f3a"', "event 0f3a"),
    ],
)
def test_it_names_a_machine_a_scheduler_or_an_event(file: Path, target: str, words: str) -> None:
    file.write_text("[[silences]]\n" + SOUND.replace('equipment = "Pump 7"', target))

    assert load_silences(file)[0].target == words


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-10-05T16:00:00+02:00", moment(2026, 10, 5, 14)),
        ('"2026-10-05T14:00:00Z"', moment(2026, 10, 5, 14)),
        ("2026-10-05 14:00:00Z", moment(2026, 10, 5, 14)),
        ("2026-10-05", moment(2026, 10, 6)),
        ('"2026-10-05"', moment(2026, 10, 6)),
    ],
)
def test_until_is_a_moment_with_its_zone_or_a_day_to_its_end(
    file: Path, written: str, meant: datetime
) -> None:
    file.write_text("[[silences]]\n" + SOUND.replace("2026-10-05T14:00:00Z", written))

    assert load_silences(file)[0].until == meant


def test_from_a_day_means_its_first_minute(file: Path) -> None:
    file.write_text("[[silences]]\nfrom = 2026-10-05\n" + SOUND)

    assert load_silences(file)[0].since == moment(2026, 10, 5)


def test_it_lasts_from_its_beginning_up_to_but_without_its_end() -> None:
    silence = Silence("a", "b", until=moment(2026, 10, 5, 14), since=moment(2026, 10, 5, 6), equipment="p")

    assert [silence.is_active(moment(2026, 10, 5, hour)) for hour in (5, 6, 13, 14)] == [
        False,
        True,
        True,
        False,
    ]
    assert Silence("a", "b", until=moment(2026, 10, 5), equipment="p").is_active(moment(1970, 1, 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[silences]]\n" + SOUND.replace("who", "whoo"), "silences[0].whoo: is not a known key"),
        ("[[silences]]\n" + SOUND.replace("who", "whoo"), 'did you mean "who"?'),
        ("[[silences]]\n" + SOUND.replace("who", "whoo"), "silences[0].who: is missing"),
        ("[[silences]]\n" + SOUND + 'scheduler = "p"\n', "both equipment and scheduler are"),
        ("[[silences]]\n" + SOUND.replace('equipment = "Pump 7"', ""), "none is"),
        ("[[silences]]\n" + SOUND.replace("14:00:00Z", "14:00:00"), "says no zone"),
        ("[[silences]]\n" + SOUND.replace("2026-10-05T14:00:00Z", '"tomorrow"'), "must be a day or a moment"),
        ("[[silences]]\n" + SOUND.replace("2026-10-05T14:00:00Z", "14:00:00"), "must be a day or a moment"),
        ("[[silences]]\nfrom = 2026-10-06\n" + SOUND, "is not later than from"),
        ("[[silences]]\n" + SOUND.replace('"bearing"', '" "'), "silences[0].why: must be text"),
        ("[[silences]]\n" + SOUND.replace('"Pump 7"', "7"), "silences[0].equipment: must be text"),
        ("[[silence]]\n" + SOUND, 'did you mean "silences"?'),
        ("[silences]\n" + SOUND, "must be a list of tables"),
        ("silences = 3\n", "must be a list of tables"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_mend(file: Path, text: str, said: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigurationError) as refused:
        load_silences(file)

    assert said in str(refused.value)
    assert str(file) in str(refused.value)
    assert "[[silences]]" in refused.value.next_step


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    file.write_text("[[silences]]\n[[silences]]\nevent = 1\n")

    with pytest.raises(ConfigurationError, match=r"silences\[0\]\.who(.|\n)*silences\[1\]\.who"):
        load_silences(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "is not UTF-8"), (b"\x00", "is not TOML"), (b"silences = [", "is not TOML")],
)
def test_a_file_that_is_no_toml_is_told_as_such(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=rf"the file of alerts\.silences {said}"):
        load_silences(file)


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_silences(tmp_path)
