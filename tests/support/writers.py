"""A model of an object store with concurrent writers: every order of requests, crash and lost response.

Real `S3Storage.update` calls run in threads, one at a time. Each request waits for its delivery.
`explore` repeats a scenario for every sequence of choices, so a scenario is checked completely.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

from resources.aws.s3_bucket import ObjectContent
from resources.storage.s3 import S3Storage

KEY = "table/part-0.parquet"


class Choices:
    """One sequence of choices; `advance` moves to the next in depth-first order."""

    def __init__(self) -> None:
        self._path: list[list[int]] = []
        self._position = 0

    def choose(self, count: int) -> int:
        """Return a number below `count`."""
        if self._position == len(self._path):
            self._path.append([0, count])
        number, known = self._path[self._position]
        assert known == count, "the scenario is not deterministic"
        self._position += 1
        return number

    def advance(self) -> bool:
        """Move to the next sequence; return whether there is one."""
        while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
            self._path.pop()
        self._position = 0
        if not self._path:
            return False
        self._path[-1][0] += 1
        return True


class CrashedWriter(BaseException):
    """Ends the thread of a writer that the scheduler kills."""


@dataclass
class Request:
    """A request that waits for its delivery; the scheduler sets the response."""

    writer: int
    data: bytes | None = None
    replacing: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    response: Any = None
    is_killed: bool = False
    is_delivered: threading.Event = field(default_factory=threading.Event)


class Store:
    """One object with conditional writes, as S3 documents them.

    Attributes:
        content: the present object.
        stored_by: the writers whose requests were stored, in order.
        states: every content that the object had.
    """

    def __init__(self, *, checks_conditions: bool = True) -> None:
        self.content: ObjectContent | None = None
        self.stored_by: list[int] = []
        self.states: list[bytes] = []
        self._checks_conditions = checks_conditions

    def apply(self, request: Request) -> ObjectContent | bool | None:
        """Return the response to one request."""
        if request.data is None:
            return self.content
        if self._checks_conditions and request.replacing != (self.content.etag if self.content else None):
            return False
        etag = md5(request.data, usedforsecurity=False).hexdigest()
        self.content = ObjectContent(request.data, etag, request.metadata)
        self.stored_by.append(request.writer)
        self.states.append(request.data)
        return True


class ScheduledBucket:
    """The bucket of one writer: each request waits for the scheduler."""

    name = "bucket"

    def __init__(self, writer: int, scheduler: "Scheduler") -> None:
        self._writer = writer
        self._scheduler = scheduler

    def uri(self, key: str) -> str:
        return f"s3://bucket/{key}"

    def get(self, _key: str) -> ObjectContent | None:
        content: ObjectContent | None = self._scheduler.send(Request(self._writer))
        return content

    def put(
        self,
        _key: str,
        data: bytes,
        *,
        replacing: str | None,
        metadata: dict[str, str],
        **_: dict[str, str],
    ) -> bool:
        is_written: bool = self._scheduler.send(Request(self._writer, data, replacing, metadata))
        return is_written


@dataclass(frozen=True)
class Outcome:
    """What a writer that was not killed returned: the rows and whether it changed them."""

    rows: frozenset[str]
    changed: bool


class Scheduler:
    """Delivers the requests of writers in a chosen order, with a limited number of faults."""

    def __init__(self, store: Store, choices: Choices, faults: int) -> None:
        self.store = store
        self.trace: list[str] = []
        self._choices = choices
        self._faults = faults
        self._waiting: dict[int, Request] = {}
        self._late: list[Request] = []
        self._is_idle = threading.Semaphore(0)

    def send(self, request: Request) -> Any:
        """Wait for the response; called in the thread of a writer."""
        self._waiting[request.writer] = request
        self._is_idle.release()
        request.is_delivered.wait()
        if request.is_killed:
            raise CrashedWriter
        return request.response

    def run(self, updates: Sequence[Callable[[S3Storage], Outcome]]) -> dict[int, Outcome]:
        """Run one update per writer to its end; return the outcomes of those that were not killed."""
        outcomes: dict[int, Outcome] = {}

        def work(writer: int) -> None:
            storage = S3Storage("s3://bucket", timeout_seconds=3600)
            storage._bucket = ScheduledBucket(writer, self)  # type: ignore[assignment]
            with suppress(CrashedWriter):
                outcomes[writer] = updates[writer](storage)
            self._is_idle.release()

        threads = [threading.Thread(target=work, args=(writer,)) for writer in range(len(updates))]
        for thread in threads:
            thread.start()
            self._is_idle.acquire()
        while self._waiting or self._late:
            self._deliver()
        for thread in threads:
            thread.join()
        return outcomes

    def _deliver(self) -> None:
        """Deliver one request, with one of the faults that it can have."""
        pending = [self._waiting[writer] for writer in sorted(self._waiting)] + self._late
        request = pending[self._choices.choose(len(pending))]
        if request in self._late:
            self._late.remove(request)
            self.store.apply(request)
            self.trace.append(f"{request.writer}: PUT arrives again")
            return
        is_write = request.data is not None
        kinds = ["none"]
        if self._faults:
            kinds += ["killed before"] + (["killed after", "response lost", "duplicated"] if is_write else [])
        kind = kinds[self._choices.choose(len(kinds))]
        self._faults -= kind != "none"
        name = f"{request.writer}: {'PUT' if is_write else 'GET'}"
        self.trace.append(name if kind == "none" else f"{name}, {kind}")
        if kind == "response lost":  # botocore sends the request again; others may come first
            self.store.apply(request)
            return
        if kind == "duplicated":
            self._late.append(Request(request.writer, request.data, request.replacing, request.metadata))
        if kind != "killed before":
            request.response = self.store.apply(request)
        request.is_killed = kind.startswith("killed")
        del self._waiting[request.writer]
        request.is_delivered.set()
        self._is_idle.acquire()


@dataclass(frozen=True)
class Execution:
    """One complete execution.

    Attributes:
        store: the store at its end.
        outcomes: what the writers that were not killed returned, by number.
        trace: the number of the writer, the request and its fault, for each delivery.
    """

    store: Store
    outcomes: dict[int, Outcome]
    trace: list[str]


def explore(
    updates: Sequence[Callable[[S3Storage], Outcome]], *, faults: int, checks_conditions: bool = True
) -> Iterator[Execution]:
    """Yield every execution of one update per writer, with at most some faults."""
    choices = Choices()
    while True:
        store = Store(checks_conditions=checks_conditions)
        scheduler = Scheduler(store, choices, faults)
        yield Execution(store, scheduler.run(updates), scheduler.trace)
        if not choices.advance():
            return
