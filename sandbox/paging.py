"""Pages and tokens: one way through a listing, however it is ordered."""

import base64
import bisect
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sandbox.protocol import invalid
from sandbox.switches import Switches

Item = TypeVar("Item")
Rank = int | str
"""What items are ordered by, and what tells them apart: a token remembers it."""


@dataclass(frozen=True)
class Tricks:
    """What goes wrong with a page.

    Attributes:
        shift: So many items of the page before are repeated, as if as many had come in front meanwhile.
        is_shuffled: The items of the page are in no order.
        is_empty: Nothing but a token, which leads on.
        repeats_token: The token that was sent comes back.
        expires_token: The token that was sent has expired.
    """

    shift: int = 0
    is_shuffled: bool = False
    is_empty: bool = False
    repeats_token: bool = False
    expires_token: bool = False


NO_TRICKS = Tricks()


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """What there is to list, in the order of its ranks.

    Attributes:
        items: In order; a range will do.
        rank: What puts an item in its place.
        question: All that the listing depends on; tokens of other questions do not fit.
        clock: When it is asked for.
    """

    items: Sequence[Item]
    rank: Callable[[Item], Rank]
    question: tuple[object, ...]
    clock: datetime

    @property
    def fingerprint(self) -> str:
        """The question in short."""
        return hashlib.blake2b(repr(self.question).encode(), digest_size=12).hexdigest()


def page(
    listing: Listing[Item], size: int, token: str | None, switches: Switches, tricks: Tricks = NO_TRICKS
) -> tuple[Sequence[Item], str | None]:
    """One page, and the token that leads to the next one, if there is any.

    Raises:
        ServiceError: The token is garbage, of another listing, or expired.
    """
    start = 0
    if token is not None:
        start = max(_begin(listing, token, switches, tricks) - tricks.shift, 0)
    if tricks.is_empty:
        return (), _token(listing, start, switches)
    end = min(start + size, len(listing.items))
    items = listing.items[start:end]
    following = _token(listing, end, switches) if end < len(listing.items) else None
    if tricks.is_shuffled:
        items = sorted(items, key=lambda item: hashlib.blake2b(repr(listing.rank(item)).encode()).digest())
    return items, token if tricks.repeats_token and token is not None else following


def _token(listing: Listing[Item], position: int, switches: Switches) -> str:
    """Opaque: what was given so far, sealed together with the question."""
    last = listing.rank(listing.items[position - 1]) if position else None
    told = {
        "after": last if switches.paging == "item" else position,
        "question": listing.fingerprint,
        "at": listing.clock.timestamp(),
    }
    text = json.dumps(told).encode()
    return base64.b64encode(_seal(text) + text).decode()


def _begin(listing: Listing[Item], token: str, switches: Switches, tricks: Tricks) -> int:
    told = _opened(token)
    if told is None or told["question"] != listing.fingerprint:
        raise invalid("Invalid NextToken: it belongs to no listing with these parameters")
    age = listing.clock.timestamp() - told["at"]
    if tricks.expires_token or 0 < switches.token_seconds < age:
        if switches.when_expired == "error":
            raise invalid("Invalid NextToken: it has expired")
        return 0
    after = told["after"]
    if after is None:
        return 0
    if switches.paging == "offset":
        return min(int(after), len(listing.items))
    return bisect.bisect_right(listing.items, after, key=listing.rank)


def _opened(token: str) -> dict[str, Any] | None:
    try:
        sealed = base64.b64decode(token, validate=True)
    except ValueError:
        return None
    seal, text = sealed[:_SEAL], sealed[_SEAL:]
    if not hmac.compare_digest(seal, _seal(text)):
        return None
    opened: dict[str, Any] = json.loads(text)
    return opened


_SEAL = 12


def _seal(text: bytes) -> bytes:
    return hashlib.blake2b(text, key=b"sandbox", digest_size=_SEAL).digest()
