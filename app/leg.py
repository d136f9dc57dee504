"""One leg of a call, frame by frame: voice activity, endpoints, tokens while the caller speaks, accounting.

Audio is kept only as long as an utterance may still need it: a ring of fixed size holds the frames that a
start may reach back to, or that a forced cut may hand to the next utterance. Everything else is tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.accounting import AudioAccount, Counts, LegSummary
from app.audio.endpoint import EndpointConfig, Endpointer, EndpointEvent, UtteranceEnded
from app.audio.endpoint import SpeechStarted as Onset
from app.audio.quality import QualityMeter
from app.audio.tones import Heard, ToneMeter
from app.audio.vad import FRAME_MS, FRAME_SAMPLES
from app.domain import TONE, AbstainReason, AudioQuality, FloatArray, Leg, TokenArray, Utterance
from app.policy import LegPolicy


class TokenStream(Protocol):
    """Tokens of one utterance as it is heard (`app.inference.tokenizer.TokenStream`)."""

    def push(self, samples: FloatArray) -> None:
        """Take the next audio, float32 [n] at 8 kHz."""
        ...

    def tokens(self, n_samples: int) -> TokenArray:
        """Tokens of the first n samples, int64 [K, T]; changes nothing."""
        ...

    def reset(self) -> None:
        """Forget everything: a new utterance begins."""
        ...


class Vad(Protocol):
    """Voice activity of one leg (`app.audio.vad.FrameVad`)."""

    def judge(self, frame: FloatArray) -> tuple[bool, float]:
        """Is the leg's next frame, float32 [160], speech; and its energy in dBFS."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Someone began to speak. start_s: seconds on the leg's clock, pre-roll included."""

    leg: Leg
    utterance_id: str
    start_s: float


@dataclass(frozen=True, slots=True)
class UtteranceReady:
    """An utterance is complete; its outcome is awaited by `account`."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class InterimReady:
    """An utterance as far as it has been heard."""

    utterance: Utterance


LegEvent = SpeechStarted | UtteranceReady | InterimReady


@dataclass(frozen=True, slots=True)
class AbstainRules:
    """What is known to be too little before it is scored: voiced seconds, and dB over the noise floor."""

    min_speech_s: float = 0.0
    min_snr_db: float = float("-inf")

    def judge(self, speech_s: float, quality: AudioQuality) -> tuple[AbstainReason | None, str | None]:
        """The reason to abstain that comes first, with its detail; an unknown SNR is no reason."""
        if speech_s < self.min_speech_s:
            return AbstainReason.TOO_SHORT, f"{speech_s:.2f} s of speech, {self.min_speech_s:.2f} are needed"
        if quality.snr_db is not None and quality.snr_db < self.min_snr_db:
            return AbstainReason.TOO_NOISY, f"SNR {quality.snr_db:.1f} dB, {self.min_snr_db:.1f} is needed"
        return None, None


@dataclass(frozen=True, slots=True)
class LegParts:
    """What a leg is made of. interim_frames: frames between interims, 0 for none.

    offset_s, first_utterance: where its clock and the numbers of its utterances begin.
    """

    call_id: str
    leg: Leg
    policy: LegPolicy
    endpoint: EndpointConfig
    abstain: AbstainRules
    new_token_stream: Callable[[], TokenStream]
    vad: Vad
    interim_frames: int = 0
    offset_s: float = 0.0
    first_utterance: int = 0


