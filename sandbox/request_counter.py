"""Counts of requests."""

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class RequestKind:
    """The properties by which requests are counted.

    Attributes:
        operation: The operation, or empty if it is unknown.
        account: The account of the request.
        region: The region of the request.
        scheduler: The scheduler name in the request, or empty.
        outcome: `ok`, the code of an error, or `reset`, `drop`, `hangup` or `truncate`.
        faults: The applied faults, such as `slow+throttle`, or empty.
    """

    operation: str = ""
    account: str = ""
    region: str = ""
    scheduler: str = ""
    outcome: str = ""
    faults: str = ""


class RequestCounter:
    """Counts requests from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[RequestKind] = Counter()

    def add(self, kind: RequestKind) -> None:
        """Count one request."""
        with self._lock:
            self._counts[kind] += 1

    def get_counts(self) -> dict[RequestKind, int]:
        """Return all counts in order."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def clear(self) -> None:
        """Remove all counts."""
        with self._lock:
            self._counts.clear()
