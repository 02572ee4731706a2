"""An S3 for the tests: moto in this process, behind a door that counts, locks and misbehaves when told to."""

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from resources.aws.session import default_session

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "eu-west-1"}
NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Mischief:
    """What the next requests of one method get instead of their answer, or after it was done.

    `about`: only those whose path has this in it.
    """

    method: str
    status: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    done_all_the_same: bool = False
    about: str = ""


class Server:
    """moto's S3. It tests a condition and writes in two steps, so requests go in one by one."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.mischief: list[Mischief] = []
        self.most_at_once = 0
        self._at_once, self._counting = 0, threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            self._server = make_server(
                "127.0.0.1",
                0,
                self._answer,
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
        return sum(asked.method == method for asked in self.asked)

    def refuse(self, method: str, status: str, code: str = "", **more: Any) -> None:
        body = f"<Error><Code>{code}</Code><Message>said {code}</Message></Error>".encode() if code else b""
        self.mischief.append(Mischief(method, status, body, **more))

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with self._counting:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._answer_in_turn(environ, start_response)
        finally:
            with self._counting:
                self._at_once -= 1

    def _answer_in_turn(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        with self._lock:
            self.asked.append(Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], headers))
            trick = self._trick(self.asked[-1])
            if trick is None:
                return list(self._moto(environ, start_response))
            trick.times -= 1
            if not trick.times:
                self.mischief.remove(trick)
            if trick.done_all_the_same:
                list(self._moto(environ, lambda *_: None))
        start_response(trick.status, list({"Content-Length": str(len(trick.body)), **trick.headers}.items()))
        return [trick.body]

    def _trick(self, asked: Asked) -> Mischief | None:
        fitting = (one for one in self.mischief if one.method == asked.method and one.about in asked.path)
        return next(fitting, None)


class _Quiet(MotoRequestHandler):
    disable_nagle_algorithm = True

    def log(self, *_: object) -> None:
        """A line for each request is too much."""


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own for one test, and what a test does with it beside the lake."""

    name: str
    server: Server
    client: Any

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes = b"x") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    server = Server()
    default_session.cache_clear()  # a new one is slow to open, so one serves all tests
    yield server
    default_session.cache_clear()
    server.stop()


def _certificate(subject: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate of 127.0.0.1, signed by the authority, or of the authority itself."""
    issuer, own = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("an authority", subject)
    )
    now = datetime.now(UTC)
    building = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=key is by, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    )
    return building.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def of_a_plant(
    s3: Server,  # noqa: ARG001 (its environment)
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Server, Path]]:
    """The same S3 by HTTPS, with a certificate of an authority that nobody knows, and the authority's own."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    bundle, chain = tmp_path / "authority.pem", tmp_path / "server.pem"
    bundle.write_bytes(_certificate("an authority", authority, authority))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain.write_bytes(key.private_bytes(*pem) + _certificate("a plant's S3", key, authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = Server(context)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    yield server, bundle
    server.stop()


@pytest.fixture
def new_session() -> Iterator[None]:
    """For tests that change the credentials."""
    default_session.cache_clear()
    yield
    default_session.cache_clear()


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, with the environment of someone who uses it and has no other AWS account."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.url)
    s3_server.mischief.clear()
    s3_server.asked.clear()
    return s3_server


@pytest.fixture(scope="session")
def _client(s3_server: Server) -> Any:
    return boto3.Session().client(
        "s3",
        endpoint_url=s3_server.url,
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )


@pytest.fixture
def bucket(s3: Server, _client: Any) -> Bucket:
    name = f"bucket-{next(NUMBERS)}"
    _client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.asked.clear()
    return Bucket(name, s3, _client)
