"""An S3 server for tests: moto in this process, with recorded requests and injected faults."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

_ACCOUNT = "123456789012"
"""The account of moto for all credentials."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
}

ENDPOINT_VARIABLE = "LEDGER_S3_ENDPOINT"
EXTERNAL_ENDPOINT = os.environ.get(ENDPOINT_VARIABLE)
"""The URL of a real S3 server with these credentials, for the buckets of tests; None: they are in moto."""

NEEDS_MOTO = f"needs the faults or the records of moto, and {ENDPOINT_VARIABLE} names another server"


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """A response that replaces those of the next requests of one method.

    Attributes:
        method: the HTTP method.
        status: the status line.
        body: the body.
        headers: further headers.
        times: the number of requests; -1: all.
        after_execution: execute the request before this response.
        path_part: affect only requests whose path contains this.
    """

    method: str
    status: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after_execution: bool = False
    path_part: str = ""


class Server:
    """The S3 of moto. It checks a condition and writes in two steps, so requests are executed one by one."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[ReceivedRequest] = []
        self.faults: list[Fault] = []
        self.ignored_headers: set[str] = set()
        self.max_concurrency = 0
        self._active, self._counter_lock = 0, threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            self._server = make_server(
                "127.0.0.1",
                0,
                self._respond,
                threaded=True,
                request_handler=_Quiet,
                fd=listening.fileno(),
                ssl_context=context,
            )
            scheme = "https" if context else "http"
            self.url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    def fail_next(self, method: str, status: str, code: str = "", **more: Any) -> None:
        body = (
            f"<Error><Code>{code}</Code><Message>details of {code}</Message></Error>".encode()
            if code
            else b""
        )
        self.faults.append(Fault(method, status, body, **more))

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with self._counter_lock:
            self._active += 1
            self.max_concurrency = max(self.max_concurrency, self._active)
        try:
            return self._respond_in_turn(environ, start_response)
        finally:
            with self._counter_lock:
                self._active -= 1

    def _respond_in_turn(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        with self._lock:
            for name in self.ignored_headers:
                environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
            self.requests.append(ReceivedRequest(environ["REQUEST_METHOD"], environ["PATH_INFO"], headers))
            fault = self._find_fault(self.requests[-1])
            if fault is None:
                return list(self._moto(environ, start_response))
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
            if fault.after_execution:
                list(self._moto(environ, lambda *_: None))
        start_response(fault.status, list({"Content-Length": str(len(fault.body)), **fault.headers}.items()))
        return [fault.body]

    def _find_fault(self, request: ReceivedRequest) -> Fault | None:
        matches = (
            fault
            for fault in self.faults
            if fault.method == request.method and fault.path_part in request.path
        )
        return next(matches, None)


class _Quiet(MotoRequestHandler):
    disable_nagle_algorithm = True

    def log(self, *_: object) -> None:
        """Logs nothing."""


@dataclass(frozen=True)
class Bucket:
    """A new bucket for one test, with direct access to its objects."""

    name: str
    moto: Server
    client: Any

    @property
    def server(self) -> Server:
        """The server, with its records and faults; a real server has neither, so the test is skipped."""
        if EXTERNAL_ENDPOINT:
            pytest.skip(NEEDS_MOTO)
        return self.moto

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes = b"x") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def add(self, *keys: str) -> None:
        """Add small objects without requests, which is faster."""
        self.fill(dict.fromkeys(keys, b"x"))

    def fill(self, contents: Mapping[str, bytes]) -> None:
        """Add objects by key without requests."""
        if EXTERNAL_ENDPOINT:
            for key, data in contents.items():
                self.put(key, data)
            return
        backend = s3_backends[_ACCOUNT]["aws"]
        for key, data in contents.items():
            backend.put_object(self.name, key, data)

    def copy(self, prefix: str, target: str) -> None:
        """Copy all objects of a prefix to another one, on the server."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for key in [entry["Key"] for page in pages for entry in page.get("Contents", ())]:
            copied = {"Bucket": self.name, "Key": target + key.removeprefix(prefix)}
            self.client.copy_object(CopySource={"Bucket": self.name, "Key": key}, **copied)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data


def set_aws_credentials(environment: pytest.MonkeyPatch) -> None:
    """Set the test credentials and remove all other AWS settings of this machine."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        environment.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        environment.setenv(name, "/dev/null")
    for name, value in CREDENTIALS.items():
        environment.setenv(name, value)
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
