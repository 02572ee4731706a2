"""The S3 of the sandbox: moto in this process, with the buckets and result objects of the fleet.

A whole history has too many objects to write them all. The store holds lazy objects: their content is
computed when they are read or listed. Everything else is moto, so tests can add buckets and objects.
moto has one store per process, so there is one S3 per process.
"""

import bisect
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import FakeBucket, FakeKey, s3_backends
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox.results import build_content
from sandbox.schedulers import Scheduler, Slot
from sandbox.timeline import Timeline

CHECK_FILE = ".LOOKOUTEQUIPMENT_WRITE_ACCESS_CHECK_FILE_SAFE_TO_DELETE.TEMP"

_HOST = "127.0.0.1"
_PARTITION = "aws"
_KEY = re.compile(r"Credential=([^/,\s]+)/")
_running = threading.Lock()


class AlreadyRunningError(RuntimeError):
    """This process already runs an S3."""

    def __init__(self) -> None:
        super().__init__("this process already runs a sandbox with S3; start the other one with s3=False")


class Storage:
    """The buckets of the fleet, synchronized with the clock."""

    def __init__(self, timelines: Iterable[Timeline]) -> None:
        self._timelines = list(timelines)
        self._lock = threading.Lock()
        self._synced_to: datetime | None = None
        self._stored: list[_StoredResult] = []
        self._templates: dict[str, FakeKey] = {}
        self._buckets: dict[str, FakeBucket] = {}
        for timeline in self._timelines:
            self._create_bucket(timeline.scheduler)

    def __len__(self) -> int:
        return len(self._stored)

    def sync(self, clock: datetime) -> None:
        """Add the results of executions that succeeded by `clock`, and remove later ones."""
        clock = clock.replace(microsecond=0)  # executions end on whole seconds
        with self._lock:
            since = self._synced_to
            if since is None:
                since = min(timeline.scheduler.created_at for timeline in self._timelines) - timedelta(days=1)
            elif clock < since:
                self._remove_results(clock)
                self._synced_to = clock
            if clock > since:
                self._add_results(since, clock)
                self._synced_to = clock

    def find(self, path: str) -> "_ResultObject | None":
        """Return the result object at `/bucket/key`; None if it does not exist or was replaced."""
        _, name, key = (path + "//").split("/", 2)
        bucket = self._buckets.get(name)
        stored = None if bucket is None else bucket.keys.get(key.removesuffix("//"))
        return stored if isinstance(stored, _ResultObject) else None

    def _add_results(self, since: datetime, clock: datetime) -> None:
        added: list[_StoredResult] = []
        for timeline in self._timelines:
            scheduler = timeline.scheduler
            keys = self._buckets[scheduler.output.bucket].keys
            if since < scheduler.created_at <= clock:
                check = f"{scheduler.output.prefix}{CHECK_FILE}"
                keys.setlist(check, [self._build_object(scheduler, check, scheduler.created_at, bytes)])
            for at, slot in timeline.list_succeeded(since, clock):
                name = scheduler.result_object(slot.window)["Key"]
                keys.setlist(
                    name, [self._build_object(scheduler, name, at, partial(build_content, scheduler, slot))]
                )
                added.append(_StoredResult(at, scheduler, slot))
        self._stored += sorted(added, key=lambda stored: stored.at)  # all are later than the stored results

    def _remove_results(self, clock: datetime) -> None:
        first = bisect.bisect_right(self._stored, clock, key=lambda stored: stored.at)
        for stored in self._stored[first:]:
            name = stored.scheduler.result_object(stored.slot.window)["Key"]
            keys = self._buckets[stored.scheduler.output.bucket].keys
            if isinstance(keys.get(name), _ResultObject):
                keys.pop(name)
        del self._stored[first:]

    def _create_bucket(self, scheduler: Scheduler) -> None:
        name = scheduler.output.bucket
        backend = s3_backends[scheduler.account][_PARTITION]
        if name not in backend.buckets:
            self._buckets[name] = backend.create_bucket(name, scheduler.region)
        key = scheduler.output.kms_key_id
        self._templates[scheduler.arn] = FakeKey(
            name="template",
            bucket_name=name,
            value=b"",
            account_id=scheduler.account,
            region_name=scheduler.region,
            version_id="null",
            encryption=None if key is None else "aws:kms",
            kms_key_id=key,
        )

    def _build_object(
        self, scheduler: Scheduler, name: str, at: datetime, build: Callable[[], bytes]
    ) -> "_ResultObject":
        return _ResultObject(self._templates[scheduler.arn], name, at, build)


