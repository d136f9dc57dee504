"""Two tenants in one service: one that has everything, all of it recognisable, and one that must see none of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from app.api.deps import Services
from app.api.recorder import secret_digest
from app.delivery.desk import DeliveryDesk, Stores
from app.delivery.dispatch import Delivery
from app.delivery.letters import DeadLetter, Failure, LetterState, letter_id
from app.delivery.sender import Message
from app.domain import Leg
from app.main import build_services, create_app
from app.records import rfc3339
from app.results.memory import MemoryStore
from app.results.writes import AddFeedEntry, CloseCall
from app.settings import Settings
from tests.delivery.parts import HOST, Names, local_config
from tests.support.held import STARTED_AT, carry_out, put_call
from tests.support.live import on_server
from tests.support.raw import RawClient
from tests.support.records import make_record
from tests.support.redis import RedisServer
from tests.support.service import ServerThread, make_settings
from tests.support.tenants import Tenant, Tenants, make_tenants

MARK = "zqwall"
"""In every text of the tenant behind the wall; nothing else has it."""

GHOST = "xkwall"
"""In the same place in texts that never were; as long as `MARK`."""

BEHIND, BEFORE = f"{MARK}.behind", "before"
"""The tenants."""

ENDED, BROKEN, LIVE, SHARED = f"{MARK}-ended", f"{MARK}-broken", f"{MARK}-live", "shared"
"""Calls of the tenant behind the wall; the other tenant has one of the same id as the last."""

LINE, TEAM, SUBJECT = f"{MARK}-line", f"{MARK}-team", f"{MARK} subject é"
SECRET = f"{MARK}-secret-of-the-broken-call"
LABEL = f"{MARK}-label"
_OTHER_DIGIT = str.maketrans("0123456789abcdef", "123456789abcdef0")
_OTHER_LETTER = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "bcdefghijklmnopqrstuvwxyz234567a")


@dataclass(slots=True)
class World:
    """A running service of two tenants. owned: by kind of parameter, ids and names of the one behind the wall."""

    server: ServerThread
    tenants: Tenants
    redis: RedisServer | None
    owned: dict[str, list[str]] = field(default_factory=dict)

    @property
    def services(self) -> Services:
        """The service's parts."""
        return self.server.services

    @property
    def app(self) -> FastAPI:
        """The application, for its routes; another object than the one that runs."""
        return create_app(self.services.settings, self.services)

    @property
    def behind(self) -> Tenant:
        """Who has everything."""
        return self.tenants.all[0]

    @property
    def before(self) -> Tenant:
        """Who stands before the wall."""
        return self.tenants.all[1]

    @contextmanager
    def client(self, tenant: Tenant) -> Iterator[RawClient]:
        """Sends requests of a tenant as they are written."""
        with RawClient(self.server.url, tenant.headers()) as client:
            yield client

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """What there is behind the wall by the name of a parameter, each with its like that never was."""
        return [(own, ghost_of(own)) for own in self.owned[name]]

    def state_behind(self) -> object:
        """Everything held of the tenant behind the wall, for comparison."""
        on_server(self.server, _settled(self.services))
        if self.redis is not None:
            return _redis_state(self.redis)
        return on_server(self.server, _memory_state(self.services))


def ghost_of(own: str) -> str:
    """A text like the one given that never was."""
    if MARK in own:
        return own.replace(MARK, GHOST)
    kind, _, rest = own.rpartition("_")
    return f"{kind}_{rest.translate(_OTHER_DIGIT)}" if kind or _is_hex(own) else own.translate(_OTHER_LETTER)


@contextmanager
def world(
    bundle: Path, folder: Path, redis: RedisServer | None = None, **groups: Any
) -> Iterator[World]:
    """A service of two tenants; the one before the wall has a little, the one behind it has nothing yet."""
    tenants = make_tenants(folder, [BEHIND, BEFORE])
    store: dict[str, Any] = {"spool_path": folder / "spool"}
    if redis is not None:
        store |= {"url": redis.url}
    defaults: dict[str, Any] = {"store": store, "labels": {"pattern": "[a-z-]{1,64}"}, **tenants.groups}
    settings = make_settings(bundle, **(defaults | groups))
    with ServerThread(settings, _local_deliveries(settings)) as server:
        made = World(server, tenants, redis)
        on_server(server, hold(made.services, BEFORE, SHARED, "plain", "plain", None))
        yield made


def fill(made: World) -> None:
    """Gives the tenant behind the wall one of everything, with `MARK` in each of its texts."""
    services = made.services
    on_server(made.server, _hold_calls(services))
    with made.client(made.behind) as client:
        utterance = f"{ENDED}.customer.0000"
        made.owned = {
            "call_id": [ENDED, BROKEN, LIVE],
            "utterance_id": [utterance, f"{BROKEN}.customer.0000"],
            "line": [LINE],
            "team": [TEAM],
            "outcome": [f"{MARK}-outcome"],
            "subject": [SUBJECT],
            "label": [LABEL],
            "labeller": [f"{MARK} rater"],
            "tenant": [BEHIND],
        }
        label = {"label": LABEL, "labeller": f"{MARK} rater", "note": f"{MARK} note"}
        client.made("POST", f"/v1/utterances/{utterance}/feedback", label)
        hook = {
            "url": f"https://{MARK}.example/{MARK}",
            "description": f"{MARK} hook",
            "filter": {"types": ["call_continued"], "lines": [LINE], "teams": [TEAM]},
        }
        endpoint = client.made("POST", "/v1/webhook-endpoints", hook)["id"]
        rule = {"kind": "valence", "below": -0.5, "line": LINE, "team": TEAM, "name": f"{MARK} rule"}
        rule_id = client.made("POST", "/v1/alert-rules", rule)["id"]
        key = client.made("POST", "/v1/keys", {"name": f"{MARK} key", "scopes": ["erase"]})
        erasure = client.made("POST", "/v1/erasures", {"subject": f"{MARK} nobody"})
        client.made("PUT", "/v1/retention", {"calls_s": 5_000, "lines": {LINE: {"calls_s": 4_000}}})
        pseudonym = client.made("POST", "/v1/audit/pseudonym", {"call_id": ENDED})
    letter = on_server(made.server, _hold_letter(services, endpoint))
    on_server(made.server, _hold_alert(services, rule_id))
    made.owned |= {
        "endpoint_id": [endpoint],
        "rule_id": [rule_id],
        "key_id": [key["key_id"]],
        "erasure_id": [erasure["id"]],
        "letter_id": [letter],
        "object": [pseudonym["object"], f"endpoint:{endpoint}"],
    }


