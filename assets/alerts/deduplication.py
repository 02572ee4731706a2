"""Matters that go on: a failure is told once, again after a while, and when it is over."""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

NotificationReason = Literal["new", "more", "again"]

_VARIES = [
    (re.compile(r"https?://\S+"), "<address>"),
    (re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9A-Fa-f]*\d)(?=[0-9A-Fa-f]*[A-Fa-f])[0-9A-Fa-f]{8,}\b"), "<id>"),
    (re.compile(r"(?i)(?<=request id: )\S+|(?<=requestid: )\S+"), "<id>"),
    (re.compile(r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])"), "<n>"),
    (re.compile(r"\s+"), " "),
]
_LONGEST = 300


@dataclass(frozen=True)
class OpenIncident:
    """Something that was told and is not over: since when, when it was told last, and what is wrong of it.

    `details` are the things that were told; one that joins them is told. `times` counts how often it came up.
    """

    title: str
    since: datetime
    first_notified_at: datetime
    details: tuple[str, ...] = ()
    times: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return what a sensor's cursor keeps."""
        kept = asdict(self)
        return kept | {
            "since": self.since.isoformat(),
            "first_notified_at": self.first_notified_at.isoformat(),
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> "OpenIncident":
        """Read what a sensor's cursor kept."""
        return cls(
            kept["title"],
            datetime.fromisoformat(kept["since"]),
            datetime.fromisoformat(kept["first_notified_at"]),
            tuple(kept["details"]),
            kept["times"],
        )


def normalize_message(message: str) -> str:
    """Return a message without what differs each time: times, ids, addresses, numbers. Names stay."""
    text = message
    for pattern, stands_for in _VARIES:
        text = pattern.sub(stands_for, text)
    return text.strip()[:_LONGEST]


def find_notification_reason(
    known: OpenIncident | None, details: Collection[str], now: datetime, repeat_after: timedelta
) -> NotificationReason | None:
    """Tell whether something that is wrong now is worth telling.

    It is where it is new, where more is wrong of it than was told, and where it was told long ago.
    """
    if known is None:
        return "new"
    if set(details) - set(known.details):
        return "more"
    return "again" if now - known.first_notified_at >= repeat_after else None


def mark_notified(
    known: OpenIncident | None, title: str, details: Collection[str], now: datetime, *, times: int = 1
) -> OpenIncident:
    """Return a matter after it was told; a detail that is over is forgotten, so that it can come back."""
    return OpenIncident(
        title,
        known.since if known else now,
        now,
        tuple(sorted(details)),
        (known.times if known else 0) + times,
    )
