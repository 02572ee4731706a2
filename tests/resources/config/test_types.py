"""Cron expressions in settings: accepted as Dagster's scheduler accepts them, or rejected with the reason."""

from typing import Any

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from resources.config.types import Cron

CRON = TypeAdapter[str](Cron)
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


@pytest.mark.parametrize(
    "text",
    [
        "5 * * * *",
        "*/20 6-18 * * 1-5",
        "0,30 0-23/2 1 1,7 *",
        "59 23 31 12 7",
        "0 0 * * 0",
        "0 0 * * MON",
        "0 18-6 * * *",
        "0 0 29 2 *",
    ],
)
def test_a_valid_expression_is_kept_unchanged(text: str) -> None:
    assert CRON.validate_python(text) == text
    assert is_valid_cron_schedule(text)


def test_spaces_are_normalized() -> None:
    assert CRON.validate_python("  5  *\t* * * ") == "5 * * * *"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hourly", "has 1 fields, not the five of cron: minute, hour, day of the month, month"),
        ("@hourly", "has 1 fields"),
        ("0 5 * * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("60 * * * *", '"60" is not a valid minute (0-59)'),
        ("0 24 * * *", '"24" is not a valid hour (0-23)'),
        ("0 0 0 * *", '"0" is not a valid day of the month (1-31)'),
        ("0 0 1 13 *", '"13" is not a valid month (1-12)'),
        ("0 0 * * 8", '"8" is not a valid day of the week (0-7)'),
        ("0 0 * * DAY", '"DAY" is not a valid day of the week'),
        ("*/0 * * * *", '"*/0" is not a valid minute'),
        ("*/61 * * * *", '"*/61" is not a valid minute'),
        ("-5 * * * *", '"-5" is not a valid minute'),
        ("1,,2 * * * *", "is not a valid minute"),
        ("0 0 30 2 *", "none of its months has such a day"),
        ("0 0 31 4,6-9/3 *", "none of its months has such a day"),
    ],
)
def test_an_invalid_expression_is_rejected_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CRON.validate_python(text)
    assert problem in str(caught.value)


def parts(lowest: int, highest: int) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest)
    spans = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.integers(1, highest).map("/{}".format)
    return st.one_of(
        st.just("*"),
        number.map(str),
        spans,
        st.tuples(st.one_of(st.just("*"), spans), step).map("".join),
    )


def fields(lowest: int, highest: int) -> st.SearchStrategy[Any]:
    return st.lists(parts(lowest, highest), min_size=1, max_size=3).map(",".join)


@settings(deadline=None)
@given(st.tuples(*(fields(lowest, highest) for lowest, highest in RANGES)).map(" ".join))
def test_an_accepted_expression_is_valid_for_dagster(text: str) -> None:
    try:
        is_accepted = CRON.validate_python(text) == text
    except ValidationError as error:
        is_accepted = "none of its months has such a day" not in str(error)
    assert is_valid_cron_schedule(text) or not is_accepted