async def hold(
    services: Services, tenant: str, call_id: str, line: str, text: str, subject: str | None, **more: Any
) -> None:
    """An ended call with two records, and what its line learned. text: in every text that says anything."""
    records = [replace(make_record(call_id, number), detail=text) for number in range(2)]
    fields: dict[str, Any] = {
        "tenant": tenant,
        "line": line,
        "team": f"{text}-team",
        "language": "fr",
        "subject": subject,
        "metadata": {f"{text}-name": f"{text} value"},
        "started_at": services.clock.now() - 600,
        "outcome": f"{text}-outcome",
    }
    await put_call(services.store, call_id, records, **(fields | more))
    book = services.engine.parts.profiles
    book.update(f"{tenant}/{line}", np.full(book.dim, 0.5))
    await services.lines.flush()


async def _hold_calls(services: Services) -> None:
    for call_id in (ENDED, SHARED):
        await hold(services, BEHIND, call_id, LINE, MARK, SUBJECT)
    resume = secret_digest(SECRET)
    await hold(services, BEHIND, BROKEN, LINE, MARK, SUBJECT, outcome=None, resume=resume)
    now = services.clock.now()
    close = CloseCall(BEHIND, BROKEN, "disconnected", now, None, {}, 3_600.0, now + 600, "test")
    await carry_out(services.store, close)


async def _hold_alert(services: Services, rule_id: str) -> None:
    body = {
        "id": f"{rule_id}:{ENDED}:1",
        "rule_id": rule_id,
        "rule_name": f"{MARK} rule",
        "kind": "valence",
        "emotion": None,
        "bound": -0.5,
        "for_s": 0.0,
        "call_id": ENDED,
        "leg": Leg.CUSTOMER.value,
        "line": LINE,
        "team": TEAM,
        "seq": 1,
        "utterance_id": f"{ENDED}.customer.0000",
        "at": rfc3339(STARTED_AT),
        "value": -0.6,
        "started_s": 0.0,
        "ended_s": 1.5,
        "speech_s": 1.5,
        "utterances": 1,
        "abstained": 0,
    }
    await carry_out(services.store, AddFeedEntry(BEHIND, "alert", ENDED, body["id"], body, "test"))


async def _hold_letter(services: Services, endpoint: str) -> str:
    message = Message("msg_" + "0" * 32, "call_ended", rfc3339(STARTED_AT), {"call_id": ENDED})
    delivery = Delivery(endpoint, message, tries=10)
    letter = DeadLetter(
        id=letter_id(delivery),
        state=LetterState.DEAD,
        delivery=delivery,
        call_id=ENDED,
        failure=Failure("rejected", 500, f"{MARK} says no"),
        failed_at=STARTED_AT,
        redrives=0,
        version=0,
    )
    await services.delivery.letters._put(BEHIND, letter)
    return letter.id


def _local_deliveries(settings: Settings) -> Services:
    """The parts, with webhooks that may go to receivers on this machine only."""
    parts = build_services(settings)
    desk = DeliveryDesk(
        Stores(parts.store, parts.documents, parts.queue),
        local_config(poll_s=0.05, cache_s=0.0),
        parts.clock,
        parts.metrics,
        owner=parts.owner,
        resolver=Names({HOST: (("127.0.0.1",),)}),
    )
    return replace(parts, delivery=desk)


async def _settled(services: Services) -> None:
    """Waits until what goes on in the background is written."""
    await services.lines.flush()
    await services.privacy.audit.flush()


async def _memory_state(services: Services) -> object:
    results = services.store
    assert isinstance(results, MemoryStore)
    documents = services.documents._kinds  # type: ignore[attr-defined]
    queues = services.queue._queues  # type: ignore[attr-defined]
    journals = services.journal._lists  # type: ignore[attr-defined]
    book = services.engine.parts.profiles
    site = documents.get(("_site", "api_key"), {}).items()
    return {
        "results": repr(results._tenants.get(BEHIND)),
        "documents": {kind: repr(held) for (tenant, kind), held in documents.items() if tenant == BEHIND and held},
        "keys": {key: repr(held) for key, held in site if held.document.value["tenant"] == BEHIND},
        "queues": {name: repr(waits) for (tenant, name), waits in queues.items() if tenant == BEHIND and waits},
        "journals": {name: repr(entries) for (tenant, name), entries in journals.items() if tenant == BEHIND},
        "lines": {key: book.get(key).to_json(None) for key in book.ids() if key.startswith(f"{BEHIND}/")},
    }


def _redis_state(redis: RedisServer) -> object:
    """Every key of the tenant, as Redis writes it to disk."""
    keys = [line for line in redis.command("KEYS", f"*{MARK}*").split(b"\r\n") if line.startswith(b"kowairo:")]
    return {key: redis.command("DUMP", key.decode()) for key in keys}


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)

