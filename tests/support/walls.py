"""Two tenants in one service: one that has everything, all of it recognisable, and one that must see none of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.access.principal import Scope
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
from tests.support.routes import RouteSpec, routes_of
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

LINE, TEAM = f"{MARK}-line", f"{MARK}-team"
"""Names that the other tenant may use, too."""

SECRET = f"{MARK}-secret-of-the-broken-call"
UUID = "6f1e0c1a-3d55-4d0e-9a55-0123456789ab"
"""Of an AudioSocket call that the tenant behind the wall has announced."""

_OTHER_DIGIT = str.maketrans("0123456789abcdef", "123456789abcdef0")
_OTHER_LETTER = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "bcdefghijklmnopqrstuvwxyz234567a")
_LAST_PART = re.compile(r"(.*[_:-])?(.*)", re.DOTALL)

Owned = dict[str, list[str]]
"""Ids and names of a tenant, by the name of the parameter that takes them."""


@dataclass(slots=True)
class World:
    """A running service of two tenants. owned: what each of them has. routes: of the service."""

    server: ServerThread
    tenants: Tenants
    redis: RedisServer | None
    owned: dict[str, Owned] = field(default_factory=dict)
    routes: list[RouteSpec] = field(default_factory=list)

    @property
    def services(self) -> Services:
        """The service's parts."""
        return self.server.services

    @property
    def behind(self) -> Tenant:
        """Who has everything."""
        return self.tenants.all[0]

    @property
    def before(self) -> Tenant:
        """Who stands before the wall."""
        return self.tenants.all[1]

    @contextmanager
    def client(self, tenant: Tenant, *scopes: Scope) -> Iterator[RawClient]:
        """Sends requests of a tenant as they are written."""
        with RawClient(self.server.url, tenant.headers(*scopes)) as client:
            yield client

    def needles(self) -> list[str]:
        """Texts that are in nothing but what belongs to the tenant behind the wall."""
        ids = [own for owned in self.owned[BEHIND].values() for own in owned]
        return [MARK, *(own for own in ids if MARK not in own)]

    def state_behind(self) -> object:
        """Everything held of the tenant behind the wall, for comparison."""
        on_server(self.server, _settled(self.services))
        announced = repr(self.services.expected_calls._calls)
        if self.redis is not None:
            return announced, _redis_state(self, self.redis)
        return announced, on_server(self.server, _memory_state(self.services))


def ghost_of(own: str) -> str:
    """A text like the one given that never was."""
    if MARK in own:
        return own.replace(MARK, GHOST)
    found = _LAST_PART.fullmatch(own)
    assert found is not None
    head, rest = found[1] or "", found[2]
    return head + rest.translate(_OTHER_DIGIT if set(rest) <= set("0123456789abcdef") else _OTHER_LETTER)


@contextmanager
def world(bundle: Path, folder: Path, redis: RedisServer | None = None, **groups: Any) -> Iterator[World]:
    """A service of two tenants; the one before the wall has one of everything, the one behind it nothing yet."""
    tenants = make_tenants(folder, [BEHIND, BEFORE])
    store: dict[str, Any] = {"spool_path": folder / "spool", "heartbeat_s": 0.5}
    if redis is not None:
        store |= {"url": redis.url}
    defaults: dict[str, Any] = {
        "store": store,
        "limits": {"requests_per_s": None},
        "labels": {"pattern": "[a-z-]{1,64}"},
        "carriers": {"audiosocket": {"tenant": BEHIND}},
        **tenants.groups,
    }
    settings = make_settings(bundle, **(defaults | groups))
    with ServerThread(settings, _local_deliveries(settings)) as server:
        routes = routes_of(create_app(settings, server.services))
        made = World(server, tenants, redis, routes=routes)
        _furnish(made, made.before, "plain", [SHARED])
        yield made


def fill(made: World) -> None:
    """Gives the tenant behind the wall one of everything, with `MARK` in each of its texts."""
    _furnish(made, made.behind, MARK, [ENDED, SHARED])
    on_server(made.server, _hold_broken(made.services))
    owned = made.owned[BEHIND]
    owned["call_id"] += [BROKEN, LIVE]
    owned["utterance_id"].append(f"{BROKEN}.customer.0000")
    owned["uuid"] = [UUID]
    with made.client(made.behind) as client:
        announced = {"call_id": f"{MARK}-announced", "line": LINE, "metadata": {"name": MARK}}
        client.send_json("PUT", f"/v1/ingest/audiosocket/{UUID}", announced)
    on_server(made.server, _settled(made.services))


