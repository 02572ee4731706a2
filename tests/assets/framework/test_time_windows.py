"""Time windows: half-open and in UTC; any split of a range contains each execution exactly once."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.framework.time_windows import (
    Days,
    Window,
    filter_window,
    get_day_window,
    parse_duration,
    split_by_day,
)
from assets.tables import INSTANT

DAY = date(2026, 10, 6)
MIDNIGHT = datetime(2026, 10, 6, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)

# most offsets are at or within a millisecond of midnight
offsets = st.integers(-3, 3).flatmap(
    lambda day: st.sampled_from([-1, 0, 1]).map(lambda ms: day * 86_400_000 + ms)
) | st.integers(-3 * 86_400_000, 3 * 86_400_000)
starts = st.lists(offsets.map(lambda ms: MIDNIGHT + ms * MILLISECOND), max_size=20)


def executions(moments: list[datetime]) -> pa.Table:
    """Return one numbered execution per start time."""
    return pa.table(
        {
            "number": pa.array(range(len(moments)), pa.int64()),
            "data_start_time": pa.array(moments, INSTANT),
        }
    )


def numbers(rows: pa.Table) -> list[int]:
    result: list[int] = rows["number"].to_pylist()
    return result


class TestDayWindow:
    def test_lasts_24_hours_from_midnight_utc(self) -> None:
        assert get_day_window(DAY) == Window(MIDNIGHT, MIDNIGHT + 24 * HOUR)

    def test_ends_where_the_next_day_starts(self) -> None:
        assert get_day_window(DAY).end == get_day_window(DAY + timedelta(days=1)).start

    @pytest.mark.parametrize(
        ("moment", "inside"),
        [
            pytest.param(MIDNIGHT - MILLISECOND, False, id="a millisecond before the start"),
            pytest.param(MIDNIGHT, True, id="start"),
            pytest.param(MIDNIGHT + 24 * HOUR - MILLISECOND, True, id="last millisecond"),
            pytest.param(MIDNIGHT + 24 * HOUR, False, id="end"),
        ],
    )
    def test_contains_its_start_but_not_its_end(self, moment: datetime, inside: bool) -> None:
        rows = executions([moment])
        assert filter_window(rows, get_day_window(DAY)).num_rows == inside
        assert [day for day, _ in split_by_day(rows)] == [moment.date()]
        assert (moment.date() == DAY) is inside


class TestFilterWindow:
    @given(starts, st.lists(offsets, min_size=2, max_size=6, unique=True).map(sorted))
    @settings(deadline=None, max_examples=80)
    def test_any_split_of_a_range_contains_each_execution_once(
        self, moments: list[datetime], bounds: list[int]
    ) -> None:
        rows = executions(moments)
        edges = [MIDNIGHT + bound * MILLISECOND for bound in bounds]
        whole = numbers(filter_window(rows, Window(edges[0], edges[-1])))
        parts = [numbers(filter_window(rows, Window(start, end))) for start, end in itertools.pairwise(edges)]
        assert sorted(number for part in parts for number in part) == whole
        assert whole == [number for number, moment in enumerate(moments) if edges[0] <= moment < edges[-1]]

    @given(starts)
    @settings(deadline=None, max_examples=40)
    def test_filtering_a_wider_window_first_changes_nothing(self, moments: list[datetime]) -> None:
        rows = executions(moments)
        day = get_day_window(DAY)
        wider = filter_window(rows, Window(day.start - 2 * HOUR, day.end + 2 * HOUR))
        assert filter_window(wider, day).equals(filter_window(rows, day))

    def test_bounds_in_other_time_zones_are_supported(self) -> None:
        tokyo = timezone(timedelta(hours=9))
        window = Window(MIDNIGHT.astimezone(tokyo), (MIDNIGHT + HOUR).astimezone(tokyo))
        rows = executions([MIDNIGHT - MILLISECOND, MIDNIGHT, MIDNIGHT + HOUR])
        assert numbers(filter_window(rows, window)) == [1]

    def test_empty_input_gives_empty_output(self) -> None:
        assert filter_window(executions([]), get_day_window(DAY)).equals(executions([]))


class TestSplitByDay:
    @given(starts)
    @settings(deadline=None, max_examples=80)
    def test_yields_each_execution_once_on_its_day_in_order(self, moments: list[datetime]) -> None:
        expected: dict[date, list[int]] = {}
        for number, moment in enumerate(moments):
            expected.setdefault(moment.date(), []).append(number)
        actual = {day: numbers(rows) for day, rows in split_by_day(executions(moments))}
        assert actual == expected
        assert [*actual] == sorted(actual)

    @given(starts)
    @settings(deadline=None, max_examples=40)
    def test_equals_filtering_by_the_window_of_each_day(self, moments: list[datetime]) -> None:
        rows = executions(moments)
        assert all(part.equals(filter_window(rows, get_day_window(day))) for day, part in split_by_day(rows))

    @given(starts, st.randoms(use_true_random=False))
    @settings(deadline=None, max_examples=40)
    def test_does_not_depend_on_chunking(
        self,
        moments: list[datetime],
        random: Any,
    ) -> None:
        at = random.randint(0, len(moments))
        rows = executions(moments)
        chunked = pa.concat_tables([rows.slice(0, at), rows.slice(at)])
        assert [(day, numbers(part)) for day, part in split_by_day(chunked)] == [
            (day, numbers(part)) for day, part in split_by_day(rows)
        ]

    @pytest.mark.parametrize(
        "moment",
        [
            pytest.param(datetime(1, 1, 1, tzinfo=UTC), id="the first day of the calendar"),
            pytest.param(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), id="before the epoch"),
            pytest.param(datetime(2024, 2, 29, tzinfo=UTC), id="a leap day"),
            pytest.param(datetime(9999, 12, 31, 23, tzinfo=UTC), id="the last day of the calendar"),
        ],
    )
    def test_supports_every_day_of_the_calendar(self, moment: datetime) -> None:
        assert [(day, rows.num_rows) for day, rows in split_by_day(executions([moment]))] == [
            (moment.date(), 1)
        ]


class TestDays:
    @pytest.mark.parametrize(
        ("days", "inside"),
        [
            (Days(DAY), [False, True, True, True]),
            (Days(DAY, DAY + timedelta(days=2)), [False, True, True, False]),
            (Days(DAY, DAY), [False, False, False, False]),
        ],
        ids=["no end", "two days", "empty"],
    )
    def test_contain_first_but_not_end(self, days: Days, inside: list[bool]) -> None:
        assert [DAY + timedelta(days=number) in days for number in (-1, 0, 1, 2)] == inside


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("PT5M", 5), ("PT1H", 60), ("PT1H30M", 90), ("", None), ("PT", None), ("PT0M", None), (None, None)],
)
def test_duration_of_hours_and_minutes_is_parsed(text: str | None, minutes: int | None) -> None:
    assert parse_duration(text) == (None if minutes is None else timedelta(minutes=minutes))
