"""The service without HTTP: a request is headers and a body, a reply is a status and a body."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sandbox.accounts import Accounts
from sandbox.clock import Clock
from sandbox.faults import Fault, FaultEffects, Injector
from sandbox.fleet import Fleet
from sandbox.operations import Caller, Operations, Request
from sandbox.protocol import ServiceError, check_parameters, parse_operation, parse_parameters, parse_scope
from sandbox.request_counter import RequestCounter, RequestKind
from sandbox.switches import Switches

FURTHEST = timedelta(days=400)  # beyond the history; the executions of each day up to the clock are generated

_NO_FAULTS = FaultEffects()


@dataclass(frozen=True)
class Reply:
    """A response.

    Attributes:
        status: The HTTP status.
        body: The whole body.
        request_id: The ID of the request.
        clock: The sandbox time of the response.
        transport_fault: How the transfer fails: `reset`, `drop`, `hangup` or `truncate`.
    """

    status: int
    body: bytes
    request_id: str
    clock: datetime
    transport_fault: str | None = None


class SandboxService:
    """The service on one fleet, with its clock, switches and active faults."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        *,
        switches: Switches = Switches(),  # noqa: B008 - frozen
        faults: Sequence[Fault] = (),
        accounts_by_key: Mapping[str, str] | None = None,
        find_role_account: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.fleet = fleet
        self.clock = clock
        self.operations = Operations(fleet, switches)
        self.injector = Injector(fleet.seed, faults)
        self.request_counter = RequestCounter()
        self.stopping = threading.Event()
        self._initial_faults = tuple(faults)
        self.accounts = Accounts(fleet.schedulers[0].account, accounts_by_key or {}, find_role_account)

    def respond(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request and count it."""
        clock = self.clock.now()
        kind, effects = RequestKind(), _NO_FAULTS
        status, body_out, outcome = 200, b"", "ok"
        try:
            name = parse_operation(headers.get("x-amz-target"))
            caller = self._caller(headers.get("authorization"))
            members = parse_parameters(body)
            kind = _build_request_kind(name, caller, members)
            effects = self.injector.apply_faults(name, _get_target(kind))
            self.stopping.wait(effects.seconds)
            if effects.error is not None:
                raise effects.error
            check_parameters(name, members)
            clock = self.clock.now() if effects.seconds else clock
            body_out = self.operations.execute(Request(name, caller, members, clock, effects.page_faults))
        except ServiceError as error:
            status, body_out, outcome = error.status, error.body, error.code
        self.request_counter.add(_add_outcome(kind, effects, outcome))
        return Reply(status, body_out, str(uuid4()), clock, effects.transport_fault)

    def set_clock(self, now: datetime | None = None, rate: float | None = None) -> None:
        """Set the time and the rate of the clock.

        Raises:
            ValueError: The time is too far from the history of the fleet.
        """
        history = self.fleet.history
        if now is not None and not history.start - FURTHEST <= now <= history.end + FURTHEST:
            raise ValueError(f"{now:%Y-%m-%d} is more than {FURTHEST.days} days from the fleet's history")
        self.clock.set(now, rate)

    def reset(self) -> None:
        """Restore the initial clock and faults, and clear the counters."""
        self.clock.reset()
        self.injector.set(self._initial_faults)
        self.request_counter.clear()

    def _caller(self, authorization: str | None) -> Caller:
        scope = parse_scope(authorization)
        return Caller(self.accounts.get_account(scope.access_key), scope.region)


def _build_request_kind(name: str, caller: Caller, members: Mapping[str, Any]) -> RequestKind:
    return RequestKind(name, caller.account, caller.region, str(members.get("InferenceSchedulerName", "")))


def _get_target(kind: RequestKind) -> dict[str, str | None]:
    return {"scheduler": kind.scheduler, "region": kind.region, "account": kind.account}


def _add_outcome(kind: RequestKind, effects: FaultEffects, outcome: str) -> RequestKind:
    return RequestKind(
        kind.operation,
        kind.account,
        kind.region,
        kind.scheduler,
        effects.transport_fault or outcome,
        "+".join(effects.kinds),
    )
