"""Values of settings: what is taken, and what is said of what is not."""

from typing import Any

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from resources.config.types import Cron

CRON = TypeAdapter[str](Cron)
FIELDS = [("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12)]
WEEKDAY = ("day of the week", 0, 7)


@pytest.mark.parametrize(
    "text",
    [
        "5 * * * *",
        "*/20 6-18 * * 1-5",
        "0,30 0-23/2 1 1,7 *",
        "59 23 31 12 7",
        "0 0 * * 0",
    ],
)
def test_a_cron_is_taken_as_it_stands(text: str) -> None:
    assert CRON.validate_python(text) == text
    assert is_valid_cron_schedule(text)


def test_spaces_do_not_matter() -> None:
    assert CRON.validate_python("  5  *\t* * * ") == "5 * * * *"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hourly", "has 1 fields, not the five of cron: minute, hour, day of the month, month"),
        ("@hourly", "has 1 fields"),
        ("0 5 * * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("60 * * * *", '"60" is no minute from 0 to 59'),
        ("0 24 * * *", '"24" is no hour from 0 to 23'),
        ("0 0 0 * *", '"0" is no day of the month from 1 to 31'),
        ("0 0 1 13 *", '"13" is no month from 1 to 12'),
        ("0 0 * * 8", '"8" is no day of the week from 0 to 7'),
        ("0 0 * * MON", '"MON" is no day of the week'),
        ("0 18-6 * * *", '"18-6" runs backwards'),
        ("*/0 * * * *", '"*/0" is no minute'),
        ("*/61 * * * *", '"*/61" is no minute'),
        ("-5 * * * *", '"-5" is no minute'),
        ("1,,2 * * * *", "is no minute"),
        ("0 0 30 2 *", "no month of these has such a day"),
        ("0 0 31 4,6-9/3 *", "no month of these has such a day"),
    ],
)
def test_what_is_no_cron_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CRON.validate_python(text)
    assert said in str(refused.value)


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
@given(st.tuples(*(fields(lowest, highest) for _, lowest, highest in [*FIELDS, WEEKDAY])).map(" ".join))
def test_what_is_taken_is_a_cron_for_dagster_too(text: str) -> None:
    try:
        is_taken = CRON.validate_python(text) == text
    except ValidationError as refused:
        is_taken = "no month of these has such a day" not in str(refused)
    assert is_valid_cron_schedule(text) or not is_taken
