"""What a call goes over: a WebSocket or a TCP connection, behind one face."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from app.emulators.base import Handshake, Message
from app.playing import ClientError

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 30.0
"""Long, since a service that has much to work on reads the farewell late, and would lose what comes before it."""
_READ_BYTES = 1 << 14
_NORMAL = (1000, 1005)  # with code 1000, or a close frame without a code


class LinkClosedError(Exception):
    """The connection is gone; `Link.farewell` says how."""


class Link(ABC):
    """One connection to the service."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Send one message, waiting while the service takes none.

        Raises:
            LinkClosedError: nobody is there any more.
        """

    @abstractmethod
    def messages(self) -> AsyncIterator[Message]:
        """What the service says until the connection ends; never raises."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection as the carrier ends it, waiting a while for the service to follow."""

    @abstractmethod
    async def cut(self) -> None:
        """End the connection without a farewell; what was sent before still arrives."""

    @abstractmethod
    def abort(self) -> None:
        """Let go of the connection at once."""

    @abstractmethod
    def farewell(self) -> tuple[bool, str]:
        """Once it has ended: whether the service ended it in peace, and how it did, for people."""


class SocketLink(Link):
    """A WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, message: Message) -> None:
        """Send one text or binary message."""
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            raise LinkClosedError from error

    async def messages(self) -> AsyncIterator[Message]:
        """Text and binary messages."""
        with contextlib.suppress(ConnectionClosed):
            async for message in self._socket:
                yield message

    async def close(self) -> None:
        """The closing handshake with code 1000."""
        await self._socket.close()

    async def cut(self) -> None:
        """No close frame: the stream just ends."""
        transport = self._socket.transport
        if transport.can_write_eof():
            transport.write_eof()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._socket.wait_closed()
        else:
            transport.close()  # TLS knows no half of a connection
        self.abort()

    def abort(self) -> None:
        """Drop the TCP connection."""
        self._socket.transport.abort()

    def farewell(self) -> tuple[bool, str]:
        """By the close code."""
        code, reason = self._socket.close_code, self._socket.close_reason
        said = "without a close frame" if code in (None, 1006) else f"with code {code}"
        return code in _NORMAL, said + (f" ({reason})" if reason else "")


class TcpLink(Link):
    """A TCP connection; the service's bytes come as they were cut on the way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = asyncio.Event()
        self._broken = False

    async def send(self, message: Message) -> None:
        """Write bytes."""
        if self._writer.is_closing():
            raise LinkClosedError
        try:
            self._writer.write(message if isinstance(message, bytes) else message.encode())
            await self._writer.drain()
        except OSError as error:
            raise LinkClosedError from error

    async def messages(self) -> AsyncIterator[Message]:
        """Whatever a read gives."""
        try:
            while data := await self._reader.read(_READ_BYTES):
                yield data
        except OSError:
            self._broken = True
        finally:
            self._ended.set()

    async def close(self) -> None:
        """End of stream, then the service's; someone must be reading `messages`."""
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._ended.wait()
        self.abort()

    async def cut(self) -> None:
        """The same: this wire knows no farewell."""
        await self.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()

    def farewell(self) -> tuple[bool, str]:
        """An end of stream is in peace, a reset is not."""
        return not self._broken, "with a reset" if self._broken else "by closing the connection"


async def open_socket(origin: str, handshake: Handshake) -> SocketLink:
    """Connect a WebSocket to `ws://host[:port]` or `wss://…`; the handshake knows the path.

    Raises:
        ClientError: nobody is there, or the request is refused.
    """
    try:
        socket = await connect(
            origin + handshake.target,
            additional_headers=dict(handshake.headers),
            subprotocols=[Subprotocol(name) for name in handshake.subprotocols] or None,
            compression=None,
            user_agent_header=None,
            ping_interval=None,  # no carrier of these pings
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=None,
        )
    except InvalidStatus as error:
        problem = _problem(bytes(error.response.body or b""))
        raise ClientError(f"{origin}: refused with HTTP {error.response.status_code}{problem}") from error
    except InvalidURI as error:  # its own words would show the path, and with it a secret
        raise ClientError(f"{origin}: expected ws://HOST[:PORT] or wss://HOST[:PORT]") from error
    except (InvalidHandshake, OSError, TimeoutError) as error:
        raise ClientError(f"{origin}: {_reason(error)}") from error
    return SocketLink(socket)


async def open_tcp(url: str) -> TcpLink:
    """Connect to `tcp://host:port`.

    Raises:
        ClientError: nobody is there, or the address is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ClientError(f"{url}: {error}") from error
    if parts.scheme != "tcp" or not host or port is None:
        raise ClientError(f"{url}: expected tcp://HOST:PORT")
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        raise ClientError(f"{url}: {_reason(error)}") from error
    return TcpLink(reader, writer)


def _problem(body: bytes) -> str:
    """What an answer's problem details say, with a colon before it; nothing where it holds none."""
    try:
        problem = orjson.loads(body)
        return f": {problem['code']}: {problem['detail']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
