"""Where a client comes from, for counting its mistakes; behind proxies that are trusted, and by network."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
MAX_HOPS = 32


def client_address(peer: str | None, forwarded_for: str, proxies: Sequence[Network]) -> str | None:
    """The address of the client: the last one in `X-Forwarded-For` that is not a trusted proxy's.

    What stands left of it is the client's own invention. Without trusted proxies, or from elsewhere, it is the peer.
    """
    if not _within(peer, proxies):
        return peer
    hops = [hop.strip() for hop in forwarded_for.split(",")][-MAX_HOPS:]
    return next((hop for hop in reversed(hops) if hop and not _within(hop, proxies)), peer)


def peer_key(peer: str | None) -> str:
    """What counts as one address: an IPv4 address, or the /64 that an IPv6 client may choose from."""
    address = _address(peer)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return "" if address is None else str(address)


def _within(peer: str | None, networks: Sequence[Network]) -> bool:
    address = _address(peer)
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address without its zone; IPv4 written as IPv6 is IPv4."""
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
