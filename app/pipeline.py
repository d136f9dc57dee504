"""A call from bytes to records: the one path that the socket, the upload and the command line share.

Synchronous: whoever is on an event loop runs it in a thread. A pipeline belongs to one call; its parts are
shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, assert_never

from app.accounting import CallSummary
from app.domain import (
    AudioPacket,
    CallStart,
    FloatArray,
    Leg,
    LineEvent,
    ModelRef,
    Utterance,
    UtteranceRecord,
)
from app.inference.errors import InferenceError
from app.inference.line_profile import LegContext, LineProfile
from app.inference.profile_book import ProfileBook, profile_key
from app.keys import KeyAction, KeyWatch
from app.policy import LegPolicy
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
from app.wire.base import Dtmf, Flush, Gap, GapKind, Mark, Metadata, Notice, Pause, Reformat, Resume

__all__ = [
    "CallPipeline",
    "Control",
    "Interim",
    "KeyPressed",
    "LineEvent",
    "MarkReached",
    "MetadataAdded",
    "PauseChanged",
    "PipelineParts",
    "ServerEvent",
    "SessionWarning",
    "SpeechStarted",
    "Summary",
    "UtteranceScorer",
]

KEYS = "keys"
"""Who pauses a call when a configured sequence of keys does."""

FAILED = "failed"
"""Why audio was rejected when the model could not score it; not an abstention, there is no record."""

Summary = CallSummary
Control: TypeAlias = Mark | Flush | Pause | Resume | Gap | Reformat | Dtmf | Metadata | Notice


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


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key was pressed. digit: None while the call is paused for a payment. leg: None where the wire does not say.

    at_s: seconds of audio that had come by then.
    """

    digit: str | None
    leg: Leg | None
    at_s: float


@dataclass(frozen=True, slots=True)
class PauseChanged:
    """Audio is dropped at the door from now on, or heard again. source: who brought it about."""

    paused: bool
    source: str
    at_s: float


@dataclass(frozen=True, slots=True)
class MetadataAdded:
    """More was learned of the call."""

    values: Mapping[str, object]


ServerEvent: TypeAlias = (
    SpeechStarted
    | UtteranceRecord
    | LineEvent
    | Interim
    | MarkReached
    | SessionWarning
    | KeyPressed
    | PauseChanged
    | MetadataAdded
    | Summary
)


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
        self._line = profile_key(session.start.tenant, session.start.line)
        self._keys = KeyWatch(session.key_rules)
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
        """Obey the client: mark, flush, pause or resume; and take what its wire says besides audio."""
        match event:
            case Mark():
                return self._answer(self._session.mark(event.name))
            case Flush():
                return self._answer(self._session.flush())
            case Pause() | Resume():
                return self._pause(event)
            case Gap():
                paused = event.kind is GapKind.PAUSED
                return self._answer(
                    self._session.gap(event.track, event.samples, event.until_samples, paused)
                )
            case Reformat():
                return self._answer(self._session.reformat(event.encoding, event.sample_rate_hz))
            case Dtmf():
                return self._key(event)
            case Metadata():
                return [MetadataAdded(event.values)]
            case Notice():
                return [SessionWarning(event.code, event.detail)]
            case _:
                assert_never(event)

    def _pause(self, event: Pause | Resume) -> list[ServerEvent]:
        before = self._session.paused
        if isinstance(event, Pause):
            answers = self._answer(self._session.pause(event.source))
        else:
            answers = self._answer(self._session.resume(event.source))
        if self._session.paused is not before:
            answers.append(PauseChanged(self._session.paused, event.source, self._session.heard_s))
        return answers

    def _key(self, key: Dtmf) -> list[ServerEvent]:
        """A key, hidden while the call is paused; a sequence of the line's pauses or resumes."""
        legs = self.start.format.channels
        leg = None if key.track is None or key.track >= len(legs) else legs[key.track]
        action = self._keys.press(key.digit, self._session.paused_by(KEYS))
        hidden = self._session.paused
        pressed = KeyPressed(None if hidden else key.digit, leg, self._session.heard_s)
        if action is None:
            return [pressed]
        return [pressed, *self._pause(Pause(KEYS) if action is KeyAction.PAUSE else Resume(KEYS))]

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
                answers += self._finish(event.utterance)
            elif isinstance(event, InterimReady):
                answers.append(self._interim(event.utterance))
            else:
                answers.append(event)
        return answers

    def _finish(self, utterance: Utterance) -> list[ServerEvent]:
        """Score an utterance; line and leg learn from it where the scorer lets them. No speech is an event, too."""
        try:
            record, embedding = self._score(utterance)
        except InferenceError as error:
            self._session.account(utterance, FAILED)
            return [_scoring_failed(utterance, error)]
        self._session.account(utterance, record.not_speech_kind or record.reason)
        if embedding is not None:
            self._profiles.update(self._line, embedding)
            self._contexts[utterance.leg] = self._contexts[utterance.leg].update(embedding)
        return [record] if record.line_event is None else [record, record.line_event]

    def _interim(self, utterance: Utterance) -> Interim | SessionWarning:
        """Score what has been heard; nothing learns from it."""
        try:
            return Interim(self._score(utterance)[0])
        except InferenceError as error:
            return _scoring_failed(utterance, error)

    def _score(self, utterance: Utterance) -> tuple[UtteranceRecord, FloatArray | None]:
        profile = self._profiles.get(self._line)
        return self._scorer.score(utterance, profile, self._contexts[utterance.leg], self.start.salience)


def _scoring_failed(utterance: Utterance, error: InferenceError) -> SessionWarning:
    return SessionWarning("scoring_failed", f"{utterance.utterance_id} could not be scored: {error}")
