"""Faults of requests and responses, and how often they occur."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sandbox import chance
from sandbox.paging import NO_PAGE_FAULTS, PageFaults
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
        "truncate": "half of the body, with a matching Content-Length",
        "slow": "the response takes `seconds` (5) longer",
        "repeat-token": "the response has the NextToken of the request",
        "empty-page": "a page without items, but with a NextToken",
        "shift": "a page repeats `items` (3) of the previous page, as if new items had been added in front",
        "shuffle": "the items of a page are in random order",
        "expire-token": "the NextToken of the request has expired",
    }
)
"""The kinds of faults and their descriptions."""

_ERRORS = {
    "throttle": ("ThrottlingException", "Rate exceeded"),
    "internal": ("InternalServerException", "Internal failure"),
    "unavailable": ("ServiceUnavailableException", "Service is unable to handle the request"),
    "deny": ("AccessDeniedException", "Not authorized to perform: lookoutequipment:{operation}"),
}
_PAGE_FAULTS: Mapping[str, Callable[[PageFaults, "Fault"], PageFaults]] = MappingProxyType(
    {
        "repeat-token": lambda page_faults, _: replace(page_faults, repeat_token=True),
        "empty-page": lambda page_faults, _: replace(page_faults, is_empty=True),
        "shift": lambda page_faults, fault: replace(page_faults, shift=page_faults.shift + fault.items),
        "shuffle": lambda page_faults, _: replace(page_faults, is_shuffled=True),
        "expire-token": lambda page_faults, _: replace(page_faults, expire_token=True),
    }
)
_LARGEST_NUMBER = 1_000_000
_NUMBERS = ("share", "count", "after", "seconds", "items")
_TARGETS = ("scheduler", "region", "account")


@dataclass(frozen=True)
class Fault:
    """A fault of some requests.

    Attributes:
        kind: One of `KINDS`.
        operation: Only requests for this operation.
        scheduler: Only requests that name this scheduler.
        region: Only requests in this region.
        account: Only requests in this account.
        share: The share of these requests, from 0 to 1, drawn from the seed.
        count: The maximum number of affected requests.
        after: The number of requests to skip first.
        seconds: The delay of a slow response.
        items: The number of items that a shifted page repeats.
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

    def matches(self, operation: str, target: Mapping[str, str | None]) -> bool:
        """Whether the fault applies to a request."""
        return self.operation in (None, operation) and all(
            getattr(self, name) in (None, target[name]) for name in _TARGETS
        )


def parse_fault(text: str) -> Fault:
    """Parse `KIND[:OPERATION][:NAME=VALUE]...`, as in `throttle:ListInferenceExecutions:share=0.2`.

    Raises:
        ValueError: The text is not a fault.
    """
    kind, *rest = text.split(":")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a fault; the faults are {', '.join(KINDS)}")
    properties: dict[str, Any] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            if part not in OPERATIONS:
                raise ValueError(f"{part!r} is not an operation; the operations are {', '.join(OPERATIONS)}")
            properties["operation"] = part
        elif name in _TARGETS:
            properties[name] = value
        elif name in _NUMBERS:
            properties[name] = _parse_number(name, value)
        else:
            raise ValueError(
                f"{name!r} is not a property of a fault; the properties are {', '.join(_TARGETS + _NUMBERS)}"
            )
    return Fault(kind, **properties)


@dataclass(frozen=True)
class FaultEffects:
    """The effects of all faults on one request.

    Attributes:
        error: The error response, or None.
        seconds: The delay.
        transport_fault: How the transfer fails: `reset`, `drop`, `hangup` or `truncate`.
        page_faults: The faults of its page.
        kinds: The kinds of the applied faults.
    """

    error: ServiceError | None = None
    seconds: float = 0
    transport_fault: str | None = None
    page_faults: PageFaults = NO_PAGE_FAULTS
    kinds: tuple[str, ...] = ()


class Injector:
    """The active faults, with a count of the requests that each of them matches."""

    def __init__(self, seed: int, faults: Sequence[Fault]) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self.set(faults)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The active faults in the order of application."""
        return tuple(self._faults)

    def set(self, faults: Sequence[Fault]) -> None:
        """Replace all faults and reset the counts."""
        with self._lock:
            self._faults = list(faults)
            self._matched = [0] * len(self._faults)
            self._applied = [0] * len(self._faults)

    def add(self, faults: Sequence[Fault]) -> None:
        """Add faults."""
        with self._lock:
            self._faults += faults
            self._matched += [0] * len(faults)
            self._applied += [0] * len(faults)

    def apply_faults(self, operation: str, target: Mapping[str, str | None]) -> FaultEffects:
        """Return the effects of all matching faults. Of several errors, the first wins."""
        with self._lock:
            applied = [
                fault
                for number, fault in enumerate(self._faults)
                if fault.matches(operation, target) and self._is_due(number, fault)
            ]
        effects = FaultEffects(kinds=tuple(fault.kind for fault in applied))
        for fault in applied:
            effects = _add_fault(effects, fault, operation)
        return effects

    def _is_due(self, number: int, fault: Fault) -> bool:
        matched = self._matched[number]
        self._matched[number] += 1
        if matched < fault.after or (fault.count is not None and self._applied[number] >= fault.count):
            return False
        (fraction,) = chance.draw_fractions(self._seed, "fault", number, fault.kind, matched, count=1)
        if fraction >= fault.share:
            return False
        self._applied[number] += 1
        return True


def _add_fault(effects: FaultEffects, fault: Fault, operation: str) -> FaultEffects:
    if fault.kind == "slow":
        return replace(effects, seconds=effects.seconds + fault.seconds)
    if fault.kind in _ERRORS:
        code, message = _ERRORS[fault.kind]
        error = ServiceError(code, message.format(operation=operation))
        return replace(effects, error=effects.error or error)
    if fault.kind in _PAGE_FAULTS:
        return replace(effects, page_faults=_PAGE_FAULTS[fault.kind](effects.page_faults, fault))
    return replace(effects, transport_fault=effects.transport_fault or fault.kind)


def _parse_number(name: str, text: str) -> float | int:
    try:
        number = float(text) if name in {"share", "seconds"} else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number for {name!r}") from None
    if not 0 <= number <= (1 if name == "share" else _LARGEST_NUMBER):
        raise ValueError(f"{name} cannot be {text}")
    return number
