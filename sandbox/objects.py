"""The S3 beside the service: moto in this process, with the fleet's buckets and all result objects in them.

The objects of a whole history are too many to be written one by one. So a result object is put into moto's
own store as a promise: it is made up when it is read or listed. Everything else in S3 is moto as it is;
buckets and objects of your own are welcome. moto keeps one store a process, so there is one S3 a process.
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

from sandbox.results import content
from sandbox.schedulers import Scheduler, Slot
from sandbox.timeline import Timeline

CHECK_FILE = ".LOOKOUTEQUIPMENT_WRITE_ACCESS_CHECK_FILE_SAFE_TO_DELETE.TEMP"

_HOST = "127.0.0.1"
_PARTITION = "aws"
_KEY = re.compile(r"Credential=([^/,\s]+)/")
_running = threading.Lock()


class AlreadyRunningError(RuntimeError):
    """This process has an S3 already."""

    def __init__(self) -> None:
        super().__init__("this process has a sandbox with an S3 already; start the other with s3=False")


class Storage:
    """The fleet's buckets, kept in step with the clock."""

    def __init__(self, timelines: Iterable[Timeline]) -> None:
        self._timelines = list(timelines)
        self._lock = threading.Lock()
        self._synced_to: datetime | None = None
        self._placed: list[_Placed] = []
        self._templates: dict[str, FakeKey] = {}
        self._buckets: dict[str, FakeBucket] = {}
        for timeline in self._timelines:
            self._prepare(timeline.scheduler)

    def __len__(self) -> int:
        return len(self._placed)

    def sync(self, clock: datetime) -> None:
        """Places the objects of all that succeeded by `clock`, and takes away what came later."""
        clock = clock.replace(microsecond=0)  # executions end on whole seconds
        with self._lock:
            since = self._synced_to
            if since is None:
                since = min(one.scheduler.created_at for one in self._timelines) - timedelta(days=1)
            elif clock < since:
                self._take_away(clock)
                self._synced_to = clock
            if clock > since:
                self._place(since, clock)
                self._synced_to = clock

    def find(self, path: str) -> "_ResultObject | None":
        """The result object that lies at `/bucket/key`, unless someone has put another one there."""
        _, name, key = (path + "//").split("/", 2)
        bucket = self._buckets.get(name)
        found = None if bucket is None else bucket.keys.get(key.removesuffix("//"))
        return found if isinstance(found, _ResultObject) else None

    def _place(self, since: datetime, clock: datetime) -> None:
        added: list[_Placed] = []
        for timeline in self._timelines:
            scheduler = timeline.scheduler
            keys = self._buckets[scheduler.output.bucket].keys
            if since < scheduler.created_at <= clock:
                check = f"{scheduler.output.prefix}{CHECK_FILE}"
                keys.setlist(check, [self._promise(scheduler, check, scheduler.created_at, bytes)])
            for at, slot in timeline.succeeded(since, clock):
                name = scheduler.result_object(slot.window)["Key"]
                keys.setlist(name, [self._promise(scheduler, name, at, partial(content, scheduler, slot))])
                added.append(_Placed(at, scheduler, slot))
        self._placed += sorted(added, key=lambda placed: placed.at)  # all of them later than the others

    def _take_away(self, clock: datetime) -> None:
        first = bisect.bisect_right(self._placed, clock, key=lambda placed: placed.at)
        for placed in self._placed[first:]:
            name = placed.scheduler.result_object(placed.slot.window)["Key"]
            keys = self._buckets[placed.scheduler.output.bucket].keys
            if isinstance(keys.get(name), _ResultObject):
                keys.pop(name)
        del self._placed[first:]

    def _prepare(self, scheduler: Scheduler) -> None:
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

    def _promise(
        self, scheduler: Scheduler, name: str, at: datetime, make: Callable[[], bytes]
    ) -> "_ResultObject":
        return _ResultObject(self._templates[scheduler.arn], name, at, make)


@dataclass(frozen=True, slots=True)
class _Placed:
    at: datetime
    scheduler: Scheduler
    slot: Slot


