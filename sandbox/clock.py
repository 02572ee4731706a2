"""The clock of the service."""

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """A clock with a rate: 0 is stopped, 1 is real time, 60 is a minute per second."""

    def __init__(self, now: datetime, rate: float = 0) -> None:
        self._lock = threading.Lock()
        self._initial = _to_utc(now), rate
        self._base, self._rate, self._since = *self._initial, time.monotonic()

    def now(self) -> datetime:
        """Return the sandbox time."""
        with self._lock:
            return self._now()

    @property
    def rate(self) -> float:
        """The rate: sandbox seconds per second."""
        return self._rate

    def set(self, now: datetime | None = None, rate: float | None = None) -> None:
        """Set the time, the rate, or both. The time may go back."""
        with self._lock:
            self._base = self._now() if now is None else _to_utc(now)
            self._since = time.monotonic()
            self._rate = self._rate if rate is None else rate

    def reset(self) -> None:
        """Restore the initial time and rate."""
        with self._lock:
            self._base, self._rate = self._initial
            self._since = time.monotonic()

    def _now(self) -> datetime:
        return self._base + timedelta(seconds=(time.monotonic() - self._since) * self._rate)


def _to_utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone")
    return now.astimezone(UTC)