@dataclass(frozen=True, slots=True)
class _StoredResult:
    at: datetime
    scheduler: Scheduler
    slot: Slot


class _ResultObject(FakeKey):
    """An object whose content is computed when it is read. Other attributes come from a template."""

    def __new__(cls, *_: object) -> Self:
        return object.__new__(cls)  # moto would keep a list of all instances

    def __init__(self, template: FakeKey, name: str, at: datetime, build: Callable[[], bytes]) -> None:
        self._template = template
        self._build = build
        self._cached_measures: tuple[int, str] | None = None
        self.name = name
        self.last_modified = at.replace(tzinfo=None)  # moto uses naive times

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the template
        if name == "_template":
            raise AttributeError(name)
        return getattr(self._template, name)

    @property
    def value(self) -> bytes:
        return self._build()

    @property
    def contentsize(self) -> int:  # type: ignore[override]
        return self._measures[0]

    @property
    def etag(self) -> str:
        return f'"{self._measures[1]}"'

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of a response, without the length."""
        headers = {**self.response_dict, **self.metadata}
        return [(name, str(value)) for name, value in headers.items() if name != "content-length"]

    def dispose(self, garbage: bool = False) -> None:
        """Do nothing: no file is open."""

    @property
    def _measures(self) -> tuple[int, str]:
        if self._cached_measures is None:
            content = self.value
            self._cached_measures = len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self._cached_measures


class S3:
    """The S3 server, which runs in a thread of this process."""

    def __init__(
        self,
        timelines: Sequence[Timeline],
        now: Callable[[], datetime],
        account: Callable[[str], str],
        port: int = 0,
    ) -> None:
        """Start to listen on loopback.

        Args:
            timelines: The executions whose results the store has.
            now: Returns the time.
            account: Returns the account of an access key.
            port: The port; 0 selects a free one.

        Raises:
            AlreadyRunningError: This process already runs an S3.
            OSError: The port is in use.
        """
        if not _running.acquire(blocking=False):
            raise AlreadyRunningError
        try:
            self._moto = DomainDispatcherApplication(create_backend_app)
            self._now, self._account = now, account
            self._server: BaseWSGIServer = _open_server(port, self._respond)
            self.storage = Storage(timelines)
            self.storage.sync(now())
        except BaseException:
            _clean_up()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{_HOST}:{self._server.socket.getsockname()[1]}"

    def stop(self) -> None:
        """Stop the server and delete its content."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        _clean_up()

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:  # noqa: ANN401
        self.storage.sync(self._now())
        stored = self.storage.find(environ["PATH_INFO"]) if _is_plain_read(environ) else None
        if stored is None:
            key = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
            if key is not None:
                environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._account(key[1])
            return self._moto(environ, start_response)
        # moto takes ten times as long, and this is the most frequent request.
        body = stored.value
        start_response("200 OK", [*stored.headers, ("Content-Length", str(len(body)))])
        return [body]


def _is_plain_read(environ: dict[str, Any]) -> bool:
    conditions = ("HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")
    return (
        environ["REQUEST_METHOD"] == "GET"
        and not environ.get("QUERY_STRING")
        and not any(condition in environ for condition in (*conditions, "HTTP_IF_UNMODIFIED_SINCE"))
    )


def find_role_account(access_key: str) -> str | None:
    """Return the account for whose role moto's STS issued an access key, or None."""
    for account, backends in list(iam_backends.items()):
        if access_key in backends[_PARTITION].access_keys:
            return str(account)
    return None


class _Quiet(MotoRequestHandler):
    disable_nagle_algorithm = True

    def log(self, *_: object) -> None:
        """Log no requests."""


def _open_server(port: int, app: Callable[..., Any]) -> BaseWSGIServer:
    # Without an open socket, werkzeug ends the process if the port is in use.
    with socket.create_server((_HOST, port), backlog=128) as listening:
        return make_server(_HOST, port, app, threaded=True, request_handler=_Quiet, fd=listening.fileno())


def _clean_up() -> None:
    for backends in list(s3_backends.values()):
        backends[_PARTITION].reset()
    iam_backends.clear()
    _running.release()
