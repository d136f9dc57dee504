"""A service with keys that holds one of everything, so that every route has something to find."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from app.api.deps import Services
from app.delivery.desk import DeliveryDesk, Stores
from app.delivery.dispatch import Delivery
from app.delivery.letters import DeadLetter, Failure, LetterState, letter_id
from app.delivery.sender import Message
from app.domain import AbstainReason, Leg
from app.main import create_app
from app.records import rfc3339
from app.results.store import CallNotFoundError
from app.results.writes import AddFeedEntry
from tests.delivery.parts import HOST, Names, local_config
from tests.support.held import STARTED_AT, carry_out, put_call
from tests.support.records import make_record
from tests.support.service import Api, make_settings, service_parts
from tests.support.tenants import Tenant, make_tenants

CALL_ID = "a1"
UTTERANCE_ID = "a1.customer.0000"
LINE = "sales"


@dataclass(frozen=True, slots=True)
class Seeded:
    """A service and what it holds. web: speaks for its one tenant, with every scope; known: ids by parameter."""

    app: FastAPI
    web: Api
    tenant: Tenant
    known: dict[str, str]

    @property
    def services(self) -> Services:
        """The service's parts."""
        return self.web.services

    def seed(self) -> None:
        """Puts one of everything into it; what is there already is left as it is."""
        asyncio.run(hold_call(self.services, self.tenant.name))
        asyncio.run(hold_alert(self.services, self.tenant.name))
        key = f"{self.tenant.name}/{LINE}"
        book = self.services.engine.parts.profiles
        book.update(key, np.full(book.dim, 0.5))
        self.known.update({"call_id": CALL_ID, "utterance_id": UTTERANCE_ID, "line": LINE})
        feedback = {"label": "angry", "labeller": "rater-7"}
        self._post(f"/v1/utterances/{UTTERANCE_ID}/feedback", feedback)
        self._need("endpoint_id", "/v1/webhook-endpoints", {"url": f"https://{HOST}/hooks"})
        self.web.request(
            "PATCH", f"/v1/webhook-endpoints/{self.known['endpoint_id']}", json={"enabled": True}
        )
        self._need("rule_id", "/v1/alert-rules", {"kind": "valence", "below": -0.5})
        self._need("key_id", "/v1/keys", {"name": "crm", "scopes": ["read:scores"]})
        self._need("erasure_id", "/v1/erasures", {"subject": "nobody"})
        if not self._holds("letter_id", "/v1/dead-letters"):
            work = hold_letter(self.services, self.tenant.name, self.known["endpoint_id"])
            self.known["letter_id"] = asyncio.run(work)

    def _holds(self, name: str, path: str) -> bool:
        return name in self.known and self.web.get(f"{path}/{self.known[name]}").is_success

    def _need(self, name: str, path: str, body: Mapping[str, Any]) -> None:
        if not self._holds(name, path):
            made = self._post(path, body)
            self.known[name] = made["key_id" if name == "key_id" else "id"]

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.web.request("POST", path, json=body)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made


@contextmanager
def seeded(bundle: Path, folder: Path) -> Iterator[Seeded]:
    """A service that holds one of everything."""
    tenants = make_tenants(folder, ["alpha"])
    (tenant,) = tenants.all
    carriers = {"audiosocket": {"tenant": tenant.name}}
    settings = make_settings(bundle, **tenants.groups, carriers=carriers)
    with service_parts(settings) as parts:
        services = undelivering(parts)
        app = create_app(settings, services)
        web = Api(app, services, headers=tenant.headers())
        held = Seeded(app, web, tenant, {})
        held.seed()
        yield held


def undelivering(parts: Services) -> Services:
    """Parts whose webhooks go nowhere: the only name that is known is this machine's, where nobody listens."""
    desk = DeliveryDesk(
        Stores(parts.store, parts.documents, parts.queue),
        local_config(),
        parts.clock,
        parts.metrics,
        resolver=Names({HOST: (("127.0.0.1",),)}),
    )
    return replace(parts, delivery=desk)


async def hold_call(services: Services, tenant: str, call_id: str = CALL_ID) -> None:
    """An ended call of both sides: scored, abstained on, and not speech."""
    with contextlib.suppress(CallNotFoundError):
        await services.store.get_call(tenant, call_id)
        return
    records = [
        make_record(call_id, 0),
        make_record(call_id, 1, reason=AbstainReason.UNCERTAIN),
        make_record(call_id, 2, leg=Leg.AGENT, reason=AbstainReason.POLICY),
        replace(
            make_record(call_id, 3, reason=AbstainReason.NOT_SPEECH),
            not_speech_kind="tone",
            not_speech_name="busy",
        ),
    ]
    await put_call(
        services.store,
        call_id,
        [replace(record, seq=number) for number, record in enumerate(records, 1)],
        tenant=tenant,
        line=LINE,
        team="north",
        language="fr",
        subject="crm:8f2c",
        legs=(Leg.CUSTOMER, Leg.AGENT),
        metadata={"ticket": "77"},
        started_at=services.clock.now() - 600,
    )


async def hold_alert(services: Services, tenant: str) -> None:
    """An alert in the feed."""
    key = f"ar_0123456789abcdef01234567:{CALL_ID}:1"
    body = {
        "id": key,
        "rule_id": "ar_0123456789abcdef01234567",
        "rule_name": "",
        "kind": "valence",
        "emotion": None,
        "bound": -0.5,
        "for_s": 0.0,
        "call_id": CALL_ID,
        "leg": "customer",
        "line": LINE,
        "team": "north",
        "seq": 1,
        "utterance_id": UTTERANCE_ID,
        "at": rfc3339(STARTED_AT),
        "value": -0.6,
        "started_s": 0.0,
        "ended_s": 1.5,
        "speech_s": 1.5,
        "utterances": 1,
        "abstained": 0,
    }
    await carry_out(services.store, AddFeedEntry(tenant, "alert", CALL_ID, key, body, "test"))


async def hold_letter(services: Services, tenant: str, endpoint: str) -> str:
    """A dead letter; its id."""
    message = Message("msg_" + "0" * 32, "call_ended", rfc3339(STARTED_AT), {"call_id": CALL_ID})
    delivery = Delivery(endpoint, message, tries=10)
    letter = DeadLetter(
        id=letter_id(delivery),
        state=LetterState.DEAD,
        delivery=delivery,
        call_id=CALL_ID,
        failure=Failure("rejected", 500, "HTTP 500"),
        failed_at=STARTED_AT,
        redrives=0,
        version=0,
    )
    await services.delivery.letters._put(tenant, letter)
    return letter.id
