"""Causes of failures: failure reasons with the same cause are normalized to the same text."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.health.failure_causes import Cause, Failure, group_by_cause, parse_cause

NO_FILE = (
    "Could not find data file for sensor centrifugal-pump within expected range of (2022-05-13T12:10:00Z,"
    " 2022-05-13T12:15:00Z]. Please ensure data is present for all sensors of the machine under prefix"
    " 's3://getting_started/inference-data/input/centrifugal-pump_20220513120500' ~ 's3://x/y_1'"
)
NO_ROWS = (
    "Could not find data for sensor pump 2 within expected time range of (2022-03-30T10:50:00Z,"
    " 2022-03-30T10:55:00Z] while searching in the given data range of (2022-03-30T10:45Z,"
    " 2022-03-30T10:49Z)."
    " Please ensure data is present for all sensors of the machine."
)


@pytest.mark.parametrize(
    ("reason", "component"),
    [(NO_FILE, "centrifugal-pump"), (NO_ROWS, "pump 2"), ("could not find data", None)],
)
def test_missing_input_is_grouped_by_component(reason: str, component: str | None) -> None:
    cause = parse_cause(reason)

    assert cause.is_missing_input
    assert cause.component == component
    assert cause.text == ("missing input" + (f": {component}" if component else ""))


@pytest.mark.parametrize(
    ("reason", "other", "text"),
    [
        (
            "Access denied to s3://plant-a/in/2026-10-06 at 2026-10-06T10:00:00Z",
            "Access denied to s3://plant-b/in/x at 2026-10-07T11:05:00+02:00",
            "Access denied to <path> at <time>",
        ),
        (
            "Key arn:aws:kms:eu-west-1:1:key/ab is disabled",
            "Key arn:aws:kms:us-east-1:2:key/cd is disabled",
            "Key <arn> is disabled",
        ),
        (
            "Request 5feceb66-ffc8-4f38-9952-786c6d696c79 failed",
            "Request 6b86b273-ff34-4ce1-9d6b-804eff5a3f57 failed",
            "Request <id> failed",
        ),
        ("The file has 61 MB", "The file has 75.5  MB", "The file has <number> MB"),
        ("plant/input/a.csv is no CSV", "mill/input/2/b.csv is no CSV", "<path> is no CSV"),
    ],
)
def test_values_that_differ_between_failures_become_placeholders(reason: str, other: str, text: str) -> None:
    assert (
        parse_cause(reason) == parse_cause(other) == Cause(is_missing_input=False, component=None, text=text)
    )


@pytest.mark.parametrize("reason", [None, "", " \n"])
def test_an_empty_reason_is_a_cause(reason: str | None) -> None:
    assert parse_cause(reason).text == "no reason given"


@given(reason=st.text())
def test_any_text_has_one_cause(reason: str) -> None:
    cause = parse_cause(reason)
    assert cause.text
    assert cause == parse_cause(reason)


def to_ms(minute: int) -> int:
    return int(datetime(2026, 10, 6, tzinfo=UTC).timestamp() * 1000) + minute * 60_000


def test_failures_are_grouped_by_cause_with_ranges_most_frequent_first() -> None:
    causes = group_by_cause(
        Failure(to_ms(at), to_ms(at + 5), reason)
        for at, reason in [(30, None), (5, NO_FILE), (0, NO_FILE), (20, NO_FILE)]
    )

    first, second = json.loads(causes or "")
    assert (first["cause"], first["count"], first["component"]) == (
        "missing input: centrifugal-pump",
        3,
        "centrifugal-pump",
    )
    assert first["ranges"] == [
        ["2026-10-06T00:00:00Z", "2026-10-06T00:10:00Z"],
        ["2026-10-06T00:20:00Z", "2026-10-06T00:25:00Z"],
    ]
    assert (second["cause"], second["missing_input"]) == ("no reason given", False)


def test_no_failures_have_no_causes() -> None:
    assert group_by_cause([]) is None


def test_every_captured_reason_is_missing_input_of_a_component(captures: Path) -> None:
    reasons = (captures.parent / "failed_reasons.txt").read_text().splitlines()

    assert reasons
    causes = [parse_cause(reason) for reason in reasons]
    assert {(cause.is_missing_input, cause.component) for cause in causes} == {(True, "centrifugal-pump")}
