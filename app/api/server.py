"""uvicorn, with calls brought to an end before its sockets are, and sockets that nobody reads cut off."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.api.deps import Services
from app.api.edge import carrier_name
from app.api.live import ABORT
from app.settings import Settings
from app.wire.carriers import CARRIERS

MAX_SIZE_FACTOR = 4
"""Messages up to so many times the limit are read whole, so that the client is told what was wrong with them."""

CLOSING_S = 5
"""How long sockets may take to close once every call has ended."""

LINGER_S = 1.0
"""How long a peer that sent something impossible may take to read why."""


class AddressError(Exception):
    """The address to listen on cannot be used."""


class StreamProtocol(WebSocketsSansIOProtocol):
    """A WebSocket whose close reaches its peer, and which is cut off when the peer does not take it.

    After a message beyond `ws_max_size` uvicorn closes at once, and the reset that follows from what was not read
    can overtake the close frame. Here the rest is read and dropped until the peer has answered, for a while.
    """

    _refused = False

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._refused:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """The peer sent what cannot be read; the reason is in the close frame that is about to go out."""
        self._refused = True
        close = self.conn.close_sent
        code, reason = (1006, "") if close is None else (close.code, close.reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    async def send(self, message: ASGISendEvent) -> None:
        """Takes a message of the application. A refusal is an answer: uvicorn would log it as a missing one."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """Runs the application on this connection."""
        await super().run_asgi()
        self._cut_if_stuck()

    def start_keepalive(self) -> None:
        """The handshake is done: pings begin, but for peers that do not bear them."""
        carrier = CARRIERS.get(carrier_name(self.scope["path"]) or "")
        if carrier is None or carrier.pings:
            super().start_keepalive()

    def keepalive_timeout(self) -> None:
        """The peer did not answer a ping."""
        super().keepalive_timeout()
        self._cut_if_stuck()

    def _cut_if_stuck(self) -> None:
        if not self.writable.is_set():
            self.transport.abort()


class RequestProtocol(HttpToolsProtocol):
    """HTTP whose responses can be cut off: closing would wait for a peer that reads no more."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self._abort}}

    def _abort(self) -> None:
        self.transport.abort()


class KowairoServer(uvicorn.Server):
    """A server that drains: on SIGTERM or SIGINT live calls are finished, answered and closed with 1001.

    `announce` is given the address once connections are taken.
    """

    def __init__(
        self, config: uvicorn.Config, services: Services, sock: socket.socket, announce: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._services = services
        self._address = address_of(sock)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        if self.started:
            self._announce(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end; a second Ctrl-C does not wait. The signal is not raised again: this is a clean exit."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, then closes. Until then the port answers, and `/readyz` says that no calls are wanted."""
        self._services.publisher.close()
        limits = self._services.settings.stream
        draining = asyncio.create_task(
            self._services.registry.drain(limits.drain_timeout_s, limits.drain_grace_s)
        )
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        draining.cancel()
        await super().shutdown(sockets)


def make_server(
    app: ASGIApp, services: Services, sock: socket.socket, announce: Callable[[str], None]
) -> KowairoServer:
    """A server for the application on a bound socket."""
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=RequestProtocol,
        ws=StreamProtocol,
        ws_max_size=MAX_SIZE_FACTOR * services.settings.stream.max_message_bytes,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=CLOSING_S,
    )
    return KowairoServer(config, services, sock, announce)


def bind(settings: Settings) -> socket.socket:
    """A socket on the address of the settings.

    Raises:
        AddressError: the port is taken, or the address is not this machine's.
    """
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise AddressError(f"cannot listen on {host}: the name is not known") from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        # Two sockets may be bound to one port until one listens, so only this tells.
        sock.listen(1)
    except OSError as error:
        sock.close()
        raise AddressError(_why(host, port, error)) from None
    return sock


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port or KOWAIRO_PORT"
    if error.errno == errno.EACCES:
        return (
            f"port {port} may not be used by this account; choose one above 1023 with --port or KOWAIRO_PORT"
        )
    return f"cannot listen on {host} port {port}: {error.strerror}"


def address_of(sock: socket.socket) -> str:
    """Where a bound socket can be reached, as the beginning of a URL."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"http://{host}:{port}"
