"""A typed client of the service, blocking or not, with live events that resume by themselves (docs/client.md)."""

from app.client.errors import ApiError, ClosedError, KowairoError, UnreachableError
from app.client.events import (
    AlertEvent,
    CallEvent,
    Event,
    GapEvent,
    LaggedEvent,
    ResetEvent,
    ResumedEvent,
    UtteranceEvent,
)
from app.client.http import AsyncClient, Client
from app.client.wire import Retry

__all__ = [
    "AlertEvent",
    "ApiError",
    "AsyncClient",
    "CallEvent",
    "Client",
    "ClosedError",
    "Event",
    "GapEvent",
    "KowairoError",
    "LaggedEvent",
    "ResetEvent",
    "ResumedEvent",
    "Retry",
    "UnreachableError",
    "UtteranceEvent",
]
