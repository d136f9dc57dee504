"""The HTTP side of webhooks and alerts: a service whose deliveries may go to receivers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from app.delivery.desk import DeliveryDesk, Stores
from app.delivery.dispatch import QUEUE
from app.domain import DEFAULT_TENANT
from app.main import create_app
from app.settings import Settings
from tests.delivery.parts import HOST, Names, local_config
from tests.support.clock import FakeClock
from tests.support.service import Api, service_parts


class DeliveringApi(Api):
    """Requests, and deliveries when they are asked for."""

    desk: DeliveryDesk

    clock: FakeClock

    def deliver(self) -> None:
        """Tries what is queued for the tenant without a name until nothing is left."""

        async def look() -> None:
            while await self.services.queue.depth(DEFAULT_TENANT, QUEUE):
                await self.desk.worker.look()
                await self.desk.worker.settle()
                self.clock.advance(1.0)

        asyncio.run(look())


@contextmanager
def delivering_api(settings: Settings, **config: Any) -> Iterator[DeliveringApi]:
    """A service on a clock that is moved by hand."""
    names = Names({HOST: (("127.0.0.1",),), "inside.example": (("10.0.0.1",),)})
    clock = FakeClock()
    with service_parts(settings, clock) as parts:
        desk = DeliveryDesk(
            Stores(parts.store, parts.documents, parts.queue),
            local_config(**config),
            clock,
            parts.metrics,
            resolver=names,
        )
        services = replace(parts, delivery=desk)
        running = DeliveringApi(create_app(settings, services), services)
        running.desk, running.clock = desk, clock
        yield running
