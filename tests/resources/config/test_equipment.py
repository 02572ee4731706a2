"""The equipment registry: lookups, and the errors of an invalid file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.config.equipment import CRITICALITIES, Equipment, EquipmentRegistry, Sensor, load_equipment
from resources.errors import ConfigurationError
from resources.scheduler_arns import build_placeholder_arn, describe_location

ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/5feceb66"
NAMESAKE = "arn:aws:lookoutequipment:us-east-1:111122223333:inference-scheduler/pump-1/6b86b273"
RECREATED = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/d4735e3a"

Load = Callable[[str], EquipmentRegistry]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> EquipmentRegistry:
        (tmp_path / "equipment.toml").write_text(text)
        return load_equipment(str(tmp_path / "equipment.toml"))

    return load


@pytest.fixture
def error_message(load: Load) -> Callable[[str], str]:
    def error_message(text: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            load(text)
        assert "equipment.toml" in caught.value.where
        return str(caught.value)

    return error_message


def test_without_a_file_every_scheduler_is_its_own_equipment(tmp_path: Path) -> None:
    registry = load_equipment(str(tmp_path / "equipment.toml"))

    assert registry.find_equipment(ARN, "pump-1") == Equipment(ARN, None, None)
    assert registry.find_equipment(ARN, "pump-1").label == "pump-1"
    assert registry.find_sensor(r"pump-sensors\Sensor0") == Sensor(r"pump-sensors\Sensor0", None)


def test_a_scheduler_that_only_a_bucket_shows_has_the_name_of_its_prefix(tmp_path: Path) -> None:
    registry = load_equipment(str(tmp_path / "equipment.toml"))
    placeholder = build_placeholder_arn("plant-a", "pump-1/output/")

    assert registry.find_equipment(placeholder).label == "pump-1/output"
    assert registry.find_equipment(placeholder, "feed pump").label == "feed pump", "from the settings"
    assert describe_location(placeholder) == "bucket plant-a"


@pytest.mark.parametrize(
    ("scheduler", "watches"),
    [
        ("pump-1", [ARN, NAMESAKE, RECREATED]),
        ("pump-*", [ARN, NAMESAKE, RECREATED]),
        ("pump-?", [ARN, NAMESAKE, RECREATED]),
        (ARN, [ARN]),
        ("arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/*", [ARN, RECREATED]),
        ("arn:*:us-east-1:*", [NAMESAKE]),
        ("ump", []),
        ("PUMP-1", []),
    ],
)
def test_a_scheduler_matches_by_name_arn_or_a_pattern_of_either(
    load: Load, scheduler: str, watches: list[str]
) -> None:
    registry = load(f'[[equipment]]\nname = "Feed pump"\nschedulers = ["{scheduler}"]')

    matches = [
        arn
        for arn in (ARN, NAMESAKE, RECREATED)
        if registry.find_equipment(arn, "pump-1").name == "Feed pump"
    ]

    assert matches == watches


def test_a_recreated_scheduler_keeps_its_equipment_by_the_name_in_its_arn(
    load: Load,
) -> None:
    registry = load(
        '[[equipment]]\nname = "Feed pump"\nsite = "Leeds"\ncriticality = "high"\nschedulers = ["pump-1"]'
    )

    expected = Equipment("Feed pump", "Leeds", "high")
    assert registry.find_equipment(ARN, "pump-1") == registry.find_equipment(RECREATED, None) == expected
    assert expected.label == "Feed pump"


def test_sensors_of_the_equipment_take_precedence(load: Load) -> None:
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
def test_equipment_without_a_rank_is_always_critical_enough(critical: str | None) -> None:
    assert Equipment("Feed pump").is_at_least(critical)


@pytest.mark.parametrize(
    ("criticality", "enough_for"),
    [("low", [None, "low"]), ("medium", [None, "low", "medium"]), ("high", [None, "low", "medium", "high"])],
)
def test_criticality_is_ranked(criticality: str, enough_for: list[str | None]) -> None:
    equipment = Equipment("Feed pump", criticality=criticality)

    assert [level for level in (None, *CRITICALITIES) if equipment.is_at_least(level)] == enough_for


@pytest.mark.parametrize(
    ("text", "problem"),
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
        ('[sensors]\n"a\\Sensor0" = "x"', "a Windows path in single quotes"),
        ("[sensors", "is not TOML"),
    ],
)
def test_an_invalid_entry_is_rejected_with_its_location_and_fix(
    error_message: Callable[[str], str], text: str, problem: str
) -> None:
    message = error_message(text)

    assert problem in message
    assert "next:" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [("pump-1", "pump-1"), ("pump-1", "pump-*"), ("pump-?", "pump-1"), (ARN, "pump-1"), ("pump-1", ARN)],
)
def test_a_scheduler_of_two_machines_is_an_error(
    error_message: Callable[[str], str], first: str, second: str
) -> None:
    message = error_message(
        f"[[equipment]]\nname = 'A'\nschedulers = ['{first}']\n"
        f"[[equipment]]\nname = 'B'\nschedulers = ['{second}']"
    )

    assert 'equipment "B".schedulers: the scheduler' in message
    assert 'also belongs to "A"' in message


def test_overlapping_patterns_are_an_error_when_a_scheduler_matches_both(load: Load) -> None:
    registry = load(
        "[[equipment]]\nname = 'A'\nschedulers = ['pump-*']\n[[equipment]]\nname = 'B'\nschedulers = ['*-1']"
    )

    assert registry.find_equipment("arn:x/fan-1/1").name == "B"
    with pytest.raises(
        ConfigurationError, match=r'Cannot assign the scheduler pump-1: it matches "A" and "B"'
    ):
        registry.find_equipment(ARN, "pump-1")


def test_a_duplicate_machine_is_an_error(error_message: Callable[[str], str]) -> None:
    entry = "[[equipment]]\nname = 'A'\nschedulers = ['{}']\n"

    assert 'equipment "A": is a duplicate' in error_message(entry.format("a") + entry.format("b"))


def test_all_errors_are_reported_at_once(error_message: Callable[[str], str]) -> None:
    message = error_message("[[equipment]]\n[[equipment]]\nname = 'B'\ncriticality = 'urgent'\n[other]")

    assert message.startswith("Cannot use the equipment registry: 5 errors")


def test_an_unreadable_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "equipment.toml").mkdir()

    with pytest.raises(ConfigurationError, match=r"Cannot read the file of equipment\.registry"):
        load_equipment(str(tmp_path / "equipment.toml"))


def test_bytes_that_are_not_utf8_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "equipment.toml").write_bytes(b"\n# \xb0C")

    with pytest.raises(ConfigurationError, match="line 2 has other bytes"):
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
@given(table=st.dictionaries(st.sampled_from(["equipment", "sensors", "other"]), _JSON_LIKE, max_size=3))
def test_any_content_is_read_or_rejected_with_a_message(table: dict[str, object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resources.config.equipment.read_toml", lambda *_: table)
        try:
            load_equipment("equipment.toml")
        except ConfigurationError as error:
            str(error).encode()
