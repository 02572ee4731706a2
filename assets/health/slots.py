"""The slots of a scheduler's day, with exactly one reason each.

A slot is a window that starts on the day. Every recorded execution is a slot. So is every due window of the
expected grid that no execution covers. The grid follows the frequency and delay that were valid then. It is
aligned to executions of that frequency, because a scheduler in another time zone starts windows at other
minutes than in UTC.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from assets.executions.statuses import STOPPED_STATUSES
from assets.framework.time_windows import DAY_MS

REASONS = (
    "succeeded",
    "failed_missing_input",
    "failed_other",
    "in_progress",
    "stuck",
    "missing",
    "not_running",
    "not_extracted",
    "after_service_end",
    "unknown",
)
"""The possible reasons of a slot, in the order of their numbers."""

_NUMBERS = {reason: number for number, reason in enumerate(REASONS)}

PROOF_MARGIN = timedelta(minutes=5)
"""A response proves that an execution does not exist if it was due at least this long before the response."""

STOPPED_SLOTS, STOPPED_FOR = 3, timedelta(hours=1)
"""A scheduler is considered stopped if this many slots in a row, over at least this time, have no execution.
Missing input causes failed executions, so a slot without any execution points to the scheduler."""

_MS = timedelta(milliseconds=1)
_FIVE_MINUTES_MS = 300_000

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SchedulerSetting:
    """The settings of a scheduler from a time on; times in ms, `frequency` 0: unknown."""

    valid_from: int
    frequency: int
    delay: int
    status: str | None = None


@dataclass(frozen=True)
class RecordedExecutions:
    """The executions of a scheduler's day, sorted by start, in ms; `reason` is -1 while IN_PROGRESS."""

    start: Ints
    end: Ints
    reason: Ints


@dataclass(frozen=True)
class CoverageState:
    """How far a scheduler's day is known; times in ms.

    Attributes:
        now: The current time.
        complete_through: The service reported all executions up to here; None: never.
        settles_at: A response from this time on is final.
        service_end: The service reports no windows that start later; None: it has no end.
        can_be_queried: The service may still report what is missing.
    """

    now: int
    complete_through: int | None
    settles_at: int
    service_end: int | None = None
    can_be_queried: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether the day is final."""
        return self.complete_through is not None and self.complete_through >= self.settles_at


@dataclass(frozen=True)
class UnknownPeriod:
    """A time from `start` to before `end`, in ms, in which the expected windows are not known, and why."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True)
class Expectation:
    """What evidence before and after a day implies: the expected windows that have no execution, in ms."""

    start: Ints
    end: Ints
    unknown: tuple[UnknownPeriod, ...] = ()


@dataclass(frozen=True)
class Slots:
    """The slots of a day by start, in ms, and the number of each reason.

    `unknown` are periods in which further windows may be expected; empty if they were not searched.
    """

    start: Ints
    end: Ints
    reason: Ints
    unknown: tuple[UnknownPeriod, ...] = ()

    def count(self, reason: str) -> int:
        """Count the slots with a reason."""
        return int(np.count_nonzero(self.reason == _NUMBERS[reason]))

    def find_longest_silence(self) -> int | None:
        """Return the longest time without a result on this day, in ms; None: nothing was expected.

        A silence that crosses midnight counts on each day with that day's part.
        """
        is_expected = self.reason != _NUMBERS["after_service_end"]
        if not is_expected.any():
            return None
        is_silent = self.reason[is_expected] != _NUMBERS["succeeded"]
        first, last = _find_ranges(is_silent)
        return int((self.end[is_expected][last] - self.start[is_expected][first]).max(initial=0))


