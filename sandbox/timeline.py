"""A scheduler's executions by time: which exist, their status, and their bytes on the wire."""

import bisect
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sandbox.forms import wire
from sandbox.schedulers import Outcome, Scheduler, Slot

_STRIDE = timedelta(days=2)  # how far beyond the clock the grid is laid out at a time


class Timeline:
    """The executions of one scheduler by number, oldest first; starts, ends and schedules only ever grow.

    Nothing in it depends on a clock but what is asked with one, so that a clock may go back.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.starts: list[float] = []
        self.ends: list[float] = []
        self._schedules: list[float] = []
        self._slots: list[Slot] = []
        self._outcomes: dict[int, Outcome] = {}
        self._rendered: dict[int, bytes] = {}
        self._laid_until = scheduler.created_at
        self._lock = threading.Lock()

    def count(self, clock: datetime) -> int:
        """How many executions show at `clock`; those of a deleted scheduler are its record."""
        deleted_at = self.scheduler.deleted_at
        until = clock if deleted_at is None else min(clock, deleted_at)
        self._lay(until)
        return bisect.bisect_right(self._schedules, until.timestamp())

    def slot(self, number: int) -> Slot:
        """Where an execution lies on the grid."""
        return self._slots[number]

    def status(self, number: int, clock: datetime) -> str:
        """How an execution stands at `clock`."""
        outcome = self._outcome(number)
        if outcome.settles_at is None or outcome.settles_at > clock:
            return "IN_PROGRESS"
        return outcome.status

    def summary(self, number: int, clock: datetime) -> bytes:
        """Its summary on the wire; that of a settled one is kept."""
        if self.status(number, clock) == "IN_PROGRESS":
            return self._render(number, clock)
        if number not in self._rendered:
            self._rendered[number] = self._render(number, clock)
        return self._rendered[number]

    def succeeded(self, since: datetime, clock: datetime) -> Iterator[tuple[datetime, Slot]]:
        """Those that end well after `since` and not after `clock`, with the moment."""
        # The slowest execution takes less than an hour.
        first = bisect.bisect_left(self._schedules, (since - timedelta(hours=1)).timestamp())
        for number in range(first, self.count(clock)):
            outcome = self._outcome(number)
            at = outcome.settles_at
            if outcome.status == "SUCCESS" and at is not None and since < at <= clock:
                yield at, self._slots[number]

    def _outcome(self, number: int) -> Outcome:
        if number not in self._outcomes:
            self._outcomes[number] = self.scheduler.outcome(self._slots[number])
        return self._outcomes[number]

    def _render(self, number: int, clock: datetime) -> bytes:
        return wire(self.scheduler.summary(self._slots[number], clock)).encode()

    def _lay(self, until: datetime) -> None:
        with self._lock:
            if until < self._laid_until:
                return
            # The schedules come last: whoever counts them without the lock finds the rest in place.
            end = until + _STRIDE
            for slot in self.scheduler.slots(self._laid_until, end):
                self._slots.append(slot)
                self.starts.append(slot.window.start.timestamp())
                self.ends.append(slot.window.end.timestamp())
                self._schedules.append(slot.scheduled.timestamp())
            self._laid_until = end


def instant(seconds: float) -> datetime:
    """A time from a request."""
    return datetime.fromtimestamp(seconds, UTC)
