"""`/v1/stream`: one WebSocket, one call. The protocol is `app.wire.native`'s, the connection `Connection`'s."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.datastructures import Headers
from starlette.websockets import WebSocket

from app.api.auth import KeyRing, same_origin
from app.api.connection import Connection, Manner
from app.api.deps import get_services
from app.api.transport import WebSocketTransport
from app.wire.base import CloseCode, Start, WireError, WireEvent
from app.wire.carrier import CarrierProtocol, Payload
from app.wire.native import NativeProtocol
from app.wire.replies import encode_error

router = APIRouter()


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """The native protocol, `docs/protocol.md`."""
    services = get_services(websocket)
    limits = services.settings.stream
    await websocket.accept()
    connection = Connection(
        WebSocketTransport(websocket),
        NativeWire(limits.max_message_bytes),
        services,
        Manner(start_timeout_s=limits.start_timeout_s),
    )
    await connection.serve(lambda: check_client(websocket.headers, services.keys))


class NativeWire(CarrierProtocol):
    """The native protocol among those of the carriers: everything is told, errors too."""

    def __init__(self, max_message_bytes: int) -> None:
        self._protocol = NativeProtocol(max_message_bytes)
        self._call_id: str | None = None

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one text message."""
        events = self._protocol.receive_text(text)
        for event in events:
            if isinstance(event, Start):
                self._call_id = event.call.call_id
        return events

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Read one binary message."""
        return self._protocol.receive_bytes(payload)

    def result(self, message: str) -> list[Payload]:
        """The message itself."""
        return [message]

    def farewell(self, error: WireError | None, draining: bool) -> list[Payload]:
        """The error, if there was one."""
        return [] if error is None else [encode_error(error, self._call_id)]


def check_client(headers: Headers, keys: KeyRing) -> None:
    """Admit a client of the native protocol.

    Raises:
        WireError: a page of another site, or no valid key.
    """
    if not same_origin(headers):
        raise WireError(
            "foreign_origin",
            "Pages of other sites may not connect",
            "expected no Origin, or this service's own",
            CloseCode.POLICY,
        )
    if not keys.admits(headers):
        raise WireError(
            "unauthorized",
            "A valid API key is needed",
            "expected 'Authorization: Bearer <key>' or 'X-API-Key: <key>' with a key of this site",
            CloseCode.POLICY,
        )