def build_slots(
    day_ms: int,
    settings: Sequence[SchedulerSetting],
    executions: RecordedExecutions,
    coverage: CoverageState,
    expect: Callable[[], Expectation] | None = None,
) -> Slots:
    """Build the slots of a scheduler's day.

    Args:
        day_ms: the start of the day.
        settings: all settings of the scheduler, oldest first; nothing is expected before the first one.
        executions: the recorded executions.
        coverage: how far the recorded executions are complete.
        expect: returns the windows that evidence implies. Without it, settings are taken as unchanged until
            the next one. Of a settled day, they always are: the absence of each window is proven.
    """
    recorded = np.where(executions.reason < 0, _get_in_progress_reason(coverage), executions.reason)
    is_whole = _is_without_gaps(day_ms, settings, executions)  # most days of most schedulers
    if is_whole and (expect is None or executions.start[0] == day_ms):
        return Slots(executions.start, executions.end, recorded)
    unknown: tuple[UnknownPeriod, ...] = ()
    if expect is None or coverage.is_settled:
        start, end, due = _build_absent_grid(day_ms, settings, executions)
    else:
        expectation = expect()
        unknown = expectation.unknown
        start, end, due = _build_expected(expectation, settings)
        if coverage.service_end is not None and day_ms + DAY_MS > coverage.service_end:
            later = _build_absent_grid(day_ms, settings, executions, coverage.service_end)
            start, end, due = (np.concatenate(parts) for parts in zip((start, end, due), later, strict=True))
    is_absent_window = due <= coverage.now
    if not is_absent_window.any():
        return Slots(executions.start, executions.end, recorded, unknown)
    start, end, due = start[is_absent_window], end[is_absent_window], due[is_absent_window]
    all_starts = np.concatenate((executions.start, start))
    order = np.argsort(all_starts, kind="stable")
    is_absent = (np.arange(len(all_starts)) >= len(executions.start))[order]
    all_ends = np.concatenate((executions.end, end))[order]
    all_due = np.concatenate((executions.end, due))[order]
    reason = np.concatenate((recorded, np.zeros(len(start), dtype=np.int64)))[order]
    slots = Slots(all_starts[order], all_ends, reason, unknown)
    reason[is_absent] = _find_absence_reasons(slots, all_due, is_absent, settings, coverage)[is_absent]
    return slots


def _build_absent_grid(
    day_ms: int, settings: Sequence[SchedulerSetting], executions: RecordedExecutions, since: int = 0
) -> tuple[Ints, Ints, Ints]:
    """Return start, end and due time of the windows of the grid from a time on that no execution covers."""
    start, end, due = _build_grid(day_ms, settings, executions)
    is_absent = (start >= since) & ~_find_covered(start, end, executions)
    return start[is_absent], end[is_absent], due[is_absent]


def _build_expected(
    expectation: Expectation, settings: Sequence[SchedulerSetting]
) -> tuple[Ints, Ints, Ints]:
    """Return start, end and due time of the expected windows."""
    valid_from = np.array([setting.valid_from for setting in settings], np.int64)
    delays = np.array([0, *(setting.delay for setting in settings)], np.int64)
    delay = delays[np.searchsorted(valid_from, expectation.start, side="right")]
    return expectation.start, expectation.end, expectation.end + delay


def _is_without_gaps(
    day_ms: int, settings: Sequence[SchedulerSetting], executions: RecordedExecutions
) -> bool:
    """Return whether executions of one frequency fill the day, so that no expected window is absent.

    False does not mean that one is absent.
    """
    start, end = executions.start, executions.end
    if len(settings) != 1 or settings[0].frequency <= 0 or len(start) != DAY_MS // settings[0].frequency:
        return False
    frequency, first = settings[0].frequency, int(start[0])
    if not day_ms <= first < day_ms + frequency:
        return False
    expected = np.arange(first, first + len(start) * frequency, frequency)
    return np.array_equal(start, expected) and np.array_equal(end, expected + frequency)


def _build_grid(
    day_ms: int, settings: Sequence[SchedulerSetting], executions: RecordedExecutions
) -> tuple[Ints, Ints, Ints]:
    """Return start, end and due time of the expected windows that start on the day."""
    grids = _select_grid_changes(settings)
    parts = [(np.zeros(0, np.int64),) * 3]
    for number, setting in enumerate(grids):
        # a change starts a new grid: windows that still waited for their delay are not run
        until = grids[number + 1].valid_from if number + 1 < len(grids) else day_ms + 2 * DAY_MS
        begin, stop = max(day_ms, setting.valid_from), min(day_ms + DAY_MS, until)
        if begin >= stop:
            continue
        first = begin + (_find_window_start(setting, executions, begin, stop) - begin) % setting.frequency
        start = np.arange(first, stop, setting.frequency, dtype=np.int64)
        start = start[start + setting.frequency <= until]
        parts.append((start, start + setting.frequency, start + setting.frequency + setting.delay))
    starts, ends, due = (np.concatenate(column) for column in zip(*parts, strict=True))
    return starts, ends, due


