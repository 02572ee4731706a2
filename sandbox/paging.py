"""Pages and tokens of a listing in any order."""

import base64
import bisect
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sandbox.protocol import build_validation_error
from sandbox.switches import Switches

Item = TypeVar("Item")
Rank = int | str
"""The unique sort key of an item, which a token contains."""


@dataclass(frozen=True)
class PageFaults:
    """The faults of a page.

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
    repeat_token: bool = False
    expire_token: bool = False


NO_PAGE_FAULTS = PageFaults()


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """The items to list, in the order of their ranks.

    Attributes:
        items: The items in order, which may be a range.
        rank: Returns the rank of an item.
        scope: All parameters of the listing. Tokens of other scopes are invalid.
        clock: The time of the request.
    """

    items: Sequence[Item]
    rank: Callable[[Item], Rank]
    scope: tuple[object, ...]
    clock: datetime

    @property
    def fingerprint(self) -> str:
        """A hash of the scope."""
        return hashlib.blake2b(repr(self.scope).encode(), digest_size=12).hexdigest()


def get_page(
    listing: Listing[Item],
    size: int,
    token: str | None,
    switches: Switches,
    page_faults: PageFaults = NO_PAGE_FAULTS,
) -> tuple[Sequence[Item], str | None]:
    """Return one page and the token of the next page, or None.

    Raises:
        ServiceError: The token is invalid, of another listing, or expired.
    """
    start = 0
    if token is not None:
        start = max(_find_page_start(listing, token, switches, page_faults) - page_faults.shift, 0)
    if page_faults.is_empty:
        return (), _build_token(listing, start, switches)
    end = min(start + size, len(listing.items))
    items = listing.items[start:end]
    next_token = _build_token(listing, end, switches) if end < len(listing.items) else None
    if page_faults.is_shuffled:
        items = sorted(items, key=lambda item: hashlib.blake2b(repr(listing.rank(item)).encode()).digest())
    return items, token if page_faults.repeat_token and token is not None else next_token


def _build_token(listing: Listing[Item], position: int, switches: Switches) -> str:
    """Return an opaque token: the position and the scope, signed."""
    last = listing.rank(listing.items[position - 1]) if position else None
    content = {
        "after": last if switches.paging == "item" else position,
        "scope": listing.fingerprint,
        "at": listing.clock.timestamp(),
    }
    text = json.dumps(content).encode()
    return base64.b64encode(_sign(text) + text).decode()


def _find_page_start(listing: Listing[Item], token: str, switches: Switches, page_faults: PageFaults) -> int:
    content = _decode_token(token)
    if content is None or content["scope"] != listing.fingerprint:
        raise build_validation_error("Invalid NextToken: it belongs to no listing with these parameters")
    age = listing.clock.timestamp() - content["at"]
    if page_faults.expire_token or 0 < switches.token_seconds < age:
        if switches.when_expired == "error":
            raise build_validation_error("Invalid NextToken: it has expired")
        return 0
    after = content["after"]
    if after is None:
        return 0
    if switches.paging == "offset":
        return min(int(after), len(listing.items))
    return bisect.bisect_right(listing.items, after, key=listing.rank)


def _decode_token(token: str) -> dict[str, Any] | None:
    try:
        signed = base64.b64decode(token, validate=True)
    except ValueError:
        return None
    signature, text = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _sign(text)):
        return None
    content: dict[str, Any] = json.loads(text)
    return content


_SIGNATURE_BYTES = 12


def _sign(text: bytes) -> bytes:
    return hashlib.blake2b(text, key=b"sandbox", digest_size=_SIGNATURE_BYTES).digest()
