"""Everything that can go wrong, as a tree by what the operator can do about it.

Every message answers three questions, in this order: what failed, where, and what to do next.
Only `RetryLaterError` is worth repeating without a change; no layer repeats the others.
"""


class LedgerError(Exception):
    """What failed, where, and the next step; never raised itself, only its subclasses."""

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  next:  {next_step}")
        self.what = what
        self.where = where
        self.next_step = next_step


class RetryLaterError(LedgerError):
    """Nothing is wrong here: a lock is held, a network is down, a service is busy."""


class ConfigurationError(LedgerError):
    """The settings, or what they point to, must change before this can work."""


class PermissionsError(LedgerError):
    """The caller may not do this; someone has to grant it."""


class ServiceEndedError(PermissionsError):
    """The service answers nobody any more; what was recorded stays, and saved responses still count."""


class BudgetSpentError(LedgerError):
    """The run did as much as it may; what it got is recorded, and another one goes on from there."""


class DataError(LedgerError):
    """What was read breaks its contract; someone has to look at the data."""


class UnreadableArchiveError(DataError):
    """A saved response that is no such thing: not JSON, cut short, or something else altogether."""


class LakeContractError(DataError):
    """A file in the lake, or rows on their way to it, that break the table's declaration."""
