"""The proxy that boto3 uses for an endpoint: HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

from resources.errors import ConfigurationError

_HOST = re.compile(r"[^\s%]+")


def find_proxy(endpoint: str) -> str | None:
    """Return the URL of the proxy for the URL of an endpoint; None: there is none."""
    proxies: dict[str, str] = get_environ_proxies(endpoint)
    proxy = proxies.get(urlsplit(endpoint).scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def check_proxy(client: Any) -> None:  # noqa: ANN401 (boto3 has no types)
    """Check the proxy of a client before its first request, which botocore would repeat for a minute.

    Raises:
        ConfigurationError: the URL of the proxy is not valid.
    """
    endpoint = client.meta.endpoint_url
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


def _is_valid(proxy: str) -> bool:
    try:
        url = urlsplit(proxy)
        return url.scheme in {"http", "https"} and bool(_HOST.fullmatch(url.hostname or "")) and url.port != 0
    except ValueError:  # the port is not a number, or an IPv6 address has no end
        return False
