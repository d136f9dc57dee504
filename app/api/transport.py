"""How messages reach a peer: a WebSocket, or a TCP connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from app.wire.base import CloseCode
from app.wire.carrier import Payload

READ_BYTES = 64 * 1024


class PeerGoneError(Exception):
    """The connection is closed. code: of the WebSocket's close, 1000 where a TCP peer ended its side in order."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Transport(Protocol):
    """A connection to a peer."""

    async def receive(self) -> Payload:
        """The next message (on TCP: bytes, cut anywhere).

        Raises:
            PeerGoneError: there will be none.
        """
        ...

    async def send(self, payload: Payload) -> None:
        """Sends a message, waiting while the peer is slow.

        Raises:
            PeerGoneError: nobody is there.
        """
        ...

    async def close(self, code: CloseCode, reason: str) -> None:
        """Closes the connection.

        Raises:
            PeerGoneError: nobody is there.
        """
        ...


class WebSocketTransport:
    """An accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> Payload:
        """The next message; see `Transport.receive`."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise PeerGoneError(message.get("code") or 1006)
        text: str | None = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, payload: Payload) -> None:
        """Sends a message; see `Transport.send`."""
        try:
            if isinstance(payload, str):
                await self._websocket.send_text(payload)
            else:
                await self._websocket.send_bytes(payload)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise PeerGoneError(1006) from error

    async def close(self, code: CloseCode, reason: str) -> None:
        """Closes the connection; see `Transport.close`."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise PeerGoneError(1006) from error


class TcpTransport:
    """A TCP connection; codes and reasons have no place there."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> Payload:
        """Bytes as they come; see `Transport.receive`."""
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            raise PeerGoneError(1006) from error
        if not data:
            raise PeerGoneError(1000)
        return data

    async def send(self, payload: Payload) -> None:
        """Sends bytes; see `Transport.send`."""
        try:
            self._writer.write(payload.encode() if isinstance(payload, str) else payload)
            await self._writer.drain()
        except OSError as error:
            raise PeerGoneError(1006) from error

    async def close(self, code: CloseCode, reason: str) -> None:
        """Closes the connection; see `Transport.close`."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
