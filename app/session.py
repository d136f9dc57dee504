"""One call: audio in, events out, in the order of the sample clock and of nothing else.

No I/O, no clock, no asyncio. The legs of a track advance together (`app.lane`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from app.accounting import AudioAccount, CallSummary, LegSummary
from app.audio.endpoint import EndpointConfig
from app.audio.vad import FRAME_MS
from app.domain import AbstainReason, AudioPacket, CallStart, EarlierPart, Encoding, Leg, Utterance
from app.keys import KeyRules
from app.lane import GapLimits, Lane
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


TRACK_SKEW_S = 0.2
"""Tracks whose first packets lie no further apart on the sender's clock began together."""


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
    max_gap_s: longest hole in the sender's clock that is filled in the utterance. max_jump_s: longest hole at all; a
    jump beyond it is a clock that was set anew. key_rules: by line, keys that pause and resume a call.
    """

    new_token_stream: Callable[[], TokenStream]
    new_vad: Callable[[], Vad]
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    abstain: AbstainRules = field(default_factory=AbstainRules)
    interim_every_s: float = 2.0
    max_gap_s: float = 10.0
    max_jump_s: float = 3_600.0
    key_rules: Mapping[str, KeyRules] = field(default_factory=dict)


class CallSession:
    """One call from its start to its stop. Not thread-safe: one caller at a time.

    Raises:
        SessionError: on any use after `stop` but `account` and `summary`.
    """

    def __init__(self, start: CallStart, parts: SessionParts) -> None:
        self.start = start
        self.policies = {leg: decide(leg, start, parts.policy) for leg in start.format.channels}
        self.key_rules = parts.key_rules.get(start.line, KeyRules())
        self._legs = {
            leg: LegTracker(_leg_parts(leg, policy, start, parts)) for leg, policy in self.policies.items()
        }
        limits = GapLimits(parts.max_gap_s, max(parts.max_gap_s, parts.max_jump_s))
        self._lanes = [
            Lane(start.format, [self._legs[leg] for leg in legs], limits) for legs in start.format.tracks
        ]
        self._origin: int | None = None
        self._paused_by: set[str] = set()
        self._stopped = False

    @property
    def paused(self) -> bool:
        """Whether audio is dropped at the door."""
        return bool(self._paused_by)

    def paused_by(self, source: str) -> bool:
        """Whether this source has paused the call."""
        return source in self._paused_by

    @property
    def heard_s(self) -> float:
        """Seconds on the clock of the leg that is furthest."""
        return max(leg.now_s for leg in self._legs.values())

    def push(self, packet: AudioPacket) -> list[SessionEvent]:
        """Take audio of any length, broken sample instants included."""
        self._check_running()
        if packet.position_samples is not None:
            self._align_tracks(packet.track, packet.position_samples)
        events, warnings = self._lanes[packet.track].push(packet, self.paused)
        if warnings:
            return [*(SessionWarning(code, detail) for code, detail in warnings), *events]
        return [*events]

    def _align_tracks(self, track: int, position_samples: int) -> None:
        """Tracks of one sender share its clock: one that begins later than the first has a hole before it."""
        if self._origin is None:
            self._origin = position_samples
        late = position_samples - self._origin
        if late > TRACK_SKEW_S * self.start.format.sample_rate_hz:
            self._lanes[track].begin(self._origin)

    def gap(
        self, track: int, samples: int, until_samples: int | None = None, paused: bool = False
    ) -> list[SessionEvent]:
        """Let time pass for which a track brings no audio: it counts as lost, or as paused."""
        self._check_running()
        return [*self._lanes[track].gap(samples, until_samples, paused or self.paused)]

    def reformat(self, encoding: Encoding, sample_rate_hz: int) -> list[SessionEvent]:
        """What follows is written otherwise, on every track; the utterances in flight end."""
        self._check_running()
        return [event for lane in self._lanes for event in lane.reformat(encoding, sample_rate_hz)]

    def mark(self, name: str) -> list[SessionEvent]:
        """Answer a mark: audio is worked on as it is pushed, so everything before it is done."""
        self._check_running()
        return [MarkReached(name)]

    def flush(self) -> list[SessionEvent]:
        """End the utterance in flight of every leg here; less than a frame of its last audio stays behind."""
        self._check_running()
        return [event for lane in self._lanes for event in lane.flush()]

    def pause(self, source: str = "client") -> list[SessionEvent]:
        """End the utterances in flight and drop audio at the door until `resume`; its time still counts.

        source: who pauses. Several may; audio is heard again once each of them has resumed.
        """
        events = self.flush()
        self._paused_by.add(source)
        return events

    def resume(self, source: str = "client") -> list[SessionEvent]:
        """Listen again, as far as this source is concerned; without its pause it does nothing."""
        self._check_running()
        if source in self._paused_by:
            self._paused_by.discard(source)
            for lane in self._lanes:
                lane.restart()
        return []

    def stop(self) -> list[SessionEvent]:
        """End the call: the utterances in flight come out, and a warning where a sample was cut in two."""
        events = self.flush()
        for lane in self._lanes:
            lane.end()
            if lane.pending_bytes:
                detail = f"the audio ended with {lane.pending_bytes} bytes of an unfinished sample, left out"
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

    def _check_running(self) -> None:
        if self._stopped:
            raise SessionError("expected nothing after stop")


def _leg_parts(leg: Leg, policy: LegPolicy, start: CallStart, parts: SessionParts) -> LegParts:
    every = max(1, int(parts.interim_every_s * 1000) // FRAME_MS)
    earlier = start.earlier or EarlierPart(0.0, {})
    return LegParts(
        call_id=start.call_id,
        leg=leg,
        policy=policy,
        endpoint=parts.endpoint,
        abstain=parts.abstain,
        new_token_stream=parts.new_token_stream,
        vad=parts.new_vad(),
        interim_frames=every if start.interim else 0,
        offset_s=earlier.offset_s,
        first_utterance=earlier.utterances.get(leg, 0),
    )
