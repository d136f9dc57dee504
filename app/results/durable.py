"""A result store that may be away: what it cannot take now waits on disk and is carried out in order.

**Acknowledged means durable**: a change answered with `durable` survives a killed process and a killed store. There is
one exception: when the spool on disk is full, its oldest changes are refused and counted (`app.results.spool`).

Order. Every change passes through one queue, and only under `_turn`. There, changes go to the store itself only while
the state is OK, which means that nothing waits in the spool; in any other state they go to the end of the spool. The
state becomes OK under `_turn` only, when the spool is empty. So a change is never carried out before an earlier one.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from app.results.asker import Answer, Asker
from app.results.codec import CallKey, CodecError, call_key, decode, encode
from app.results.combine import Combiner
from app.results.known import KnownCalls
from app.results.reads import StoreReads
from app.results.replay import ERASED, Describe, Replayer
from app.results.segment import NewEntry
from app.results.spool import Spool, SpoolError
from app.results.spool_files import Kept
from app.results.store import (
    CallInfo,
    CallNotFoundError,
    ResultStore,
    StoreAwayError,
    Stored,
)
from app.results.store_metrics import NoMetrics, StoreMetrics, StoreState
from app.results.writes import CloseCall, EraseCall, OpenCall, Write
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

_MOST_CALLERS = 512
_LAST_BATCH = 64
_LEAST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class DurableOptions:
    """timeout_s: a write waits for the store no longer than this (and a tenth); then it waits on disk.

    retry_min_s, retry_max_s: between attempts to reach the store, doubling, less up to a half by chance.
    batch: changes carried out at once when it is back. adopt_every_s: between looks for what dead processes left.
    """

    timeout_s: float = 2.0
    retry_min_s: float = 0.1
    retry_max_s: float = 5.0
    batch: int = 256
    adopt_every_s: float = 30.0


@dataclass(frozen=True, slots=True)
class _Ask:
    writes: tuple[Write, ...]
    since: float


def _describe(call: CallInfo) -> Mapping[str, Any]:
    return {"call_id": call.call_id, "line": call.line}


class DurableStore(StoreReads):
    """A `ResultStore` around another one. `start`, then `run` in a task; `close` at the end.

    While the store is away, reads raise `StoreAwayError`, and nothing touches the network but `run`. A change is then
    accepted unless this process knows better (an id that is taken, the erasure of a live call); what the store refuses
    afterwards is counted. `EraseCall` removes the call from the spool at once, and waits there itself.

    Args:
        inner: the store that may be away.
        spool: where changes wait; closed with this.
        clock: for deadlines and ages.
        options: times and sizes.
        metrics: told what happens.
        describe: makes the body of `call_started` for a call of which only records are left.
    """

    def __init__(
        self,
        inner: ResultStore,
        spool: Spool,
        clock: Clock,
        options: DurableOptions | None = None,
        *,
        metrics: StoreMetrics | None = None,
        describe: Describe = _describe,
    ) -> None:
        super().__init__(inner)
        self._spool = spool
        self._clock = clock
        self._options = options or DurableOptions()
        self._metrics: StoreMetrics = metrics or NoMetrics()
        self._describe = describe
        self._known = KnownCalls()
        self._asker = Asker(inner, self._options.timeout_s)
        self._replayer = Replayer(self._asker, spool, self._known, describe, self._metrics)
        self._asks: Combiner[_Ask, list[Answer]] = Combiner(self._work, _MOST_CALLERS)
        self._turn = asyncio.Lock()
        self._gone = asyncio.Event()
        self._closed = False
        self._log = get_logger(__name__)

    @property
    def waiting(self) -> int:
        """Changes in the spool."""
        return self._spool.stats.entries

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the spool on disk."""
        return self._spool.stats.bytes

    @property
    def oldest_age_s(self) -> float | None:
        """For about how long the oldest change has waited, seconds; None where none waits."""
        oldest_at = self._spool.stats.oldest_at
        return None if oldest_at is None else max(self._clock.now() - oldest_at, 0.0)

    async def start(self) -> None:
        """Looks at what an earlier process left in the spool; it has to be carried out before anything new.

        Raises:
            SpoolError: the disk refuses.
        """
        async with self._turn:
            await self._take_over()
        self._tell()

    async def run(self) -> None:
        """Keeps trying to reach the store while it is away, and brings it what waits. Ends when cancelled."""
        delay_s = self._options.retry_min_s
        while True:
            if self._state is StoreState.OK:
                delay_s = self._options.retry_min_s
                await self._idle()
            elif not await self.recover():
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(2 * delay_s, self._options.retry_max_s)

    async def recover(self) -> bool:
        """One attempt to reach the store and to bring it everything that waits; whether that succeeded."""
        if self._state is StoreState.OK:
            return True
        try:
            await self._asker.ping()
            self._become(StoreState.REPLAYING)
            while not await self._replay():
                self._tell()
        except (StoreAwayError, SpoolError) as error:
            self._log.info("store_still_away", error=type(error).__name__)
        except Exception as error:  # whatever it is: what waits must not wait for ever
            self._log.error("replay_broke", error=type(error).__name__)
        else:
            return True
        self._become(StoreState.AWAY)
        return False

    async def write(self, writes: Sequence[Write]) -> list[Answer]:
        """Carries out changes in order, or has them wait on disk; see `ResultStore.write`.

        An answer may also be `StoreAwayError`: neither the store nor the disk took this one, it is lost.
        """
        if self._closed:
            raise StoreAwayError("the store is closed")
        if not writes:
            return []
        answers = await self._asks.submit(_Ask(tuple(writes), self._clock.monotonic()))
        for index, (write, answer) in enumerate(zip(writes, answers, strict=True)):
            if isinstance(write, EraseCall) and isinstance(answer, Stored) and answer.waiting:
                try:
                    await self._spool.rewrite(erasure(write))
                except SpoolError as error:
                    answers[index] = error
        return answers

    async def resume_call(
        self, tenant: str, call_id: str, *, secret_digest: str, owner: str, now: float
    ) -> CallInfo:
        """See `ResultStore.resume_call`; only once nothing waits, for its last records may be among that."""
        if self._state is not StoreState.OK:
            raise StoreAwayError("the store is not up to date")
        call = await self._inner.resume_call(
            tenant, call_id, secret_digest=secret_digest, owner=owner, now=now
        )
        self._known.resumed(call, OpenCall(call, self._describe(call)))
        return call

    async def close(self) -> None:
        """Ends what is under way; what waits is carried out by the next process. Cancel `run` before."""
        if self._closed:
            return
        self._closed = True
        await self._asks.idle()
        await self._spool.close()
        await self._inner.close()

    async def _work(self, asks: Sequence[_Ask]) -> list[list[Answer]]:
        writes = [write for ask in asks for write in ask.writes]
        since = min(ask.since for ask in asks)
        async with self._turn:
            answers = iter(await self._answer(writes, since))
        self._tell()
        return [[next(answers) for _ in ask.writes] for ask in asks]

    async def _answer(self, writes: Sequence[Write], since: float) -> list[Answer]:
        """Under `_turn`."""

        async def carry_out(some: Sequence[Write]) -> list[Answer]:
            return await (self._direct(some, since) if self._state is StoreState.OK else self._hold(some))

        return await _answer_rest(writes, [self._known.refuse_disowned(write) for write in writes], carry_out)

    async def _direct(self, writes: Sequence[Write], since: float) -> list[Answer]:
        """Under `_turn`: asks the store itself; nothing waits."""
        timeout_s = self._options.timeout_s
        left_s = timeout_s - (self._clock.monotonic() - since)
        try:
            answers = await self._asker.write(writes, max(left_s, _LEAST_SHARE * timeout_s))
        except StoreAwayError:
            self._become(StoreState.AWAY)
            return await self._hold(writes)
        answers = await self._mend(writes, answers)
        for write, answer in zip(writes, answers, strict=True):
            if isinstance(answer, Stored):
                self._known.took(write, waiting=False)
        unsure = [None if isinstance(answer, StoreAwayError) else answer for answer in answers]
        if None in unsure:
            self._become(StoreState.AWAY)
        return await _answer_rest(writes, unsure, self._hold)

    async def _mend(self, writes: Sequence[Write], answers: list[Answer]) -> list[Answer]:
        """Opens calls again that are live here, but not known to the store any more."""
        forgotten: dict[CallKey, list[int]] = {}
        for place, (write, answer) in enumerate(zip(writes, answers, strict=True)):
            key = call_key(write)
            if isinstance(answer, CallNotFoundError) and key is not None and self._known.is_live(key):
                forgotten.setdefault(key, []).append(place)
        for key, places in forgotten.items():
            some = [writes[place] for place in places]
            again: list[Answer] = [StoreAwayError("the store went away")] * len(some)
            with suppress(StoreAwayError, TimeoutError):
                async with asyncio.timeout(self._options.timeout_s):
                    again = await self._replayer.reopen(key, some)
            for place, answer in zip(places, again, strict=True):
                answers[place] = answer
        return answers

    async def _hold(self, writes: Sequence[Write]) -> list[Answer]:
        """Under `_turn`: puts changes into the spool."""
        answers: list[Answer | None] = []
        entries: list[NewEntry] = []
        for write in writes:
            answer = self._known.answer_alone(write)
            if answer is None:
                try:
                    entries.append(NewEntry(encode(write), keep=isinstance(write, EraseCall)))
                    self._known.took(write, waiting=True)
                except CodecError as error:
                    answer = error
            answers.append(answer)
        try:
            kept = await self._spool.append(entries)
        except SpoolError:
            kept = [Kept.LOST] * len(entries)
        self._metrics.held(len(kept) - kept.count(Kept.LOST))
        each = iter(kept)
        return [_as_answer(next(each)) if answer is None else answer for answer in answers]

    async def _replay(self) -> bool:
        """Brings the store some of what waits; True when nothing does any more and the state is OK.

        Raises:
            StoreAwayError: the store went away.
            SpoolError: the disk refuses.
        """
        if self.waiting > _LAST_BATCH:
            await self._replayer.batch(self._options.batch)
            return False
        async with self._turn:  # nothing is added meanwhile, so this comes to an end
            timeout_s = self._options.timeout_s
            try:
                async with asyncio.timeout(timeout_s):
                    until = self._clock.monotonic() + timeout_s / 2
                    await self._replayer.batch(_LAST_BATCH, lambda: self._clock.monotonic() < until)
            except TimeoutError:
                raise StoreAwayError("the store is too slow") from None
            if self.waiting:
                return False
            self._known.settle()
            self._become(StoreState.OK)
        self._tell()
        return True

    async def _idle(self) -> None:
        """Waits until the store is away, or it is time to look for what dead processes left."""
        try:
            async with asyncio.timeout(self._options.adopt_every_s):
                await self._gone.wait()
        except TimeoutError:
            async with self._turn:
                try:
                    await self._take_over()
                except SpoolError as error:
                    self._log.warning("spool_not_read", error=str(error))

    async def _take_over(self) -> None:
        """Under `_turn`: what dead processes left comes before anything new."""
        await self._spool.adopt()
        if not self.waiting:
            return
        self._become(StoreState.AWAY)
        keys: set[CallKey] = set()

        def look(payload: bytes) -> None:
            with suppress(CodecError):
                key = call_key(decode(payload))
                if key is not None:
                    keys.add(key)

        await self._spool.visit(look)
        for key in keys:
            self._known.waits(key)

    def _become(self, state: StoreState) -> None:
        if state is self._state:
            return
        self._log.warning("store_state", state=state.value, waiting=self.waiting)
        self._state = state
        self._metrics.state(state)
        if state is StoreState.OK:
            self._gone.clear()
        else:
            self._gone.set()

    def _tell(self) -> None:
        self._metrics.spool(self.waiting, self.waiting_bytes)


