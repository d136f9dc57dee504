"""Work of many callers done together: what comes in while a round is under way is the next round."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Combiner(Generic[T, R]):
    """Hands what callers bring to one function, in the order it came, never twice at the same time.

    All on one event loop. A caller that is cancelled gets no answer; what it brought is worked on all the same.

    Args:
        work: given the items of a round, returns an answer for each; what it raises, everyone in the round gets.
        most: largest number of items in a round.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._work = work
        self._most = most
        self._items: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Brings an item and waits for its answer."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._items.append((item, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._rounds())
        return await answer

    async def idle(self) -> None:
        """Returns when everything that came was worked on."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _rounds(self) -> None:
        try:
            while self._items:
                taken = [self._items.popleft() for _ in range(min(self._most, len(self._items)))]
                await self._round(taken)
        finally:
            self._task = None
            for _, answer in self._items:  # only when cancelled: nobody is left to work on these
                answer.cancel()
            self._items.clear()

    async def _round(self, taken: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([item for item, _ in taken])
        except asyncio.CancelledError:
            for _, answer in taken:
                answer.cancel()
            raise
        except Exception as error:
            for _, answer in taken:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(taken, results, strict=True):
            if not answer.done():
                answer.set_result(result)
