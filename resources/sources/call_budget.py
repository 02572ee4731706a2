"""Counts the calls of a run to services; ends them at its budget, or when the run is interrupted.

A call is one request on the wire. Retries of botocore are calls too, because the service bills them.
"""

from collections.abc import Mapping
from threading import Event, Lock
from typing import Any

from resources.aws.error_codes import THROTTLING_CODES
from resources.errors import BudgetSpentError, RetryLaterError


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
        self._stopped = Event()

    @property
    def numbers(self) -> dict[str, int]:
        """Both counts, for metadata."""
        return {"calls": self.count, "throttled": self.throttled}

    @property
    def is_stopped(self) -> bool:
        """Whether requests end without a response, because the run was interrupted."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the active requests of all threads, and refuse further ones."""
        self._stopped.set()

    def count_call(self) -> None:
        """Count a request before it is sent.

        Raises:
            BudgetSpentError: no calls are left; the request must not be sent.
            RetryLaterError: the run was interrupted; the request must not be sent.
        """
        if self.is_stopped:
            raise RetryLaterError(
                "Cannot send a request: the run was interrupted",
                where="this run",
                next_step="re-execute the run from failure",
            )
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
