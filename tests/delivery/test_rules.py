"""How alert rules are kept."""

from __future__ import annotations

import asyncio

import pytest

from app.delivery.alerts import AlertRule, RuleKind
from app.delivery.hooks import TooManyError
from app.delivery.rules import MAX_RULES, RuleBook
from app.results.documents import DocumentNotFoundError
from app.results.memory import MemoryStores
from tests.support.clock import FakeClock

BODY = AlertRule("", RuleKind.EXPECTED_COST, 5.0).body()


def test_the_book_of_rules() -> None:
    """Made, listed in their order, changed, removed; each tenant has its own; a change made here is seen at once."""

    async def use() -> None:
        clock = FakeClock()
        book = RuleBook(MemoryStores(clock).documents, clock, 5.0)
        assert await book.known("acme") == ()
        first = await book.create("acme", BODY)
        clock.advance(1.0)
        second = await book.create("acme", {**BODY, "above": 9.0})
        assert await book.known("acme") == (first, second)
        assert await book.list("other") == ()
        changed = await book.replace("acme", first.id, {**BODY, "above": 7.0})
        assert (changed.id, changed.bound) == (first.id, 7.0)
        assert await book.known("acme") == (changed, second)
        assert await book.get("acme", first.id) == changed
        assert await book.delete("acme", first.id)
        assert not await book.delete("acme", first.id)
        assert await book.known("acme") == (second,)
        with pytest.raises(DocumentNotFoundError):
            await book.replace("acme", first.id, BODY)

    asyncio.run(use())


def test_rules_are_bounded() -> None:
    """So many for a tenant, and no more."""

    async def use() -> None:
        clock = FakeClock()
        book = RuleBook(MemoryStores(clock).documents, clock, 5.0)
        for _ in range(MAX_RULES):
            await book.create("acme", BODY)
        with pytest.raises(TooManyError, match="at most 100 rules"):
            await book.create("acme", BODY)

    asyncio.run(use())
