"""What the equipment registry may say, what it answers, and what is said when it is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.config.equipment import CRITICALITIES, Equipment, EquipmentRegistry, Sensor, load_equipment
from resources.errors import ConfigurationError

ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/5feceb66"
NAMESAKE = "arn:aws:lookoutequipment:us-east-1:111122223333:inference-scheduler/pump-1/6b86b273"
REBORN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/d4735e3a"

Load = Callable[[str], EquipmentRegistry]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> EquipmentRegistry:
        (tmp_path / "equipment.toml").write_text(text)
        return load_equipment(str(tmp_path / "equipment.toml"))

    return load


@pytest.fixture
def refusal(load: Load) -> Callable[[str], str]:
    def refusal(text: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            load(text)
        assert "equipment.toml" in caught.value.where
        return str(caught.value)

    return refusal


def test_without_a_file_every_scheduler_is_its_own_equipment(tmp_path: Path) -> None:
    registry = load_equipment(str(tmp_path / "equipment.toml"))

    assert registry.find_equipment(ARN, "pump-1") == Equipment(ARN, None, None)
    assert registry.find_equipment(ARN, "pump-1").label == "pump-1"
    assert registry.find_sensor(r"pump-sensors\Sensor0") == Sensor(r"pump-sensors\Sensor0", None)


@pytest.mark.parametrize(
    ("scheduler", "watches"),
    [
        ("pump-1", [ARN, NAMESAKE, REBORN]),
        ("pump-*", [ARN, NAMESAKE, REBORN]),
        ("pump-?", [ARN, NAMESAKE, REBORN]),
        (ARN, [ARN]),
        ("arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/*", [ARN, REBORN]),
        ("arn:*:us-east-1:*", [NAMESAKE]),
        ("ump", []),
        ("PUMP-1", []),
    ],
)
def test_a_scheduler_is_known_by_name_by_arn_or_by_a_pattern_of_either(
    load: Load, scheduler: str, watches: list[str]
) -> None:
    registry = load(f'[[equipment]]\nname = "Feed pump"\nschedulers = ["{scheduler}"]')

    found = [
        arn for arn in (ARN, NAMESAKE, REBORN) if registry.find_equipment(arn, "pump-1").name == "Feed pump"
    ]

    assert found == watches


def test_a_name_outlives_the_scheduler_and_is_found_in_the_arn_where_nothing_else_tells_it(
    load: Load,
) -> None:
    registry = load(
        '[[equipment]]\nname = "Feed pump"\nsite = "Leeds"\ncriticality = "high"\nschedulers = ["pump-1"]'
    )

    expected = Equipment("Feed pump", "Leeds", "high")
    assert registry.find_equipment(ARN, "pump-1") == registry.find_equipment(REBORN, None) == expected
    assert expected.label == "Feed pump"


def test_a_sensor_has_its_name_and_unit_and_equipment_may_have_its_own(load: Load) -> None:
    registry = load(
        r"""
        [sensors]
        'pump-sensors\Sensor0' = { name = "Bearing temperature", unit = "°C" }
        'pump-sensors\Sensor1' = "Pressure"

        [[equipment]]
        name = "Feed pump"
        schedulers = ["pump-1"]

        [equipment.sensors]
        'pump-sensors\Sensor0' = { unit = "°F" }
        """
    )

    assert registry.find_sensor(r"pump-sensors\Sensor0") == Sensor("Bearing temperature", "°C")
    assert registry.find_sensor(r"pump-sensors\Sensor0", "Another pump") == Sensor(
        "Bearing temperature", "°C"
    )
    assert registry.find_sensor(r"pump-sensors\Sensor0", "Feed pump") == Sensor(r"pump-sensors\Sensor0", "°F")
    assert registry.find_sensor(r"pump-sensors\Sensor1", "Feed pump") == Sensor("Pressure", None)


@pytest.mark.parametrize("critical", [None, *CRITICALITIES])
def test_equipment_that_nobody_ranked_is_critical_enough_for_anything(critical: str | None) -> None:
    assert Equipment("Feed pump").is_at_least(critical)


@pytest.mark.parametrize(
    ("criticality", "enough_for"),
    [("low", [None, "low"]), ("medium", [None, "low", "medium"]), ("high", [None, "low", "medium", "high"])],
)
def test_criticality_is_ranked(criticality: str, enough_for: list[str | None]) -> None:
    equipment = Equipment("Feed pump", criticality=criticality)

    assert [one for one in (None, *CRITICALITIES) if equipment.is_at_least(one)] == enough_for


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("equipment = 3", "equipment: must be a list of tables, not 3"),
        ("[equipment]\nname = 'x'", "write [[equipment]], in double brackets, for each machine"),
        ("equipment = [3]", "equipment[0]: must be a table, not 3"),
        ("[[equipments]]", 'equipments: is not a known key (did you mean "equipment"?)'),
        ("[[equipment]]\nschedulers = ['a']", "equipment[0].name: is missing"),
        ("[[equipment]]\nname = 7\nschedulers = ['a']", "equipment[0].name: must be text, not 7"),
        ("[[equipment]]\nname = ' '\nschedulers = ['a']", "equipment[0].name: is empty"),
        ("[[equipment]]\nname = 'P'", 'equipment "P".schedulers: is missing'),
        ("[[equipment]]\nname = 'P'\nschedulers = []", 'equipment "P".schedulers: is empty'),
        ("[[equipment]]\nname = 'P'\nschedulers = 'a'", 'must be a list of names, not "a"'),
        ("[[equipment]]\nname = 'P'\nschedulers = ['a b']", '"a b" is not a scheduler name'),
        ("[[equipment]]\nname = 'P'\nschedulers = [1]", "1 is not a scheduler name"),
        (
            "[[equipment]]\nname = 'P'\nschedulers = ['a']\ncriticality = 'hihg'",
            'equipment "P".criticality: must be low, medium or high, not "hihg" (did you mean "high"?)',
        ),
        (
            "[[equipment]]\nname = 'P'\nschedulers = ['a']\nsites = 'Leeds'",
            'equipment "P".sites: is not a known key (did you mean "site"?)',
        ),
        (
            "[[equipment]]\nname = 'P'\nschedulers = ['a']\nsite = 3",
            'equipment "P".site: must be text, not 3',
        ),
        ("sensors = 3", "sensors: must be a table, not 3"),
        ("[sensors]\na = 3", 'sensors."a": must be a table or a name, not 3'),
        ("[sensors]\na = { nam = 'x' }", 'sensors."a".nam: is not a known key (did you mean "name"?)'),
        ("[sensors]\na = { unit = 3 }", 'sensors."a".unit: must be text, not 3'),
        ('[sensors]\n"a\\Sensor0" = "x"', "text with a backslash in single ones"),
        ("[sensors", "is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_mend(
    refusal: Callable[[str], str], text: str, says: str
) -> None:
    message = refusal(text)

    assert says in message
    assert "next:" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [("pump-1", "pump-1"), ("pump-1", "pump-*"), ("pump-?", "pump-1"), (ARN, "pump-1"), ("pump-1", ARN)],
)
def test_a_scheduler_of_two_machines_is_a_mistake(
    refusal: Callable[[str], str], first: str, second: str
) -> None:
    message = refusal(
        f"[[equipment]]\nname = 'A'\nschedulers = ['{first}']\n"
        f"[[equipment]]\nname = 'B'\nschedulers = ['{second}']"
    )

    assert 'equipment "B".schedulers: the scheduler' in message
    assert 'is one of "A" too' in message


def test_two_patterns_that_one_scheduler_fits_are_a_mistake_when_it_comes(load: Load) -> None:
    registry = load(
        "[[equipment]]\nname = 'A'\nschedulers = ['pump-*']\n[[equipment]]\nname = 'B'\nschedulers = ['*-1']"
    )

    assert registry.find_equipment("arn:x/fan-1/1").name == "B"
    with pytest.raises(
        ConfigurationError, match=r'the scheduler pump-1 is said to watch two machines: "A" and "B"'
    ):
        registry.find_equipment(ARN, "pump-1")


def test_a_machine_that_is_there_twice_is_a_mistake(refusal: Callable[[str], str]) -> None:
    one = "[[equipment]]\nname = 'A'\nschedulers = ['{}']\n"

    assert 'equipment "A": is there twice' in refusal(one.format("a") + one.format("b"))


def test_all_mistakes_are_told_at_once(refusal: Callable[[str], str]) -> None:
    message = refusal("[[equipment]]\n[[equipment]]\nname = 'B'\ncriticality = 'urgent'\n[other]")

    assert message.startswith("the equipment registry has 5 mistakes:")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "equipment.toml").mkdir()

    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_equipment(str(tmp_path / "equipment.toml"))


def test_other_bytes_than_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "equipment.toml").write_bytes(b"\n# \xb0C")

    with pytest.raises(ConfigurationError, match="line 2 holds other bytes"):
        load_equipment(str(tmp_path / "equipment.toml"))


_JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["equipment", "name", "schedulers", "site", "criticality", "sensors", "unit"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=st.dictionaries(st.sampled_from(["equipment", "sensors", "other"]), _JSON_LIKE, max_size=3))
def test_whatever_it_says_it_is_read_or_refused_in_words(said: dict[str, object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resources.config.equipment.read_toml", lambda *_: said)
        try:
            load_equipment("equipment.toml")
        except ConfigurationError as refused:
            str(refused).encode()
