"""What a site may set about deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeAlias

IPNetwork: TypeAlias = IPv4Network | IPv6Network

_MINUTE_S = 60.0
_HOUR_S = 3_600.0
RETRY_S = (
    5.0,
    5 * _MINUTE_S,
    30 * _MINUTE_S,
    2 * _HOUR_S,
    5 * _HOUR_S,
    10 * _HOUR_S,
    14 * _HOUR_S,
    20 * _HOUR_S,
    24 * _HOUR_S,
)
"""The schedule that Standard Webhooks recommends: what is waited at most after each try that failed."""


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """How webhooks are delivered.

    allow_http: also without TLS (private deployments). allowed_networks: private networks that targets may lie in.
    allowed_ports: of targets; empty allows every port. ca_file: certificates trusted beside the public ones.
    timeout_s: of one attempt, from the name's lookup to the answer. retry_s: what is waited at most after each failed
    try; after the last of them a delivery is given up. max_parallel: attempts at a time, max_per_endpoint: of these
    at one endpoint. poll_s: how often the queue is looked at. cache_s: how long endpoints and rules are remembered.
    dead_letter_ttl_s: how long what was given up is kept. rotation_overlap_s: how long a replaced secret still signs.
    drain_s: how long attempts under way may take at a shutdown.
    """

    allow_http: bool = False
    allowed_networks: tuple[IPNetwork, ...] = ()
    allowed_ports: tuple[int, ...] = (443, 8443)
    ca_file: Path | None = None
    timeout_s: float = 15.0
    retry_s: tuple[float, ...] = RETRY_S
    max_parallel: int = 32
    max_per_endpoint: int = 4
    poll_s: float = 1.0
    cache_s: float = 5.0
    dead_letter_ttl_s: float = 14 * 24 * _HOUR_S
    rotation_overlap_s: float = 24 * _HOUR_S
    drain_s: float = 5.0
