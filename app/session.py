"""One call: audio in, events out, in the order of the sample clock and of nothing else.

No I/O, no clock, no asyncio. All legs advance together in frames of 20 ms, so events never depend on how the
audio was cut into messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from app.accounting import AudioAccount, CallSummary, Kind, LegSummary, Timeline
from app.audio.endpoint import EndpointConfig
from app.audio.framing import Aligned, Deinterleaver, Framer, SampleClock
from app.audio.resample import StreamingResampler
from app.audio.vad import FRAME_MS, FRAME_SAMPLES
from app.domain import AbstainReason, AudioPacket, CallStart, FloatArray, Leg, Utterance
from app.leg import (
    AbstainRules,
    InterimReady,
    LegParts,
    LegTracker,
    SpeechStarted,
    TokenStream,
    UtteranceReady,
    Vad,
)
from app.policy import LegPolicy, PolicyConfig, decide

__all__ = [
    "AbstainRules",
    "AudioAccount",
    "CallSession",
    "CallSummary",
    "InterimReady",
    "LegSummary",
    "MarkReached",
    "SessionError",
    "SessionEvent",
    "SessionParts",
    "SessionWarning",
    "SpeechStarted",
    "TokenStream",
    "UtteranceReady",
    "Vad",
]


class SessionError(RuntimeError):
    """The session was driven after its end: a mistake of the caller, not of the client."""


@dataclass(frozen=True, slots=True)
class MarkReached:
    """All audio before the client's mark has been worked on."""

    name: str


@dataclass(frozen=True, slots=True)
class SessionWarning:
    """Something was wrong with the audio; the call goes on (`docs/protocol.md` lists the codes)."""

    code: str
    detail: str


