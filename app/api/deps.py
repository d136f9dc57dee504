"""What routes are given: the service's parts, and the check of the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from app.access.credentials import API_KEY_HEADER
from app.access.principal import Principal, Scope
from app.api.auth import Access, AccessError, access_problem
from app.api.doors import Door
from app.api.expected import ExpectedCalls
from app.api.registry import CallRegistry
from app.api.uploads import UploadDesk
from app.delivery.desk import DeliveryDesk
from app.engine import Engine
from app.lines import ProfileKeeper
from app.privacy.desk import Privacy
from app.results.documents import DocumentStore, Journal, WorkQueue
from app.results.hub import Hub
from app.results.opening import Stores
from app.results.publish import Publisher
from app.results.store import ResultStore
from app.settings import Settings
from app.telemetry.clock import Clock
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import Tracer


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running service; made by `app.main`, found on the application's state.

    tracer, trace_salt: spans, and what makes calls opaque in them. owner: this process, as a random text. store,
    documents, queue, journal: what is kept; stores: all of it, and how it stands. privacy: erasure, retention, the
    audit log. delivery: webhooks and alerts. lines: profiles that all processes share. hub: brings viewers the
    tenants' feeds. pool: threads in which live calls are worked on. uploads: the place of uploaded recordings, apart
    from it. doors: the carriers as configured. expected_calls: announced AudioSocket calls.
    """

    settings: Settings
    clock: Clock
    metrics: Metrics
    tracer: Tracer
    trace_salt: bytes
    owner: str
    access: Access
    store: ResultStore
    documents: DocumentStore
    queue: WorkQueue
    journal: Journal
    stores: Stores
    privacy: Privacy
    delivery: DeliveryDesk
    lines: ProfileKeeper
    publisher: Publisher
    hub: Hub
    registry: CallRegistry
    engine: Engine
    pool: Executor
    uploads: UploadDesk
    doors: Mapping[str, Door]
    expected_calls: ExpectedCalls


def get_services(connection: HTTPConnection) -> Services:
    """The running service's parts."""
    services: Services = connection.app.state.services
    return services


async def services_of(connection: HTTPConnection) -> Services:
    """The same as a dependency; as a coroutine, since plain functions cost a hop to another thread."""
    return get_services(connection)


ServicesDep = Annotated[Services, Depends(services_of)]

_bearer = HTTPBearer(
    auto_error=False,
    description="An API key, or a signed token (JWT) of the site's issuer, where credentials are needed.",
)
_header = APIKeyHeader(
    name=API_KEY_HEADER, auto_error=False, description="An API key in a header of its own."
)


async def authenticate(
    connection: HTTPConnection,
    services: ServicesDep,
    _bearer_key: Annotated[object, Security(_bearer)] = None,
    _header_key: Annotated[object, Security(_header)] = None,
) -> Principal:
    """Who asks; counted against their limit of requests, once for each.

    Raises:
        ProblemError: 400, 401, 403, 429 or 503: they are not let in (`app.api.auth`).
    """
    try:
        admission = await services.access.admit(connection)
    except AccessError as error:
        raise access_problem(error) from None
    connection.state.admission = admission
    return admission.principal


PrincipalDep = Annotated[Principal, Depends(authenticate)]


def requires(scope: Scope) -> Callable[[Principal, Services], Awaitable[Principal]]:
    """A dependency: the principal, if it has the scope; else 403."""

    async def check(principal: PrincipalDep, services: ServicesDep) -> Principal:
        try:
            services.access.check_scope(principal, scope)
        except AccessError as error:
            raise access_problem(error) from None
        return principal

    return check
