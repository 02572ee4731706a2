"""Credentials in error messages that an early version stored, which `ledger migrate` redacts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial

from assets.anomalies.objects import has_credentials, redact_errors
from assets.tables import RESULT_OBJECTS
from resources.errors import DataError
from resources.lake.lake import Lake


@dataclass
class StoredCredentials:
    """The days of `result_objects` whose errors have credentials, and errors of single days."""

    days: list[date] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def redact_stored_errors(
    lake: Lake, days: Iterable[date], now: datetime, *, dry_run: bool
) -> StoredCredentials:
    """Redact days one after the other; with `dry_run`, only find them.

    Raises:
        LedgerError: the lake cannot be read or written.
    """
    found = StoredCredentials()
    for day in days:
        try:
            if has_credentials(lake.read(RESULT_OBJECTS, day, ["error"])["error"]):
                if not dry_run:
                    lake.update(RESULT_OBJECTS, day, partial(redact_errors, now=now))
                found.days.append(day)
        except DataError as error:  # other days can still be redacted
            found.errors.append(str(error))
    return found
