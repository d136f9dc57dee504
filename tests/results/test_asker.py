"""A store that is away, slow or broken is told apart, and its feed says which calls were erased."""

from __future__ import annotations

import pytest

from app.results.asker import Asker, StoreFailedError
from app.results.store import StoreAwayError, Stored
from app.results.writes import EraseCall
from tests.support.clock import FakeClock
from tests.support.durable import TENANT, closing, opening, record
from tests.support.flaky import FlakyStore, Mood
from tests.support.spools import run


def test_away_and_broken_are_not_the_same() -> None:
    """No answer, in time or at all, is away; what the store breaks on is answered alone, the rest is carried out."""

    async def scenario() -> None:
        store = FlakyStore(FakeClock())
        asker = Asker(store, 0.02)
        await asker.ping()
        broken = record(2)
        object.__setattr__(broken.record, "seq", None)
        answers = await Asker(store, 60.0).write([opening(), record(1), broken, record(3)])
        assert [isinstance(answer, Stored) for answer in answers] == [True, True, False, True]
        assert isinstance(answers[2], StoreFailedError)
        for mood in (Mood.BEFORE, Mood.HANGS):
            store.mood = mood
            with pytest.raises(StoreAwayError):
                await asker.write([record(4)])

    run(scenario())


def test_the_feed_says_which_calls_were_erased() -> None:
    """An id that was used again is not erased any more; a feed that began anew is read from its start."""

    async def scenario() -> None:
        store = FlakyStore(FakeClock())
        asker, erased = Asker(store, 60.0), {"before"}
        erase = [EraseCall(TENANT, "a"), EraseCall(TENANT, "b")]
        await store.write([opening("a"), opening("b"), closing("a"), closing("b"), *erase])
        await store.write([opening("b", started_at=2.0)])
        after = await asker.note_erased(TENANT, 0, erased)
        assert (after, erased) == (7, {"before", "a"})
        assert await asker.note_erased(TENANT, after, erased) == 7
        store.forget()
        await store.write([opening("c"), closing("c"), EraseCall(TENANT, "c")])
        assert await asker.note_erased(TENANT, after, erased) == 3
        assert erased == {"before", "a", "c"}

    run(scenario())
