"""Slots: what was expected of a scheduler on a day, and the one reason of each.

A slot is a window that starts on the day. Each recorded execution is one; so is each window of the grid that
was due and that no execution covers. The grid is that of the frequency and the delay valid then, laid where
executions of that frequency lie: on a plant's clock windows begin at other minutes than in UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

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
"""What can become of a slot: always one of these."""

_OF = {reason: number for number, reason in enumerate(REASONS)}

PROOF_MARGIN = timedelta(minutes=5)
"""An answer proves that an execution is not there if it was due so long before."""

STOPPED_SLOTS, STOPPED_FOR = 3, timedelta(hours=1)
"""So many slots in a row, and so long, without an execution: the scheduler stood still. Input that does not
come makes a failed execution, so what leaves none is the scheduler."""

_MS = timedelta(milliseconds=1)
_FIVE_MINUTES = 300_000
_STOPPED = ("STOPPED", "STOPPING")

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SchedulerSetting:
    """What a scheduler was set to from a moment on; times in ms, `frequency` 0: not known."""

    since: int
    frequency: int
    delay: int
    status: str | None = None


@dataclass(frozen=True)
class RecordedExecutions:
    """The recorded executions of a scheduler's day by start, in ms; `reason` is -1 while IN_PROGRESS."""

    start: Ints
    end: Ints
    reason: Ints


@dataclass(frozen=True)
class CoverageState:
    """How far a scheduler's day is known, in ms.

    Attributes:
        now: When this is asked.
        complete_through: The service answered up to here; None: never.
        settles_at: From an answer at this moment on, nothing more is to come.
        service_end: The service answers for no window that starts later; None: it has no end.
        can_be_asked: The service may still tell what it has not told.
    """

    now: int
    complete_through: int | None
    settles_at: int
    service_end: int | None = None
    can_be_asked: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come."""
        return self.complete_through is not None and self.complete_through >= self.settles_at


@dataclass(frozen=True)
class Slots:
    """The slots of a day by start, in ms, and the number of each one's reason."""

    start: Ints
    end: Ints
    reason: Ints

    def count(self, reason: str) -> int:
        """Count the slots of a reason."""
        return int(np.count_nonzero(self.reason == _OF[reason]))

    def longest_silence(self) -> int | None:
        """Return the longest stretch without a result, in ms; None: nothing was expected.

        It is that of the day: one that goes on past midnight is told on each day with its part of it.
        """
        asked = self.reason != _OF["after_service_end"]
        if not asked.any():
            return None
        silent = self.reason[asked] != _OF["succeeded"]
        first, last = _stretches(silent)
        return int((self.end[asked][last] - self.start[asked][first]).max(initial=0))


def build_slots(
    day_ms: int, settings: Sequence[SchedulerSetting], ran: RecordedExecutions, known: CoverageState
) -> Slots:
    """Find the slots of a scheduler's day.

    Args:
        day_ms: the beginning of the day.
        settings: all settings of the scheduler, oldest first; the first tells since when it was seen.
        ran: what is recorded.
        known: how far that is all.
    """
    start, end, due = _grid(day_ms, settings, ran)
    absent = (due <= known.now) & ~_covered(start, end, ran)
    start, end, due = start[absent], end[absent], due[absent]
    all_starts = np.concatenate((ran.start, start))
    order = np.argsort(all_starts, kind="stable")
    is_absent = np.concatenate((np.zeros(len(ran.start), dtype=bool), np.ones(len(start), dtype=bool)))[order]
    all_ends = np.concatenate((ran.end, end))[order]
    all_due = np.concatenate((ran.end, due))[order]
    recorded = np.where(ran.reason < 0, _in_progress(known), ran.reason)
    reason = np.concatenate((recorded, np.zeros(len(start), dtype=np.int64)))[order]
    found = Slots(all_starts[order], all_ends, reason)
    reason[is_absent] = _absent(found, all_due, is_absent, settings, known)[is_absent]
    return found


