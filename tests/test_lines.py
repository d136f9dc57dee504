"""What processes learn of a line comes together in the store; importing, resetting and freezing win over it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inference.line_profile import LineProfile, ProfileError
from app.inference.profile_book import ProfileBook
from app.lines import KIND, FrozenBySettingsError, LineNotFoundError, ProfileKeeper
from app.results.documents import Document, DocumentConflictError
from app.results.memory_beside import MemoryDocuments
from app.results.store import StoreAwayError
from tests.support.clock import FakeClock

T = TypeVar("T")

DIM = 2
MODEL = "tiny/0.0.1"
VALUES = np.random.default_rng(7).normal(size=(40, DIM))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine."""
    return asyncio.run(work)


class Documents(MemoryDocuments):
    """Documents that can be away, or slow enough for others to come between."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.away = False

    async def get(self, tenant: str, kind: str, key: str) -> Document:
        """One document, after everybody else had a turn."""
        await self._turn()
        return await super().get(tenant, kind, key)

    async def put(self, *place: Any, **fields: Any) -> Document:
        """Writes one, after everybody else had a turn."""
        await self._turn()
        return await super().put(*place, **fields)

    async def list(self, *place: Any, **fields: Any) -> Any:
        """Some of them."""
        await self._turn()
        return await super().list(*place, **fields)

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise StoreAwayError


@dataclass
class Site:
    """Processes that share a document store."""

    clock: FakeClock = field(default_factory=FakeClock)
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.documents = Documents(self.clock)

    def process(self, model: str = MODEL) -> tuple[ProfileBook, ProfileKeeper]:
        """Another one."""
        book = ProfileBook(DIM, model, frozen_lines=self.frozen)
        return book, ProfileKeeper(book, self.documents, self.clock, flush_s=10.0)


def same(profile: LineProfile, values: Any) -> bool:
    """Whether a profile is that of these embeddings."""
    expected = LineProfile.from_embeddings(values)
    return bool(
        profile.n == expected.n
        and np.allclose(profile.mean, expected.mean)
        and np.allclose(profile.m2, expected.m2)
    )


@settings(max_examples=40)
@given(shares=st.lists(st.integers(0, 3), min_size=1, max_size=40), together=st.booleans())
def test_processes_that_learn_at_the_same_time_lose_nothing(shares: list[int], together: bool) -> None:
    """However utterances and merges interleave, the shared profile is that of all utterances."""

    async def scenario() -> None:
        site = Site()
        processes = [site.process() for _ in range(4)]
        for index, owner in enumerate(shares):
            processes[owner][0].update("a", VALUES[index])
            if index % 5 == 4 and not together:
                await processes[owner][1].flush()
        await asyncio.gather(*(keeper.flush() for _, keeper in processes))
        for book, keeper in processes:
            assert same(await keeper.get("default", "a"), VALUES[: len(shares)])
            assert same(book.get("a"), VALUES[: len(shares)])

    run(scenario())


def test_a_call_starts_with_what_the_others_learned() -> None:
    """It is fetched once, and again only when it is no longer fresh."""

    async def scenario() -> None:
        site = Site()
        (one, keeper), (other, others) = site.process(), site.process()
        one.update("a", VALUES[0])
        await keeper.flush()
        await others.open("default", "a")
        assert same(other.get("a"), VALUES[:1])
        one.update("a", VALUES[1])
        await keeper.flush()
        await others.open("default", "a")
        assert other.get("a").n == 1
        site.clock.advance(11)
        await others.open("default", "a")
        assert same(other.get("a"), VALUES[:2])

    run(scenario())


def test_a_store_that_is_away_costs_nothing() -> None:
    """Learning goes on, the list is what is known here, and everything is merged when it is back."""

    async def scenario() -> None:
        site = Site()
        book, keeper = site.process()
        site.documents.away = True
        await keeper.open("default", "a")
        for value in VALUES[:3]:
            book.update("a", value)
        await keeper.flush()
        assert [item.n for item in (await keeper.page("default", cursor=None, limit=9)).items] == [3]
        assert (await keeper.get("default", "a")).n == 3
        with pytest.raises(LineNotFoundError):
            await keeper.get("default", "b")
        with pytest.raises(StoreAwayError):
            await keeper.reset("default", "a")
        site.documents.away = False
        await keeper.flush()
        assert same(await site.process()[1].get("default", "a"), VALUES[:3])

    run(scenario())


@pytest.mark.parametrize("deed", ["reset", "import", "freeze"])
def test_a_decision_wins_over_concurrent_learning(deed: str) -> None:
    """What another process learned before it heard of it is dropped; what it learns later counts."""

    async def scenario() -> None:
        site = Site()
        (_, keeper), (other, others) = site.process(), site.process()
        imported = LineProfile.from_embeddings(VALUES[20:30], "elsewhere").to_json(MODEL)
        await keeper.install("default", "a", LineProfile.from_embeddings(VALUES[:5]).to_json(MODEL))
        await others.open("default", "a")
        other.update("a", VALUES[10])
        decisions = {
            "reset": (keeper.reset("default", "a"), 0),
            "import": (keeper.install("default", "a", imported), 10),
            "freeze": (keeper.set_frozen("default", "a", True), 5),
        }
        for name, (decision, n) in decisions.items():
            if name == deed:
                assert (await decision).n == n
                await others.flush()
                other.update("a", VALUES[11])
                await others.flush()
                learned = 0 if deed == "freeze" else 1
                assert (other.get("a").n, (await keeper.get("default", "a")).n) == (n + learned, n + learned)
            else:
                decision.close()

    run(scenario())


def test_freezing_keeps_what_was_learned_here_and_thawing_goes_on() -> None:
    """The order of a person comes after what this process heard before it."""

    async def scenario() -> None:
        book, keeper = Site().process()
        book.update("a", VALUES[0])
        frozen = await keeper.set_frozen("default", "a", True)
        assert (frozen.n, frozen.frozen, frozen.id) == (1, True, "a")
        book.update("a", VALUES[1])
        await keeper.set_frozen("default", "a", False)
        book.update("a", VALUES[2])
        assert same(await keeper.get("default", "a"), VALUES[[0, 2]])

    run(scenario())


def test_tenants_and_bundles_are_apart() -> None:
    """The same name is another line for another tenant, and for embeddings of another bundle."""

    async def scenario() -> None:
        site = Site()
        (book, keeper), (_, upgraded) = site.process(), site.process("tiny/0.0.2")
        book.update("acme/a", VALUES[0])
        await keeper.flush()
        assert [line.id for line in (await keeper.page("acme", cursor=None, limit=9)).items] == ["a"]
        assert (await keeper.page("default", cursor=None, limit=9)).items == ()
        assert (await upgraded.page("acme", cursor=None, limit=9)).items == ()
        for tenant, who in (("default", keeper), ("acme", upgraded)):
            with pytest.raises(LineNotFoundError):
                await who.get(tenant, "a")
            with pytest.raises(LineNotFoundError):
                await who.reset(tenant, "a")
        with pytest.raises(ProfileError, match="not comparable"):
            await upgraded.install("acme", "a", book.export_json("acme/a"))

    run(scenario())


def test_a_line_frozen_by_the_settings_stays_so() -> None:
    """It is listed without having been heard, can be given a profile, and is not thawed."""

    async def scenario() -> None:
        site = Site(frozen=("studio",))
        book, keeper = site.process()
        book.set_frozen("studio", True)
        book.update("other", VALUES[0])
        lines = (await keeper.page("default", cursor=None, limit=9)).items
        assert [(line.id, line.frozen) for line in lines] == [("other", False), ("studio", True)]
        with pytest.raises(FrozenBySettingsError):
            await keeper.set_frozen("default", "studio", False)
        await keeper.install("default", "studio", LineProfile.from_embeddings(VALUES[:4]).to_json(MODEL))
        assert book.update("studio", VALUES[5]).n == 4
        lines = (await keeper.page("default", cursor=None, limit=9)).items
        assert [(line.id, line.frozen) for line in lines] == [("other", False), ("studio", True)]

    run(scenario())


def test_pages_go_on_where_they_ended() -> None:
    """By name, each line once."""

    async def scenario() -> None:
        book, keeper = Site().process()
        for line in ("c", "a", "b"):
            book.update(line, VALUES[0])
        first = await keeper.page("default", cursor=None, limit=2)
        second = await keeper.page("default", cursor=first.next, limit=2)
        assert [line.id for line in (*first.items, *second.items)] == ["a", "b", "c"]
        assert second.next is None

    run(scenario())


def test_what_cannot_be_read_is_left_alone() -> None:
    """A document that nobody wrote like this is no profile, and does not stop the others."""

    async def scenario() -> None:
        site = Site()
        book, keeper = site.process()
        broken = {"epoch": "x", "profile": {"model": MODEL, "n": -1}}
        await site.documents.put("default", KIND, f"a:{MODEL}", broken)
        assert (await keeper.page("default", cursor=None, limit=9)).items == ()
        book.update("a", VALUES[0])
        assert same(await keeper.get("default", "a"), VALUES[:1])

    run(scenario())


def test_a_race_that_cannot_be_won_is_tried_again_later() -> None:
    """Somebody who is faster every time does not make what was learned disappear."""

    class Contested(Documents):
        async def put(self, *_: Any, **__: Any) -> Document:
            raise DocumentConflictError

    async def scenario() -> None:
        site = Site()
        book, keeper = site.process()
        site.documents.__class__ = Contested
        book.update("a", VALUES[0])
        await keeper.flush()
        with pytest.raises(DocumentConflictError):
            await keeper.install("default", "a", book.export_json("a"))
        site.documents.__class__ = Documents
        await keeper.flush()
        assert same(await keeper.get("default", "a"), VALUES[:1])

    run(scenario())


def test_it_merges_by_itself_and_at_the_end() -> None:
    """Every flush_s seconds, and when the service stops."""

    async def scenario() -> None:
        site = Site()
        book = ProfileBook(DIM, MODEL)
        keeper = ProfileKeeper(book, site.documents, site.clock, flush_s=0.001)
        async with keeper.running():
            book.update("a", VALUES[0])
            while book.learned():  # noqa: ASYNC110 (merging has no event)
                await asyncio.sleep(0)
            await keeper.get("default", "a")
            book.update("a", VALUES[1])
        assert same(await site.process()[1].get("default", "a"), VALUES[:2])

    run(scenario())
