"""What routes are given: the service's parts, and the check of the key."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from app.api.auth import API_KEY_HEADER, KeyRing
from app.api.doors import Door
from app.api.errors import ProblemError
from app.api.expected import ExpectedCalls
from app.api.registry import CallRegistry
from app.api.uploads import UploadDesk
from app.engine import Engine
from app.results.publish import Publisher
from app.results.store import ResultStore
from app.settings import Settings
from app.telemetry.clock import Clock
from app.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running service; made by `app.main`, found on the application's state.

    pool: threads in which live calls are worked on. uploads: the place of uploaded recordings, apart from it.
    doors: the carriers as configured. expected_calls: announced AudioSocket calls.
    """

    settings: Settings
    clock: Clock
    metrics: Metrics
    keys: KeyRing
    store: ResultStore
    publisher: Publisher
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


ServicesDep = Annotated[Services, Depends(get_services)]

_bearer = HTTPBearer(auto_error=False, description="An API key of the site, when keys are configured.")
_header = APIKeyHeader(
    name=API_KEY_HEADER, auto_error=False, description="The same key in a header of its own."
)


def require_key(
    connection: HTTPConnection,
    services: ServicesDep,
    _bearer_key: Annotated[object, Security(_bearer)] = None,
    _header_key: Annotated[object, Security(_header)] = None,
) -> None:
    """Admits a request when no keys are configured or it presents one of them.

    Raises:
        ProblemError: 401.
    """
    if not services.keys.admits(connection.headers):
        raise unauthorized()


def unauthorized() -> ProblemError:
    """The refusal of a missing or wrong key."""
    return ProblemError(
        401,
        "unauthorized",
        "A valid API key is needed",
        "expected 'Authorization: Bearer <key>' or 'X-API-Key: <key>' with a key of this site",
        {"WWW-Authenticate": "Bearer"},
    )