def _select_grid_changes(settings: Sequence[SchedulerSetting]) -> list[SchedulerSetting]:
    """Select the settings with a known frequency that change frequency or delay."""
    known = [setting for setting in settings if setting.frequency > 0]
    return [
        setting
        for number, setting in enumerate(known)
        if not number
        or (setting.frequency, setting.delay) != (known[number - 1].frequency, known[number - 1].delay)
    ]


def _find_window_start(
    setting: SchedulerSetting, executions: RecordedExecutions, begin: int, stop: int
) -> int:
    """Return the start of any window of this setting, to which its grid is aligned."""
    lengths = executions.end - executions.start
    matches = (executions.start >= begin) & (executions.start < stop) & (lengths == setting.frequency)
    if matches.any():
        return int(executions.start[matches][0])
    # a setting seen in an execution is valid from a window start; a listed one from an arbitrary time
    return setting.valid_from if setting.valid_from % _FIVE_MINUTES_MS == 0 else 0


def _find_covered(start: Ints, end: Ints, executions: RecordedExecutions) -> Flags:
    """Mark the windows that recorded executions cover, fully or in part."""
    if not len(executions.start):
        return np.zeros(len(start), dtype=bool)
    following = np.searchsorted(executions.start, start, side="right")
    preceding = np.maximum(following - 1, 0)
    latest_end = np.maximum.accumulate(executions.end)
    preceding_overlaps = (following > 0) & (
        (latest_end[preceding] > start) | (executions.start[preceding] == start)
    )
    is_last = following >= len(executions.start)
    following_start = executions.start[np.minimum(following, len(executions.start) - 1)]
    following_overlaps = ~is_last & (following_start < end)
    return np.asarray(preceding_overlaps | following_overlaps)


def _get_in_progress_reason(coverage: CoverageState) -> int:
    if coverage.is_settled:
        return _NUMBERS["stuck"]
    may_finish = coverage.now < coverage.settles_at or coverage.can_be_queried
    return _NUMBERS["in_progress" if may_finish else "unknown"]


def _find_absence_reasons(
    slots: Slots,
    due: Ints,
    is_absent: Flags,
    settings: Sequence[SchedulerSetting],
    coverage: CoverageState,
) -> Ints:
    """Return the reason of each slot as if it had no execution; only valid where `is_absent`."""
    complete_through = -1 if coverage.complete_through is None else coverage.complete_through
    is_proven = is_absent & (coverage.is_settled | (due + PROOF_MARGIN // _MS <= complete_through))
    reason = np.full(len(due), _NUMBERS["not_extracted" if coverage.can_be_queried else "unknown"])
    reason[is_proven] = _NUMBERS["missing"]
    first, last = _find_ranges(is_proven)
    is_stop = (last - first + 1 >= STOPPED_SLOTS) & (
        slots.end[last] - slots.start[first] >= STOPPED_FOR // _MS
    )
    for begin, end in zip(first[is_stop], last[is_stop], strict=True):
        reason[begin : end + 1] = _NUMBERS["not_running"]
    if settings:
        valid_from = np.array([setting.valid_from for setting in settings], dtype=np.int64)
        is_stopped = np.array([setting.status in STOPPED_STATUSES for setting in settings], dtype=bool)
        setting = np.searchsorted(valid_from, due, side="right") - 1
        reason[is_proven & (setting >= 0) & is_stopped[np.maximum(setting, 0)]] = _NUMBERS["not_running"]
    if coverage.service_end is not None:
        reason[slots.start >= coverage.service_end] = _NUMBERS["after_service_end"]
    return reason


def _find_ranges(flags: Flags) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and last position of each maximal range of set flags."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
