"""What becomes of an event at the process that works the call: one piece of queued work for each endpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.delivery.hooks import HookBook, WebhookEndpoint
from app.delivery.sender import Message
from app.records import rfc3339
from app.results.writes import Enqueue
from app.telemetry.clock import Clock
from app.telemetry.tracing import Tracer

QUEUE = "webhook"
CALL_ERASED = "call_erased"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a call. unique: tells it from the call's other events; at: epoch seconds."""

    type: str
    call_id: str
    line: str
    team: str | None
    body: Mapping[str, Any]
    unique: str
    at: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way to one endpoint: what a queued job holds. tries: made so far."""

    endpoint: str
    message: Message
    tries: int = 0

    def payload(self) -> dict[str, Any]:
        """As the queue holds it."""
        message = self.message
        return {
            "endpoint": self.endpoint,
            "tries": self.tries,
            "id": message.id,
            "type": message.type,
            "timestamp": message.timestamp,
            "data": message.data,
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Delivery:
        """The way back from `payload`."""
        message = Message(payload["id"], payload["type"], payload["timestamp"], payload["data"])
        return cls(payload["endpoint"], message, payload["tries"])


class Dispatcher:
    """Turns events into work for the queue `webhook`; what traced the event goes with it, as `trace`."""

    def __init__(self, hooks: HookBook, clock: Clock, tracer: Tracer) -> None:
        self._hooks = hooks
        self._clock = clock
        self._tracer = tracer

    async def writes_for(self, tenant: str, event: Event) -> list[Enqueue]:
        """One piece of work for every endpoint that wants the event; the same however often it is asked. Never raises.

        Where the store never said which endpoints there are (it has been away since this process began), the event
        itself becomes the work, and the endpoints are chosen when it is due.
        """
        endpoints = await self._hooks.known(tenant)
        if endpoints is None:
            return [self._enqueue(tenant, event, "?", {"event": _event_payload(event)})]
        return self.for_endpoints(tenant, event, endpoints)

    def for_endpoints(self, tenant: str, event: Event, endpoints: Iterable[WebhookEndpoint]) -> list[Enqueue]:
        """One piece of work for every one of these endpoints that wants the event."""
        return [
            self._enqueue(tenant, event, endpoint.id, _delivery(event, endpoint.id).payload())
            for endpoint in endpoints
            if endpoint.enabled
            and endpoint.filter.matches(event.type, event.body, line=event.line, team=event.team)
        ]

    def _enqueue(self, tenant: str, event: Event, endpoint: str, payload: Mapping[str, Any]) -> Enqueue:
        trace = self._tracer.inject()
        return Enqueue(
            tenant=tenant,
            queue=QUEUE,
            key=_key(event, endpoint),
            payload={**payload, "trace": trace} if trace else payload,
            due_at=self._clock.now(),
            # The news of an erasure must survive the erasure; it holds nothing but the call's id.
            call_id=None if event.type == CALL_ERASED else event.call_id,
        )


def event_of(payload: Mapping[str, Any]) -> Event:
    """The event that a job holds whose endpoints are still to be chosen."""
    return Event(**payload["event"])


def message_id(key: str) -> str:
    """The idempotency key that receivers get, from the key of the work.

    A digest: the scheme wants no full stop in it, and it is not to tell the call.
    """
    return f"msg_{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _key(event: Event, endpoint: str) -> str:
    return f"{endpoint}:{event.call_id}:{event.unique}"


def _delivery(event: Event, endpoint: str) -> Delivery:
    identity = message_id(_key(event, endpoint))
    return Delivery(endpoint, Message(identity, event.type, rfc3339(event.at), event.body))


def _event_payload(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "call_id": event.call_id,
        "line": event.line,
        "team": event.team,
        "body": event.body,
        "unique": event.unique,
        "at": event.at,
    }
