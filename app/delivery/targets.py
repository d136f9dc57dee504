"""Where webhooks may go: the rules for their URLs, and connections to checked addresses only (SSRF).

The name is looked up, every address checked and the connection made to one of these, in one step: between the check
and the use nothing can be looked up again (DNS rebinding). TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

import httpcore
import httpx

from app.delivery.addresses import literal_address, may_connect
from app.delivery.config import DeliveryConfig

MAX_URL_CHARS = 2_048
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]+")
_LOOKUP_THREADS = 32
_ADDRESSES_TRIED = 4
_MAX_PORT = 65_535
_PORTS = {"http": 80, "https": 443}


class TargetRefusedError(Exception):
    """A URL or an address that deliveries may not go to; the message says why and quotes nothing."""


class TargetUnknownError(Exception):
    """A host whose name has no address."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed the rules, in the parts that the connection is made from."""

    scheme: str
    host: str
    port: int
    path: bytes

    @property
    def url(self) -> httpcore.URL:
        """For the HTTP client; never parsed again."""
        return httpcore.URL(
            scheme=self.scheme.encode(), host=self.host.encode(), port=self.port, target=self.path
        )

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Resolver(Protocol):
    """Looks up names."""

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a host, the preferred first.

        Raises:
            TargetUnknownError: there is none.
        """
        ...


class SystemResolver:
    """The machine's own resolver. One name takes one thread at most, however often it is asked for at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, "resolver")
        self._asked: dict[tuple[str, int], Future[tuple[str, ...]]] = {}

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a host; see `Resolver`."""
        lookup = self._asked.get((host, port))
        if lookup is None:
            lookup = self._threads.submit(_look_up, host, port)
            self._asked[host, port] = lookup
            lookup.add_done_callback(lambda _: self._asked.pop((host, port), None))
        try:
            # Shielded: who gives up must not take the lookup from the others who wait for it.
            return await asyncio.shield(asyncio.wrap_future(lookup))
        except (OSError, UnicodeError):
            raise TargetUnknownError("the host's name has no address") from None

    def close(self) -> None:
        """Lets go of the threads; lookups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class TargetGuard:
    """The site's rules for targets."""

    def __init__(self, config: DeliveryConfig, resolver: Resolver) -> None:
        self._config = config
        self._resolver = resolver

    def parse(self, url: str) -> Target:
        """A URL in its parts.

        Raises:
            TargetRefusedError: not a URL, another scheme, credentials or a fragment inside, a port that is not
                allowed, or an address that is not public.
        """
        if len(url) > MAX_URL_CHARS:
            raise TargetRefusedError(f"expected at most {MAX_URL_CHARS} characters")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise TargetRefusedError("expected a URL") from None
        schemes = ("https", "http") if self._config.allow_http else ("https",)
        if parsed.scheme not in schemes:
            raise TargetRefusedError(f"expected a URL that begins with {' or '.join(schemes)}")
        if parsed.userinfo:
            raise TargetRefusedError("expected no user or password in the URL: deliveries are signed")
        if parsed.fragment:
            raise TargetRefusedError("expected no fragment in the URL")
        host = parsed.raw_host.decode("ascii")
        if not _HOST.fullmatch(host):
            raise TargetRefusedError("expected a host in the URL")
        port = _PORTS[parsed.scheme] if parsed.port is None else parsed.port
        if not 1 <= port <= _MAX_PORT:
            raise TargetRefusedError(f"expected a port from 1 to {_MAX_PORT}")
        if self._config.allowed_ports and port not in self._config.allowed_ports:
            ports = ", ".join(str(number) for number in self._config.allowed_ports)
            raise TargetRefusedError(f"expected one of the ports {ports}")
        self._check_literal(host)
        return Target(parsed.scheme, host, port, parsed.raw_path)

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a host, every one of them checked.

        Raises:
            TargetRefusedError: one of them is not public, nor in an allowed network.
            TargetUnknownError: it has none.
        """
        self._check_literal(host)
        found = await self._resolver.resolve(host, port)
        if not found:
            raise TargetUnknownError("the host's name has no address")
        for text in found:
            self._check(text)
        return found

    def _check_literal(self, host: str) -> None:
        try:
            address = literal_address(host)
        except ValueError:
            raise TargetRefusedError(
                "expected a host's name, or an address as four decimal numbers or in brackets"
            ) from None
        if address is not None:
            self._check(str(address))

    def _check(self, text: str) -> None:
        if not may_connect(ip_address(text), self._config.allowed_networks):
            raise TargetRefusedError("expected a public address, and the host's is not")


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Makes connections to checked addresses, whatever name they were asked for."""

    def __init__(self, guard: TargetGuard) -> None:
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of the host that answers.

        Raises:
            TargetRefusedError: as `TargetGuard.addresses`; nothing was connected to.
            TargetUnknownError: as there.
            httpcore.ConnectError: none of the addresses answers.
        """
        addresses = (await self._guard.addresses(host, port))[:_ADDRESSES_TRIED]
        share = None if timeout is None else timeout / len(addresses)
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, share, local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Only called between retries of a connection, of which there are none here."""
        await asyncio.sleep(seconds)
