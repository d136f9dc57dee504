"""A call from bytes to records: the one path that the socket, the upload and the command line share.

Synchronous: whoever is on an event loop runs it in a thread. A pipeline belongs to one call; its parts are
shared by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from app.accounting import CallSummary
from app.audio.active import active_range
from app.audio.g711 import encode, pcm_to_float
from app.audio.quality import QualityMeter
from app.audio.recording import Recording, RecordingError
from app.audio.resample import resample_whole
from app.audio.vad import FRAME_MS, FRAME_SAMPLES
from app.domain import (
    SAMPLE_RATE_HZ,
    AbstainReason,
    AudioFormat,
    AudioPacket,
    AudioQuality,
    CallStart,
    Encoding,
    FloatArray,
    Leg,
    ModelRef,
    TokenArray,
    Utterance,
    UtteranceRecord,
)
from app.inference.errors import InferenceError
from app.inference.line_profile import LegContext, LineProfile, ProfileBook
from app.policy import LegPolicy, decide
from app.session import (
    CallSession,
    InterimReady,
    MarkReached,
    SessionEvent,
    SessionParts,
    SessionWarning,
    SpeechStarted,
    UtteranceReady,
)
from app.wire.base import Flush, Mark, Pause, Resume

__all__ = [
    "CallPipeline",
    "Control",
    "Interim",
    "MarkReached",
    "PipelineParts",
    "ServerEvent",
    "SessionWarning",
    "SpeechStarted",
    "Summary",
    "UtteranceScorer",
    "recording_start",
    "score_recording",
    "score_whole",
]

WHOLE_MAX_S = 60.0
"""Longest file that is one utterance: of a longer one, this much from its beginning is scored."""

FAILED = "failed"
"""Why audio was rejected when the model could not score it; not an abstention, there is no record."""

Summary = CallSummary
Control: TypeAlias = Mark | Flush | Pause | Resume


class UtteranceScorer(Protocol):
    """What makes records (`app.inference.scorer.Scorer`)."""

    model: ModelRef
    embedding_dim: int

    def score(
        self,
        utterance: Utterance,
        line_profile: LineProfile,
        leg_context: LegContext,
        want_salience: bool = False,
    ) -> tuple[UtteranceRecord, FloatArray | None]:
        """The record, and the embedding [D] where line and leg may learn from it."""
        ...


@dataclass(frozen=True, slots=True)
class Interim:
    """The record of an utterance that goes on."""

    record: UtteranceRecord


ServerEvent: TypeAlias = SpeechStarted | UtteranceRecord | Interim | MarkReached | SessionWarning | Summary


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What every call shares: how speech is found, what scores it, the lines' profiles."""

    session: SessionParts
    scorer: UtteranceScorer
    profiles: ProfileBook

    def open(self, start: CallStart) -> CallPipeline:
        """A pipeline for a new call."""
        return CallPipeline(CallSession(start, self.session), self.scorer, self.profiles)


