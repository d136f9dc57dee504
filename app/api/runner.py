"""One call from its first audio to its last record, whatever brought it: queue, pool, store, feed, reply."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from app.accounting import CallSummary
from app.api.deps import Services
from app.api.messages import live_event
from app.api.recorder import CallRecorder
from app.api.resumption import Earlier
from app.audio.jitter import JitterMeter
from app.channel import Channel, ChannelClosedError
from app.domain import SAMPLE_RATE_HZ, AudioPacket, CallStart, Leg, LineEvent, UtteranceRecord
from app.pipeline import CallPipeline, Interim, KeyPressed, MetadataAdded, ServerEvent
from app.telemetry.logs import get_logger
from app.telemetry.tracing import Stage, opaque_call_id
from app.wire.base import Audio, Gap, Reformat, Reply, Start, Stop, WireEvent

T = TypeVar("T")

MAX_JOB_S = 5.0
"""Audio worked on in one turn, so that a call with a backlog does not hold a thread for long."""

JOIN_S = 0.02
"""Audio joined before it is worked on: byte-sized messages must not cost a turn each."""

MIN_WEIGHT_S = 0.001
"""What the smallest message weighs in the queue, so that a flood of empty ones is bounded too."""

MAX_KEYS_KEPT = 64
"""Keys kept with a call."""

Answer = Callable[[ServerEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Something the client sent. arrived: monotonic seconds. seconds: of audio in it. jitter_ms: by track, so far."""

    event: WireEvent
    arrived: float
    seconds: float
    jitter_ms: tuple[float | None, ...] = ()


