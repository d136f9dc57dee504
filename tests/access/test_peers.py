"""Where a client comes from: nobody can choose it by what they write into a header."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.peers import client_address, peer_key

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7,,", "198.51.100.7"),
        ("2001:db8:ffff::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        (None, "198.51.100.7", None),
        ("testclient", "198.51.100.7", "testclient"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: str, address: str | None) -> None:
    """The last address that is not a proxy's; left of it anybody may have written."""
    assert client_address(peer, forwarded, PROXIES) == address


@given(st.text())
def test_without_trusted_proxies_the_header_counts_for_nothing(forwarded: str) -> None:
    """Whatever it says."""
    assert client_address("192.0.2.1", forwarded, []) == "192.0.2.1"


@given(st.text())
def test_what_the_client_writes_does_not_count(forwarded: str) -> None:
    """A proxy appends the address that it sees; what was there before changes nothing."""
    assert client_address("10.0.0.1", f"{forwarded}, 198.51.100.7", PROXIES) == "198.51.100.7"


@given(st.text())
def test_any_text_is_an_address_or_is_not(text: str) -> None:
    """What is none is one bucket for all of them."""
    assert isinstance(peer_key(text), str)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2:3", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, ""),
        ("unix", ""),
    ],
)
def test_an_address_counts_as_what_one_client_may_have(address: str | None, key: str) -> None:
    """An IPv4 address, or a /64."""
    assert peer_key(address) == key
