"""What a carrier is to the rest of the service: who may connect, and one state machine per connection.

A carrier is one file in this package that defines a `Carrier`; `app.wire.carriers` lists them.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.domain import Leg
from app.wire.base import WireError, WireEvent

Payload = str | bytes
"""A message as the peer gets it: text or binary."""


@dataclass(frozen=True, slots=True)
class CarrierConfig:
    """What a site says of a carrier (`KOWAIRO_CARRIERS__<NAME>__…`).

    line: where its audio comes from, unless the call says it. inbound: who speaks on the carrier's inbound (or first)
    track; the other track is the other side. single: who is on a stream of one track that does not say it.
    secrets: name → secret, as each carrier's page says. path_secret: the last part of the path. message_secret:
    expected as `token` in the first message. public_origin: how the carrier reaches the service (`wss://host[:port]`),
    behind a proxy. options: the carrier's own.
    """

    line: str = "default"
    inbound: Leg = Leg.CUSTOMER
    single: Leg = Leg.CUSTOMER
    secrets: Mapping[str, str] = field(default_factory=dict)
    path_secret: str | None = None
    message_secret: str | None = None
    public_origin: str | None = None
    consent: bool = False
    notice_given: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_credentials(self) -> bool:
        """Whether anything is configured that a stranger does not know."""
        return bool(self.secrets or self.path_secret or self.message_secret)


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The HTTP request that opens a WebSocket.

    path: raw, as on the request line. query: raw, without `?`. headers: lower-case names, repeats joined by `, `.
    path_secret: what follows `/v1/ingest/<carrier>/`, None where nothing does. peer: the address that connected.
    """

    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    path_secret: str | None = None
    peer: str | None = None


class RefusedError(Exception):
    """The request may not come in. status: of the HTTP answer, 401 or 403. code, detail: as in `WireError`."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class Authenticator(ABC):
    """Checks requests as the vendor signs them; one for all connections, so it may remember what was used."""

    @abstractmethod
    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Admit a request. now_s: seconds since the epoch. Only called where `secrets` are configured.

        Raises:
            RefusedError: it carries no valid credentials.
        """


class CarrierProtocol(ABC):
    """One connection's side of a carrier's protocol: messages in, events (replies among them) out. No I/O.

    now_s: monotonic seconds of the message's arrival. Nothing but `WireError` is raised; after it, and after `Stop`
    was given, messages are no longer read.
    """

    peer_closes = False
    """The peer closes the connection once `farewell` was said; the service waits for it, for a while."""

    ends_by_closing = False
    """The peer ends a call by closing the connection in order, without a word."""

    def receive(self, message: Payload, now_s: float) -> list[WireEvent]:
        """Read one message, of either kind."""
        if isinstance(message, str):
            return self.receive_text(message, now_s)
        return self.receive_bytes(message, now_s)

    @abstractmethod
    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one text message."""

    @abstractmethod
    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Read one binary message (on TCP: the bytes that came, cut anywhere)."""

    def lost(self) -> list[WireEvent]:
        """The connection closed: what was held back comes out. Never raises; no `Stop` is needed."""
        return []

    def tick(self, now_s: float) -> list[WireEvent]:
        """Time passed (called about once a second): what must not wait for a message."""
        return []

    def result(self, message: str) -> list[Payload]:
        """What this wire says for a message of the native protocol (a JSON text); most may say nothing."""
        return []

    def paused(self, paused: bool) -> list[Payload]:
        """What to say when the service paused or resumed the call on its own account (REST, a key)."""
        return []

    def farewell(self, error: WireError | None, draining: bool) -> list[Payload]:
        """The last words: after `Stop` (no error), after an error, or when the service must end the call."""
        return []


@dataclass(frozen=True, slots=True)
class Carrier:
    """A carrier. name: as in paths, settings and metrics.

    subprotocols: WebSocket sub-protocols that are echoed where they are offered. start_timeout_s: longest wait for
    the event `Start`. idle_timeout_s: longest silence of the peer before the call is ended. pings: whether the peer
    bears WebSocket pings.
    """

    name: str
    new_protocol: Callable[[CarrierConfig, UpgradeRequest], CarrierProtocol]
    new_authenticator: Callable[[CarrierConfig], Authenticator]
    subprotocols: tuple[str, ...] = ()
    start_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    pings: bool = True


def same_secret(given: str, expected: str) -> bool:
    """Compare in constant time; any text may be given."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def check_options(options: Mapping[str, str], known: Mapping[str, frozenset[str] | None]) -> None:
    """Refuse options that a carrier does not have. known: name → its values, None where the carrier checks them.

    Raises:
        ValueError: an unknown option, or a value that is none of its values.
    """
    for name, value in options.items():
        if name not in known:
            raise ValueError(
                f"unknown option {name!r}, expected one of: {', '.join(sorted(known)) or 'none'}"
            )
        values = known[name]
        if values is not None and value not in values:
            raise ValueError(f"option {name!r}: expected one of {', '.join(sorted(values))}, got {value!r}")
