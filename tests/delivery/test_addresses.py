"""Addresses that nobody may make the service connect to."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.addresses import literal_address, may_connect

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:8.8.8.8",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "2606:4700::1%1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e"]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_a_public_hosts_is_refused(address: str) -> None:
    """Private, special, and all that carries an IPv4 address inside."""
    assert not may_connect(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_hosts_are_let_through(address: str) -> None:
    """Both families."""
    assert may_connect(ip_address(address))


def test_a_site_allows_networks_of_its_own() -> None:
    """Only these, and only in the form in which they are written."""
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))
    assert may_connect(ip_address("10.1.2.3"), allowed)
    assert may_connect(ip_address("fd12::5"), allowed)
    assert not may_connect(ip_address("10.2.0.1"), allowed)
    assert not may_connect(ip_address("::ffff:10.1.2.3"), allowed)
    assert not may_connect(ip_address("fd12::5%1"), allowed)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_gets_through_inside_another(address: object) -> None:
    """Mapped, translated, tunnelled: none of these forms is let through, whatever is inside."""
    number = int(address)  # type: ignore[call-overload]
    high, low = number >> 16, number & 0xFFFF
    for text in (
        f"::ffff:{address}",
        f"::{address}",
        f"64:ff9b::{address}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::",
        f"2a00::5efe:{address}",
    ):
        assert not may_connect(ip_address(text))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1"])
def test_addresses_are_told_from_names(host: str) -> None:
    """Written as such."""
    assert str(literal_address(host)) == host
    assert literal_address("hooks.example.com") is None
    assert literal_address("0xcafe.example") is None


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.4.5",
        "256.1.1.1",
        "a.0x",
        "7.",
    ],
)
def test_numbers_that_are_read_differently_are_refused(host: str) -> None:
    """Decimal, hexadecimal, octal and short forms."""
    with pytest.raises(ValueError, match="does not appear to be"):
        literal_address(host)
