"""A fleet of three days, the sandbox that serves it, and stock boto3 clients."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox

END = datetime(2026, 10, 8, tzinfo=UTC)
FLEET = build_fleet(1, History(END - timedelta(days=3), END))

Client = Any  # boto3 is untyped
MakeClient = Callable[..., Client]


@pytest.fixture(scope="session")
def plants() -> Fleet:
    return FLEET


@pytest.fixture(scope="session")
def end() -> datetime:
    return END


@pytest.fixture(scope="session")
def serving_once() -> Iterator[Handle]:
    """With the clock at the end, when some executions are in progress."""
    with run_sandbox(FLEET, END, s3=False) as handle:
        yield handle


@pytest.fixture
def handle(serving_once: Handle) -> Handle:
    serving_once.reset()
    return serving_once


def create_client(
    url: str,
    region: str = "us-east-1",
    key: str = "111122223333",
    attempts: int = 1,
    service: str = "lookoutequipment",
    **more: Any,
) -> Client:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="sandbox",  # noqa: S106 (not a secret)
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"}, max_pool_connections=1, **more
        ),
    )


@pytest.fixture
def make_client(handle: Handle) -> Iterator[MakeClient]:
    clients = []

    def make(*place: str, url: str = handle.url, **more: Any) -> Client:
        clients.append(create_client(url, *place, **more))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def default_client(serving_once: Handle) -> Iterator[Client]:
    """One for most tests: creating a client takes longer than they do."""
    client = create_client(serving_once.url)
    yield client
    client.close()


@pytest.fixture
def client(handle: Handle, default_client: Client) -> Client:  # noqa: ARG001 (resets the service)
    return default_client
