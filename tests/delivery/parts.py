"""What tests of deliveries are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from random import Random
from typing import Any

from app.delivery.config import DeliveryConfig
from app.delivery.desk import DeliveryDesk, Stores
from app.delivery.targets import TargetUnknownError
from app.domain import AbstainReason, Leg, UtteranceRecord
from app.results.memory import MemoryStores
from app.results.store import CallInfo
from app.results.writes import CloseCall, OpenCall
from app.telemetry.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.records import make_record

TENANT = "acme"
HOST = "hooks.example"
LOOPBACK = IPv4Network("127.0.0.0/8")


class Names:
    """A resolver that knows some names; several answers to one name are given one after the other."""

    def __init__(self, known: Mapping[str, tuple[tuple[str, ...], ...]]) -> None:
        self._known = {name: list(answers) for name, answers in known.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a host."""
        self.asked.append(host)
        answers = self._known.get(host)
        if answers is None:
            raise TargetUnknownError("the host's name has no address")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def local_config(**changes: Any) -> DeliveryConfig:
    """Deliveries to receivers on loopback are allowed."""
    base = DeliveryConfig(allow_http=True, allowed_networks=(LOOPBACK,), allowed_ports=(), timeout_s=10.0)
    return replace(base, **changes)


class Place:
    """A desk with a store in memory, a clock that is moved by hand, and a call."""

    def __init__(
        self, stores: MemoryStores | None = None, clock: FakeClock | None = None, **config: Any
    ) -> None:
        self.clock = clock or FakeClock()
        self.stores = stores or MemoryStores(self.clock)
        self.metrics = Metrics()
        self.names = Names({HOST: (("127.0.0.1",),)})
        self.desk = DeliveryDesk(
            Stores(self.stores.results, self.stores.documents, self.stores.queue),
            local_config(**config),
            self.clock,
            self.metrics,
            owner="me",
            resolver=self.names,
            rng=Random(1),
        )

    async def open_call(
        self, call_id: str = "call-1", *, line: str = "sales", team: str | None = None
    ) -> CallInfo:
        """A live call."""
        call = CallInfo(
            call_id, line, (Leg.CUSTOMER,), self.clock.now(), tenant=TENANT, team=team, owner="me"
        )
        await self.stores.results.write([OpenCall(call, {"call_id": call_id})])
        return call

    async def end_call(self, call: CallInfo) -> None:
        """The end of a call."""
        now = self.clock.now()
        await self.stores.results.write(
            [CloseCall(TENANT, call.call_id, "completed", now, {}, {"call_id": call.call_id}, 86_400.0)]
        )

    async def record(self, call: CallInfo, record: UtteranceRecord) -> None:
        """What follows from a record is written."""
        await self.stores.results.write(await self.desk.follow_ups(TENANT, call, record))

    async def deliver(self) -> int:
        """Claims what is due and waits until it was tried."""
        claimed = 0
        while found := await self.desk.worker.look():
            await self.desk.worker.settle()
            claimed += found
        return claimed

    async def exhaust(self) -> None:
        """Delivers until nothing is left, a second after the other."""
        while await self.depth():
            await self.deliver()
            self.clock.advance(1.0)

    async def depth(self) -> int:
        """Jobs that wait."""
        return await self.stores.queue.depth(TENANT, "webhook")

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def said(seq: int, *, call_id: str = "call-1", score: float = 0.7, **changes: Any) -> UtteranceRecord:
    """The `seq`-th record of a call: an utterance of 5 s, a second after the one before."""
    leg: Leg = changes.pop("leg", Leg.CUSTOMER)
    reason: AbstainReason | None = changes.pop("reason", None)
    record = make_record(call_id, seq, leg=leg, reason=reason)
    scores = None if record.scores is None else {"anger": score, "neutral": 1.0 - score}
    start_s = 6.0 * seq
    base = replace(
        record, seq=seq, start_s=start_s, end_s=start_s + 5.0, scores=scores, created_at=1_700_000_000.0
    )
    return replace(base, **changes)
