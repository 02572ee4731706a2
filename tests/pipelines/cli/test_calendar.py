"""The calendar: each day has one letter, at any width."""

from collections.abc import Mapping
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.executions.day_status import DayState, SchedulerStatus
from pipelines.cli.calendar import LETTERS, STYLES, draw_calendar

ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler"


def list_days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


def draw(names: Mapping[str, str], days: list[date], state: DayState, width: int = 80) -> list[str]:
    schedulers = [SchedulerStatus(arn, name, dict.fromkeys(days, state)) for arn, name in names.items()]
    return [line.plain for line in draw_calendar(schedulers, days, width)]


def test_two_months_fit_side_by_side_in_80_columns() -> None:
    lines = draw({f"{ARN}/pump-1/a": "pump-1"}, list_days(date(2026, 9, 1), 61), DayState.settled)

    assert lines == [
        "       2026-09                        2026-10                        ",
        "       1      8      15     22     29 1      8      15     22     29 ",
        f"pump-1 {'=' * 30} {'=' * 31}",
    ]


@pytest.mark.parametrize(
    ("first", "count", "heading"),
    [
        (date(2026, 10, 4), 3, " 2026-10-04"),
        (date(2026, 9, 25), 36, " 09-25  2026-10"),
        (date(2026, 9, 29), 10, " 09 2026-10"),
        (date(2026, 9, 30), 10, "   2026-10"),
        (date(2026, 10, 1), 1, " 2026-10"),
    ],
)
def test_a_heading_is_never_cut(first: date, count: int, heading: str) -> None:
    lines = draw({f"{ARN}/fan/a": "fan"}, list_days(first, count), DayState.settled)

    assert lines[0].rstrip() == f"   {heading}"


@given(
    st.dates(date(2024, 1, 1), date(2026, 1, 1)),
    st.integers(1, 200),
    st.integers(40, 200),
    st.sampled_from([state for state in DayState if LETTERS[state].strip()]),
)
def test_each_day_is_drawn_once_and_no_line_is_wider_than_the_terminal(
    first: date, count: int, width: int, state: DayState
) -> None:
    lines = draw({f"{ARN}/fan/a": "fan"}, list_days(first, count), state, width)

    assert sum(line.count(LETTERS[state]) for line in lines if line.startswith("fan")) == count
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("arns", "shown"),
    [
        (["eu-west-1:111122223333:x/p/a", "us-east-1:111122223333:x/p/b"], ["p eu-west-1", "p us-east-1"]),
        (["eu-west-1:111122223333:x/p/a", "eu-west-1:123456789012:x/p/b"], ["p …3333", "p …9012"]),
        (["eu-west-1:111122223333:x/p/31a2-7", "eu-west-1:111122223333:x/p/55cb-1"], ["p 31a2", "p 55cb"]),
        (["eu-west-1:111122223333:x/p/a"], ["p"]),
    ],
    ids=["regions", "accounts", "generations", "single"],
)
def test_equal_names_get_the_shortest_distinguishing_suffix(arns: list[str], shown: list[str]) -> None:
    lines = draw({f"arn:aws:l:{arn}": "p" for arn in arns}, [date(2026, 9, 1)], DayState.open)

    assert [line.rpartition(" ")[0].rstrip() for line in lines[2:]] == shown


def test_letters_are_unique_and_capitals_mark_states_that_need_action() -> None:
    assert len(set(LETTERS.values())) == len(DayState) == len(STYLES)
    assert {state for state in DayState if LETTERS[state].isupper()} == {
        DayState.failed,
        DayState.missing,
        DayState.never_extracted,
        DayState.overdue,
        DayState.stuck,
    }
