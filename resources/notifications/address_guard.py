"""Refuses connections to addresses that are not public, such as metadata services and a plant network.

The check uses the audit events of Python's sockets. It therefore sees the address of each connection, also
after a redirect. A name whose address changes between a check and its use cannot pass.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_NAT64 = IPv6Network("64:ff9b::/96")
_state = threading.local()
_install_lock = threading.Lock()
_installed: list[bool] = []


class AddressRefusedError(PermissionError):
    """A connection was refused before any byte was sent."""


@contextmanager
def guard_addresses(*, allow_private: bool) -> Iterator[list[str]]:
    """Let this thread connect only to public addresses, or to all; yield the list of refused addresses.

    A refused connection raises `AddressRefusedError`, which libraries may translate or swallow.
    """
    if allow_private:
        yield []
        return
    with _install_lock:
        if not _installed:
            sys.addaudithook(_check_event)  # it cannot be removed, and is inactive outside of this block
            _installed.append(True)
    refused: list[str] = []
    _state.refused = refused
    try:
        yield refused
    finally:
        _state.refused = None


def is_public(host: str) -> bool:
    """Whether this is an IP address that is neither private, link-local, loopback, multicast nor reserved."""
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = IPv4Address(address.packed[-4:])
        if embedded is not None:
            return is_public(str(embedded))
    return address.is_global and not address.is_multicast


def _check_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    refused: list[str] | None = getattr(_state, "refused", None)
    if refused is None:
        return
    address = arguments[1]
    if address is None:  # sendmsg on a connected socket
        return
    host = str(address[0]) if isinstance(address, tuple) else str(address)  # a path is a local socket
    if not is_public(host):
        refused.append(host)
        raise AddressRefusedError(f"{host} is not a public address")
