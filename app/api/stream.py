"""`/v1/stream`: one WebSocket, one call. The protocol is `app.wire.native`'s, the connection `Connection`'s."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.websockets import WebSocket

from app.access.credentials import chosen_subprotocol
from app.access.principal import Scope
from app.api.auth import AccessError, access_wire_error
from app.api.connection import Connection
from app.api.deps import get_services
from app.api.manner import Manner
from app.api.transport import WebSocketTransport
from app.wire.base import Start, WireError, WireEvent
from app.wire.carrier import CarrierProtocol, Payload
from app.wire.native import NativeProtocol
from app.wire.replies import encode_error

router = APIRouter()


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """The native protocol, `docs/protocol.md`."""
    services = get_services(websocket)
    limits = services.settings.stream
    await websocket.accept(subprotocol=chosen_subprotocol(websocket.scope.get("subprotocols") or ()))
    connection = Connection(
        WebSocketTransport(websocket),
        NativeWire(limits.max_message_bytes),
        services,
        Manner(start_timeout_s=limits.start_timeout_s, resumable=True),
    )

    async def admit() -> str:
        try:
            admission = await services.access.admit_socket(websocket, Scope.INGEST)
        except AccessError as error:
            raise access_wire_error(error) from None
        return admission.principal.tenant

    await connection.serve(admit)


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