class CallRunner:
    """Works one call. `open`, then `run` in a task while `feed` is called, then `close`.

    What is in the queue when the input ends is still worked on, and the utterance in flight is still scored
    and stored, whether or not anybody is left to reply to.
    """

    def __init__(
        self, start: CallStart, services: Services, reply: Answer, earlier: Earlier | None = None
    ) -> None:
        self.start = start = start if earlier is None else replace(start, earlier=earlier.part)
        self._services = services
        self._reply = reply
        self._earlier = earlier
        self._pipeline: CallPipeline = services.engine.open_call(start)
        self._inbox: Channel[Piece] = Channel(
            services.settings.stream.queue_seconds, weigh=lambda piece: max(piece.seconds, MIN_WEIGHT_S)
        )
        self._recorder = CallRecorder(start, services, None if earlier is None else earlier.info)
        self._keys: list[dict[str, object]] = []
        self._bytes_per_s = start.format.frame_bytes * start.format.sample_rate_hz
        self._jitter = [JitterMeter(start.format.sample_rate_hz) for _ in start.format.tracks]
        self._track_of = {leg: track for track, legs in enumerate(start.format.tracks) for leg in legs}
        # The name that the call has in traces, too.
        self._opaque_id = opaque_call_id(start.tenant, start.call_id, services.trace_salt)
        self._log = get_logger(__name__).bind(call_id=start.call_id, call=self._opaque_id)

    @property
    def resume_secret(self) -> str:
        """With which the call may be taken up again."""
        return self._recorder.resume_secret

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
        await self._services.lines.open(self.start.tenant, self.start.line)
        await self._recorder.open()
        self._log.info(
            "call_started", legs=len(self.start.format.channels), continued=self._earlier is not None
        )

    async def feed(self, event: WireEvent) -> None:
        """Queues what the client sent, waiting while the queue is full."""
        seconds, arrived = 0.0, self._services.clock.monotonic()
        if isinstance(event, Audio):
            audio = self.start.format
            seconds = self.seconds_of(event)
            self._services.metrics.packets.inc()
            for leg in audio.tracks[event.packet.track]:
                self._services.metrics.audio_seconds.labels(leg.value).inc(seconds)
            self._jitter[event.packet.track].push(arrived, event.packet.position_samples, seconds)
        elif isinstance(event, Gap):
            self._jitter[event.track].skip(event.samples)
        elif isinstance(event, Reformat):
            channels = self.start.format.frame_bytes // self.start.format.encoding.sample_bytes
            self._bytes_per_s = event.encoding.sample_bytes * channels * event.sample_rate_hz
            for meter in self._jitter:
                meter.restart(event.sample_rate_hz)
        await self._inbox.put(Piece(event, arrived, seconds, self._jitter_ms()))

    def seconds_of(self, event: Audio) -> float:
        """How long the audio is, on each of its legs."""
        return len(event.packet.payload) / self._bytes_per_s

    def end_input(self) -> None:
        """Says that nothing more will come."""
        self._inbox.close()

    async def run(self) -> None:
        """Works until the input has ended and everything that came was worked on.

        Raises:
            InferenceError: the call cannot go on.
        """
        with self._services.tracer.span(Stage.INGEST, kind="server", call=self._opaque_id):
            await self._run()

    async def _run(self) -> None:
        clock = self._services.clock
        while True:
            try:
                pieces = await self._inbox.get_many(MAX_JOB_S)
            except ChannelClosedError:
                break
            for event, cause in await self._in_pool(partial(self._work, pieces)):
                await self._deliver(event, cause)
        end = Piece(Stop(), clock.monotonic(), 0.0, self._jitter_ms())
        for event in await self._in_pool(self._pipeline.stop):
            await self._deliver(event, end)

    async def close(self, outcome: str) -> None:
        """Puts the end of the call on record, and tells the feed."""
        services = self._services
        summary = self._pipeline.summary()
        await self._recorder.close(outcome, self._whole(summary).body())
        services.metrics.calls.labels(outcome).inc()
        for leg, account in summary.legs.items():
            lost_s = account.audio.lost_samples / SAMPLE_RATE_HZ
            services.metrics.gap_seconds.labels(leg.value).inc(lost_s)
            for fate, reason, samples in account.audio.outcomes():
                seconds = services.metrics.audio_outcome_seconds.labels(leg.value, fate, reason)
                seconds.inc(samples / SAMPLE_RATE_HZ)
        self._log.info("call_ended", outcome=outcome, duration_s=summary.duration_s)

    def _work(self, pieces: Sequence[Piece]) -> list[tuple[ServerEvent, Piece]]:
        """Runs in the pool. Each event comes with what brought it about."""
        return [(event, piece) for piece in join_audio(pieces) for event in self._take(piece.event)]

    def _take(self, event: WireEvent) -> list[ServerEvent]:
        if isinstance(event, Audio):
            return self._pipeline.push(event.packet)
        if isinstance(event, Start | Stop | Reply):  # the connection's own business
            return []
        return self._pipeline.control(event)

    async def _in_pool(self, work: Callable[[], list[T]]) -> list[T]:
        within = contextvars.copy_context()  # the span of the call goes with the work
        return await asyncio.get_running_loop().run_in_executor(self._services.pool, within.run, work)

    async def _deliver(self, event: ServerEvent, cause: Piece) -> None:
        if isinstance(event, UtteranceRecord):
            event = await self._record(self._with_jitter(event, cause), cause.arrived)
        elif isinstance(event, Interim):
            event = Interim(self._with_jitter(event.record, cause))
        elif isinstance(event, LineEvent):
            self._services.metrics.line_events.labels(event.kind).inc()
        elif isinstance(event, KeyPressed):
            await self._note_key(event)
        elif isinstance(event, MetadataAdded):
            await self._recorder.add_metadata(event.values)
        elif isinstance(event, CallSummary):
            event = self._whole(event)
        live = live_event(self.start.call_id, event)
        if live is not None:
            self._recorder.publish(live)
        await self._reply(event)

    def _whole(self, summary: CallSummary) -> CallSummary:
        """The account of the whole call, what came before it broke off included."""
        return summary if self._earlier is None else replace(summary, earlier=self._earlier.summary)

    def _jitter_ms(self) -> tuple[float | None, ...]:
        return tuple(meter.jitter_ms for meter in self._jitter)

    def _with_jitter(self, record: UtteranceRecord, cause: Piece) -> UtteranceRecord:
        """The record with its track's jitter when what ended it arrived."""
        jitter_ms = cause.jitter_ms[self._track_of[record.leg]]
        return replace(record, audio_quality=replace(record.audio_quality, jitter_ms=jitter_ms))

    async def _record(self, record: UtteranceRecord, arrived: float) -> UtteranceRecord:
        """Stores and counts a record; returns it with its latency."""
        latency_s = self._services.clock.monotonic() - arrived
        record = replace(record, latency_ms=round(latency_s * 1000, 1))
        with self._services.tracer.span(Stage.UTTERANCE, leg=record.leg.value, latency_s=latency_s):
            record = await self._recorder.record(record)
        self._services.metrics.count_utterance(
            emotion=record.emotion, reason=record.reason, event=record.event
        )
        self._services.metrics.utterance_latency.observe(latency_s)
        return record

    async def _note_key(self, key: KeyPressed) -> None:
        """Keeps a key with the call; the first `MAX_KEYS_KEPT` of them."""
        if len(self._keys) < MAX_KEYS_KEPT:
            leg = None if key.leg is None else key.leg.value
            self._keys.append({"digit": key.digit, "leg": leg, "at_s": key.at_s})
            await self._recorder.add_metadata({"dtmf": list(self._keys)})


def join_audio(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Joins neighbouring audio up to `JOIN_S`; the joined piece arrived when its last part did."""
    waiting: list[Piece] = []
    seconds = 0.0
    for piece in pieces:
        joinable = (
            isinstance(piece.event, Audio)
            and piece.event.packet.position_samples is None
            and piece.event.packet.track == 0
        )
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
    return Piece(Audio(AudioPacket(payload)), pieces[-1].arrived, seconds, pieces[-1].jitter_ms)
