"""An HTTP session for botocore that limits the size and the duration of each response.

botocore's read timeout applies to each block of bytes, so a server that sends one byte a second never
exceeds it.
"""

from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

import botocore.exceptions as refusals
import urllib3.exceptions

from resources.errors import DataError, LedgerError, RetryLaterError
from resources.read_limits import ReadLimits

_BLOCK_BYTES = 1 << 16


class LimitedSession:
    """Sends requests with another session and reads the responses completely, within limits.

    The time limit includes the headers, so each request runs in a thread. After the limit, the thread ends
    with its next byte.
    """

    def __init__(self, session: Any, limits: ReadLimits) -> None:  # noqa: ANN401 (botocore has no types)
        """Wrap a session of botocore."""
        self._session = session
        self._limits = limits

    def send(self, request: Any) -> Any:  # noqa: ANN401
        """Send a request; return a response with its content.

        Raises:
            RetryLaterError: the response is not complete in time.
            DataError: the response is too large.
        """
        outcome: SimpleQueue[Any] = SimpleQueue()
        is_abandoned = Event()

        def run() -> None:
            try:
                outcome.put(self._send_and_read(request, is_abandoned))
            except BaseException as error:  # noqa: BLE001 (the caller raises it)
                outcome.put(error)

        Thread(target=run, name="request", daemon=True).start()
        try:
            result = outcome.get(timeout=self._limits.seconds)
        except Empty:
            is_abandoned.set()
            raise RetryLaterError(
                f"Cannot read a response: {self._limits.too_slow}",
                where=str(request.url),
                next_step="run it again later; if the service is known to be slow, raise the limit",
            ) from None
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _send_and_read(self, request: Any, is_abandoned: Event) -> Any:  # noqa: ANN401
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
        content = bytearray()
        while block := stream.read1(_BLOCK_BYTES):
            content += block
            if is_abandoned.is_set():
                stream.close()
                break
            if len(content) > self._limits.size_bytes:
                raise DataError(
                    f"Cannot read a response: it is {self._limits.too_large}",
                    where=str(request.url),
                    next_step="check the service and the proxies before it, or raise the limit",
                )
        stream.release_conn()
        return bytes(content)
