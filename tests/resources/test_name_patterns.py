"""Patterns for scheduler names and ARNs."""

import pytest

from resources.name_patterns import matches, matches_any

ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/0f3a"


@pytest.mark.parametrize(
    ("pattern", "expected"),
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
def test_a_pattern_with_the_prefix_arn_matches_the_arn_and_others_the_name(
    pattern: str, expected: bool
) -> None:
    assert matches(pattern, "pump-1", ARN) is expected


def test_without_a_name_only_arn_patterns_match() -> None:
    assert not matches("*", None, ARN)
    assert matches("arn:*", None, ARN)


def test_one_matching_pattern_is_enough_and_no_patterns_never_match() -> None:
    assert matches_any(["fan-*", "pump-*"], "pump-1", ARN)
    assert not matches_any([], "pump-1", ARN)
