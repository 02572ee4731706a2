"""Slots: each has one reason, whatever the data."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.health.slots import (
    REASONS,
    CoverageState,
    RecordedExecutions,
    SchedulerSetting,
    Slots,
    build_slots,
)
from assets.report.model import data_quality
from assets.tables import EXECUTION_HEALTH

MINUTE, DAY = 60_000, 86_400_000
TODAY = 20_000 * DAY
LATER = TODAY + 3 * DAY
SETTLES = TODAY + DAY + 180 * MINUTE
HOURLY = SchedulerSetting(TODAY - DAY, 60 * MINUTE, 0)
SUCCESS = REASONS.index("succeeded")


def ran(*starts: int, length: int = 60, reason: int = SUCCESS) -> RecordedExecutions:
    start = np.array(sorted(TODAY + at * MINUTE for at in starts), dtype=np.int64)
    return RecordedExecutions(start, start + length * MINUTE, np.full(len(start), reason))


def known(through: int | None = SETTLES, now: int = LATER, **more: int | bool | None) -> CoverageState:
    return CoverageState(now, through, SETTLES, **more)  # type: ignore[arg-type]


def counts(found: Slots) -> dict[str, int]:
    return {reason: found.count(reason) for reason in REASONS if found.count(reason)}


HOURS = [60 * hour for hour in range(24)]


def test_a_whole_day() -> None:
    found = build_slots(TODAY, [HOURLY], ran(*HOURS), known())

    assert counts(found) == {"succeeded": 24}
    assert found.find_longest_silence() == 0


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ([600], {"succeeded": 23, "missing": 1}),
        ([600, 660], {"succeeded": 22, "missing": 2}),
        ([600, 660, 720], {"succeeded": 21, "not_running": 3}),
        (HOURS, {"not_running": 24}),
    ],
    ids=["one", "two", "three", "all"],
)
def test_what_is_proven_not_to_be_there_is_missing_or_the_scheduler_stood_still(
    absent: list[int], expected: dict[str, int]
) -> None:
    found = build_slots(TODAY, [HOURLY], ran(*(set(HOURS) - set(absent))), known())

    assert counts(found) == expected


def test_where_the_service_said_that_it_is_stopped_a_single_slot_is_so_too() -> None:
    stopped = [HOURLY, SchedulerSetting(TODAY + 590 * MINUTE, 60 * MINUTE, 0, "STOPPED")]

    found = build_slots(TODAY, stopped, ran(*(set(HOURS) - {600})), known())

    assert counts(found) == {"succeeded": 23, "not_running": 1}


@pytest.mark.parametrize(("can_be_queried", "reason"), [(True, "not_extracted"), (False, "unknown")])
def test_without_proof_nobody_asked_yet_or_nobody_can_tell(can_be_queried: bool, reason: str) -> None:
    found = build_slots(TODAY, [HOURLY], ran(0, 60), known(None, can_be_queried=can_be_queried))

    assert counts(found) == {"succeeded": 2, reason: 22}


def test_an_answer_proves_what_was_due_some_minutes_before_it() -> None:
    found = build_slots(TODAY, [HOURLY], ran(0), known(TODAY + 183 * MINUTE, can_be_queried=True))

    assert counts(found) == {"succeeded": 1, "missing": 1, "not_extracted": 22}


def test_what_is_not_due_yet_is_not_expected() -> None:
    delayed = SchedulerSetting(TODAY - DAY, 60 * MINUTE, 30 * MINUTE)

    found = build_slots(TODAY, [delayed], ran(0), known(None, TODAY + 149 * MINUTE, can_be_queried=True))

    assert counts(found) == {"succeeded": 1}


def test_nothing_is_expected_before_a_scheduler_was_first_seen() -> None:
    found = build_slots(
        TODAY, [SchedulerSetting(TODAY + 720 * MINUTE, 60 * MINUTE, 0)], ran(*HOURS[12:]), known()
    )

    assert counts(found) == {"succeeded": 12}


@pytest.mark.parametrize(
    ("through", "now", "can_be_queried", "reason"),
    [
        (SETTLES, LATER, True, "stuck"),
        (None, SETTLES - 1, False, "in_progress"),
        (None, LATER, True, "in_progress"),
        (None, LATER, False, "unknown"),
    ],
)
def test_what_is_in_progress(through: int | None, now: int, can_be_queried: bool, reason: str) -> None:
    found = build_slots(TODAY, [], ran(600, reason=-1), known(through, now, can_be_queried=can_be_queried))

    assert counts(found) == {reason: 1}


def test_after_the_service_ended_nothing_is_missing() -> None:
    found = build_slots(TODAY, [HOURLY], ran(*HOURS[:12]), known(service_end=TODAY + DAY // 2))

    assert counts(found) == {"succeeded": 12, "after_service_end": 12}
    assert found.find_longest_silence() == 0


def test_the_grid_lies_where_the_executions_do() -> None:
    starts = [at + 30 for at in HOURS]

    assert counts(build_slots(TODAY, [HOURLY], ran(*starts), known())) == {"succeeded": 24}
    assert counts(build_slots(TODAY, [HOURLY], ran(*starts[1:]), known())) == {"succeeded": 23, "missing": 1}


def test_a_change_of_frequency_begins_the_grid_anew() -> None:
    changed = [
        SchedulerSetting(TODAY - DAY, 15 * MINUTE, 0),
        SchedulerSetting(TODAY + 725 * MINUTE, 5 * MINUTE, 0),
    ]
    before, after = ran(*range(0, 720, 15), length=15), ran(*range(725, 1440, 5), length=5)
    both = RecordedExecutions(
        *(
            np.concatenate((getattr(before, name), getattr(after, name)))
            for name in ("start", "end", "reason")
        )
    )

    assert counts(build_slots(TODAY, changed, both, known())) == {"succeeded": 48 + 143}


def test_a_silence_lasts_from_the_first_slot_without_a_result_to_the_end_of_the_last() -> None:
    failed = ran(120, 180, reason=REASONS.index("failed_other"))
    good = ran(*(set(HOURS) - {120, 180, 240}))
    both = RecordedExecutions(
        *(
            np.concatenate((getattr(failed, name), getattr(good, name)))[
                np.argsort(np.concatenate((failed.start, good.start)))
            ]
            for name in ("start", "end", "reason")
        )
    )

    assert build_slots(TODAY, [HOURLY], both, known()).find_longest_silence() == 180 * MINUTE


def test_of_nothing_there_is_no_silence() -> None:
    found = build_slots(TODAY, [], ran(), known())

    assert len(found.start) == 0
    assert found.find_longest_silence() is None


moments = st.integers(-30, 60 * 30).map(lambda minute: TODAY + minute * MINUTE)
days = st.fixed_dictionaries(
    {
        "of": st.lists(
            st.builds(
                SchedulerSetting,
                moments,
                st.sampled_from([0, 5, 10, 15, 30, 60]).map(lambda minutes: minutes * MINUTE),
                st.integers(0, 60).map(lambda minutes: minutes * MINUTE),
                st.sampled_from([None, "RUNNING", "STOPPED"]),
            ),
            max_size=4,
        ).map(lambda some: sorted(some, key=lambda one: one.valid_from)),
        "there": st.builds(
            lambda starts, length, reason: ran(*starts, length=length, reason=reason),
            st.sets(st.integers(0, 1439), max_size=40),
            st.sampled_from([0, 5, 60]),
            st.sampled_from([-1, *range(len(REASONS))]),
        ),
        "how": st.builds(
            CoverageState, moments, st.none() | moments, moments, st.none() | moments, st.booleans()
        ),
    }
)


@settings(deadline=None, max_examples=200)
@given(day=days)
def test_every_slot_has_one_reason_and_every_execution_is_one(day: dict[str, Any]) -> None:
    there = day["there"]

    found = build_slots(TODAY, day["of"], there, day["how"])

    assert sum(counts(found).values()) == len(found.start) == len(set(found.start.tolist()))
    assert set(there.start.tolist()) <= set(found.start.tolist())
    assert all(TODAY <= start < TODAY + DAY for start in found.start.tolist())


@settings(deadline=None, max_examples=300)
@given(day=days)
def test_each_reason_is_given_where_its_definition_holds_and_nowhere_else(day: dict[str, Any]) -> None:
    of, there, how = day["of"], day["there"], day["how"]

    found = build_slots(TODAY, of, there, how)

    recorded = dict(zip(there.start.tolist(), there.reason.tolist(), strict=True))
    told = list(zip(found.start.tolist(), found.end.tolist(), found.reason.tolist(), strict=True))
    proven = [start not in recorded and is_proven(of, start, end, how) for start, end, _ in told]
    for number, (start, end, reason) in enumerate(told):
        if start in recorded:
            expected = of_recorded(recorded[start], how)
        elif how.service_end is not None and start >= how.service_end:
            expected = "after_service_end"
        elif not proven[number]:
            expected = "not_extracted" if how.can_be_queried else "unknown"
        else:
            row = row_around(proven, number)
            stood_still = len(row) >= 3 and told[row[-1]][1] - told[row[0]][0] >= 60 * MINUTE
            stopped = then(of, due(of, start, end)).status == "STOPPED"
            expected = "not_running" if stood_still or stopped else "missing"
        assert REASONS[reason] == expected


def then(of: list[SchedulerSetting], at: int) -> SchedulerSetting:
    """The setting that was valid at a moment."""
    return [SchedulerSetting(0, 0, 0), *(one for one in of if one.valid_from <= at)][-1]


def due(of: list[SchedulerSetting], start: int, end: int) -> int:
    """When a window of the grid should have come: its grid is that of the last setting that had one."""
    return end + then([one for one in of if one.frequency], start).delay


def is_proven(of: list[SchedulerSetting], start: int, end: int, how: CoverageState) -> bool:
    through = how.complete_through
    if through is None:
        return False
    return through >= how.settles_at or due(of, start, end) + 5 * MINUTE <= through


def of_recorded(reason: int, how: CoverageState) -> str:
    if reason >= 0:
        return REASONS[reason]
    if how.complete_through is not None and how.complete_through >= how.settles_at:
        return "stuck"
    return "in_progress" if how.now < how.settles_at or how.can_be_queried else "unknown"


def row_around(flags: list[bool], number: int) -> list[int]:
    """The longest row of set flags that a place stands in."""
    first, last = number, number
    while first and flags[first - 1]:
        first -= 1
    while last + 1 < len(flags) and flags[last + 1]:
        last += 1
    return list(range(first, last + 1))


def test_every_reason_has_its_column_and_its_words() -> None:
    columns = [column.name for column in EXECUTION_HEALTH.columns]

    assert columns[columns.index("expected") + 1 : columns.index("coverage_ratio")] == list(REASONS)
    assert tuple(data_quality.REASONS) == REASONS
