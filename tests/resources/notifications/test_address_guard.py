"""The guard against connections to addresses that are not public."""

import socket
import threading
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.notifications.address_guard import AddressRefusedError, guard_addresses, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 (an address to refuse)
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "localhost",
        "/run/some.sock",
    ],
)
def test_any_other_address_is_refused(address: str) -> None:
    assert not is_public(address)


NETWORKS = ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]


@given(st.sampled_from(NETWORKS).flatmap(lambda network: st.ip_addresses(network=network)))
def test_no_form_of_a_private_address_is_allowed(address: IPv4Address | IPv6Address) -> None:
    forms = [str(address), address.exploded]
    if isinstance(address, IPv4Address):
        forms += [f"::ffff:{address}", str(IPv6Address(f"64:ff9b::{address}"))]
    assert not any(map(is_public, forms))


def test_a_connection_is_refused_only_inside_of_the_guard_and_in_its_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def connect() -> None:
            socket.create_connection(address, timeout=5).close()

        with guard_addresses(allow_private=False) as refused:
            with pytest.raises(AddressRefusedError):
                connect()
            other = threading.Thread(target=connect)
            other.start()
            other.join()
        assert refused == ["127.0.0.1"]
        connect()
        with guard_addresses(allow_private=True) as refused:
            connect()
        assert refused == []


def test_a_datagram_and_a_local_socket_are_refused() -> None:
    with guard_addresses(allow_private=False) as refused:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, pytest.raises(AddressRefusedError):
            udp.sendto(b"x", ("127.0.0.1", 514))
        with socket.socket(socket.AF_UNIX) as local, pytest.raises(AddressRefusedError):
            local.connect("/nonexistent.sock")
    assert refused == ["127.0.0.1", "/nonexistent.sock"]
