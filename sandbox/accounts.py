"""Whose account an access key opens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

ACCOUNT_DIGITS = 12


@dataclass(frozen=True)
class Accounts:
    """The rules, the first that fits.

    1. A key that was given an account has that one.
    2. A key of twelve digits is itself the account: `AWS_ACCESS_KEY_ID=111122223333`.
    3. A key that the STS of the sandbox issued for a role has the account of the role.
    4. Any other key has the first account of the fleet.

    Attributes:
        first: The first account of the fleet.
        given: Accounts of keys.
        issued: Finds the account of a key that was issued for a role.
    """

    first: str
    given: Mapping[str, str]
    issued: Callable[[str], str | None]

    def account(self, access_key: str) -> str:
        """The account that this key opens."""
        if access_key in self.given:
            return self.given[access_key]
        if len(access_key) == ACCOUNT_DIGITS and access_key.isdecimal():
            return access_key
        return self.issued(access_key) or self.first
