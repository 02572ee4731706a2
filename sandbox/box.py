"""The service without its sockets: a request comes in as headers and a body, a reply goes out."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sandbox.accounts import Accounts
from sandbox.clock import Clock
from sandbox.faults import Fault, Injector, Mischief
from sandbox.fleet import Fleet
from sandbox.operations import Caller, Operations, Question
from sandbox.protocol import ServiceError, check, operation, parameters, scope
from sandbox.request_counter import Kind, Tally
from sandbox.switches import Switches

FURTHEST = timedelta(days=400)  # beyond the end of the history; each day of it is laid out

_QUIET = Mischief()


@dataclass(frozen=True)
class Reply:
    """What goes out.

    Attributes:
        status: The HTTP status.
        body: The whole body.
        request_id: Names the request.
        clock: The time of the answer, in the sandbox.
        wire: What happens to it on its way: `reset`, `drop`, `hangup` or `truncate`.
    """

    status: int
    body: bytes
    request_id: str
    clock: datetime
    wire: str | None = None


class Box:
    """The service: a fleet, a clock, switches, and the faults that are on."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        *,
        switches: Switches = Switches(),  # noqa: B008 - frozen
        faults: Sequence[Fault] = (),
        accounts_of: Mapping[str, str] | None = None,
        issued: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.fleet = fleet
        self.clock = clock
        self.operations = Operations(fleet, switches)
        self.injector = Injector(fleet.seed, faults)
        self.tally = Tally()
        self.stopping = threading.Event()
        self._faults_at_first = tuple(faults)
        self.accounts = Accounts(fleet.schedulers[0].account, accounts_of or {}, issued)

    def reply(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answers one request, and counts it."""
        clock = self.clock.now()
        kind, mischief = Kind(), _QUIET
        status, answer, outcome = 200, b"", "ok"
        try:
            name = operation(headers.get("x-amz-target"))
            caller = self._caller(headers.get("authorization"))
            members = parameters(body)
            kind = _kind(name, caller, members)
            mischief = self.injector.strike(name, _place(kind))
            self.stopping.wait(mischief.seconds)
            if mischief.error is not None:
                raise mischief.error
            check(name, members)
            clock = self.clock.now() if mischief.seconds else clock
            answer = self.operations.answer(Question(name, caller, members, clock, mischief.tricks))
        except ServiceError as error:
            status, answer, outcome = error.status, error.body, error.code
        self.tally.add(_with_outcome(kind, mischief, outcome))
        return Reply(status, answer, str(uuid4()), clock, mischief.wire)

    def set_clock(self, now: datetime | None = None, rate: float | None = None) -> None:
        """Sets the time and the rate at which it passes.

        Raises:
            ValueError: The time is too far from the fleet's history.
        """
        history = self.fleet.history
        if now is not None and not history.start - FURTHEST <= now <= history.end + FURTHEST:
            raise ValueError(f"{now:%Y-%m-%d} is more than {FURTHEST.days} days from the fleet's history")
        self.clock.set(now, rate)

    def reset(self) -> None:
        """Clock and faults as they were at first, and nothing counted."""
        self.clock.reset()
        self.injector.set(self._faults_at_first)
        self.tally.clear()

    def _caller(self, authorization: str | None) -> Caller:
        signed_for = scope(authorization)
        return Caller(self.accounts.account(signed_for.access_key), signed_for.region)


def _kind(name: str, caller: Caller, members: Mapping[str, Any]) -> Kind:
    return Kind(name, caller.account, caller.region, str(members.get("InferenceSchedulerName", "")))


def _place(kind: Kind) -> dict[str, str | None]:
    return {"scheduler": kind.scheduler, "region": kind.region, "account": kind.account}


def _with_outcome(kind: Kind, mischief: Mischief, outcome: str) -> Kind:
    return Kind(
        kind.operation,
        kind.account,
        kind.region,
        kind.scheduler,
        mischief.wire or outcome,
        "+".join(mischief.kinds),
    )
