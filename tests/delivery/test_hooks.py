"""Endpoints of webhooks: filters, secrets, and how they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.delivery.hooks import MAX_ENDPOINTS, Filter, HookBook, TooManyError, WebhookEndpoint, endpoint_of
from app.domain import AbstainReason, Leg
from app.records import record_body
from app.results.documents import Document, DocumentConflictError, DocumentNotFoundError
from app.results.memory import MemoryStores
from app.results.memory_beside import MemoryDocuments
from tests.delivery.parts import said
from tests.support.clock import FakeClock

UTTERANCE = record_body(said(1, confidence=0.7, expected_cost=2.0))
ABSTAINED = record_body(said(1, reason=AbstainReason.TOO_SHORT))


@pytest.mark.parametrize(
    ("wanted", "utterance", "abstained", "alert", "ended"),
    [
        (Filter(), True, True, True, True),
        (Filter(types=("utterance",)), True, True, False, False),
        (Filter(types=("alert", "call_ended")), False, False, True, True),
        (Filter(lines=("sales", "help")), True, True, True, True),
        (Filter(lines=("help",)), False, False, False, False),
        (Filter(teams=("north",)), True, True, True, True),
        (Filter(teams=("south",)), False, False, False, False),
        (Filter(legs=("customer",)), True, True, True, True),
        (Filter(legs=("agent",)), False, False, False, True),
        (Filter(emotions=("anger",)), True, False, True, True),
        (Filter(emotions=("joy",)), False, False, True, True),
        (Filter(min_confidence=0.7), True, False, True, True),
        (Filter(min_confidence=0.71), False, False, True, True),
        (Filter(min_expected_cost=2.0), True, False, True, True),
        (Filter(min_expected_cost=2.1), False, False, True, True),
    ],
)
def test_filters(wanted: Filter, utterance: bool, abstained: bool, alert: bool, ended: bool) -> None:
    """What is chosen among, and what a figure that is missing means."""

    def matches(kind: str, body: Any) -> bool:
        return wanted.matches(kind, body, line="sales", team="north")

    assert matches("utterance", UTTERANCE) is utterance
    assert matches("utterance", ABSTAINED) is abstained
    assert matches("alert", {"leg": "customer"}) is alert
    assert matches("call_ended", {}) is ended


def test_a_call_without_a_team_is_in_none() -> None:
    """A filter on teams leaves it out."""
    assert not Filter(teams=("north",)).matches("alert", {"leg": Leg.CUSTOMER}, line="sales", team=None)


def test_an_endpoint_comes_back_from_its_value() -> None:
    """Every member, the secrets included."""
    endpoint = WebhookEndpoint(
        "we_1",
        "https://hooks.example/",
        "whsec_a",
        5.0,
        enabled=False,
        disabled_reason="gone",
        description="CRM",
        filter=Filter(types=("alert",), min_confidence=0.5),
    ).rotated("whsec_b", 10.0, 60.0)
    assert endpoint_of(Document("we_1", endpoint.value(), 1)) == endpoint


def test_secrets_overlap_while_they_change() -> None:
    """The old one signs until its time; few old ones are kept."""
    first = WebhookEndpoint("we_1", "https://hooks.example/", "s0", 0.0)
    second = first.rotated("s1", 100.0, 50.0)
    assert second.secrets_at(149.0) == ("s1", "s0")
    assert second.secrets_at(150.0) == ("s1",)
    third = second.rotated("s2", 120.0, 50.0).rotated("s3", 121.0, 50.0)
    assert third.secrets_at(130.0) == ("s3", "s2", "s1")
    assert second.rotated("s2", 200.0, 0.0).secrets_at(200.0) == ("s2",)
    assert second.rotated("s2", 200.0, 0.0).old_secrets == ()


def test_the_book_of_endpoints() -> None:
    """Made, listed, changed, rotated, removed; each tenant sees its own."""

    async def use() -> None:
        clock = FakeClock()
        book = HookBook(MemoryStores(clock).documents, clock, 5.0)
        assert await book.known("acme") == ()
        made = await book.create("acme", "https://hooks.example/", which=Filter(types=("alert",)))
        clock.advance(1.0)
        later = await book.create("acme", "https://hooks.example/2", which=Filter(), enabled=False)
        assert await book.known("acme") == (made, later)
        assert await book.list("other") == ()
        changed = await book.change("acme", made.id, lambda one: replace(one, description="CRM"))
        assert (changed.description, changed.secret) == ("CRM", made.secret)
        assert await book.get("acme", made.id) == changed
        rotated = await book.rotate("acme", made.id, 60.0)
        assert rotated.secrets_at(clock.now()) == (rotated.secret, made.secret)
        assert await book.delete("acme", made.id)
        assert not await book.delete("acme", made.id)
        assert await book.known("acme") == (later,)
        with pytest.raises(DocumentNotFoundError):
            await book.get("acme", made.id)
        with pytest.raises(DocumentNotFoundError):
            await book.get("other", later.id)

    asyncio.run(use())


def test_endpoints_are_bounded() -> None:
    """So many for a tenant, and no more."""

    async def use() -> None:
        clock = FakeClock()
        book = HookBook(MemoryStores(clock).documents, clock, 5.0)
        for _ in range(MAX_ENDPOINTS):
            await book.create("acme", "https://hooks.example/", which=Filter())
        with pytest.raises(TooManyError, match="at most 50 endpoints"):
            await book.create("acme", "https://hooks.example/", which=Filter())
        await book.create("other", "https://hooks.example/", which=Filter())

    asyncio.run(use())


class Contended(MemoryDocuments):
    """Somebody else changes a document just before the next `others` writes."""

    others = 0

    async def put(
        self, tenant: str, kind: str, key: str, value: Mapping[str, Any], **options: Any
    ) -> Document:
        """Writes, after the other did."""
        if self.others:
            self.others -= 1
            held = await self.get(tenant, kind, key)
            await super().put(tenant, kind, key, {**held.value, "description": "theirs"})
        return await super().put(tenant, kind, key, value, **options)


def test_changes_at_the_same_time_are_both_made() -> None:
    """A change that was overtaken is made again on what is there now; for ever it is not tried."""

    async def use() -> None:
        clock = FakeClock()
        documents = Contended(clock)
        book = HookBook(documents, clock, 5.0)
        made = await book.create("acme", "https://hooks.example/", which=Filter())
        documents.others = 1
        changed = await book.change("acme", made.id, lambda one: replace(one, enabled=False))
        assert (changed.enabled, changed.description) == (False, "theirs")
        documents.others = 100
        with pytest.raises(DocumentConflictError):
            await book.change("acme", made.id, lambda one: replace(one, enabled=True))

    asyncio.run(use())
