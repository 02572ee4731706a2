"""Result objects, fetched many at once: what each holds, or what keeps it from being read.

One LIST tells the tags of a whole day of a scheduler, so that only new and changed objects are fetched. Where
listing is forbidden each is asked for under the condition that it changed. Objects come in loads of some
megabytes, to be turned into columns together: small ones are cheap only so.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from threading import Condition, Lock, Thread

import boto3

from resources.aws.s3_bucket import ListedObject
from resources.aws.session import AwsAccess, open_session
from resources.config.sections import ResultSettings
from resources.results.bucket import FetchedResult, ObjectState, ResultBucket, ResultRequest

__all__ = ["FetchLimits", "FetchedResult", "ObjectState", "ResultFetcher", "ResultRequest"]

_LISTINGS_AT_ONCE = 8

_Place = tuple[str, str]
_Asked = tuple[ResultRequest, str | None]
"""An object, and the tag that it must not have to be worth sending."""

_Arrival = FetchedResult | BaseException | None
"""None: somebody waits for bytes to be given back."""


@dataclass(frozen=True)
class FetchLimits:
    """How much is fetched at a time.

    `load_bytes` make a load, `bytes_in_flight` may wait in memory in all; an object that is larger than that
    comes alone.
    """

    concurrency: int = 32
    load_bytes: int = 16_000_000
    bytes_in_flight: int = 96_000_000


class ResultFetcher:
    """The result objects that one caller can reach. Nothing is asked before the first fetch."""

    def __init__(
        self,
        access: AwsAccess,
        *,
        expected_bucket_owner: str | None = None,
        limits: FetchLimits | None = None,
    ) -> None:
        """Say who asks.

        Args:
            access: profile and role; endpoint and region are found out bucket by bucket.
            expected_bucket_owner: the account that buckets must belong to; None: to whomever.
            limits: how much is fetched at a time.
        """
        self._access = access
        self._owner = expected_bucket_owner
        self._limits = limits or FetchLimits()
        self._buckets: dict[str, ResultBucket] = {}
        self._opening = Lock()

    @classmethod
    def from_settings(cls, settings: ResultSettings) -> "ResultFetcher":
        """Open them as the settings say."""
        return cls(
            AwsAccess(profile=settings.profile, role_arn=settings.role_arn),
            expected_bucket_owner=settings.expected_bucket_owner,
            limits=FetchLimits(concurrency=settings.concurrency),
        )

    def fetch(self, wanted: Sequence[ResultRequest]) -> Iterator[list[FetchedResult]]:
        """Fetch what is new or has changed.

        Args:
            wanted: each object once.

        Yields:
            Loads of objects, in any order, every wanted one once. The bytes of a load count as done with when
            the next one is asked for.

        Raises:
            LedgerError: there are no usable credentials, or the profile or role cannot be used.
        """
        listed = self._listed(wanted)
        at_rest = [_at_rest(one, listed) for one in wanted]
        if known := [fetched for fetched in at_rest if fetched is not None]:
            yield known
        yield from self._loads(
            [
                (one, None if (one.bucket, one.key) in listed else one.etag)
                for one, fetched in zip(wanted, at_rest, strict=True)
                if fetched is None
            ]
        )

    def _bucket(self, name: str) -> ResultBucket:
        with self._opening:
            if name not in self._buckets:
                self._buckets[name] = ResultBucket(name, self._session, self._owner)
            return self._buckets[name]

    @cached_property
    def _session(self) -> boto3.Session:
        return open_session(self._access, "results")

    def _listed(self, wanted: Sequence[ResultRequest]) -> dict[_Place, ListedObject | None]:
        """Return what listings tell of objects that were read before: None for what is not there."""
        folders: dict[_Place, list[str]] = defaultdict(list)
        for one in wanted:
            if one.etag is not None:
                folders[one.bucket, one.key.rsplit("/", 2)[0]].append(one.key)
        worth_it = [(bucket, keys) for (bucket, _), keys in folders.items() if len(keys) > 1]
        if not worth_it:
            return {}
        with ThreadPoolExecutor(min(len(worth_it), _LISTINGS_AT_ONCE)) as pool:
            answers = list(pool.map(lambda asked: self._bucket(asked[0]).list_objects(asked[1]), worth_it))
        return {
            (bucket, key): told
            for (bucket, _), found in zip(worth_it, answers, strict=True)
            for key, told in found.items()
        }

    def _loads(self, asked: Sequence[_Asked]) -> Iterator[list[FetchedResult]]:
        arrivals: SimpleQueue[_Arrival] = SimpleQueue()
        budget = _Budget(self._limits.bytes_in_flight, when_full=lambda: arrivals.put(None))
        load: list[FetchedResult] = []
        held, due = 0, len(asked)
        with self._working(asked, budget, arrivals):
            while due or load:
                arrival = arrivals.get() if due else None
                if isinstance(arrival, BaseException):
                    raise arrival
                if arrival is not None:
                    load.append(arrival)
                    held += arrival.size_in_memory
                    due -= 1
                if load and (arrival is None or budget.is_short or held >= self._limits.load_bytes):
                    yield load
                    budget.give_back(held)
                    load, held = [], 0

    @contextmanager
    def _working(
        self, asked: Sequence[_Asked], budget: "_Budget", arrivals: "SimpleQueue[_Arrival]"
    ) -> Iterator[None]:
        """Fetch in the background; what is still to do when the block is left stays undone."""
        to_do, taking = iter(asked), Lock()

        def work() -> None:
            while not budget.is_closed:
                with taking:
                    one, unless = next(to_do, (None, None))
                if one is None:
                    return
                try:
                    arrivals.put(self._bucket(one.bucket).get(one, unless, budget.take))
                except BaseException as problem:  # noqa: BLE001 (whoever waits for it shall raise it)
                    arrivals.put(problem)

        workers = [
            Thread(target=work, name="results", daemon=True)
            for _ in range(min(self._limits.concurrency, len(asked)))
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            budget.close()
            for worker in workers:
                worker.join()


class _Budget:
    """So many bytes may be held at once; who wants more waits until enough is given back."""

    def __init__(self, limit: int, when_full: Callable[[], None]) -> None:
        self.is_closed = False
        self._limit, self._held, self._waiting = limit, 0, 0
        self._when_full = when_full
        self._changed = Condition()

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        return self._waiting > 0

    def take(self, size: int) -> None:
        with self._changed:
            self._waiting += 1
            while self._held and self._held + size > self._limit and not self.is_closed:
                self._when_full()
                self._changed.wait()
            self._waiting -= 1
            self._held += size

    def give_back(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()


def _at_rest(one: ResultRequest, listed: Mapping[_Place, ListedObject | None]) -> FetchedResult | None:
    """Say what a listing settles without fetching the object; None: it must be fetched."""
    if (one.bucket, one.key) not in listed:
        return None
    found = listed[one.bucket, one.key]
    if found is None:
        return FetchedResult(one, ObjectState.MISSING, error="there is no such object")
    return FetchedResult(one, ObjectState.UNCHANGED) if found.etag == one.etag else None
