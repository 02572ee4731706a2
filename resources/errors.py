"""The exceptions of this project, grouped by what the operator can do about them.

Each message has three parts: what failed, where, and the next step. Only a `RetryLaterError` can succeed on a
retry without a change; no layer retries the others.
"""


class LedgerError(Exception):
    """The base of all errors; only its subclasses are raised."""

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  next:  {next_step}")
        self.what = what
        self.where = where
        self.next_step = next_step


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
