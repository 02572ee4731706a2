"""The clock and chance: the only module that reads the time, waits or draws random values.

Rules take the time as an argument. Code at the edges calls these functions; lint refuses all other ways.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

Clock = Callable[[], datetime]
"""Returns the current time in UTC; the Dagster resource `clock` has this type."""


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back, for durations and deadlines."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def sleep_up_to(seconds: float) -> None:
    """Wait a random time, so that competing processes do not retry in step."""
    time.sleep(random.uniform(0, seconds))  # noqa: S311 (jitter, not a secret)


def unique_id() -> str:
    """32 random hexadecimal digits, for names that no other process chooses."""
    return uuid4().hex