class FrameRing:
    """The leg's last `capacity` frames of audio, in memory of fixed size."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames = np.zeros((capacity, FRAME_SAMPLES), dtype=np.float32)

    def write(self, index: int, frame: FloatArray) -> None:
        """Keep frame `index`, float32 [160]; the one `capacity` before it is gone."""
        self._frames[index % self._capacity] = frame

    def audio(self, start: int, end: int) -> list[FloatArray]:
        """Frames [start, end), at least one and all still held, as one or two contiguous stretches."""
        first, last = start % self._capacity, (end - 1) % self._capacity
        if first <= last:
            return [self._frames[first : last + 1].reshape(-1)]
        return [self._frames[first:].reshape(-1), self._frames[: last + 1].reshape(-1)]


@dataclass(slots=True)
class _InFlight:
    """The utterance being heard. fed: frames from there on have yet to reach the token stream."""

    start: int
    utterance_id: str
    fed: int


class LegTracker:
    """One leg, advanced a frame of 20 ms at a time by its call."""

    def __init__(self, parts: LegParts) -> None:
        config = parts.endpoint
        self._parts = parts
        self._endpointer = Endpointer(config)
        # How far an utterance may start before the frame that says so: in silence, or at a forced cut.
        reach = max(config.lookback_frames, config.max_frames // 3, config.trailing_frames)
        self._ring = FrameRing(reach + 2)
        self._history = config.max_frames + config.lookback_frames + 2
        self._before: npt.NDArray[np.int64] = np.zeros((self._history, 2), dtype=np.int64)
        self._quality = QualityMeter(self._history)
        self._codec: str | None = None
        # With less voice beside it a tone is all there is: so much alone would be a blip.
        self._tones = ToneMeter(self._history, config.min_speech_ms // FRAME_MS)
        self._stream = parts.new_token_stream() if parts.policy.scored else None
        self._next = 0
        self._counts = Counts()
        self._voiced = 0
        self._in_flight: _InFlight | None = None
        self._started = parts.first_utterance
        self._ended = 0
        self._pending: dict[str, int] = {}
        self._scored_samples = 0
        self._rejected: Counter[str] = Counter()

    @property
    def now_s(self) -> float:
        """Seconds of whole frames that have passed, and of what came before."""
        return self._at(self._next)

    def step(self, frame: FloatArray, counts: Counts) -> list[LegEvent]:
        """Take the leg's next frame, float32 [160]; counts: what its samples are."""
        index = self._next
        self._before[index % self._history] = self._counts.heard, self._voiced
        voiced, energy_db = self._parts.vad.judge(frame)
        voiced = voiced and not counts.paused  # nothing may start within a pause
        self._ring.write(index, frame)
        self._quality.push(index, frame, voiced, energy_db, counts.lost, counts.concealed)
        self._tones.push(index, frame, voiced, energy_db)
        self._advance(1, counts)
        self._voiced += voiced
        self._feed()
        events = self._follow(self._endpointer.push(index, voiced, energy_db))
        return events + self._interim()

    def sent_as(self, codec: str) -> None:
        """Name the codec of what follows (`Encoding.at`); only outside utterances."""
        self._codec = codec

    def skip(self, frames: int, counts: Counts) -> None:
        """Let whole frames pass unheard; only outside utterances, after a `flush`."""
        self._advance(frames, counts)

    def flush(self) -> list[LegEvent]:
        """End the utterance in flight, if any, with the frames heard."""
        return self._follow(self._endpointer.flush())

    def end(self, counts: Counts) -> None:
        """Count the last samples of the leg, too few for a frame."""
        self._counts += counts

    def account(self, utterance_id: str, rejected: str | None) -> None:
        """Book an utterance's audio as scored (None) or rejected for a reason.

        Raises:
            KeyError: it does not await its outcome.
        """
        samples = self._pending.pop(utterance_id)
        if rejected is None:
            self._scored_samples += samples
        else:
            self._rejected[rejected] += samples

    def summary(self) -> LegSummary:
        """Where the leg's audio went so far; what is not booked yet is `pending` among the rejected."""
        rejected = Counter(self._rejected)
        rejected["pending"] += sum(self._pending.values())
        in_utterances = self._scored_samples + sum(rejected.values())
        rejected["paused"] += self._counts.paused
        audio = AudioAccount(
            scored_samples=self._scored_samples,
            silence_samples=self._counts.heard - in_utterances,
            rejected_samples={reason: samples for reason, samples in rejected.items() if samples},
            lost_samples=self._counts.lost,
        )
        return LegSummary(self._ended, audio)

    def _advance(self, frames: int, counts: Counts) -> None:
        self._next += frames
        self._counts += counts

    def _feed(self) -> None:
        """Bring the token stream up to the newest frame."""
        if self._in_flight is None or self._stream is None:
            return
        for samples in self._ring.audio(self._in_flight.fed, self._next):
            self._stream.push(samples)
        self._in_flight.fed = self._next

    def _follow(self, events: tuple[EndpointEvent, ...]) -> list[LegEvent]:
        followed: list[LegEvent] = []
        for event in events:
            flight, self._in_flight = self._in_flight, None
            if isinstance(event, Onset):
                followed.append(self._begin(event.start_frame))
            elif isinstance(event, UtteranceEnded) and flight is not None:
                followed.append(self._finish(flight, event))
            else:
                self._rejected["blip"] += self._heard_in(event.start_frame, event.end_frame)
        return followed

    def _begin(self, start: int) -> SpeechStarted:
        utterance_id = f"{self._parts.call_id}.{self._parts.leg}.{self._started:04d}"
        self._started += 1
        self._in_flight = _InFlight(start, utterance_id, fed=start)
        if self._stream is not None:
            self._stream.reset()
        self._feed()
        return SpeechStarted(self._parts.leg, utterance_id, self._at(start))

    def _finish(self, flight: _InFlight, ended: UtteranceEnded) -> UtteranceReady:
        utterance = self._utterance(flight, ended.end_frame, ended.voiced_frames)
        self._pending[utterance.utterance_id] = self._heard_in(ended.start_frame, ended.end_frame)
        self._ended += 1
        return UtteranceReady(utterance)

    def _interim(self) -> list[LegEvent]:
        """The utterance in flight so far, where an interim is due."""
        flight, every = self._in_flight, self._parts.interim_frames
        if flight is None or self._stream is None or not every or (self._next - flight.start) % every:
            return []
        voiced = self._voiced - int(self._before[flight.start % self._history, 1])
        return [InterimReady(self._utterance(flight, self._next, voiced))]

    def _utterance(self, flight: _InFlight, end: int, voiced_frames: int) -> Utterance:
        """An utterance up to frame `end`."""
        start = flight.start
        quality = self._quality.measure(start, end, self._codec)
        heard = self._tones.judge(start, end)
        speech_s = _seconds(voiced_frames if heard.tone else voiced_frames - heard.tone_frames)
        reason, detail = self._known_reason(speech_s, quality, heard)
        tokens: TokenArray | None = None
        if self._stream is not None and not heard.tone:
            tokens = self._stream.tokens((end - start) * FRAME_SAMPLES)
        return Utterance(
            call_id=self._parts.call_id,
            leg=self._parts.leg,
            utterance_id=flight.utterance_id,
            start_s=self._at(start),
            end_s=self._at(end),
            speech_s=speech_s,
            tokens=tokens,
            quality=quality,
            reason=reason,
            detail=detail,
            tone=heard.tone,
        )

    def _known_reason(
        self, speech_s: float, quality: AudioQuality, heard: Heard
    ) -> tuple[AbstainReason | None, str | None]:
        if not self._parts.policy.scored:
            return self._parts.policy.reason, self._parts.policy.detail
        if heard.tone is not None:
            return AbstainReason.NOT_SPEECH, f"{TONE}: {heard.tone}"
        return self._parts.abstain.judge(speech_s, quality)

    def _at(self, frames: int) -> float:
        """Where a frame begins on the leg's clock, in seconds."""
        return round(self._parts.offset_s + _seconds(frames), 3)

    def _heard_in(self, start: int, end: int) -> int:
        """Samples that truly came, within frames [start, end)."""
        until = self._counts.heard if end == self._next else int(self._before[end % self._history, 0])
        return until - int(self._before[start % self._history, 0])


def _seconds(frames: int) -> float:
    """Frames as seconds."""
    return round(frames * FRAME_MS / 1000, 3)