class CallPipeline:
    """One call: audio and controls in, events out. Not thread-safe: one caller at a time.

    Raises:
        SessionError: on any use after `stop`, but of `summary`.
        InferenceError: the tokenizer failed; the call cannot go on.
    """

    def __init__(self, session: CallSession, scorer: UtteranceScorer, profiles: ProfileBook) -> None:
        self.start = session.start
        self._session = session
        self._scorer = scorer
        self._profiles = profiles
        self._contexts = {leg: LegContext.empty(scorer.embedding_dim) for leg in session.policies}

    @property
    def policies(self) -> dict[Leg, LegPolicy]:
        """Which legs may be scored, and why not."""
        return self._session.policies

    @property
    def unscored(self) -> dict[Leg, str]:
        """The legs that may not be scored, and why: what `ready` tells the client."""
        refused = {leg: policy for leg, policy in self.policies.items() if not policy.scored}
        return {leg: policy.detail or "policy" for leg, policy in refused.items()}

    def push(self, audio: AudioPacket | bytes) -> list[ServerEvent]:
        """Take audio of any length."""
        packet = AudioPacket(audio) if isinstance(audio, bytes) else audio
        return self._answer(self._session.push(packet))

    def control(self, event: Control) -> list[ServerEvent]:
        """Obey the client: mark, flush, pause or resume."""
        if isinstance(event, Mark):
            return self._answer(self._session.mark(event.name))
        if isinstance(event, Flush):
            return self._answer(self._session.flush())
        if isinstance(event, Pause):
            return self._answer(self._session.pause())
        return self._answer(self._session.resume())

    def stop(self) -> list[ServerEvent]:
        """End the call: what is in flight is scored, then comes the summary."""
        return [*self._answer(self._session.stop()), self.summary()]

    def summary(self) -> Summary:
        """Where the audio went, so far or at the end."""
        return self._session.summary()

    def _answer(self, events: list[SessionEvent]) -> list[ServerEvent]:
        answers: list[ServerEvent] = []
        for event in events:
            if isinstance(event, UtteranceReady):
                answers.append(self._finish(event.utterance))
            elif isinstance(event, InterimReady):
                answers.append(self._interim(event.utterance))
            else:
                answers.append(event)
        return answers

    def _finish(self, utterance: Utterance) -> UtteranceRecord | SessionWarning:
        """Score an utterance; line and leg learn from it where the scorer lets them."""
        try:
            record, embedding = self._score(utterance)
        except InferenceError as error:
            self._session.account(utterance, FAILED)
            return _scoring_failed(utterance, error)
        self._session.account(utterance, record.reason)
        if embedding is not None:
            self._profiles.update(self.start.line, embedding)
            self._contexts[utterance.leg] = self._contexts[utterance.leg].update(embedding)
        return record

    def _interim(self, utterance: Utterance) -> Interim | SessionWarning:
        """Score what has been heard; nothing learns from it."""
        try:
            return Interim(self._score(utterance)[0])
        except InferenceError as error:
            return _scoring_failed(utterance, error)

    def _score(self, utterance: Utterance) -> tuple[UtteranceRecord, FloatArray | None]:
        profile = self._profiles.get(self.start.line)
        return self._scorer.score(utterance, profile, self._contexts[utterance.leg], self.start.salience)


def _scoring_failed(utterance: Utterance, error: InferenceError) -> SessionWarning:
    return SessionWarning("scoring_failed", f"{utterance.utterance_id} could not be scored: {error}")


def recording_start(
    recording: Recording,
    call_id: str,
    *,
    legs: tuple[Leg, ...] | None = None,
    line: str = "default",
    salience: bool = False,
    consent: bool = False,
    notice_given: bool = False,
) -> CallStart:
    """The call that a recording is: s16le at the recording's rate.

    legs: of the channels in order; None takes the customer, and for two channels customer and agent.

    Raises:
        RecordingError: `wrong_legs`, another number of legs than channels.
    """
    channels = tuple(Leg)[: recording.channels] if legs is None else legs
    if len(channels) != recording.channels:
        detail = f"expected as many legs as the recording has channels, {recording.channels}"
        raise RecordingError("wrong_legs", f"{detail}, got {len(channels)}")
    return CallStart(
        call_id=call_id,
        format=AudioFormat(Encoding.PCM_S16LE, recording.sample_rate_hz, channels),
        line=line,
        salience=salience,
        consent=consent,
        notice_given=notice_given,
    )


def score_recording(recording: Recording, start: CallStart, parts: PipelineParts) -> Iterator[ServerEvent]:
    """Play a recording through the very pipeline of a live call, a second at a time.

    Raises:
        RecordingError: damaged, empty or too long; events before it stand for audio that was sound.
    """
    pipeline = parts.open(start)
    for block in recording.blocks():
        yield from pipeline.push(encode(block.reshape(-1), Encoding.PCM_S16LE))
    yield from pipeline.stop()


