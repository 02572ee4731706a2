"""What was asked of the service, counted."""

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Kind:
    """What requests are told apart by.

    Attributes:
        operation: The operation, or nothing where the sandbox has none such.
        account: Whose schedulers were asked for.
        region: Where.
        scheduler: The name in the request, or nothing.
        outcome: `ok`, the code of an error, or `reset`, `drop`, `hangup` or `truncate`.
        faults: The faults that struck, in one word, such as `slow+throttle`; or nothing.
    """

    operation: str = ""
    account: str = ""
    region: str = ""
    scheduler: str = ""
    outcome: str = ""
    faults: str = ""


class Tally:
    """Counts requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Kind] = Counter()

    def add(self, kind: Kind) -> None:
        """Counts one more."""
        with self._lock:
            self._counts[kind] += 1

    def counts(self) -> dict[Kind, int]:
        """All counts, in order."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._counts.clear()
