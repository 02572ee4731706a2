"""Slots: each has one reason, whatever the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.reporting.slots import REASONS, Known, Ran, Setting, Slots, slots

MINUTE, DAY = 60_000, 86_400_000
TODAY = 20_000 * DAY
LATER = TODAY + 3 * DAY
SETTLES = TODAY + DAY + 180 * MINUTE
HOURLY = Setting(TODAY - DAY, 60 * MINUTE, 0)
SUCCESS = REASONS.index("succeeded")


def ran(*starts: int, length: int = 60, reason: int = SUCCESS) -> Ran:
    start = np.array(sorted(TODAY + at * MINUTE for at in starts), dtype=np.int64)
    return Ran(start, start + length * MINUTE, np.full(len(start), reason))


def known(through: int | None = SETTLES, now: int = LATER, **more: int | bool | None) -> Known:
    return Known(now, through, SETTLES, **more)  # type: ignore[arg-type]


def counts(found: Slots) -> dict[str, int]:
    return {reason: found.count(reason) for reason in REASONS if found.count(reason)}


HOURS = [60 * hour for hour in range(24)]


def test_a_whole_day() -> None:
    found = slots(TODAY, [HOURLY], ran(*HOURS), known())

    assert counts(found) == {"succeeded": 24}
    assert found.longest_silence() == 0


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
    found = slots(TODAY, [HOURLY], ran(*(set(HOURS) - set(absent))), known())

    assert counts(found) == expected


def test_where_the_service_said_that_it_is_stopped_a_single_slot_is_so_too() -> None:
    stopped = [HOURLY, Setting(TODAY + 590 * MINUTE, 60 * MINUTE, 0, "STOPPED")]

    found = slots(TODAY, stopped, ran(*(set(HOURS) - {600})), known())

    assert counts(found) == {"succeeded": 23, "not_running": 1}


@pytest.mark.parametrize(("can_be_asked", "reason"), [(True, "not_extracted"), (False, "unknown")])
def test_without_proof_nobody_asked_yet_or_nobody_can_tell(can_be_asked: bool, reason: str) -> None:
    found = slots(TODAY, [HOURLY], ran(0, 60), known(None, can_be_asked=can_be_asked))

    assert counts(found) == {"succeeded": 2, reason: 22}


def test_an_answer_proves_what_was_due_some_minutes_before_it() -> None:
    found = slots(TODAY, [HOURLY], ran(0), known(TODAY + 183 * MINUTE, can_be_asked=True))

    assert counts(found) == {"succeeded": 1, "missing": 1, "not_extracted": 22}


def test_what_is_not_due_yet_is_not_expected() -> None:
    delayed = Setting(TODAY - DAY, 60 * MINUTE, 30 * MINUTE)

    found = slots(TODAY, [delayed], ran(0), known(None, TODAY + 149 * MINUTE, can_be_asked=True))

    assert counts(found) == {"succeeded": 1}


def test_nothing_is_expected_before_a_scheduler_was_first_seen() -> None:
    found = slots(TODAY, [Setting(TODAY + 720 * MINUTE, 60 * MINUTE, 0)], ran(*HOURS[12:]), known())

    assert counts(found) == {"succeeded": 12}


@pytest.mark.parametrize(
    ("through", "now", "can_be_asked", "reason"),
    [
        (SETTLES, LATER, True, "stuck"),
        (None, SETTLES - 1, False, "in_progress"),
        (None, LATER, True, "in_progress"),
        (None, LATER, False, "unknown"),
    ],
)
def test_what_is_in_progress(through: int | None, now: int, can_be_asked: bool, reason: str) -> None:
    found = slots(TODAY, [], ran(600, reason=-1), known(through, now, can_be_asked=can_be_asked))

    assert counts(found) == {reason: 1}


def test_after_the_service_ended_nothing_is_missing() -> None:
    found = slots(TODAY, [HOURLY], ran(*HOURS[:12]), known(service_end=TODAY + DAY // 2))

    assert counts(found) == {"succeeded": 12, "after_service_end": 12}
    assert found.longest_silence() == 0


def test_the_grid_lies_where_the_executions_do() -> None:
    starts = [at + 30 for at in HOURS]

    assert counts(slots(TODAY, [HOURLY], ran(*starts), known())) == {"succeeded": 24}
    assert counts(slots(TODAY, [HOURLY], ran(*starts[1:]), known())) == {"succeeded": 23, "missing": 1}


def test_a_change_of_frequency_begins_the_grid_anew() -> None:
    changed = [Setting(TODAY - DAY, 15 * MINUTE, 0), Setting(TODAY + 725 * MINUTE, 5 * MINUTE, 0)]
    before, after = ran(*range(0, 720, 15), length=15), ran(*range(725, 1440, 5), length=5)
    both = Ran(
        *(
            np.concatenate((getattr(before, name), getattr(after, name)))
            for name in ("start", "end", "reason")
        )
    )

    assert counts(slots(TODAY, changed, both, known())) == {"succeeded": 48 + 143}


def test_a_silence_lasts_from_the_first_slot_without_a_result_to_the_end_of_the_last() -> None:
    failed = ran(120, 180, reason=REASONS.index("failed_other"))
    good = ran(*(set(HOURS) - {120, 180, 240}))
    both = Ran(
        *(
            np.concatenate((getattr(failed, name), getattr(good, name)))[
                np.argsort(np.concatenate((failed.start, good.start)))
            ]
            for name in ("start", "end", "reason")
        )
    )

    assert slots(TODAY, [HOURLY], both, known()).longest_silence() == 180 * MINUTE


def test_of_nothing_there_is_no_silence() -> None:
    found = slots(TODAY, [], ran(), known())

    assert len(found.start) == 0
    assert found.longest_silence() is None


moments = st.integers(-30, 60 * 30).map(lambda minute: TODAY + minute * MINUTE)


@settings(deadline=None, max_examples=200)
@given(
    of=st.lists(
        st.builds(
            Setting,
            moments,
            st.sampled_from([0, 5, 10, 15, 30, 60]).map(lambda minutes: minutes * MINUTE),
            st.integers(0, 60).map(lambda minutes: minutes * MINUTE),
            st.sampled_from([None, "RUNNING", "STOPPED"]),
        ),
        max_size=4,
    ),
    starts=st.sets(st.integers(0, 1439), max_size=40),
    length=st.sampled_from([0, 5, 60]),
    reason=st.sampled_from([-1, *range(len(REASONS))]),
    how=st.builds(Known, moments, st.none() | moments, moments, st.none() | moments, st.booleans()),
)
def test_every_slot_has_one_reason_and_every_execution_is_one(
    of: list[Setting], starts: set[int], length: int, reason: int, how: Known
) -> None:
    there = ran(*starts, length=length, reason=reason)

    found = slots(TODAY, sorted(of, key=lambda one: one.since), there, how)

    assert sum(counts(found).values()) == len(found.start) == len(set(found.start.tolist()))
    assert set(there.start.tolist()) <= set(found.start.tolist())
    assert all(TODAY <= start < TODAY + DAY for start in found.start.tolist())
