"""Every client of S3 honors the environment as boto3 does: proxies, addressing style and exceptions."""

import os
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

import boto3
import obstore
import pytest

from resources.aws.clients import create_client, find_proxy
from resources.aws.obstore_client import open_store
from resources.aws.session import AwsAccess, default_session
from resources.errors import ConfigurationError, RetryLaterError
from resources.lake.lake import Lake
from resources.results.fetcher import ObjectState, ResultFetcher, ResultRequest
from resources.sources.api import ApiSource
from tests.support.proxy import Proxy
from tests.support.readings import READINGS
from tests.support.s3_server import Bucket, Server

HOST = "s3.plant.invalid"
DAY = date(2026, 3, 1)


@pytest.fixture
def proxy(s3: Server) -> Iterator[Proxy]:
    started = Proxy(s3.url, HOST)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def _new_session(new_session: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 (its effect)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def use_all_clients(bucket: Bucket) -> None:
    lake = Lake(f"{bucket.uri}/lake")
    lake.update(READINGS, DAY, lambda existing: existing)  # boto3
    assert lake.days(READINGS) == [DAY]
    assert lake.scan(READINGS).num_rows == 0  # pyarrow
    bucket.put("results.jsonl", b"{}")
    ((result,),) = ResultFetcher(AwsAccess()).fetch([ResultRequest(bucket.name, "results.jsonl")])
    assert (result.state, result.data) == (ObjectState.READ, b"{}"), result.error  # obstore


@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
def test_all_clients_use_the_proxy_and_the_addressing_style(
    bucket: Bucket, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    (tmp_path / "config").write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{HOST}")
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    default_session.cache_clear()

    use_all_clients(bucket)

    assert set(proxy.hosts) == {f"{bucket.name}.{HOST}" if style == "virtual" else HOST}
    assert len(proxy.hosts) >= 5


def test_a_proxy_that_cannot_be_reached_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{HOST}")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with pytest.raises(RetryLaterError, match=r"proxy .*127\.0\.0\.1:1") as caught:
        Lake(f"{bucket.uri}/lake").read(READINGS, DAY)
    assert "NO_PROXY" in caught.value.next_step

    source = ApiSource(AwsAccess(region="eu-west-1", endpoint_url=f"http://{HOST}"))
    source.fails_fast = True
    with pytest.raises(RetryLaterError, match=r"proxy .*127\.0\.0\.1:1") as caught:
        source.list_schedulers()
    assert "NO_PROXY" in caught.value.next_step


def test_no_client_uses_a_proxy_for_an_excepted_host(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost,127.0.0.1")

    use_all_clients(bucket)


def test_all_clients_ignore_the_endpoint_of_the_environment_if_boto3_does(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    store = open_store(bucket.name, default_session(), bucket.client)

    assert obstore.list(store).collect() == []


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": ".amazonaws.com"}, None),
    ],
)
def test_the_proxy_of_an_endpoint(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert find_proxy("https://s3.eu-west-1.amazonaws.com") == expected


@pytest.mark.parametrize(
    "value",
    [
        "http://a:Zq7b/c@proxy:3128",
        "http://proxy:port",
        "http://[::1",
        "socks5://proxy:1",
        "http://",
        "a b:80",
    ],
)
def test_an_invalid_proxy_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    create = partial(create_client, boto3.Session("a", "b"), "s3", endpoint_url="http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    create()

    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(ConfigurationError, match="Cannot use the proxy of HTTP_PROXY: ") as caught:
        create()
    assert "Zq7" not in str(caught.value) and "port" not in str(caught.value)


def test_an_invalid_proxy_is_named_without_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """boto3 requests them from the metadata service; this proxy cannot be used for it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:port")
    with pytest.raises(ConfigurationError, match="Cannot use the proxy of HTTP_PROXY: "):
        create_client(boto3.Session(), "s3", endpoint_url="https://127.0.0.1:1")


@pytest.mark.parametrize(
    "endpoint", ["file:///etc/passwd", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_an_invalid_endpoint_is_named(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for options in ({"endpoint_url": endpoint}, {}):
        with pytest.raises(ConfigurationError, match="Cannot open a client of s3: ") as caught:
            create_client(boto3.Session("a", "b"), "s3", **options)
        assert "AWS_ENDPOINT_URL_S3" in str(caught.value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
