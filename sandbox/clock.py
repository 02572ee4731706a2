"""The clock of the service: it stands, runs, or is set."""

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """A clock that starts at a moment and goes at a rate: 0 stands, 1 is real time, 60 a minute a second."""

    def __init__(self, now: datetime, rate: float = 0) -> None:
        self._lock = threading.Lock()
        self._at_first = _utc(now), rate
        self._base, self._rate, self._since = *self._at_first, time.monotonic()

    def now(self) -> datetime:
        """The time in the sandbox."""
        with self._lock:
            return self._now()

    @property
    def rate(self) -> float:
        """How fast it goes."""
        return self._rate

    def set(self, now: datetime | None = None, rate: float | None = None) -> None:
        """Sets the time, the rate, or both; it may go back as well."""
        with self._lock:
            self._base = self._now() if now is None else _utc(now)
            self._since = time.monotonic()
            self._rate = self._rate if rate is None else rate

    def reset(self) -> None:
        """Begins anew."""
        with self._lock:
            self._base, self._rate = self._at_first
            self._since = time.monotonic()

    def _now(self) -> datetime:
        return self._base + timedelta(seconds=(time.monotonic() - self._since) * self._rate)


def _utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"{now} has no zone")
    return now.astimezone(UTC)
