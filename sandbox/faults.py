"""Faults: what goes wrong on the way, and how often."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sandbox import chance
from sandbox.paging import NO_TRICKS, Tricks
from sandbox.protocol import OPERATIONS, ServiceError

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "throttle": "ThrottlingException, 400",
        "internal": "InternalServerException, 500",
        "unavailable": "ServiceUnavailableException, 503",
        "deny": "AccessDeniedException, 400",
        "reset": "the connection is reset in the middle of the response",
        "drop": "the connection is closed in the middle of the response",
        "hangup": "the connection is closed before the response",
        "truncate": "half of the body, as if it were all of it",
        "slow": "the answer takes `seconds` (5) longer",
        "repeat-token": "the NextToken that was sent comes back",
        "empty-page": "no items, but a NextToken that leads on",
        "shift": "a page repeats `items` (3) of the one before, as if as many had come in front",
        "shuffle": "the items of a page are in no order",
        "expire-token": "the NextToken that was sent has expired",
    }
)
"""What can go wrong, and what it is."""

_ERRORS = {
    "throttle": ("ThrottlingException", "Rate exceeded"),
    "internal": ("InternalServerException", "Internal failure"),
    "unavailable": ("ServiceUnavailableException", "Service is unable to handle the request"),
    "deny": ("AccessDeniedException", "Not authorized to perform: lookoutequipment:{operation}"),
}
_TRICKS: Mapping[str, Callable[[Tricks, "Fault"], Tricks]] = MappingProxyType(
    {
        "repeat-token": lambda tricks, _: replace(tricks, repeats_token=True),
        "empty-page": lambda tricks, _: replace(tricks, is_empty=True),
        "shift": lambda tricks, one: replace(tricks, shift=tricks.shift + one.items),
        "shuffle": lambda tricks, _: replace(tricks, is_shuffled=True),
        "expire-token": lambda tricks, _: replace(tricks, expires_token=True),
    }
)
_MOST = 1_000_000
_NUMBERS = ("share", "count", "after", "seconds", "items")
_PLACES = ("scheduler", "region", "account")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with some requests.

    Attributes:
        kind: One of `KINDS`.
        operation: Only requests for this operation, where given.
        scheduler: Only requests that name this scheduler.
        region: Only requests in this region.
        account: Only requests in this account.
        share: How many of these it strikes, from 0 to 1; which ones is drawn from the seed.
        count: How many it strikes at most.
        after: How many it leaves alone first.
        seconds: How long a slow answer takes.
        items: How many items a shifted page repeats.
    """

    kind: str
    operation: str | None = None
    scheduler: str | None = None
    region: str | None = None
    account: str | None = None
    share: float = 1
    count: int | None = None
    after: int = 0
    seconds: float = 5
    items: int = 3

    def fits(self, operation: str, place: Mapping[str, str | None]) -> bool:
        """Whether it can strike a request."""
        return self.operation in (None, operation) and all(
            getattr(self, name) in (None, place[name]) for name in _PLACES
        )


def fault(text: str) -> Fault:
    """Reads `KIND[:OPERATION][:NAME=VALUE]...`, as in `throttle:ListInferenceExecutions:share=0.2`.

    Raises:
        ValueError: It is no fault; the message says why.
    """
    kind, *rest = text.split(":")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no fault; there are {', '.join(KINDS)}")
    properties: dict[str, Any] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            if part not in OPERATIONS:
                raise ValueError(f"{part!r} is no operation; there are {', '.join(OPERATIONS)}")
            properties["operation"] = part
        elif name in _PLACES:
            properties[name] = value
        elif name in _NUMBERS:
            properties[name] = _number(name, value)
        else:
            raise ValueError(f"{name!r} is no property of a fault; there are {', '.join(_PLACES + _NUMBERS)}")
    return Fault(kind, **properties)


@dataclass(frozen=True)
class Mischief:
    """All that goes wrong with one request.

    Attributes:
        error: The service's answer is this error.
        seconds: It takes this much longer.
        wire: What happens to the response on its way: `reset`, `drop`, `hangup` or `truncate`.
        tricks: What goes wrong with its page.
        kinds: The faults that struck.
    """

    error: ServiceError | None = None
    seconds: float = 0
    wire: str | None = None
    tricks: Tricks = NO_TRICKS
    kinds: tuple[str, ...] = ()


class Injector:
    """The faults that are on; they count the requests that they could strike."""

    def __init__(self, seed: int, faults: Sequence[Fault]) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self.set(faults)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that are on, in the order in which they strike."""
        return tuple(self._faults)

    def set(self, faults: Sequence[Fault]) -> None:
        """Puts these in the place of all others and counts anew."""
        with self._lock:
            self._faults = list(faults)
            self._met = [0] * len(self._faults)
            self._struck = [0] * len(self._faults)

    def add(self, faults: Sequence[Fault]) -> None:
        """Puts these beside the others."""
        with self._lock:
            self._faults += faults
            self._met += [0] * len(faults)
            self._struck += [0] * len(faults)

    def strike(self, operation: str, place: Mapping[str, str | None]) -> Mischief:
        """What goes wrong with a request: of errors the first, of the rest all."""
        with self._lock:
            struck = [
                one
                for number, one in enumerate(self._faults)
                if one.fits(operation, place) and self._strikes(number, one)
            ]
        mischief = Mischief(kinds=tuple(one.kind for one in struck))
        for one in struck:
            mischief = _worse(mischief, one, operation)
        return mischief

    def _strikes(self, number: int, one: Fault) -> bool:
        met = self._met[number]
        self._met[number] += 1
        if met < one.after or (one.count is not None and self._struck[number] >= one.count):
            return False
        (luck,) = chance.fractions(self._seed, "fault", number, one.kind, met, count=1)
        if luck >= one.share:
            return False
        self._struck[number] += 1
        return True


def _worse(mischief: Mischief, one: Fault, operation: str) -> Mischief:
    if one.kind == "slow":
        return replace(mischief, seconds=mischief.seconds + one.seconds)
    if one.kind in _ERRORS:
        code, message = _ERRORS[one.kind]
        error = ServiceError(code, message.format(operation=operation))
        return replace(mischief, error=mischief.error or error)
    if one.kind in _TRICKS:
        return replace(mischief, tricks=_TRICKS[one.kind](mischief.tricks, one))
    return replace(mischief, wire=mischief.wire or one.kind)


def _number(name: str, text: str) -> float | int:
    try:
        number = float(text) if name in {"share", "seconds"} else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number for {name!r}") from None
    if not 0 <= number <= (1 if name == "share" else _MOST):
        raise ValueError(f"{name} is not {text}")
    return number