SessionEvent: TypeAlias = SpeechStarted | UtteranceReady | InterimReady | MarkReached | SessionWarning


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What every call is made of; shared by all calls.

    new_token_stream: called once for each leg that may be scored. new_vad: once for each leg.
    interim_every_s: speech between two interims, for calls that ask for them.
    max_gap_s: longest hole in the sender's clock that is filled with silence.
    """

    new_token_stream: Callable[[], TokenStream]
    new_vad: Callable[[], Vad]
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    abstain: AbstainRules = field(default_factory=AbstainRules)
    interim_every_s: float = 2.0
    max_gap_s: float = 10.0


class CallSession:
    """One call from its start to its stop. Not thread-safe: one caller at a time.

    Raises:
        SessionError: on any use after `stop` but `account` and `summary`.
    """

    def __init__(self, start: CallStart, parts: SessionParts) -> None:
        self.start = start
        self.policies = {leg: decide(leg, start, parts.policy) for leg in start.format.channels}
        rate_hz = start.format.sample_rate_hz
        self._deinterleaver = Deinterleaver(start.format)
        self._clock = SampleClock(int(parts.max_gap_s * rate_hz))
        self._timeline = Timeline(rate_hz)
        self._rate_hz = rate_hz
        self._resamplers = [StreamingResampler(rate_hz) for _ in start.format.channels]
        self._framers = [Framer(FRAME_SAMPLES) for _ in start.format.channels]
        self._legs = {
            leg: LegTracker(_leg_parts(leg, policy, start, parts)) for leg, policy in self.policies.items()
        }
        self._paused = False
        self._stopped = False

    def push(self, packet: AudioPacket) -> list[SessionEvent]:
        """Take audio of any length, broken sample instants included."""
        self._check_running()
        if packet.position_samples is not None:
            self._deinterleaver.drop_tail()
        channels = self._deinterleaver.push(packet.payload)
        if not channels[0].size:
            return []
        aligned = self._clock.align(packet.position_samples, channels)
        events = self._gap_warnings(aligned)
        if self._paused:
            self._skip(aligned.channels[0].size)
            return events
        self._timeline.add(Kind.LOST, aligned.filled_samples)
        self._timeline.add(Kind.HEARD, aligned.channels[0].size - aligned.filled_samples)
        legs = zip(self._resamplers, aligned.channels, strict=True)
        return events + self._advance([resampler.push(samples) for resampler, samples in legs])

    def mark(self, name: str) -> list[SessionEvent]:
        """Answer a mark: audio is worked on as it is pushed, so everything before it is done."""
        self._check_running()
        return [MarkReached(name)]

    def flush(self) -> list[SessionEvent]:
        """End the utterance in flight of every leg here; less than a frame of its last audio stays behind."""
        self._check_running()
        events = self._advance([resampler.flush() for resampler in self._resamplers])
        self._timeline.restart()
        for leg in self._legs.values():
            events.extend(leg.flush())
        return events

    def pause(self) -> list[SessionEvent]:
        """End the utterances in flight and drop audio at the door until `resume`; its time still counts."""
        events = self.flush()
        self._paused = True
        return events

    def resume(self) -> list[SessionEvent]:
        """Listen again; without a pause it does nothing."""
        self._check_running()
        if self._paused:
            self._timeline.restart()
            self._paused = False
        return []

    def stop(self) -> list[SessionEvent]:
        """End the call: the utterances in flight come out, and a warning where a sample was cut in two."""
        events = self.flush()
        rest = self._timeline.take(self._framers[0].pending_samples)
        for leg in self._legs.values():
            leg.end(rest)
        if self._deinterleaver.pending_bytes:
            expected = self.start.format.frame_bytes
            got = self._deinterleaver.pending_bytes
            detail = f"the audio ended with {got} of the {expected} bytes of a sample; they were left out"
            events.append(SessionWarning("truncated_sample", detail))
        self._stopped = True
        return events

    def account(self, utterance: Utterance, reason: AbstainReason | str | None) -> None:
        """Report what became of an utterance: scored (None), or the reason why its audio was rejected.

        An `uncertain` utterance counts as scored: its scores are published.

        Raises:
            KeyError: not an utterance of this call that awaits its outcome.
        """
        scored = reason is None or reason is AbstainReason.UNCERTAIN
        self._legs[utterance.leg].account(utterance.utterance_id, None if scored else str(reason))

    def summary(self) -> CallSummary:
        """Where the audio went, so far or at the end."""
        return CallSummary(self.start.call_id, {leg: track.summary() for leg, track in self._legs.items()})

    def _advance(self, resampled: list[FloatArray]) -> list[SessionEvent]:
        """Frame what came and step the legs in lockstep."""
        legs = zip(self._framers, resampled, strict=True)
        framed = [framer.push(samples) for framer, samples in legs]
        events: list[SessionEvent] = []
        for frames in zip(*framed, strict=True):
            counts = self._timeline.take(FRAME_SAMPLES)
            for leg, frame in zip(self._legs.values(), frames, strict=True):
                events.extend(leg.step(frame, counts))
        return events

    def _skip(self, in_samples: int) -> None:
        """Let paused time pass: silence up to the frame grid, whole frames unheard, silence again.

        No frame of it can start an utterance, so it makes no events.
        """
        samples = self._timeline.add(Kind.PAUSED, in_samples)
        head = min(samples, -self._framers[0].pending_samples % FRAME_SAMPLES)
        self._advance([np.zeros(head, dtype=np.float32) for _ in self._legs])
        frames, tail = divmod(samples - head, FRAME_SAMPLES)
        if frames:
            counts = self._timeline.take(frames * FRAME_SAMPLES)
            for leg in self._legs.values():
                leg.skip(frames, counts)
        self._advance([np.zeros(tail, dtype=np.float32) for _ in self._legs])

    def _gap_warnings(self, aligned: Aligned) -> list[SessionEvent]:
        if aligned.restarted:
            return [
                SessionWarning("clock_restarted", "the sender's sample clock went back; audio follows on")
            ]
        if aligned.skipped_samples:
            missing = round(aligned.skipped_samples / self._rate_hz, 3)
            return [SessionWarning("long_gap", f"{missing} s of a gap are beyond the longest that is filled")]
        return []

    def _check_running(self) -> None:
        if self._stopped:
            raise SessionError("expected nothing after stop")


def _leg_parts(leg: Leg, policy: LegPolicy, start: CallStart, parts: SessionParts) -> LegParts:
    every = max(1, int(parts.interim_every_s * 1000) // FRAME_MS)
    return LegParts(
        call_id=start.call_id,
        leg=leg,
        policy=policy,
        endpoint=parts.endpoint,
        abstain=parts.abstain,
        new_token_stream=parts.new_token_stream,
        vad=parts.new_vad(),
        interim_frames=every if start.interim else 0,
    )
