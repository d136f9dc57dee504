"""Which addresses the service may be made to connect to by somebody else's wish (SSRF)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from app.delivery.config import IPNetwork

IPAddress: TypeAlias = IPv4Address | IPv6Address

# From IANA's registries of special-purpose addresses. Written down, because what the standard library calls global
# differs between releases of Python.
_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; connecting to it reaches this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform address, which looks public
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, benchmarking, ORCHID and other assignments of the IETF
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
_ISATAP = frozenset((0x0000_5EFE, 0x0200_5EFE))


def may_connect(address: IPAddress, allowed: Iterable[IPNetwork] = ()) -> bool:
    """Whether an address is a public host's, or lies in a network that the site allows.

    Refused are private, loopback, link-local, multicast, reserved and documentation addresses, and every form of IPv6
    that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo, ISATAP): what it leads to is not what it
    says. A network is allowed only in the form in which the address is written.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if any(address in network for network in allowed if network.version == address.version):
        return True
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _REFUSED_V4)
    return (
        address in _UNICAST_V6
        and address.is_global
        and not any(address in network for network in _REFUSED_V6)
        and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
    )


def literal_address(host: str) -> IPAddress | None:
    """A host as the address it is written as; None for a name.

    Raises:
        ValueError: it ends in a number without being four decimal ones, so that libraries disagree on what it means
            (`0x7f.1`, `2130706433`, `0177.0.0.1`).
    """
    last = host.rstrip(".").rsplit(".", 1)[-1].lower()
    if ":" in host or last.isdigit() or (last.startswith("0x") and _is_hex(last[2:])):
        return ip_address(host)
    return None


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)
