"""One call from its first audio to its last record, whatever brought it: queue, pool, store, feed, reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from app.api.deps import Services
from app.api.messages import live_event
from app.api.protocol import call_body
from app.channel import Channel, ChannelClosedError
from app.domain import SAMPLE_RATE_HZ, AudioPacket, CallStart, Leg, UtteranceRecord
from app.pipeline import CallPipeline, ServerEvent
from app.results.publish import LiveEvent
from app.results.store import CallExistsError, CallInfo, CallState, StoreError
from app.telemetry.logs import get_logger
from app.wire.base import Audio, Start, Stop, WireEvent

T = TypeVar("T")

MAX_JOB_S = 5.0
"""Audio worked on in one turn, so that a call with a backlog does not hold a thread for long."""

JOIN_S = 0.02
"""Audio joined before it is worked on: byte-sized messages must not cost a turn each."""

MIN_WEIGHT_S = 0.001
"""What the smallest message weighs in the queue, so that a flood of empty ones is bounded too."""

Reply = Callable[[ServerEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Something the client sent. arrived: monotonic seconds. seconds: of audio in it."""

    event: WireEvent
    arrived: float
    seconds: float


class CallRunner:
    """Works one call. `open`, then `run` in a task while `feed` is called, then `close`.

    What is in the queue when the input ends is still worked on, and the utterance in flight is still scored
    and stored, whether or not anybody is left to reply to.
    """

    def __init__(self, start: CallStart, services: Services, reply: Reply) -> None:
        self.start = start
        self._services = services
        self._reply = reply
        self._pipeline: CallPipeline = services.engine.open_call(start)
        self._inbox: Channel[Piece] = Channel(
            services.settings.stream.queue_seconds, weigh=lambda piece: max(piece.seconds, MIN_WEIGHT_S)
        )
        self._info = CallInfo(
            call_id=start.call_id,
            line=start.line,
            legs=start.format.channels,
            started_at=services.clock.now(),
            language=start.language,
            metadata=start.metadata,
        )
        self._log = get_logger(__name__).bind(call_id=start.call_id)

    @property
    def unscored(self) -> Mapping[Leg, str]:
        """The legs that policy forbids to score, and why."""
        return self._pipeline.unscored

    def backlog_s(self) -> float:
        """Seconds of audio that wait."""
        return self._inbox.weight

    async def open(self) -> None:
        """Registers the call.

        Raises:
            CallExistsError: an ended call with this id is still held.
        """
        await self._stored("open_call", self._services.store.open_call(self._info))
        event = LiveEvent("call_started", self.start.call_id, call_body(self._info))
        self._services.publisher.publish(event)
        self._log.info("call_started", legs=len(self.start.format.channels))

    async def feed(self, event: WireEvent) -> None:
        """Queues what the client sent, waiting while the queue is full."""
        seconds = 0.0
        if isinstance(event, Audio):
            audio = self.start.format
            seconds = len(event.packet.payload) / (audio.frame_bytes * audio.sample_rate_hz)
            self._services.metrics.packets.inc()
            for leg in audio.channels:
                self._services.metrics.audio_seconds.labels(leg.value).inc(seconds)
        await self._inbox.put(Piece(event, self._services.clock.monotonic(), seconds))

    def end_input(self) -> None:
        """Says that nothing more will come."""
        self._inbox.close()

    async def run(self) -> None:
        """Works until the input has ended and everything that came was worked on.

        Raises:
            InferenceError: the call cannot go on.
        """
        clock = self._services.clock
        while True:
            try:
                pieces = await self._inbox.get_many(MAX_JOB_S)
            except ChannelClosedError:
                break
            for event, arrived in await self._in_pool(partial(self._work, pieces)):
                await self._deliver(event, arrived)
        ended = clock.monotonic()
        for event in await self._in_pool(self._pipeline.stop):
            await self._deliver(event, ended)

    async def close(self, outcome: str) -> None:
        """Puts the end of the call on record, and tells the feed."""
        services, call_id = self._services, self.start.call_id
        summary = self._pipeline.summary()
        self._info = replace(
            self._info,
            state=CallState.ENDED,
            outcome=outcome,
            ended_at=services.clock.now(),
            summary=summary.body(),
        )
        await self._stored(
            "close_call",
            services.store.close_call(
                call_id, outcome=outcome, ended_at=services.clock.now(), summary=summary.body()
            ),
        )
        body = {**call_body(self._info), "summary": summary.body()}
        services.publisher.publish(LiveEvent("call_ended", call_id, body))
        services.metrics.calls.labels(outcome).inc()
        for leg, account in summary.legs.items():
            lost_s = account.audio.lost_samples / SAMPLE_RATE_HZ
            services.metrics.gap_seconds.labels(leg.value).inc(lost_s)
        self._log.info("call_ended", outcome=outcome, duration_s=summary.duration_s)

    def _work(self, pieces: Sequence[Piece]) -> list[tuple[ServerEvent, float]]:
        """Runs in the pool. Each event comes with the arrival of what brought it about."""
        return [(event, piece.arrived) for piece in join_audio(pieces) for event in self._take(piece.event)]

    def _take(self, event: WireEvent) -> list[ServerEvent]:
        if isinstance(event, Audio):
            return self._pipeline.push(event.packet)
        if isinstance(event, Start | Stop):  # the connection's own business
            return []
        return self._pipeline.control(event)

    async def _in_pool(self, work: Callable[[], list[T]]) -> list[T]:
        return await asyncio.get_running_loop().run_in_executor(self._services.pool, work)

    async def _deliver(self, event: ServerEvent, arrived: float) -> None:
        if isinstance(event, UtteranceRecord):
            event = await self._record(event, arrived)
        live = live_event(self.start.call_id, event)
        if live is not None:
            self._services.publisher.publish(live)
        await self._reply(event)

    async def _record(self, record: UtteranceRecord, arrived: float) -> UtteranceRecord:
        """Stores and counts a record; returns it with its latency."""
        latency_s = self._services.clock.monotonic() - arrived
        record = replace(record, latency_ms=round(latency_s * 1000, 1))
        await self._stored("append", self._services.store.append(record))
        self._info = replace(self._info, utterances=self._info.utterances + 1)
        self._services.metrics.count_utterance(
            emotion=record.emotion, reason=record.reason, event=record.event
        )
        self._services.metrics.utterance_latency.observe(latency_s)
        return record

    async def _stored(self, operation: str, work: Awaitable[None]) -> None:
        """A store that fails costs results, never the call."""
        try:
            await work
        except CallExistsError:
            raise
        except StoreError:
            self._services.metrics.store_errors.labels(operation).inc()
            self._log.warning("store_failed", operation=operation, exc_info=True)


def join_audio(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Joins neighbouring audio up to `JOIN_S`; the joined piece arrived when its last part did."""
    waiting: list[Piece] = []
    seconds = 0.0
    for piece in pieces:
        joinable = isinstance(piece.event, Audio) and piece.event.packet.position_samples is None
        if waiting and (not joinable or seconds + piece.seconds > JOIN_S):
            yield _joined(waiting, seconds)
            waiting, seconds = [], 0.0
        if joinable:
            waiting.append(piece)
            seconds += piece.seconds
        else:
            yield piece
    if waiting:
        yield _joined(waiting, seconds)


def _joined(pieces: list[Piece], seconds: float) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    payload = b"".join(piece.event.packet.payload for piece in pieces if isinstance(piece.event, Audio))
    return Piece(Audio(AudioPacket(payload)), pieces[-1].arrived, seconds)
