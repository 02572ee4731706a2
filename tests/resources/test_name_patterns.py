"""How people name schedulers: by name or ARN, with * and ?."""

import pytest

from resources.name_patterns import matches, matches_any

ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/0f3a"


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [
        ("pump-1", True),
        ("pump-*", True),
        ("pump-?", True),
        ("*", True),
        ("pump", False),
        ("PUMP-1", False),
        ("pump-[0-9]", False),
        ("*1234*", False),
        (ARN, True),
        ("arn:*:123456789012:*", True),
        ("arn:*:inference-scheduler/pump-?/*", True),
        ("arn:*/fan-1/*", False),
        ("", False),
    ],
)
def test_a_pattern_is_about_the_name_or_begins_with_arn(pattern: str, is_meant: bool) -> None:
    assert matches(pattern, "pump-1", ARN) is is_meant


def test_what_has_no_name_is_meant_by_its_arn_alone() -> None:
    assert not matches("*", None, ARN)
    assert matches("arn:*", None, ARN)


def test_one_pattern_of_several_is_enough_and_none_means_nothing() -> None:
    assert matches_any(["fan-*", "pump-*"], "pump-1", ARN)
    assert not matches_any([], "pump-1", ARN)
