"""Fixtures with an S3 over HTTPS and with new boto3 sessions."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resources.aws.session import default_session
from tests.support.s3_server import Server


def _build_certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
) -> bytes:
    """Return a certificate of 127.0.0.1, signed by the authority, or of the authority itself."""
    issuer, own = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("an authority", subject)
    )
    now = datetime.now(UTC)
    builder = (
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
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def private_ca_s3(
    s3: Server,  # noqa: ARG001 (its environment)
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Server, Path]]:
    """An S3 over HTTPS with the certificate of a private authority, and its CA file."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    bundle, chain = tmp_path / "authority.pem", tmp_path / "server.pem"
    bundle.write_bytes(_build_certificate("an authority", authority, authority))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain.write_bytes(key.private_bytes(*pem) + _build_certificate("a plant's S3", key, authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = Server(context)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    yield server, bundle
    server.stop()


@pytest.fixture
def new_session() -> Iterator[None]:
    """A new boto3 session, for tests that change the credentials."""
    default_session.cache_clear()
    yield
    default_session.cache_clear()
