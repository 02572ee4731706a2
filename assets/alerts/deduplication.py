"""Deduplicates failure alerts: an incident is notified when it starts, changes, continues and ends."""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

NotificationReason = Literal["new", "more", "again"]

_VARIABLE_PARTS = [
    (re.compile(r"https?://\S+"), "<address>"),
    (re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9A-Fa-f]*\d)(?=[0-9A-Fa-f]*[A-Fa-f])[0-9A-Fa-f]{8,}\b"), "<id>"),
    (re.compile(r"(?i)(?<=request id: )\S+|(?<=requestid: )\S+"), "<id>"),
    (re.compile(r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])"), "<n>"),
    (re.compile(r"\s+"), " "),
]
_MAX_LENGTH = 300


@dataclass(frozen=True)
class OpenIncident:
    """A failure that was notified and is not resolved.

    Attributes:
        title: The title of the last notification.
        since: When the failure was first seen.
        last_notified_at: When it was last notified.
        problem_ids: The problems that were notified; a new one is a reason to notify again.
        times: How often the failure occurred.
    """

    title: str
    since: datetime
    last_notified_at: datetime
    problem_ids: tuple[str, ...] = ()
    times: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the form that sensor cursors store."""
        return asdict(self) | {
            "since": self.since.isoformat(),
            "last_notified_at": self.last_notified_at.isoformat(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "OpenIncident":
        """Read the form that sensor cursors store."""
        return cls(
            value["title"],
            datetime.fromisoformat(value["since"]),
            datetime.fromisoformat(value["last_notified_at"]),
            tuple(value["problem_ids"]),
            value["times"],
        )


def normalize_message(message: str) -> str:
    """Replace times, IDs, addresses and numbers with placeholders; names stay."""
    text = message
    for pattern, placeholder in _VARIABLE_PARTS:
        text = pattern.sub(placeholder, text)
    return text.strip()[:_MAX_LENGTH]


def find_notification_reason(
    incident: OpenIncident | None, problem_ids: Collection[str], now: datetime, repeat_after: timedelta
) -> NotificationReason | None:
    """Return why a current failure is to be notified; None: it was notified already.

    Reasons are a new incident, a new problem in an open incident, and an open incident whose last
    notification is at least `repeat_after` ago.
    """
    if incident is None:
        return "new"
    if set(problem_ids) - set(incident.problem_ids):
        return "more"
    return "again" if now - incident.last_notified_at >= repeat_after else None


def mark_notified(
    incident: OpenIncident | None, title: str, problem_ids: Collection[str], now: datetime, *, times: int = 1
) -> OpenIncident:
    """Return the incident after a notification. Resolved problems are dropped, so that they can recur."""
    return OpenIncident(
        title,
        incident.since if incident else now,
        now,
        tuple(sorted(problem_ids)),
        (incident.times if incident else 0) + times,
    )
