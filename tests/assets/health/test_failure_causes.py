"""Causes of failures: the same words for the same cause."""

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
def test_what_the_plant_did_not_send_is_told_by_component(reason: str, component: str | None) -> None:
    cause = parse_cause(reason)

    assert cause.is_missing_input
    assert cause.component == component
    assert cause.text == ("missing input" + (f": {component}" if component else ""))


@pytest.mark.parametrize(
    ("one", "other", "text"),
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
def test_what_is_of_one_occasion_is_taken_out(one: str, other: str, text: str) -> None:
    assert parse_cause(one) == parse_cause(other) == Cause(is_missing_input=False, component=None, text=text)


@pytest.mark.parametrize("reason", [None, "", " \n"])
def test_no_words_are_a_cause_too(reason: str | None) -> None:
    assert parse_cause(reason).text == "no reason given"


@given(reason=st.text())
def test_any_text_has_a_cause_that_stays_the_same(reason: str) -> None:
    cause = parse_cause(reason)
    assert cause.text
    assert cause == parse_cause(reason)


def minutes(at: int) -> int:
    return int(datetime(2026, 10, 6, tzinfo=UTC).timestamp() * 1000) + at * 60_000


def test_failures_are_told_by_cause_with_ranges_the_most_frequent_first() -> None:
    told = group_by_cause(
        Failure(minutes(at), minutes(at + 5), reason)
        for at, reason in [(30, None), (5, NO_FILE), (0, NO_FILE), (20, NO_FILE)]
    )

    first, second = json.loads(told or "")
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


def test_nothing_that_failed_has_no_causes() -> None:
    assert group_by_cause([]) is None


def test_every_captured_reason_is_missing_input_of_a_component(captures: Path) -> None:
    reasons = (captures.parent / "failed_reasons.txt").read_text().splitlines()

    assert reasons
    assert {(parse_cause(one).is_missing_input, parse_cause(one).component) for one in reasons} == {
        (True, "centrifugal-pump")
    }
