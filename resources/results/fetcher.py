"""Fetches many result objects at once.

One listing returns the ETags of a whole day of a scheduler, so only new and changed objects are fetched. If
listing is forbidden, each object is requested on the condition that it changed. Objects are returned in
batches of some megabytes, because small objects are cheap to parse only together.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from resources.aws.access import AwsAccess
from resources.config.settings import BucketSettings, Settings
from resources.errors import PermissionsError, format_value
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.results.allowed_buckets import ANY_BUCKET, AllowedBuckets, find_allowed_buckets
from resources.results.base import FetchedResult, ObjectState, ResultRequest
from resources.results.batch_queue import BatchQueue
from resources.results.local_copy import LocalCopy
from resources.storage.open import is_s3

if TYPE_CHECKING:
    import boto3

    from resources.aws.s3_objects import ListedObject
    from resources.results.bucket import ResultBucket

_PARALLEL_LISTINGS = 8

_ObjectKey = tuple[str, str]
"""A bucket and a key."""

_Download = tuple[ResultRequest, str | None]
"""An object, and the ETag of the content that need not be sent."""


@dataclass(frozen=True)
class FetchLimits:
    """Limits of parallelism and memory.

    Attributes:
        concurrency: objects fetched at once.
        load_bytes: a batch is returned when it has this many bytes.
        bytes_in_flight: bytes in memory at once; an object that is larger is fetched alone.
    """

    concurrency: int = 32
    load_bytes: int = 16_000_000
    bytes_in_flight: int = 96_000_000


class ResultFetcher:
    """Fetches result objects with the permissions of one caller. The first fetch opens the session."""

    def __init__(
        self,
        access: AwsAccess,
        *,
        expected_bucket_owner: str | None = None,
        allowed_buckets: AllowedBuckets = ANY_BUCKET,
        limits: FetchLimits | None = None,
        read_limits: ReadLimits = DEFAULT_LIMITS,
        copies: Sequence[LocalCopy] = (),
    ) -> None:
        """Make no request yet.

        Args:
            access: profile and role; endpoint and region are found for each bucket.
            expected_bucket_owner: the account that must own the buckets; None: any.
            allowed_buckets: the buckets that may be read; objects in others are not requested.
            limits: limits of parallelism and memory.
            read_limits: limits of each object.
            copies: local copies; their objects are read from the copy only.
        """
        self.read_limits = read_limits
        self._access = access
        self._owner = expected_bucket_owner
        self._allowed_buckets = allowed_buckets
        self._limits = limits or FetchLimits()
        self._copies = sorted(copies, key=lambda copy: len(copy.prefix), reverse=True)
        self._buckets: dict[str, ResultBucket] = {}
        self._buckets_lock = Lock()
        self._credentials_error: PermissionsError | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "ResultFetcher":
        """Use the sections `[results]` and `[limits]`, and the buckets of the lake and the sources."""
        results = settings.results
        return cls(
            AwsAccess(profile=results.profile, role_arn=results.role_arn),
            expected_bucket_owner=results.expected_bucket_owner,
            allowed_buckets=find_allowed_buckets(settings),
            limits=FetchLimits(concurrency=results.concurrency),
            read_limits=settings.limits.read_limits,
            copies=_list_copies(settings),
        )

    def fetch(self, requests: Sequence[ResultRequest]) -> Iterator[list[FetchedResult]]:
        """Fetch the objects that are new or have changed.

        Args:
            requests: each object once.

        Yields:
            Batches of objects, in any order, each object once. The memory of a batch counts as free when the
            next batch is requested.

        Raises:
            LedgerError: there are no usable credentials, or the profile or role cannot be used.
        """
        allowed: list[ResultRequest] = []
        refused: list[FetchedResult] = []
        for request in requests:
            if self._is_allowed(request):
                allowed.append(request)
            else:
                refused.append(_refuse(request))
        if refused:
            yield refused
        if not allowed:
            return
        if self._credentials_error is not None:
            raise self._credentials_error
        try:
            yield from self._fetch(allowed)
        except PermissionsError as error:  # the search for credentials takes seconds
            self._credentials_error = error
            raise

    def _fetch(self, requests: Sequence[ResultRequest]) -> Iterator[list[FetchedResult]]:
        listed = self._list_known_objects(requests)
        settled: list[FetchedResult] = []
        downloads: list[_Download] = []
        for request in requests:
            result = _settle_by_listing(request, listed)
            if result is not None:
                settled.append(result)
            else:
                is_listed = (request.bucket, request.key) in listed
                downloads.append((request, None if is_listed else request.etag))
        if settled:
            yield settled
        yield from self._download(downloads)

    def _is_allowed(self, request: ResultRequest) -> bool:
        if self._find_copy(request.bucket, request.key):
            return True
        return self._allowed_buckets.allow(request.bucket, is_named_by_service=request.is_named_by_service)

    def _find_copy(self, bucket: str, key: str) -> LocalCopy | None:
        for copy in self._copies:
            if copy.contains(bucket, key):
                return copy
        return None

    def _get_reader(self, name: str, key: str) -> "ResultBucket | LocalCopy":
        return self._find_copy(name, key) or self._buckets.get(name) or self._open_bucket(name)

    def _open_bucket(self, name: str) -> "ResultBucket":
        from resources.results.bucket import ResultBucket  # noqa: PLC0415 (imports boto3)

        with self._buckets_lock:
            if name not in self._buckets:
                self._buckets[name] = ResultBucket(name, self._session, self._owner, self.read_limits)
            return self._buckets[name]

    @cached_property
    def _session(self) -> "boto3.Session":
        from resources.aws.session import open_session  # noqa: PLC0415 (imports boto3)

        return open_session(self._access, "results")

    def _list_known_objects(
        self, requests: Sequence[ResultRequest]
    ) -> dict[_ObjectKey, "ListedObject | None"]:
        """List the objects that were read before; None: the object does not exist."""
        keys_by_folder: dict[_ObjectKey, list[str]] = defaultdict(list)
        for request in requests:
            if request.etag is not None:
                folder = request.key.rsplit("/", 2)[0]
                keys_by_folder[request.bucket, folder].append(request.key)
        listings = [(bucket, keys) for (bucket, _), keys in keys_by_folder.items() if len(keys) > 1]
        if not listings:
            return {}
        with ThreadPoolExecutor(min(len(listings), _PARALLEL_LISTINGS)) as pool:
            responses = list(
                pool.map(
                    lambda place: self._get_reader(place[0], place[1][0]).list_objects(place[1]), listings
                )
            )
        return {
            (bucket, key): listed
            for (bucket, _), objects in zip(listings, responses, strict=True)
            for key, listed in objects.items()
        }

    def _download(self, downloads: Sequence[_Download]) -> Iterator[list[FetchedResult]]:
        limits = self._limits
        batches = BatchQueue(len(downloads), limits.load_bytes, limits.bytes_in_flight)
        with self._run_workers(downloads, batches):
            while batch := batches.take():
                yield batch

    @contextmanager
    def _run_workers(self, downloads: Sequence[_Download], batches: BatchQueue) -> Iterator[None]:
        """Download in the background while the block runs; at its end, pending downloads are dropped."""
        queue, queue_lock = iter(downloads), Lock()

        def work() -> None:
            while not batches.is_closed:
                with queue_lock:
                    request, known_etag = next(queue, (None, None))
                if request is None:
                    return
                try:
                    self._fetch_object(request, known_etag, batches)
                except BaseException as error:  # noqa: BLE001 (the consumer raises it)
                    batches.fail(error)

        workers = [
            Thread(target=work, name="results", daemon=True)
            for _ in range(min(self._limits.concurrency, len(downloads)))
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            batches.close()
            for worker in workers:
                worker.join()

    def _fetch_object(self, request: ResultRequest, known_etag: str | None, batches: BatchQueue) -> None:
        reserved: list[int] = []

        def reserve(size_bytes: int) -> None:
            batches.reserve(size_bytes)
            reserved.append(size_bytes)

        reader = self._get_reader(request.bucket, request.key)
        batches.put(reader.get(request, known_etag, reserve), sum(reserved))


def _settle_by_listing(
    request: ResultRequest, listed: Mapping[_ObjectKey, "ListedObject | None"]
) -> FetchedResult | None:
    """Return the result if the listing is enough; None: the object must be fetched."""
    if (request.bucket, request.key) not in listed:
        return None
    listed_object = listed[request.bucket, request.key]
    if listed_object is None:
        return FetchedResult(request, ObjectState.MISSING, error="there is no such object")
    return FetchedResult(request, ObjectState.UNCHANGED) if listed_object.etag == request.etag else None


def _refuse(request: ResultRequest) -> FetchedResult:
    reason = f"bucket not allowed: {format_value(request.bucket)} is not in results.allowed_buckets"
    return FetchedResult(request, ObjectState.NOT_ALLOWED, error=reason)


def _list_copies(settings: Settings) -> list[LocalCopy]:
    return [
        LocalCopy(*source.location, Path(source.uri), settings.limits.read_limits)
        for source in settings.sources
        if isinstance(source, BucketSettings) and not is_s3(source.uri, "sources.uri")
    ]
