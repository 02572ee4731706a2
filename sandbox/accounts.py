"""Which account an access key belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

ACCOUNT_DIGITS = 12


@dataclass(frozen=True)
class Accounts:
    """The rules that map access keys to accounts. The first rule that matches wins.

    1. A key with a configured account has that account.
    2. A key of twelve digits is the account: `AWS_ACCESS_KEY_ID=111122223333`.
    3. A key that the sandbox's STS issued for a role has the account of the role.
    4. Any other key has the first account of the fleet.

    Attributes:
        first: The first account of the fleet.
        configured: The configured account of each key.
        find_role_account: Returns the account of a key that STS issued for a role, or None.
    """

    first: str
    configured: Mapping[str, str]
    find_role_account: Callable[[str], str | None]

    def get_account(self, access_key: str) -> str:
        """Return the account of an access key."""
        if access_key in self.configured:
            return self.configured[access_key]
        if len(access_key) == ACCOUNT_DIGITS and access_key.isdecimal():
            return access_key
        return self.find_role_account(access_key) or self.first