def score_whole(recording: Recording, start: CallStart, parts: PipelineParts) -> UtteranceRecord:
    """A recording as one utterance of one leg: no endpointing, the same tokens, scorer and profiles.

    Silence around the speech is left out, but for the margins that the endpointer keeps. Of two legs the
    customer is heard: a mixture would score the agent under the customer's policy. At most `WHOLE_MAX_S`
    from the beginning are heard; `detail` says so where there is more.

    Raises:
        RecordingError: damaged or empty.
        InferenceError: a graph failed.
    """
    legs = start.format.channels
    leg = Leg.CUSTOMER if Leg.CUSTOMER in legs else legs[0]
    samples, cut = _one_channel(recording, legs.index(leg))
    utterance = _whole_utterance(samples, leg, start, parts.session)
    profile = parts.profiles.get(start.line)
    context = LegContext.empty(parts.scorer.embedding_dim)
    record, embedding = parts.scorer.score(utterance, profile, context, start.salience)
    if embedding is not None:
        parts.profiles.update(start.line, embedding)
    if cut:
        note = f"the recording is longer than {WHOLE_MAX_S:g} s, the rest was not heard"
        record = replace(record, detail=note if record.detail is None else f"{record.detail}; {note}")
    return record


def _one_channel(recording: Recording, channel: int) -> tuple[FloatArray, bool]:
    """Canonical audio of a channel, at most `WHOLE_MAX_S`, and whether there was more."""
    longest = int(WHOLE_MAX_S * recording.sample_rate_hz)
    blocks: list[FloatArray] = []
    heard = 0
    for block in recording.blocks():
        blocks.append(pcm_to_float(block[:, channel]))
        heard += len(block)
        if heard > longest:
            break
    samples = np.concatenate(blocks)[:longest]
    return resample_whole(samples, recording.sample_rate_hz), heard > longest


def _whole_utterance(samples: FloatArray, leg: Leg, start: CallStart, parts: SessionParts) -> Utterance:
    policy = decide(leg, start, parts.policy)
    first, last, speech_s = _speech_range(samples, parts)
    quality = _quality(samples, first, last, parts)
    tokens: TokenArray | None = None
    reason: AbstainReason | None = policy.reason
    detail = policy.detail
    if policy.scored:
        stream = parts.new_token_stream()
        stream.push(samples[first:last])
        tokens = stream.tokens(last - first)
        reason, detail = parts.abstain.judge(speech_s, quality)
    return Utterance(
        call_id=start.call_id,
        leg=leg,
        utterance_id=f"{start.call_id}.{leg}.0000",
        start_s=round(first / SAMPLE_RATE_HZ, 3),
        end_s=round(last / SAMPLE_RATE_HZ, 3),
        speech_s=speech_s,
        tokens=tokens,
        quality=quality,
        reason=reason,
        detail=detail,
    )


def _speech_range(samples: FloatArray, parts: SessionParts) -> tuple[int, int, float]:
    """First and one past the last sample to score, and seconds from first to last speech.

    Where no speech is found, everything: whether it is speech is then the model's to say.
    """
    found = active_range(samples)
    if found is None:
        return 0, len(samples), round(len(samples) / SAMPLE_RATE_HZ, 3)
    per_ms = SAMPLE_RATE_HZ // 1000
    first = max(0, found[0] - parts.endpoint.pre_roll_ms // FRAME_MS * FRAME_MS * per_ms)
    last = min(len(samples), found[1] + parts.endpoint.trailing_frames * FRAME_SAMPLES)
    return first, last, round((found[1] - found[0]) / SAMPLE_RATE_HZ, 3)


def _quality(samples: FloatArray, first: int, last: int, parts: SessionParts) -> AudioQuality:
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    start, end = first // FRAME_SAMPLES, last // FRAME_SAMPLES
    if start >= end:
        return AudioQuality(None, 0.0, 0.0)
    meter, vad = QualityMeter(len(frames)), parts.new_vad()
    for index, frame in enumerate(frames):
        meter.push(index, frame, *vad.judge(frame))
    return meter.measure(start, end)
