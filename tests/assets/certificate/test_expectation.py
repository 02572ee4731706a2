"""Which windows are expected between evidence, and which times are not known. Times are minutes."""

from collections.abc import Sequence

import numpy as np
import pytest

from assets.certificate.expectation import (
    AFTER,
    BEFORE,
    CHANGE,
    NO_EVIDENCE,
    NO_FREQUENCY,
    Evidence,
    SchedulerTrace,
    build_evidence,
    build_expectation,
    build_settings,
)

MINUTE_MS = 60_000
BEGIN, END = 0, 60
Execution = tuple[int, int | None]
Period = tuple[int, int, str]


def build_executions(executions: Sequence[Execution]) -> Evidence:
    """Build the evidence of executions, each a start and perhaps an end."""
    starts, ends = (np.array(times, dtype=object) for times in zip(*executions, strict=True))
    has_end = np.array([end is not None for end in ends])
    return build_evidence(
        starts.astype(np.int64) * MINUTE_MS, np.where(has_end, ends, 0).astype(np.int64) * MINUTE_MS, has_end
    )


def find(
    executions: Sequence[Execution],
    settings: Sequence[tuple[int, int]] = (),
    following: Execution | None = None,
) -> tuple[list[int], list[Period]]:
    """Return the expected windows by start, and the periods that are not known."""
    held = build_executions(executions) if executions else NO_EVIDENCE
    times = [(at * MINUTE_MS, frequency * MINUTE_MS) for at, frequency in settings]
    trace = SchedulerTrace(settings=build_settings(times)) if times else SchedulerTrace()
    expectation = build_expectation(
        trace,
        held,
        lambda: build_executions([following]) if following else NO_EVIDENCE,
        BEGIN * MINUTE_MS,
        END * MINUTE_MS,
    )
    periods = [
        (period.start // MINUTE_MS, period.end // MINUTE_MS, period.reason) for period in expectation.unknown
    ]
    return (expectation.start // MINUTE_MS).tolist(), periods


@pytest.mark.parametrize(
    ("executions", "expected", "unknown"),
    [
        ([(0, 20), (40, 60)], [20], []),
        ([(-20, 0), (40, 60)], [0, 20], []),
        ([(0, 20), (50, 70)], [], [(20, 50, CHANGE)]),
        ([(0, 20), (40, 50), (50, 60)], [], [(20, 40, CHANGE)]),
        ([(10, 30)], [], [(0, 10, BEFORE), (30, 60, AFTER)]),
        ([(0, 20), (20, None)], [], [(25, 60, AFTER)]),
        ([(0, 20), (20, None), (40, 60)], [], [(25, 40, NO_FREQUENCY)]),
        ([(0, None), (20, None), (40, 60)], [], [(5, 40, NO_FREQUENCY)]),
        ([(0, None), (20, 25), (25, None), (40, 60)], [], [(5, 20, NO_FREQUENCY), (30, 40, NO_FREQUENCY)]),
        ([], [], [(0, 60, BEFORE)]),
    ],
    ids=[
        "one grid",
        "evidence before the first time",
        "another grid of the same frequency",
        "another frequency",
        "before and after the evidence",
        "no end, and nothing after it",
        "no end between known ones",
        "several without an end",
        "evidence between those without an end",
        "no evidence",
    ],
)
def test_windows_are_expected_between_evidence_of_one_grid(
    executions: list[Execution], expected: list[int], unknown: list[Period]
) -> None:
    assert find(executions) == (expected, unknown)


def test_evidence_after_the_last_time_closes_the_rest() -> None:
    assert find([(0, 20)], following=(80, 100)) == ([20, 40], [])
    assert find([(0, 20)], following=(70, 90)) == ([], [(20, 60, CHANGE)])


def test_a_setting_has_the_grid_of_an_execution_of_its_frequency() -> None:
    assert find([(5, 25)], settings=[(60, 20)]) == ([25, 45], [(0, 5, BEFORE)])
    assert find([(5, 25)], settings=[(60, 10)]) == ([], [(0, 5, BEFORE), (25, 60, CHANGE)])
    assert find([(40, 60)], settings=[(0, 20)]) == ([0, 20], [])
