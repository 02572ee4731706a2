"""Creates clients of boto3; their endpoint and their proxy are checked before the first request."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as refusals
from botocore.utils import get_environ_proxies

from resources.errors import ConfigurationError

_IMDS = "http://169.254.169.254"
_HOST = re.compile(r"[^\s%]+")


def find_proxy(endpoint: str) -> str | None:
    """Return the URL of the proxy that boto3 uses for the URL of an endpoint; None: there is none.

    It comes from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
    """
    proxies: dict[str, str] = get_environ_proxies(endpoint)
    proxy = proxies.get(urlsplit(endpoint).scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def create_client(session: boto3.Session, service: str, **options: Any) -> Any:  # noqa: ANN401 (boto3 has no types)
    """Create a client of boto3.

    Raises:
        ConfigurationError: the URL of the endpoint or of its proxy is not valid.
        BotoCoreError: another value is not valid.
    """
    try:
        client = session.client(service, **options)
        _check_endpoint(client.meta.endpoint_url)
    except refusals.InvalidIMDSEndpointError:  # without credentials, boto3 requests them over HTTP
        _check_proxy(_IMDS)
        raise
    except ValueError as error:
        if isinstance(error, refusals.BotoCoreError):
            raise
        raise ConfigurationError(
            f"Cannot open a client of {service}: {error}",
            where="endpoint_url in ledger.toml, or an AWS variable of the environment, such as"
            f" AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_{service.upper()}",
            next_step="correct the value; an endpoint has http:// or https://, a host and a port",
        ) from None
    _check_proxy(client.meta.endpoint_url)
    return client


def _check_endpoint(url: str) -> None:
    if not _is_valid(url):
        raise ValueError(f"Invalid endpoint: {url}")


def _check_proxy(endpoint: str) -> None:
    """Check the proxy of an endpoint; botocore would repeat the first request for a minute."""
    proxy = find_proxy(endpoint)
    if proxy is None or _is_valid(proxy):
        return
    names = [f"{urlsplit(endpoint).scheme}_proxy", "all_proxy"]
    name = next(spelling for name in names for spelling in (name, name.upper()) if os.environ.get(spelling))
    raise ConfigurationError(  # without the value, which can have a password
        f"Cannot use the proxy of {name}: its value is not a URL such as http://proxy.example.com:3128",
        where=f"environment variable {name}",
        next_step="correct it, and encode special characters of user and password, such as / as %2F; or unset"
        " it, or add the host of the endpoint to NO_PROXY",
    )


def _is_valid(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(_HOST.fullmatch(url.hostname or "")) and url.port != 0
    except ValueError:  # the port is not a number, or an IPv6 address has no end
        return False
