"""Counts the calls of a run to services, and stops at its budget.

A call is one request on the wire. Retries of botocore are calls too, because the service bills them.
"""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from resources.aws.error_codes import THROTTLING_CODES
from resources.errors import BudgetSpentError


class CallBudget:
    """The calls of one run, for all its sources and threads.

    Attributes:
        limit: the largest number of calls; None: no limit.
        count: the calls so far, retries included.
        throttled: the calls that the service throttled.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.count = 0
        self.throttled = 0
        self._lock = Lock()

    @property
    def numbers(self) -> dict[str, int]:
        """Both counts, for metadata."""
        return {"calls": self.count, "throttled": self.throttled}

    def count_call(self) -> None:
        """Count a request before it is sent.

        Raises:
            BudgetSpentError: no calls are left; the request must not be sent.
        """
        with self._lock:
            if self.limit is not None and self.count >= self.limit:
                raise BudgetSpentError(
                    f"Cannot send a request: the budget of {self.limit:,} calls is spent",
                    where="limits.max_calls_per_run in ledger.toml, or max_calls of this run",
                    next_step="resume this run later, or allow it more calls",
                )
            self.count += 1

    def count_throttling(self, response: Mapping[str, Any] | None) -> None:
        """Count a response that botocore parsed, if it is throttled; None: the connection was lost."""
        if ((response or {}).get("Error") or {}).get("Code") in THROTTLING_CODES:
            with self._lock:
                self.throttled += 1
