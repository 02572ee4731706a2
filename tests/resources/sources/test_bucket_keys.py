"""The keys of result objects show the start of each window, and many of them the frequency."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.sources.bucket_keys import (
    ACCESS_CHECK_FILE,
    ResultKey,
    find_certain_range,
    infer_frequency,
    is_time_folder,
    parse_folder_time,
    parse_result_keys,
)

PREFIX = "plant/output/"
START = datetime(2026, 9, 10, tzinfo=UTC)
FREQUENCIES = (5, 10, 15, 30, 60)


def build_grid(minutes: int, count: int, start: datetime = START) -> list[datetime]:
    return [start + number * timedelta(minutes=minutes) for number in range(count)]


def parse(*keys: str, zone: ZoneInfo | None = None) -> tuple[list[ResultKey], Counter[str]]:
    skipped = Counter[str]()
    results = parse_result_keys([PREFIX + key for key in keys], PREFIX, zone, skipped)
    return results, +skipped


def test_a_folder_is_named_after_the_start_in_utc() -> None:
    assert parse_folder_time("2021-08-31T12:45:00Z", None) == datetime(2021, 8, 31, 12, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "2021-08-31",
        "2021-13-31T12:45:00Z",
        "2021-02-30T12:45:00Z",
        "0000-00-00T00:00:00Z",
        "9999-12-31T23:59:59",
        "2021-08-3\N{ARABIC-INDIC DIGIT ONE}T12:45:00Z",
        "input",
        "",
        "2021-08-31T12:45:00+02:00",
    ],
)
def test_other_folders_are_no_times(name: str) -> None:
    assert parse_folder_time(name, UTC) is None
    assert not is_time_folder(name)


def test_a_folder_without_z_needs_a_time_zone() -> None:
    assert parse_folder_time("2021-08-31T12:45:00", None) is None
    berlin = parse_folder_time("2021-08-31T12:45:00", ZoneInfo("Europe/Berlin"))
    assert berlin == datetime(2021, 8, 31, 10, 45, tzinfo=UTC)


@pytest.mark.parametrize("name", ["results.jsonl", "results.jsonl.gz", "results.csv", "results.csv.gz"])
def test_all_forms_of_result_objects_are_found(name: str) -> None:
    key = f"2021-04-07T15:00:00Z/{name}"
    assert parse(key) == ([ResultKey(datetime(2021, 4, 7, 15, tzinfo=UTC), PREFIX + key)], Counter())


def test_keys_that_are_no_results_are_counted_by_kind() -> None:
    results, skipped = parse(
        ACCESS_CHECK_FILE,
        "2026-09-10T00:00:00Z/",
        "2026-09-10T00:00:00Z/results.jsonl",
        "2026-09-10T00:00:00Z/results.jsonl.gz",
        "2026-09-10T00:00:00Z/notes.txt",
        "2026-99-10T00:00:00Z/results.jsonl",
        "2026-09-10T01:00:00/results.jsonl",
        "readme.md",
    )
    assert [result.start for result in results] == [START]
    assert results[0].key.endswith("results.jsonl")
    assert skipped == {
        "access-check files": 1,
        "further copies of a result": 1,
        "other keys": 3,
        "folders with an unusable time": 1,
    }


@given(
    st.sampled_from(FREQUENCIES),
    st.lists(st.booleans(), min_size=2, max_size=288),
    st.integers(0, 11),
)
def test_an_inferred_frequency_is_the_one_that_any_two_adjacent_results_show(
    minutes: int, is_present: list[bool], offset: int
) -> None:
    """Missing results never make a frequency too short, and one pair of adjacent results makes it exact."""
    grid = build_grid(minutes, len(is_present), START + offset * timedelta(minutes=5))
    starts = [start for start, present in zip(grid, is_present, strict=True) if present]
    inferred = infer_frequency(starts).minutes
    has_adjacent = any(later - earlier == timedelta(minutes=minutes) for earlier, later in pairwise(starts))
    if inferred is not None:
        assert inferred == minutes if has_adjacent else inferred >= minutes


@pytest.mark.parametrize("minutes", FREQUENCIES)
def test_a_day_without_gaps_shows_its_frequency(minutes: int) -> None:
    evidence = infer_frequency(build_grid(minutes, 24 * 60 // minutes))
    assert evidence.minutes == minutes
    assert f"steps are {minutes} minutes" in evidence.text


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_a_few_results_show_no_frequency(count: int) -> None:
    assert infer_frequency(build_grid(5, count)).minutes is None


@pytest.mark.parametrize(
    ("before", "after"), [(5, 10), (10, 5), (5, 60), (15, 30), (60, 5), (10, 15), (15, 10)]
)
def test_nothing_is_inferred_while_the_frequency_changes(before: int, after: int) -> None:
    change = START + timedelta(hours=12)
    starts = build_grid(before, 12 * 60 // before) + build_grid(after, 12 * 60 // after, change)
    evidence = infer_frequency(starts)
    assert (evidence.minutes, evidence.is_mixed) == (None, False)


@pytest.mark.parametrize(("before", "after"), [(30, 60), (60, 30), (15, 30), (10, 15)])
def test_ends_beside_a_change_are_certain_only_where_no_lost_result_can_hide_it(
    before: int, after: int
) -> None:
    """Every second result of the shorter frequency is lost for three hours beside the change."""
    change = START + timedelta(days=1)
    starts = build_grid(before, 24 * 60 // before) + build_grid(after, 24 * 60 // after, change)
    lost = timedelta(minutes=min(before, after))
    kept = [
        start
        for start in starts
        if abs(start - change) > timedelta(hours=3) or (start - change) % (2 * lost) == timedelta(0)
    ]

    for day, minutes in ((START.date(), before), (change.date(), after)):
        certain = find_certain_range(kept, day, minutes)
        assert certain is not None
        ends = {start for start in kept if certain[0] <= start <= certain[1]}
        assert ends
        assert all((start < change) == (minutes == before) for start in ends)


@pytest.mark.parametrize(
    ("one", "other", "shift"),
    [(10, 15, 0), (60, 60, 5), (30, 30, 5), (15, 15, 5), (10, 10, 3), (60, 30, 10)],
)
def test_two_schedulers_with_different_grids_are_detected(one: int, other: int, shift: int) -> None:
    second = build_grid(other, 24 * 60 // other, START + timedelta(minutes=shift))
    starts = sorted({*build_grid(one, 24 * 60 // one), *second})
    evidence = infer_frequency(starts)
    assert (evidence.minutes, evidence.is_mixed) == (None, True)