def _furnish(made: World, tenant: Tenant, text: str, calls: list[str]) -> None:
    """One of everything. text: in each text that says anything. calls: their ids; the first gets a label."""
    services, (call_id, *_) = made.services, calls
    for one in calls:
        on_server(made.server, _hold_call(services, tenant.name, one, text))
    line, team, utterance = f"{text}-line", f"{text}-team", f"{call_id}.customer.0000"
    with made.client(tenant) as client:
        label = {"label": f"{text}-label", "labeller": f"{text} rater", "note": f"{text} note"}
        client.made("POST", f"/v1/utterances/{utterance}/feedback", label)
        which = {"types": ["call_continued"], "lines": [line], "teams": [team]}
        hook = {"url": f"https://{HOST}/{text}", "description": f"{text} hook", "filter": which}
        endpoint = client.made("POST", "/v1/webhook-endpoints", hook)["id"]
        rule = {"kind": "valence", "below": -0.5, "line": line, "team": team, "name": f"{text} rule"}
        rule_id = client.made("POST", "/v1/alert-rules", rule)["id"]
        key = client.made("POST", "/v1/keys", {"name": f"{text} key", "scopes": ["erase"]})
        erasure = client.made("POST", "/v1/erasures", {"subject": f"{text} nobody"})
        client.made("PUT", "/v1/retention", {"calls_s": 5_000, "lines": {line: {"calls_s": 4_000}}})
        pseudonym = client.made("POST", "/v1/audit/pseudonym", {"call_id": call_id})["object"]
    letter = on_server(made.server, _hold_letter(services, tenant.name, endpoint, call_id, text))
    on_server(made.server, _hold_alert(services, tenant.name, rule_id, call_id, text))
    made.owned[tenant.name] = {
        "call_id": [call_id],
        "utterance_id": [utterance],
        "line": [line],
        "team": [team],
        "outcome": [f"{text}-outcome"],
        "subject": [f"{text} subject é"],
        "label": [f"{text}-label"],
        "labeller": [f"{text} rater"],
        "tenant": [tenant.name],
        "endpoint_id": [endpoint],
        "rule_id": [rule_id],
        "key_id": [key["key_id"]],
        "erasure_id": [erasure["id"]],
        "letter_id": [letter],
        "object": [pseudonym],
    }


async def _hold_call(services: Services, tenant: str, call_id: str, text: str, **more: Any) -> None:
    """An ended call with two records, and what its line learned."""
    records = [replace(make_record(call_id, number), detail=text) for number in range(2)]
    fields: dict[str, Any] = {
        "tenant": tenant,
        "line": f"{text}-line",
        "team": f"{text}-team",
        "language": "fr",
        "subject": f"{text} subject é",
        "metadata": {f"{text}-name": f"{text} value"},
        "started_at": services.clock.now() - 600,
        "outcome": f"{text}-outcome",
    }
    await put_call(services.store, call_id, records, **(fields | more))
    book = services.engine.parts.profiles
    book.update(f"{tenant}/{text}-line", np.full(book.dim, 0.5))
    await services.lines.flush()


async def _hold_broken(services: Services) -> None:
    """A call that broke off a moment ago."""
    resume = secret_digest(SECRET)
    await _hold_call(services, BEHIND, BROKEN, MARK, outcome=None, resume=resume)
    now = services.clock.now()
    close = CloseCall(BEHIND, BROKEN, "disconnected", now, None, {}, 3_600.0, now + 600, "test")
    await carry_out(services.store, close)


async def _hold_alert(services: Services, tenant: str, rule_id: str, call_id: str, text: str) -> None:
    alert_id = f"{rule_id}:{call_id}:1"
    body = {
        "id": alert_id,
        "rule_id": rule_id,
        "rule_name": f"{text} rule",
        "kind": "valence",
        "emotion": None,
        "bound": -0.5,
        "for_s": 0.0,
        "call_id": call_id,
        "leg": Leg.CUSTOMER.value,
        "line": f"{text}-line",
        "team": f"{text}-team",
        "seq": 1,
        "utterance_id": f"{call_id}.customer.0000",
        "at": rfc3339(STARTED_AT),
        "value": -0.6,
        "started_s": 0.0,
        "ended_s": 1.5,
        "speech_s": 1.5,
        "utterances": 1,
        "abstained": 0,
    }
    await carry_out(services.store, AddFeedEntry(tenant, "alert", call_id, alert_id, body, "test"))


async def _hold_letter(services: Services, tenant: str, endpoint: str, call_id: str, text: str) -> str:
    message = Message("msg_" + "0" * 32, "call_ended", rfc3339(STARTED_AT), {"call_id": call_id})
    delivery = Delivery(endpoint, message, tries=10)
    letter = DeadLetter(
        id=letter_id(delivery),
        state=LetterState.DEAD,
        delivery=delivery,
        call_id=call_id,
        failure=Failure("rejected", 500, f"{text} says no"),
        failed_at=STARTED_AT,
        redrives=0,
        version=0,
    )
    await services.delivery.letters._put(tenant, letter)
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
    await services.privacy.audit.flush(everything=True)


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
        "documents": {
            kind: repr(held) for (tenant, kind), held in documents.items() if tenant == BEHIND and held
        },
        "keys": {key: repr(held) for key, held in site if held.document.value["tenant"] == BEHIND},
        "queues": {
            name: repr(waits) for (tenant, name), waits in queues.items() if tenant == BEHIND and waits
        },
        "journals": {name: repr(entries) for (tenant, name), entries in journals.items() if tenant == BEHIND},
        "lines": {key: book.get(key).to_json(None) for key in book.ids() if key.startswith(f"{BEHIND}/")},
    }


def _redis_state(made: World, redis: RedisServer) -> dict[str, bytes]:
    """Every key of the tenant, and every one of its API keys, as Redis writes it to disk."""
    found = redis.command("KEYS", "*").split(b"\r\n")
    kept = [f"{{{BEHIND}}}:", *(f"api_key:{one}" for one in made.owned[BEHIND]["key_id"])]
    keys = [key.decode() for key in found if any(part.encode() in key for part in kept)]
    return {key: redis.command("DUMP", key) for key in keys}
