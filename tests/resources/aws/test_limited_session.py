"""Slow and endless responses over HTTP end at the limit; other threads and requests continue."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, Timer
from types import SimpleNamespace

import botocore.exceptions as refusals
import pytest
import urllib3.exceptions

from resources.aws.access import AwsAccess
from resources.aws.limited_session import LimitedSession
from resources.aws.s3_bucket import Bucket
from resources.errors import DataError, LedgerError, RetryLaterError
from resources.read_limits import ReadLimits
from resources.sources.api import ApiSource
from tests.support.s3_server import set_aws_credentials

LIMITS = ReadLimits(size_bytes=1_000_000, seconds=0.5)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
Serve = Callable[[socket.socket, Event], None]


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """Answer each connection in a thread."""
    stop = Event()

    def accept() -> None:
        while not stop.is_set():
            with suppress(OSError):
                connection, _ = server.accept()
                Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(100_000)
            serve(connection, stop)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        thread = Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stop.set()
        thread.join()


def send_slow_body(connection: socket.socket, stop: Event) -> None:
    connection.sendall(HEAD + b'Content-Length: 1000\r\nETag: "x"\r\n\r\n')
    while not stop.wait(0.05):
        connection.sendall(b" ")


def send_slow_headers(connection: socket.socket, stop: Event) -> None:
    connection.sendall(HEAD + b"X: ")
    while not stop.wait(0.05):
        connection.sendall(b"x")


def send_chunks_without_end(connection: socket.socket, stop: Event) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not stop.is_set():
        connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")


@pytest.mark.parametrize(
    ("serve", "kind", "setting"),
    [
        (send_slow_body, RetryLaterError, "limits.max_seconds_per_request"),
        (send_slow_headers, RetryLaterError, "limits.max_seconds_per_request"),
        (send_chunks_without_end, DataError, "limits.max_megabytes_per_file"),
    ],
)
def test_a_response_without_end_raises_an_error_with_the_limit(
    serve: Serve,
    kind: type[LedgerError],
    setting: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with serving(serve) as url:
        source = ApiSource(AwsAccess("eu-west-1", endpoint_url=url), limits=LIMITS)
        with pytest.raises(kind, match=setting) as caught:
            source.list_schedulers()
    assert url in caught.value.where


REQUESTS: dict[str, Callable[[Bucket], object]] = {
    "list": lambda bucket: list(bucket.list_objects("")),
    "list one page": lambda bucket: bucket.list_page(""),
    "get": lambda bucket: bucket.get("key"),
    "head": lambda bucket: bucket.exists("key"),
    "put": lambda bucket: bucket.put("key", b"x", replacing=None),
}


@pytest.mark.parametrize("request_s3", REQUESTS)
@pytest.mark.parametrize("serve", [send_slow_headers, send_slow_body])
def test_a_slow_response_of_s3_raises_an_error_with_the_limit(
    serve: Serve, request_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (serve, request_s3) == (send_slow_body, "head"):
        pytest.skip("a response to HEAD has no body")
    set_aws_credentials(monkeypatch)
    with serving(serve) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        bucket = Bucket("bucket", "lake.uri", limits=LIMITS)
        with pytest.raises(RetryLaterError, match=r"limits\.max_seconds_per_request"):
            REQUESTS[request_s3](bucket)


def test_an_interrupted_run_does_not_wait_for_a_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with serving(send_slow_headers) as url:
        source = ApiSource(AwsAccess("eu-west-1", endpoint_url=url), limits=ReadLimits(seconds=600))
        interrupt = Timer(0.2, source.calls.stop)
        interrupt.start()
        with pytest.raises(RetryLaterError, match="the run was interrupted"):
            source.list_schedulers()
        interrupt.join()
        with pytest.raises(RetryLaterError, match="Cannot send a request: the run was interrupted"):
            source.list_schedulers()


@dataclass
class BrokenStream:
    """The body of a response whose connection breaks."""

    error: Exception

    def read1(self, _size: int) -> bytes:
        raise self.error

    def send(self, _request: object) -> SimpleNamespace:
        return SimpleNamespace(raw=self)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (urllib3.exceptions.ReadTimeoutError(None, "/", "no byte"), refusals.ReadTimeoutError),
        (urllib3.exceptions.ProtocolError("reset"), refusals.ConnectionClosedError),
        (urllib3.exceptions.DecodeError("gzip"), refusals.HTTPClientError),
        (ConnectionResetError("reset"), refusals.HTTPClientError),
    ],
)
def test_a_broken_connection_raises_the_error_that_botocore_retries(
    error: Exception, kind: type[Exception]
) -> None:
    request = SimpleNamespace(url="http://127.0.0.1:9/", stream_output=False)
    with pytest.raises(kind):
        LimitedSession(BrokenStream(error), LIMITS).send(request)
