"""An HTTP session for botocore that limits the size and the duration of each response.

botocore's read timeout applies to each block of bytes, so a server that sends one byte a second never
exceeds it.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, ClassVar, TypeVar, cast

import botocore.exceptions as refusals
import urllib3.exceptions

from resources.clock import monotonic
from resources.errors import DataError, LedgerError, RetryLaterError
from resources.read_limits import ReadLimits

_BLOCK_BYTES = 1 << 16
_MOST_BYTES_AT_ONCE = 1 << 20
"""A read of a response returns what has arrived, at most this."""

_LOOK_SECONDS = 0.5
"""How often a waiting request looks whether its run was interrupted."""

T = TypeVar("T")


class LimitedSession:
    """Sends requests with another session and reads the responses completely, within limits.

    The time limit includes the headers, so each request runs in a thread. After the limit, the thread ends
    with its next byte. `read_body` limits the body of a streamed response.
    """

    def __init__(
        self,
        session: Any,  # noqa: ANN401 (botocore has no types)
        limits: ReadLimits,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wrap a session of botocore. Requests end without a response while `is_stopped` returns True."""
        self._session = session
        self._limits = limits
        self._is_stopped = is_stopped

    def send(self, request: Any) -> Any:  # noqa: ANN401
        """Send a request; return a response with its content.

        Raises:
            RetryLaterError: the response is not complete in time, or the run was interrupted.
            DataError: the response is too large.
        """
        is_abandoned = Event()
        return _wait_for(
            lambda: self._send_and_read(request, is_abandoned),
            is_abandoned,
            self._limits,
            str(request.url),
            self._is_stopped,
        )

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _send_and_read(self, request: Any, is_abandoned: Event) -> Any:  # noqa: ANN401
        if request.stream_output:  # the body of an object: its reader limits it
            response = self._session.send(request)
            if is_abandoned.is_set():
                response.raw.close()
            return response
        request.stream_output = True  # else botocore reads everything
        response = self._session.send(request)
        try:
            response._content = self._read(response.raw, request, is_abandoned)  # noqa: SLF001 (no public access)
        except LedgerError:
            response.raw.close()
            raise
        except urllib3.exceptions.ReadTimeoutError as error:
            raise refusals.ReadTimeoutError(endpoint_url=request.url, error=error) from None
        except urllib3.exceptions.ProtocolError as error:
            raise refusals.ConnectionClosedError(
                endpoint_url=request.url, request=request, error=error
            ) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise refusals.HTTPClientError(error=error) from None
        return response

    def _read(self, stream: Any, request: Any, is_abandoned: Event) -> bytes:  # noqa: ANN401
        blocks: list[bytes] = []
        size_bytes = 0
        while block := stream.read1(_MOST_BYTES_AT_ONCE):
            blocks.append(block)
            size_bytes += len(block)
            if is_abandoned.is_set():
                stream.close()
                break
            if size_bytes > self._limits.size_bytes:
                raise DataError(
                    f"Cannot read a response: it is {self._limits.too_large}",
                    where=str(request.url),
                    next_step="check the service and the proxies before it, or raise the limit",
                )
        stream.release_conn()
        return b"".join(blocks)


def read_body(body: Any, limits: ReadLimits, uri: str) -> bytes:  # noqa: ANN401
    """Read the body of an object in S3, within limits.

    Raises:
        RetryLaterError: it is not complete in time.
        DataError: it is too large.
    """
    is_abandoned = Event()

    def read() -> bytes:
        content = bytearray()
        while block := body.read(_BLOCK_BYTES):
            content += block
            if is_abandoned.is_set() or len(content) > limits.size_bytes:
                body.close()
                raise DataError(
                    f"Cannot read an object: it is {limits.too_large}",
                    where=uri,
                    next_step="split the object, or raise the limit",
                )
        return bytes(content)

    return _wait_for(read, is_abandoned, limits, uri)


class _Worker:
    """A thread that does one task after another, because starting a thread for each request is slow."""

    _idle: ClassVar[SimpleQueue["_Worker"]] = SimpleQueue()

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name="request", daemon=True).start()

    @classmethod
    def take(cls) -> "_Worker":
        """Return an idle worker, or a new one."""
        try:
            return cls._idle.get_nowait()
        except Empty:
            return cls()

    def give_back(self) -> None:
        """Make the worker available for other requests; one that is still busy must not be given back."""
        self._idle.put(self)

    def _run(self) -> None:
        while task := self.tasks.get():
            task()


def _wait_for(
    work: Callable[[], T],
    is_abandoned: Event,
    limits: ReadLimits,
    where: str,
    is_stopped: Callable[[], bool] = lambda: False,
) -> T:
    outcomes: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((work(), None))
        except BaseException as error:  # noqa: BLE001 (the caller raises it)
            outcomes.put((None, error))

    worker = _Worker.take()
    worker.tasks.put(run)
    deadline = monotonic() + limits.seconds
    while True:
        try:
            result, error = outcomes.get(timeout=max(0, min(_LOOK_SECONDS, deadline - monotonic())))
            worker.give_back()
            break
        except Empty:
            if is_stopped():
                reason, next_step = "the run was interrupted", "re-execute the run from failure"
            elif monotonic() >= deadline:
                reason = limits.too_slow
                next_step = "run it again later; if the service is known to be slow, raise the limit"
            else:
                continue
        worker.tasks.put(None)
        is_abandoned.set()
        raise RetryLaterError(f"Cannot read a response: {reason}", where=where, next_step=next_step)
    if error is not None:
        raise error
    return cast("T", result)