def erasure(of: EraseCall) -> Callable[[bytes], bytes | None]:
    """What is left of waiting changes when a call is erased: of its own, that it ended, for only so it can be erased.

    What names the call but cannot be read goes too.
    """
    needle = json.dumps(of.call_id).encode("ascii")
    key = (of.tenant, of.call_id)

    def change(payload: bytes) -> bytes | None:
        if needle not in payload:
            return payload
        try:
            write = decode(payload)
        except CodecError:
            return None
        if call_key(write) != key or isinstance(write, EraseCall):
            return payload
        if isinstance(write, CloseCall):
            bare = replace(write, outcome=ERASED, summary=None, body={"call_id": of.call_id})
            return encode(replace(bare, resume_until=None))
        return None

    return change


async def _answer_rest(
    writes: Sequence[Write],
    answers: Sequence[Answer | None],
    ask: Callable[[Sequence[Write]], Awaitable[list[Answer]]],
) -> list[Answer]:
    """Answers for all, where some are known already."""
    rest = [write for write, answer in zip(writes, answers, strict=True) if answer is None]
    more = iter(await ask(rest) if rest else ())
    return [next(more) if answer is None else answer for answer in answers]


def _as_answer(kept: Kept) -> Answer:
    if kept is Kept.LOST:
        return StoreAwayError("neither the store nor the spool took it")
    return Stored(durable=kept is Kept.DURABLE, waiting=True)
