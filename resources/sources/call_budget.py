"""What a run asks of services: counted, and where a budget is set no more than it allows.

A call is one request on its way over the wire. Requests that botocore repeats by itself are calls as well:
the service counts them, and so does its bill.
"""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from resources.errors import BudgetSpentError

_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "ThrottledException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    }
)


class CallBudget:
    """The calls of one run, over all its sources and threads.

    Attributes:
        limit: How many there may be; None: as many as it takes.
        made: How many there were, repeated ones included.
        throttled: How many of those the service turned away for coming too fast.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.count = 0
        self.throttled = 0
        self._lock = Lock()

    @property
    def numbers(self) -> dict[str, int]:
        """Both counts, as they go into metadata."""
        return {"calls": self.count, "throttled": self.throttled}

    def begin(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            BudgetSpentError: there may be no more; it must not be sent.
        """
        with self._lock:
            if self.limit is not None and self.count >= self.limit:
                raise BudgetSpentError(
                    f"the budget of {self.limit:,} calls is spent",
                    where="limits.max_calls_per_run in ledger.toml, or max_calls of this run",
                    next_step="resume this run later, or allow it more calls",
                )
            self.count += 1

    def note(self, answer: Mapping[str, Any] | None) -> None:
        """Look at what came of a request, as botocore has parsed it; None: the connection broke."""
        if ((answer or {}).get("Error") or {}).get("Code") in _THROTTLED:
            with self._lock:
                self.throttled += 1
