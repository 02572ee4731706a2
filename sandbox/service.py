"""The HTTP server of the sandbox on loopback, and its handle for tests."""

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Unpack

from sandbox import control
from sandbox.clock import Clock
from sandbox.core import Reply, SandboxService
from sandbox.faults import Fault, parse_fault
from sandbox.fleet import Fleet
from sandbox.protocol import CONTENT_TYPE
from sandbox.request_counter import RequestKind
from sandbox.switches import Switches, SwitchSettings

if TYPE_CHECKING:
    from sandbox.objects import S3

HOST = "127.0.0.1"

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero: close() resets the connection


@dataclass(frozen=True)
class Handle:
    """A running sandbox.

    Attributes:
        core: The service without HTTP.
        url: The endpoint of the service.
        s3: The S3 server, or None.
    """

    core: SandboxService
    url: str
    s3: "S3 | None" = None

    @property
    def s3_url(self) -> str:
        """The endpoint of S3 and STS."""
        if self.s3 is None:
            raise ValueError("this sandbox was started with s3=False")
        return self.s3.url

    def set_clock(self, now: datetime | None = None, rate: float | None = None) -> None:
        """Set the time and the rate of the clock: 0 is stopped, 1 is real time."""
        self.core.set_clock(now, rate)

    def inject(self, *faults: Fault | str) -> None:
        """Add faults, such as `throttle:ListInferenceExecutions:share=0.2`."""
        self.core.injector.add([parse_fault(item) if isinstance(item, str) else item for item in faults])

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.core.injector.set(())

    def requests(self, **filters: str) -> dict[RequestKind, int]:
        """Return the number of requests by kind, filtered by attributes of `RequestKind`."""
        return {
            kind: count
            for kind, count in self.core.request_counter.get_counts().items()
            if all(getattr(kind, name) == value for name, value in filters.items())
        }

    def count(self, **filters: str) -> int:
        """Return the number of requests, filtered by attributes of `RequestKind`."""
        return sum(self.requests(**filters).values())

    def reset(self) -> None:
        """Restore the initial clock and faults, and clear the counters."""
        self.core.reset()


@contextlib.contextmanager
def run_sandbox(  # noqa: PLR0913 - the first two make a service; the rest have defaults
    fleet: Fleet,
    clock: datetime | Clock,
    *,
    port: int = 0,
    s3: bool = True,
    s3_port: int = 0,
    faults: Sequence[Fault | str] = (),
    accounts_by_key: Mapping[str, str] | None = None,
    **switches: Unpack[SwitchSettings],
) -> Iterator[Handle]:
    """Run the service in this process, with an S3 that has the result objects.

    Args:
        fleet: The fleet.
        clock: A clock, or a time at which the clock is stopped.
        port: The port of the service; 0 selects a free one.
        s3: Whether to run S3. A process can run one at a time.
        s3_port: The port of S3; 0 selects a free one.
        faults: The initial faults.
        accounts_by_key: Accounts of access keys, in addition to the rules of `Accounts`.
        switches: The fields of `Switches`.

    Yields:
        A handle. At the end both servers stop, and the content of S3 is deleted.
    """
    with contextlib.ExitStack() as stack:
        find_role_account = _find_role_account if s3 else _find_no_account
        core = SandboxService(
            fleet,
            clock if isinstance(clock, Clock) else Clock(clock),
            switches=Switches(**switches),
            faults=[parse_fault(item) if isinstance(item, str) else item for item in faults],
            accounts_by_key=accounts_by_key,
            find_role_account=find_role_account,
        )
        with _explain_taken_port(port):
            server = _Server((HOST, port), _build_handler(core))
        stack.callback(server.stop)
        with _explain_taken_port(s3_port):
            storage = _start_s3(core, s3_port) if s3 else None
        if storage is not None:
            stack.callback(storage.stop)
        server.start()
        stack.callback(core.stopping.set)
        yield Handle(core, f"http://{HOST}:{server.server_port}", storage)


@contextlib.contextmanager
def _explain_taken_port(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot listen on port {port} of {HOST}: {error.strerror or error}") from error


def _start_s3(core: SandboxService, port: int) -> "S3":
    from sandbox.objects import S3  # noqa: PLC0415 - moto loads slowly and is optional

    return S3(list(core.operations.timelines.values()), core.clock.now, core.accounts.get_account, port)


def _find_role_account(access_key: str) -> str | None:
    from sandbox.objects import find_role_account  # noqa: PLC0415 - see above

    return find_role_account(access_key)


def _find_no_account(_: str) -> str | None:
    return None


class _Server(ThreadingHTTPServer):
    """A server that closes all its connections when it stops."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        self._connections.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET:
            self.close_request(request)  # without a shutdown, which would end the connection normally
        else:
            super().shutdown_request(request)

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Ignore disconnected clients. Report other errors, which are defects of the sandbox."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _build_handler(core: SandboxService) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"core": core})


class _Handler(BaseHTTPRequestHandler):
    core: SandboxService
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(control.PREFIX):
            self._answer_control(body)
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(self.core.respond(headers, body))

    def do_GET(self) -> None:
        self._answer_control(b"")

    def log_message(self, *_: object) -> None:
        """Log no requests."""

    def _answer_control(self, body: bytes) -> None:
        status, response = control.handle_request(self.core, self.command, self.path, body)
        self._write(status, {"Content-Type": "application/json"}, response)

    def _send(self, reply: Reply) -> None:
        headers = {
            "x-amzn-RequestId": reply.request_id,
            "Content-Type": CONTENT_TYPE,
            "Date": format_datetime(reply.clock, usegmt=True),
        }
        half = reply.body[: len(reply.body) // 2]
        match reply.transport_fault:
            case "hangup":
                self.close_connection = True
            case "drop" | "reset":
                if reply.transport_fault == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._write(reply.status, headers, half, length=len(reply.body))
                self.close_connection = True
            case "truncate":
                self._write(reply.status, headers, half)
            case _:
                self._write(reply.status, headers, reply.body)

    def _write(self, status: int, headers: Mapping[str, str], body: bytes, length: int | None = None) -> None:
        """Write a response at once. `length` overrides the length of the body."""
        lines = [f"{self.protocol_version} {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body) if length is None else length}", "", ""]
        self.wfile.write("\r\n".join(lines).encode() + body)
