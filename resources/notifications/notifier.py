"""Delivery of notices to the log and to all targets, within one tick of a sensor."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from resources.clock import monotonic
from resources.errors import DataError, LedgerError
from resources.notifications.base import Notice, Target, format_markdown
from resources.redaction import redact, redact_values

MAX_SECONDS_PER_TICK = 40
"""Dagster stops a tick after 60 seconds. Apprise waits up to 5.5 seconds between two notices to a service."""

MAX_PENDING = 50
"""The most notices that wait for a target. They are in the cursor of a sensor."""


@dataclass
class Notifier:
    """Sends the notices of one tick to the log and to all targets.

    Attributes:
        log: Takes a line.
        targets: The receivers.
        pending: Notices that some targets have and others not, by the location of the targets that lack them.
        problems: Why a target failed, by its position; a failed target is not used again.
        deadline: When the tick has no time left, on the clock of `monotonic`.
    """

    log: Callable[[str], None]
    targets: Sequence[Target] = ()
    pending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    deadline: float = field(default_factory=lambda: monotonic() + MAX_SECONDS_PER_TICK)

    def send(self, notices: Sequence[Notice], at: datetime) -> list[Notice]:
        """Send notices and return those that need no retry by the caller.

        Errors of targets are logged, not raised. After a failure a target is skipped, so that a tick stays
        within Dagster's timeout. If some targets accept a notice, it is pending for the others; if none does,
        the caller retries it. A notice that a receiver rejects counts as sent: it is in the log, and a retry
        would only block other notices.
        """
        sent = []
        for notice in notices:
            failed = [number for number in range(len(self.targets)) if not self._post(number, notice, at)]
            is_accepted = len(failed) < len(self.targets)
            self.log(_format_log_entry(notice, self._describe_problems(is_accepted)))
            if is_accepted:
                for number in failed:
                    self._add_pending(self.targets[number].location, notice, at)
            if is_accepted or not self.targets:
                sent.append(notice)
        return sent

    def send_pending(self) -> None:
        """Send the pending notices of earlier ticks, in their order, to the targets that lack them."""
        for number, target in enumerate(self.targets):
            waiting = self.pending.pop(target.location, [])
            for position, entry in enumerate(waiting):
                notice, at = Notice(**entry["notice"]), datetime.fromisoformat(entry["at"])
                if not self._post(number, notice, at):
                    self.pending[target.location] = waiting[position:]
                    break
                self.log(f"Sent to {target.location} after a retry: {redact(notice.title)}")
        locations = {target.location for target in self.targets}
        for location in self.pending.keys() - locations:  # the target was removed from the settings
            del self.pending[location]

    def _add_pending(self, location: str, notice: Notice, at: datetime) -> None:
        waiting = self.pending.setdefault(location, [])
        waiting.append({"notice": {**redact_values(asdict(notice))}, "at": at.isoformat()})
        for entry in waiting[:-MAX_PENDING]:
            self.log(f"Not sent to {location}, too many are waiting: {entry['notice']['title']}")
        del waiting[:-MAX_PENDING]

    def _post(self, number: int, notice: Notice, at: datetime) -> bool:
        target = self.targets[number]
        if number in self.problems:
            return False
        if monotonic() > self.deadline:
            self.problems[number] = f"No time is left in this tick\n  where: {target.location}"
            return False
        try:
            target.post(notice, at)
        except DataError as problem:
            self.log(f"{problem}")
        except LedgerError as problem:
            self.problems[number] = str(problem)
            return False
        return True

    def _describe_problems(self, is_accepted: bool) -> str:
        problems = "\n".join(self.problems.values())
        extent = "to all targets yet" if is_accepted else "yet"
        return f"\n\nNot posted {extent}, will be retried: {problems}" if problems else ""


def _format_log_entry(notice: Notice, suffix: str) -> str:
    return redact(f"[{notice.severity}] {notice.kind}\n{format_markdown(notice)}{suffix}")
