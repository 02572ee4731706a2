"""The executions of a scheduler by time: their number, status and wire format."""

import bisect
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sandbox.forms import format_wire
from sandbox.schedulers import Outcome, Scheduler, Slot

_STRIDE = timedelta(days=2)  # the grid is extended in steps of this length


class Timeline:
    """The executions of one scheduler by number, oldest first. `starts` and `ends` only grow.

    Methods take the clock as an argument, so it may go back.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.starts: list[float] = []
        self.ends: list[float] = []
        self._schedules: list[float] = []
        self._slots: list[Slot] = []
        self._outcomes: dict[int, Outcome] = {}
        self._rendered: dict[int, bytes] = {}
        self._grid_end = scheduler.created_at
        self._lock = threading.Lock()

    def count(self, clock: datetime) -> int:
        """Return the number of executions at `clock`, or at the deletion of the scheduler."""
        deleted_at = self.scheduler.deleted_at
        until = clock if deleted_at is None else min(clock, deleted_at)
        self._extend_grid(until)
        return bisect.bisect_right(self._schedules, until.timestamp())

    def slot(self, number: int) -> Slot:
        """Return the slot of an execution."""
        return self._slots[number]

    def status(self, number: int, clock: datetime) -> str:
        """Return the status of an execution at `clock`."""
        outcome = self._outcome(number)
        if outcome.settles_at is None or outcome.settles_at > clock:
            return "IN_PROGRESS"
        return outcome.status

    def summary(self, number: int, clock: datetime) -> bytes:
        """Return the summary in wire format. Summaries of ended executions are cached."""
        if self.status(number, clock) == "IN_PROGRESS":
            return self._render(number, clock)
        if number not in self._rendered:
            self._rendered[number] = self._render(number, clock)
        return self._rendered[number]

    def list_succeeded(self, since: datetime, clock: datetime) -> Iterator[tuple[datetime, Slot]]:
        """Yield the time and slot of executions that succeeded after `since` and up to `clock`."""
        # the slowest execution takes less than an hour
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
        return format_wire(self.scheduler.summary(self._slots[number], clock)).encode()

    def _extend_grid(self, until: datetime) -> None:
        with self._lock:
            if until < self._grid_end:
                return
            # append to _schedules last: `count` reads it without the lock
            end = until + _STRIDE
            for slot in self.scheduler.slots(self._grid_end, end):
                self._slots.append(slot)
                self.starts.append(slot.window.start.timestamp())
                self.ends.append(slot.window.end.timestamp())
                self._schedules.append(slot.scheduled.timestamp())
            self._grid_end = end


def parse_epoch_seconds(seconds: float) -> datetime:
    """Convert a time of a request."""
    return datetime.fromtimestamp(seconds, UTC)