def _grid(
    day_ms: int, settings: Sequence[SchedulerSetting], ran: RecordedExecutions
) -> tuple[Ints, Ints, Ints]:
    """Lay out the windows that start on the day: start, end, and when each was due."""
    kept = [one for one in settings if one.frequency > 0]
    kept = [
        one
        for number, one in enumerate(kept)
        if not number or (one.frequency, one.delay) != (kept[number - 1].frequency, kept[number - 1].delay)
    ]
    parts = [(np.zeros(0, np.int64),) * 3]
    for number, one in enumerate(kept):
        # a change begins the grid anew: windows that were waiting for their delay are not run
        until = kept[number + 1].since if number + 1 < len(kept) else day_ms + 2 * DAY_MS
        begin, stop = max(day_ms, one.since), min(day_ms + DAY_MS, until)
        if begin >= stop:
            continue
        first = begin + (_anchor(one, ran, begin, stop) - begin) % one.frequency
        start = np.arange(first, stop, one.frequency, dtype=np.int64)
        start = start[start + one.frequency <= until]
        parts.append((start, start + one.frequency, start + one.frequency + one.delay))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return columns[0], columns[1], columns[2]


def _anchor(setting: SchedulerSetting, ran: RecordedExecutions, begin: int, stop: int) -> int:
    """Return where a window of this setting starts."""
    alike = (ran.start >= begin) & (ran.start < stop) & (ran.end - ran.start == setting.frequency)
    if alike.any():
        return int(ran.start[alike][0])
    # what the service lists is known since some odd moment, and what ran since the start of a window
    return setting.since if setting.since % _FIVE_MINUTES == 0 else 0


def _covered(start: Ints, end: Ints, ran: RecordedExecutions) -> Flags:
    """Mark the windows that recorded executions cover, be it in part."""
    if not len(ran.start):
        return np.zeros(len(start), dtype=bool)
    after = np.searchsorted(ran.start, start, side="right")
    reach = np.maximum.accumulate(ran.end)
    before_reaches_in = (after > 0) & (
        (reach[np.maximum(after - 1, 0)] > start) | (ran.start[np.maximum(after - 1, 0)] == start)
    )
    next_begins_inside = (after < len(ran.start)) & (ran.start[np.minimum(after, len(ran.start) - 1)] < end)
    return np.asarray(before_reaches_in | next_begins_inside)


def _in_progress(known: CoverageState) -> int:
    if known.is_settled:
        return _OF["stuck"]
    return _OF["in_progress" if known.now < known.settles_at or known.can_be_asked else "unknown"]


def _absent(
    found: Slots, due: Ints, is_absent: Flags, settings: Sequence[SchedulerSetting], known: CoverageState
) -> Ints:
    """Return a reason for each slot, as if there was no execution on it."""
    through = -1 if known.complete_through is None else known.complete_through
    proven = is_absent & (known.is_settled | (due + PROOF_MARGIN // _MS <= through))
    reason = np.full(len(due), _OF["not_extracted" if known.can_be_asked else "unknown"])
    reason[proven] = _OF["missing"]
    first, last = _stretches(proven)
    long_enough = (last - first + 1 >= STOPPED_SLOTS) & (
        found.end[last] - found.start[first] >= STOPPED_FOR // _MS
    )
    for begin, end in zip(first[long_enough], last[long_enough], strict=True):
        reason[begin : end + 1] = _OF["not_running"]
    since = np.array([one.since for one in settings], dtype=np.int64)
    stopped = np.array([one.status in _STOPPED for one in settings], dtype=bool)
    if len(since):
        then = np.searchsorted(since, due, side="right") - 1
        reason[proven & (then >= 0) & stopped[np.maximum(then, 0)]] = _OF["not_running"]
    if known.service_end is not None:
        reason[found.start >= known.service_end] = _OF["after_service_end"]
    return reason


def _stretches(flags: Flags) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the last of each row of set flags."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
