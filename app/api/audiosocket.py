"""The listener of Asterisk's AudioSocket: plain TCP, so address and registered UUIDs decide what may come in."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.access.principal import Principal, Scope
from app.api.auth import looks_after_all
from app.api.bodies import strict_body
from app.api.connection import Connection
from app.api.deps import Services, ServicesDep, requires
from app.api.doors import Door
from app.api.errors import ProblemError
from app.api.expected import ExpectedCalls, Registration, RegistrationsFullError
from app.api.ingest import manner, note_call
from app.api.manner import always
from app.api.protocol import Problem
from app.api.queries import known_query
from app.api.transport import TcpTransport
from app.domain import CallStart
from app.settings import AudioSocketSettings, SettingsError
from app.telemetry.logs import get_logger
from app.wire.base import CloseCode, WireError
from app.wire.carrier import UpgradeRequest

NAME = "audiosocket"

Ingester = Annotated[Principal, Depends(requires(Scope.INGEST))]

router = APIRouter(prefix="/v1/ingest/audiosocket", tags=["carriers"], dependencies=[Depends(known_query)])


@router.put(
    "/{uuid}",
    summary="Announce an AudioSocket call",
    status_code=204,
    response_class=Response,
    responses={status: {"model": Problem} for status in (401, 403, 415, 422, 503)},
)
async def register(
    uuid: UUID,
    services: ServicesDep,
    principal: Ingester,
    registration: Annotated[Registration, Depends(strict_body(Registration))],
) -> None:
    """Says what the call with this UUID is, before Asterisk connects; it is waited for ten minutes by default."""
    if principal.tenant != services.settings.carriers.audiosocket.tenant and not looks_after_all(principal):
        detail = "the AudioSocket calls of this site are another tenant's"
        raise ProblemError(403, "foreign_tenant", "The tenant is another one", detail)
    try:
        services.expected_calls.register(uuid, registration)
    except RegistrationsFullError:
        raise ProblemError(
            503, "too_many_registrations", "Too many calls are waited for", "try again in a while"
        ) from None


def prepare(
    start: CallStart, expected: ExpectedCalls, settings: AudioSocketSettings, registered_only: bool
) -> CallStart:
    """The start of a call with what was registered of it.

    Raises:
        WireError: only registered calls are taken, and this is none.
    """
    known = expected.take(start.call_id)
    if known is None:
        if registered_only:
            raise WireError(
                "not_registered",
                "The call was not announced",
                "expected a UUID that was registered before",
                CloseCode.POLICY,
            )
        return start
    return replace(
        start,
        call_id=known.call_id or start.call_id,
        format=replace(start.format, channels=(known.leg,)),
        line=known.line or start.line,
        language=known.language,
        consent=start.consent or known.consent,
        notice_given=start.notice_given or known.notice_given,
        metadata={**known.metadata, **start.metadata},
    )


@contextlib.asynccontextmanager
async def listening(services: Services) -> AsyncIterator[None]:
    """Listens while the context is open, where `listen` is set.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    settings = services.settings.carriers.audiosocket
    if settings.listen is None:
        yield
        return
    host, _, port = settings.listen.rpartition(":")
    listener = Listener(services, settings)
    try:
        server = await asyncio.start_server(listener.serve, host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise SettingsError(f"KOWAIRO_CARRIERS__AUDIOSOCKET__LISTEN: cannot listen: {error}") from None
    get_logger(__name__).info("audiosocket_listens", port=server.sockets[0].getsockname()[1])
    try:
        yield
    finally:
        server.close()


class Listener:
    """Takes connections."""

    def __init__(self, services: Services, settings: AudioSocketSettings) -> None:
        self._services = services
        self._settings = settings
        self._door: Door = services.doors[NAME]
        only = settings.registered_only
        self._registered_only = services.settings.mode == "production" if only is None else only
        self._log = get_logger(__name__).bind(carrier=NAME)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        peer = writer.get_extra_info("peername")
        host = peer[0] if peer else ""
        try:
            if not self._allowed(host):
                self._services.metrics.ingest_refused.labels(NAME, "foreign_address").inc()
                self._log.warning("carrier_refused", code="foreign_address")
                return
            carrier = self._door.carrier
            protocol = carrier.new_protocol(self._door.config, UpgradeRequest(path="", peer=host))
            way = replace(manner(carrier), prepare=self._prepare)
            connection = Connection(TcpTransport(reader, writer), protocol, self._services, way)
            note_call(self._services, NAME, await connection.serve(always(self._settings.tenant)))
        finally:
            writer.close()

    def _prepare(self, start: CallStart) -> CallStart:
        return prepare(start, self._services.expected_calls, self._settings, self._registered_only)

    def _allowed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._settings.allow)
