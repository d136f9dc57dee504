"""Callers share rounds of work, in order, and none of them can spoil it for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.results.combine import Combiner
from tests.support.spools import run


def test_what_comes_during_a_round_is_the_next_one() -> None:
    """Rounds never overlap, keep the order, and are no larger than allowed; a caller that left changes nothing."""

    async def scenario() -> None:
        rounds: list[list[int]] = []
        going = asyncio.Event()

        async def work(items: Sequence[int]) -> list[int]:
            rounds.append(list(items))
            await going.wait()
            return [2 * item for item in items]

        combiner = Combiner(work, 3)
        tasks = [asyncio.create_task(combiner.submit(n)) for n in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[1].cancel()
        going.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers.pop(1), asyncio.CancelledError)
        assert answers == [0, 4, 6, 8]
        assert rounds == [[0, 1, 2], [3, 4]]
        await combiner.idle()

    run(scenario())


def test_an_error_goes_to_those_of_the_round_only() -> None:
    """Everyone in a round that fails gets the error; the next round works."""

    async def scenario() -> None:
        async def work(items: Sequence[int]) -> list[int]:
            if 1 in items:
                raise ValueError("one")
            return list(items)

        combiner = Combiner(work, 2)
        answers = await asyncio.gather(*(combiner.submit(n) for n in range(4)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ValueError, ValueError, int, int]
        with pytest.raises(ValueError, match="one"):
            await combiner.submit(1)

    run(scenario())


def test_cancelled_work_leaves_nobody_waiting() -> None:
    """When the loop takes the work down, every caller is cancelled too."""

    async def scenario() -> None:
        async def work(_items: Sequence[int]) -> list[int]:
            raise asyncio.CancelledError

        combiner = Combiner(work, 1)
        answers = await asyncio.gather(*(combiner.submit(n) for n in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 3

    run(scenario())
