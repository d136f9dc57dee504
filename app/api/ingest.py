"""`/v1/ingest/<carrier>`: where telephone systems bring their calls; who may not come in is never accepted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.websockets import WebSocket

from app.access.refusal import Reason, Refusal
from app.api.auth import AccessError, access_problem, same_origin
from app.api.connection import Connection
from app.api.deps import Services, get_services
from app.api.doors import Door
from app.api.endings import Ending
from app.api.errors import ProblemError, draining
from app.api.manner import Manner, always
from app.api.transport import WebSocketTransport
from app.telemetry.logs import get_logger
from app.wire.carrier import Carrier, RefusedError, UpgradeRequest

TICK_S = 1.0
"""How often a protocol is told the time while nothing comes."""

IDS = 99
"""Ids tried where a carrier's call id is taken: streams of one call follow each other."""

TCP_ONLY = frozenset({"audiosocket"})

NO_GUESSES = frozenset({"unknown_carrier", "foreign_origin", "carrier_not_configured"})
"""Refusals that say nothing of credentials."""

router = APIRouter()


@router.websocket("/v1/ingest/{carrier}")
async def ingest(websocket: WebSocket, carrier: str) -> None:
    """A carrier's stream, `docs/carriers/`."""
    await _serve(websocket, carrier, None)


@router.websocket("/v1/ingest/{carrier}/{secret}")
async def ingest_with_secret(websocket: WebSocket, carrier: str, secret: str) -> None:
    """The same at an address that strangers do not know."""
    await _serve(websocket, carrier, secret)


async def _serve(websocket: WebSocket, name: str, path_secret: str | None) -> None:
    services = get_services(websocket)
    log = get_logger(__name__).bind(carrier=name if name in services.doors else "(unknown)")
    request = upgrade_request(websocket, path_secret)
    if services.registry.draining:
        await websocket.send_denial_response(draining().response())
        return
    try:
        door = _admitted(services, name, request, websocket)
    except RefusedError as error:
        problem = _refusal(services, websocket, error)
        services.metrics.ingest_refused.labels(name if name in services.doors else "", problem.code).inc()
        log.warning("carrier_refused", code=problem.code)
        await websocket.send_denial_response(problem.response())
        return
    if not door.config.has_credentials:
        log.warning("carrier_without_credentials", hint="anyone on this machine may bring calls; set secrets")
    offered = websocket.scope.get("subprotocols") or ()
    chosen = next((one for one in offered if one in door.carrier.subprotocols), None)
    await websocket.accept(subprotocol=chosen)
    protocol = door.carrier.new_protocol(door.config, request)
    connection = Connection(WebSocketTransport(websocket), protocol, services, manner(door.carrier))
    tenant = services.settings.carriers.named(name).tenant
    note_call(services, name, await connection.serve(always(tenant)))


def _admitted(services: Services, name: str, request: UpgradeRequest, websocket: WebSocket) -> Door:
    door = services.doors.get(name)
    if door is None or name in TCP_ONLY:
        raise RefusedError(404, "unknown_carrier", "expected one of the carriers in docs/carriers")
    if not same_origin(websocket.headers):
        raise RefusedError(403, "foreign_origin", "pages of other sites may not connect")
    door.check(request, services.clock.now())
    return door


def _refusal(services: Services, websocket: WebSocket, error: RefusedError) -> ProblemError:
    """What is answered; an address that sends wrong credentials again and again is put off."""
    blocked_s = 0.0 if error.code in NO_GUESSES else services.access.wrong_credentials(websocket)
    if blocked_s > 0:
        return access_problem(AccessError(Refusal(Reason.TOO_MANY_FAILURES, blocked_s)))
    title = "No such carrier" if error.status == 404 else "The carrier may not connect"
    return ProblemError(error.status, error.code, title, error.detail)


def manner(carrier: Carrier) -> Manner:
    """How a carrier's connections are treated."""
    return Manner(carrier.start_timeout_s, carrier.idle_timeout_s, TICK_S, IDS)


def note_call(services: Services, carrier: str, ending: Ending) -> None:
    """Counts a connection that ended."""
    services.metrics.carrier_connections.labels(carrier, ending.outcome).inc()


def upgrade_request(websocket: WebSocket, path_secret: str | None) -> UpgradeRequest:
    """The request as carriers sign it: raw path and query, all headers."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in websocket.scope["headers"]:
        header, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        headers[header] = f"{headers[header]}, {value}" if header in headers else value
    scope = websocket.scope
    return UpgradeRequest(
        path=scope.get("raw_path", scope["path"].encode()).decode("latin-1"),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        path_secret=path_secret,
        peer=None if websocket.client is None else websocket.client.host,
    )
