"""Slots: each one has exactly one reason."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.framework.time_windows import DAY_MS
from assets.health.slots import (
    PROOF_MARGIN,
    REASONS,
    STOPPED_FOR,
    STOPPED_SLOTS,
    CoverageState,
    RecordedExecutions,
    SchedulerSetting,
    Slots,
    build_slots,
)
from assets.report.model import data_quality
from assets.tables import EXECUTION_HEALTH

MINUTE, MS = 60_000, timedelta(milliseconds=1)
TODAY = 20_000 * DAY_MS
LATER = TODAY + 3 * DAY_MS
SETTLES = TODAY + DAY_MS + 180 * MINUTE
HOURLY = SchedulerSetting(TODAY - DAY_MS, 60 * MINUTE, 0)
SUCCESS = REASONS.index("succeeded")


def build_executions(*starts: int, length: int = 60, reason: int = SUCCESS) -> RecordedExecutions:
    start = np.array(sorted(TODAY + at * MINUTE for at in starts), dtype=np.int64)
    return RecordedExecutions(start, start + length * MINUTE, np.full(len(start), reason))


def build_coverage(
    through: int | None = SETTLES, now: int = LATER, **more: int | bool | None
) -> CoverageState:
    return CoverageState(now, through, SETTLES, **more)  # type: ignore[arg-type]


def count_reasons(slots: Slots) -> dict[str, int]:
    return {reason: slots.count(reason) for reason in REASONS if slots.count(reason)}


HOURS = [60 * hour for hour in range(24)]


def test_a_complete_day() -> None:
    slots = build_slots(TODAY, [HOURLY], build_executions(*HOURS), build_coverage())

    assert count_reasons(slots) == {"succeeded": 24}
    assert slots.find_longest_silence() == 0


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
def test_proven_absent_slots_are_missing_or_not_running(absent: list[int], expected: dict[str, int]) -> None:
    slots = build_slots(TODAY, [HOURLY], build_executions(*(set(HOURS) - set(absent))), build_coverage())

    assert count_reasons(slots) == expected


def test_a_single_absent_slot_of_a_stopped_scheduler_is_not_running() -> None:
    stopped = [HOURLY, SchedulerSetting(TODAY + 590 * MINUTE, 60 * MINUTE, 0, "STOPPED")]

    slots = build_slots(TODAY, stopped, build_executions(*(set(HOURS) - {600})), build_coverage())

    assert count_reasons(slots) == {"succeeded": 23, "not_running": 1}


@pytest.mark.parametrize(("can_be_queried", "reason"), [(True, "not_extracted"), (False, "unknown")])
def test_unproven_slots_are_not_extracted_or_unknown(can_be_queried: bool, reason: str) -> None:
    slots = build_slots(
        TODAY, [HOURLY], build_executions(0, 60), build_coverage(None, can_be_queried=can_be_queried)
    )

    assert count_reasons(slots) == {"succeeded": 2, reason: 22}


def test_a_response_proves_slots_that_were_due_some_minutes_before_it() -> None:
    slots = build_slots(
        TODAY, [HOURLY], build_executions(0), build_coverage(TODAY + 183 * MINUTE, can_be_queried=True)
    )

    assert count_reasons(slots) == {"succeeded": 1, "missing": 1, "not_extracted": 22}


def test_windows_that_are_not_due_are_not_expected() -> None:
    delayed = SchedulerSetting(TODAY - DAY_MS, 60 * MINUTE, 30 * MINUTE)

    slots = build_slots(
        TODAY, [delayed], build_executions(0), build_coverage(None, TODAY + 149 * MINUTE, can_be_queried=True)
    )

    assert count_reasons(slots) == {"succeeded": 1}


def test_nothing_is_expected_before_a_scheduler_was_first_seen() -> None:
    slots = build_slots(
        TODAY,
        [SchedulerSetting(TODAY + 720 * MINUTE, 60 * MINUTE, 0)],
        build_executions(*HOURS[12:]),
        build_coverage(),
    )

    assert count_reasons(slots) == {"succeeded": 12}


@pytest.mark.parametrize(
    ("through", "now", "can_be_queried", "reason"),
    [
        (SETTLES, LATER, True, "stuck"),
        (None, SETTLES - 1, False, "in_progress"),
        (None, LATER, True, "in_progress"),
        (None, LATER, False, "unknown"),
    ],
)
def test_the_reason_of_an_execution_in_progress(
    through: int | None, now: int, can_be_queried: bool, reason: str
) -> None:
    slots = build_slots(
        TODAY,
        [],
        build_executions(600, reason=-1),
        build_coverage(through, now, can_be_queried=can_be_queried),
    )

    assert count_reasons(slots) == {reason: 1}


def test_nothing_is_missing_after_the_service_end() -> None:
    slots = build_slots(
        TODAY, [HOURLY], build_executions(*HOURS[:12]), build_coverage(service_end=TODAY + DAY_MS // 2)
    )

    assert count_reasons(slots) == {"succeeded": 12, "after_service_end": 12}
    assert slots.find_longest_silence() == 0


def test_the_grid_is_aligned_to_the_executions() -> None:
    starts = [at + 30 for at in HOURS]

    assert count_reasons(build_slots(TODAY, [HOURLY], build_executions(*starts), build_coverage())) == {
        "succeeded": 24
    }
    assert count_reasons(build_slots(TODAY, [HOURLY], build_executions(*starts[1:]), build_coverage())) == {
        "succeeded": 23,
        "missing": 1,
    }


def test_a_change_of_frequency_starts_a_new_grid() -> None:
    changed = [
        SchedulerSetting(TODAY - DAY_MS, 15 * MINUTE, 0),
        SchedulerSetting(TODAY + 725 * MINUTE, 5 * MINUTE, 0),
    ]
    before, after = (
        build_executions(*range(0, 720, 15), length=15),
        build_executions(*range(725, 1440, 5), length=5),
    )
    both = RecordedExecutions(
        *(
            np.concatenate((getattr(before, name), getattr(after, name)))
            for name in ("start", "end", "reason")
        )
    )

    assert count_reasons(build_slots(TODAY, changed, both, build_coverage())) == {"succeeded": 48 + 143}


def test_a_silence_lasts_from_the_first_to_the_last_slot_without_a_result() -> None:
    failed = build_executions(120, 180, reason=REASONS.index("failed_other"))
    good = build_executions(*(set(HOURS) - {120, 180, 240}))
    both = RecordedExecutions(
        *(
            np.concatenate((getattr(failed, name), getattr(good, name)))[
                np.argsort(np.concatenate((failed.start, good.start)))
            ]
            for name in ("start", "end", "reason")
        )
    )

    assert build_slots(TODAY, [HOURLY], both, build_coverage()).find_longest_silence() == 180 * MINUTE


def test_a_day_without_slots_has_no_silence() -> None:
    slots = build_slots(TODAY, [], build_executions(), build_coverage())

    assert len(slots.start) == 0
    assert slots.find_longest_silence() is None


times = st.integers(-30, 60 * 30).map(lambda minute: TODAY + minute * MINUTE)
days = st.fixed_dictionaries(
    {
        "settings": st.lists(
            st.builds(
                SchedulerSetting,
                times,
                st.sampled_from([0, 5, 10, 15, 30, 60]).map(lambda minutes: minutes * MINUTE),
                st.integers(0, 60).map(lambda minutes: minutes * MINUTE),
                st.sampled_from([None, "RUNNING", "STOPPED"]),
            ),
            max_size=4,
        ).map(lambda settings: sorted(settings, key=lambda setting: setting.valid_from)),
        "executions": st.builds(
            lambda starts, length, reason: build_executions(*starts, length=length, reason=reason),
            st.sets(st.integers(0, 1439), max_size=40),
            st.sampled_from([0, 5, 60]),
            st.sampled_from([-1, *range(len(REASONS))]),
        ),
        "coverage": st.builds(
            CoverageState, times, st.none() | times, times, st.none() | times, st.booleans()
        ),
    }
)


@settings(deadline=None, max_examples=80)
@given(day=days)
def test_every_slot_has_one_reason_and_every_execution_is_a_slot(day: dict[str, Any]) -> None:
    executions = day["executions"]

    slots = build_slots(TODAY, day["settings"], executions, day["coverage"])

    assert sum(count_reasons(slots).values()) == len(slots.start) == len(set(slots.start.tolist()))
    assert set(executions.start.tolist()) <= set(slots.start.tolist())
    assert all(TODAY <= start < TODAY + DAY_MS for start in slots.start.tolist())


@settings(deadline=None, max_examples=100)
@given(day=days)
def test_a_slot_has_a_reason_exactly_if_the_definition_of_the_reason_holds(day: dict[str, Any]) -> None:
    executions, coverage = day["executions"], day["coverage"]

    slots = build_slots(TODAY, day["settings"], executions, coverage)

    recorded = dict(zip(executions.start.tolist(), executions.reason.tolist(), strict=True))
    rows = list(zip(slots.start.tolist(), slots.end.tolist(), slots.reason.tolist(), strict=True))
    proven = [
        start not in recorded and is_proven(day["settings"], start, end, coverage) for start, end, _ in rows
    ]
    for number, (start, end, reason) in enumerate(rows):
        if start in recorded:
            expected = find_recorded_reason(recorded[start], coverage)
        elif coverage.service_end is not None and start >= coverage.service_end:
            expected = "after_service_end"
        elif not proven[number]:
            expected = "not_extracted" if coverage.can_be_queried else "unknown"
        else:
            first, last = find_range_around(proven, number)
            duration = rows[last][1] - rows[first][0]
            is_stop = last - first + 1 >= STOPPED_SLOTS and duration >= STOPPED_FOR // MS
            setting = find_setting(day["settings"], find_due_time(day["settings"], start, end))
            expected = "not_running" if is_stop or setting.status == "STOPPED" else "missing"
        assert REASONS[reason] == expected


def find_setting(settings: list[SchedulerSetting], at: int) -> SchedulerSetting:
    """Return the setting that was valid at a time."""
    return [SchedulerSetting(0, 0, 0), *(setting for setting in settings if setting.valid_from <= at)][-1]


def find_due_time(settings: list[SchedulerSetting], start: int, end: int) -> int:
    """Return when a window was due; its grid is that of the last setting with a frequency."""
    return end + find_setting([setting for setting in settings if setting.frequency], start).delay


def is_proven(settings: list[SchedulerSetting], start: int, end: int, coverage: CoverageState) -> bool:
    complete_through = coverage.complete_through
    if complete_through is None:
        return False
    proof = find_due_time(settings, start, end) + PROOF_MARGIN // MS
    return complete_through >= coverage.settles_at or proof <= complete_through


def find_recorded_reason(reason: int, coverage: CoverageState) -> str:
    if reason >= 0:
        return REASONS[reason]
    if coverage.complete_through is not None and coverage.complete_through >= coverage.settles_at:
        return "stuck"
    may_finish = coverage.now < coverage.settles_at or coverage.can_be_queried
    return "in_progress" if may_finish else "unknown"


def find_range_around(flags: list[bool], position: int) -> tuple[int, int]:
    """Return the first and last position of the range of set flags around a position."""
    first, last = position, position
    while first and flags[first - 1]:
        first -= 1
    while last + 1 < len(flags) and flags[last + 1]:
        last += 1
    return first, last


def test_every_reason_has_a_column_and_a_report_text() -> None:
    columns = [column.name for column in EXECUTION_HEALTH.columns]

    assert columns[columns.index("expected") + 1 : columns.index("coverage_ratio")] == list(REASONS)
    assert tuple(data_quality.REASONS) == REASONS