class _ResultObject(FakeKey):
    """An object that is made up when it is asked for; in all else it is like a template."""

    def __new__(cls, *_: object) -> Self:
        return object.__new__(cls)  # moto would keep a list of all that ever were

    def __init__(self, template: FakeKey, name: str, at: datetime, make: Callable[[], bytes]) -> None:
        self._template = template
        self._make = make
        self._made: tuple[int, str] | None = None
        self.name = name
        self.last_modified = at.replace(tzinfo=None)  # as moto has it

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it stands for anything
        if name == "_template":
            raise AttributeError(name)
        return getattr(self._template, name)

    @property
    def value(self) -> bytes:
        return self._make()

    @property
    def contentsize(self) -> int:  # type: ignore[override]
        return self._measures[0]

    @property
    def etag(self) -> str:
        return f'"{self._measures[1]}"'

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of an answer with it, but for its length."""
        told = {**self.response_dict, **self.metadata}
        return [(name, str(value)) for name, value in told.items() if name != "content-length"]

    def dispose(self, garbage: bool = False) -> None:
        """There is nothing to dispose of."""

    @property
    def _measures(self) -> tuple[int, str]:
        if self._made is None:
            made = self.value
            self._made = len(made), hashlib.md5(made, usedforsecurity=False).hexdigest()
        return self._made


class S3:
    """The server."""

    def __init__(
        self,
        timelines: Sequence[Timeline],
        now: Callable[[], datetime],
        account: Callable[[str], str],
        port: int = 0,
    ) -> None:
        """Starts listening, on loopback only.

        Args:
            timelines: Whose results it holds.
            now: The time.
            account: The account that an access key opens.
            port: Where it listens; 0 is a free port.

        Raises:
            AlreadyRunningError: There is one already in this process.
            OSError: The port is taken.
        """
        if not _running.acquire(blocking=False):
            raise AlreadyRunningError
        try:
            self._moto = DomainDispatcherApplication(create_backend_app)
            self._now, self._account = now, account
            self._server: BaseWSGIServer = _listening(port, self._answer)
            self.storage = Storage(timelines)
            self.storage.sync(now())
        except BaseException:
            _clean_up()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://{_HOST}:{self._server.socket.getsockname()[1]}"

    def stop(self) -> None:
        """Stops it; everything in it is gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        _clean_up()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:  # noqa: ANN401
        self.storage.sync(self._now())
        found = self.storage.find(environ["PATH_INFO"]) if _is_plain_read(environ) else None
        if found is None:
            key = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
            if key is not None:
                environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._account(key[1])
            return self._moto(environ, start_response)
        # moto takes ten times as long for the same answer, and there are many of these.
        body = found.value
        start_response("200 OK", [*found.headers, ("Content-Length", str(len(body)))])
        return [body]


def _is_plain_read(environ: dict[str, Any]) -> bool:
    conditions = ("HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")
    return (
        environ["REQUEST_METHOD"] == "GET"
        and not environ.get("QUERY_STRING")
        and not any(condition in environ for condition in (*conditions, "HTTP_IF_UNMODIFIED_SINCE"))
    )


def account_of_role_key(access_key: str) -> str | None:
    """The account for whose role moto's STS issued this access key, if it did."""
    for account, backends in list(iam_backends.items()):
        if access_key in backends[_PARTITION].access_keys:
            return str(account)
    return None


class _Quiet(MotoRequestHandler):
    disable_nagle_algorithm = True

    def log(self, *_: object) -> None:
        """A line for each request is too much."""


def _listening(port: int, app: Callable[..., Any]) -> BaseWSGIServer:
    # Given a socket, werkzeug leaves it to us what happens when the port is taken; else it ends the process.
    with socket.create_server((_HOST, port), backlog=128) as listening:
        return make_server(_HOST, port, app, threaded=True, request_handler=_Quiet, fd=listening.fileno())


def _clean_up() -> None:
    for backends in list(s3_backends.values()):
        backends[_PARTITION].reset()
    iam_backends.clear()
    _running.release()
