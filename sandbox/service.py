"""The service over HTTP, on loopback: the server, and a handle on it for tests."""

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
from sandbox.box import Box, Reply
from sandbox.clock import Clock
from sandbox.faults import Fault, fault
from sandbox.fleet import Fleet
from sandbox.protocol import CONTENT_TYPE
from sandbox.request_counter import Kind
from sandbox.switches import Switches, SwitchSettings

if TYPE_CHECKING:
    from sandbox.objects import S3

HOST = "127.0.0.1"

_RESET = struct.pack("ii", 1, 0)  # linger for no time: a close drops what was not read yet


@dataclass(frozen=True)
class Handle:
    """A running sandbox.

    Attributes:
        box: The service itself.
        url: Its endpoint.
        s3: The S3 beside it, if there is one.
    """

    box: Box
    url: str
    s3: "S3 | None" = None

    @property
    def s3_url(self) -> str:
        """The endpoint of the S3 beside it, which is that of an STS as well."""
        if self.s3 is None:
            raise ValueError("this sandbox was started with s3=False")
        return self.s3.url

    def set_clock(self, now: datetime | None = None, rate: float | None = None) -> None:
        """Sets the time and the rate at which it passes: 0 stands, 1 is real time."""
        self.box.set_clock(now, rate)

    def inject(self, *faults: Fault | str) -> None:
        """Puts faults beside those that are on; `throttle:ListInferenceExecutions:share=0.2` is one."""
        self.box.injector.add([fault(one) if isinstance(one, str) else one for one in faults])

    def heal(self) -> None:
        """Takes all faults away."""
        self.box.injector.set(())

    def requests(self, **of: str) -> dict[Kind, int]:
        """How often what was asked with which outcome; with arguments, only what is of such a kind."""
        return {
            kind: count
            for kind, count in self.box.tally.counts().items()
            if all(getattr(kind, name) == value for name, value in of.items())
        }

    def count(self, **of: str) -> int:
        """How many requests there were, of such a kind."""
        return sum(self.requests(**of).values())

    def reset(self) -> None:
        """Clock and faults as they were at first, and nothing counted."""
        self.box.reset()


@contextlib.contextmanager
def serving(  # noqa: PLR0913 - the first two make a service; the rest have defaults
    fleet: Fleet,
    clock: datetime | Clock,
    *,
    port: int = 0,
    s3: bool = True,
    s3_port: int = 0,
    faults: Sequence[Fault | str] = (),
    accounts_of: Mapping[str, str] | None = None,
    **switches: Unpack[SwitchSettings],
) -> Iterator[Handle]:
    """Runs the service in this process, and beside it an S3 with the result objects.

    Args:
        fleet: What it serves.
        clock: The time, which then stands, or a clock.
        port: Where it listens; 0 is a free port.
        s3: Whether there is an S3: one a process at any time.
        s3_port: Where that listens; 0 is a free port.
        faults: What goes wrong.
        accounts_of: Accounts of access keys, beside the usual rules (`accounts`).
        switches: Those of `Switches`.

    Yields:
        A handle on it. Both servers stop at the end, and what was put into S3 is gone.
    """
    with contextlib.ExitStack() as stack:
        issued = _issued if s3 else _nobody
        box = Box(
            fleet,
            clock if isinstance(clock, Clock) else Clock(clock),
            switches=Switches(**switches),
            faults=[fault(one) if isinstance(one, str) else one for one in faults],
            accounts_of=accounts_of,
            issued=issued,
        )
        with _told(port):
            server = _Server((HOST, port), _handler(box))
        stack.callback(server.stop)
        with _told(s3_port):
            storage = _storage(box, s3_port) if s3 else None
        if storage is not None:
            stack.callback(storage.stop)
        server.start()
        stack.callback(box.stopping.set)
        yield Handle(box, f"http://{HOST}:{server.server_port}", storage)


@contextlib.contextmanager
def _told(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot listen on port {port} of {HOST}: {error.strerror or error}") from error


def _storage(box: Box, port: int) -> "S3":
    from sandbox.objects import S3  # noqa: PLC0415 - moto takes its time, and is not needed without S3

    return S3(list(box.operations.timelines.values()), box.clock.now, box.accounts.account, port)


def _issued(access_key: str) -> str | None:
    from sandbox.objects import account_of_role_key  # noqa: PLC0415 - see above

    return account_of_role_key(access_key)


def _nobody(_: str) -> str | None:
    return None


class _Server(ThreadingHTTPServer):
    """Keeps its connections at hand, so that none outlives it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        self._open.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET:
            self.close_request(request)  # without the farewell that a shutdown would be
        else:
            super().shutdown_request(request)

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Clients may leave as they like; anything else is a mistake of the sandbox, and shows."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(box: Box) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"box": box})


class _Handler(BaseHTTPRequestHandler):
    box: Box
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(control.PREFIX):
            self._answer_control(body)
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(self.box.reply(headers, body))

    def do_GET(self) -> None:
        self._answer_control(b"")

    def log_message(self, *_: object) -> None:
        """A line for each request is too much."""

    def _answer_control(self, body: bytes) -> None:
        status, told = control.answer(self.box, self.command, self.path, body)
        self._write(status, {"Content-Type": "application/json"}, told)

    def _send(self, reply: Reply) -> None:
        headers = {
            "x-amzn-RequestId": reply.request_id,
            "Content-Type": CONTENT_TYPE,
            "Date": format_datetime(reply.clock, usegmt=True),
        }
        half = reply.body[: len(reply.body) // 2]
        match reply.wire:
            case "hangup":
                self.close_connection = True
            case "drop" | "reset":
                if reply.wire == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._write(reply.status, headers, half, of=len(reply.body))
                self.close_connection = True
            case "truncate":
                self._write(reply.status, headers, half)
            case _:
                self._write(reply.status, headers, reply.body)

    def _write(self, status: int, headers: Mapping[str, str], body: bytes, of: int | None = None) -> None:
        """In one piece; `of` is the length that is promised, where it is not that of the body."""
        lines = [f"{self.protocol_version} {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body) if of is None else of}", "", ""]
        self.wfile.write("\r\n".join(lines).encode() + body)
