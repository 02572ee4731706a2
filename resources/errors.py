"""The exceptions of this project, grouped by what the operator can do about them.

Each message has three parts: what failed, where, and the next step. Only a `RetryLaterError` can succeed on a
retry without a change; no layer retries the others. Credentials in messages are redacted.
"""

import difflib
import json
from collections.abc import Iterable

from resources.redaction import redact

_MAX_VALUE_LENGTH = 60


class LedgerError(Exception):
    """The base of all errors; only its subclasses are raised."""

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        self.what, self.where, self.next_step = redact(what), redact(where), redact(next_step)
        super().__init__(f"{self.what}\n  where: {self.where}\n  next:  {self.next_step}")


class RetryLaterError(LedgerError):
    """A temporary condition: a held lock, a network failure, a busy service."""


class ConfigurationError(LedgerError):
    """The settings, or what they point to, must change."""


class PermissionsError(LedgerError):
    """The caller needs credentials or more permissions."""


class ServiceEndedError(PermissionsError):
    """The service has ended; recorded data and saved responses remain usable."""


class BudgetSpentError(LedgerError):
    """The run reached its limit; its results are recorded, and the next run continues from there."""


class DataError(LedgerError):
    """Data that violates its contract and needs inspection."""


class UnreadableArchiveError(DataError):
    """A file that is not a saved response: not JSON, truncated, or something else."""


class LakeContractError(DataError):
    """A file of the lake, or rows to write, that do not match the declaration of the table."""


def format_value(value: object) -> str:
    """Format a value as JSON, shortened; of a table or a list only its type, because it may hold a secret."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode()
    return text if len(text) <= _MAX_VALUE_LENGTH else text[: _MAX_VALUE_LENGTH - 1] + "…"


def suggest(word: str, options: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a " (did you mean …?)" with the most similar option, or an empty text."""
    folded = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return f" (did you mean {format_value(folded[close[0]])}?)" if close else ""
