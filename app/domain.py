"""The words of the service as frozen values: what crosses between its rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 8_000
"""Rate of canonical audio: mono float32 in [-1, 1] per leg."""

TONE = "tone"
"""The kind of what is not speech but a tone of the network."""
OTHER = "other"
"""The kind of what is not speech, where nothing says what it is."""

DEFAULT_TENANT = "default"
"""Whose everything is where a site has no tenants."""

FloatArray = npt.NDArray[np.float32]
TokenArray = npt.NDArray[np.int64]


class Leg(StrEnum):
    """One side of a call; `MIXED`: a wire that cannot tell the sides apart."""

    CUSTOMER = "customer"
    AGENT = "agent"
    MIXED = "mixed"


class Encoding(StrEnum):
    """How a sample is written on the wire (s16le: signed 16-bit, little endian)."""

    PCM_MULAW = "pcm_mulaw"
    PCM_ALAW = "pcm_alaw"
    PCM_S16LE = "pcm_s16le"

    @property
    def sample_bytes(self) -> int:
        """Bytes per sample of one channel."""
        return 2 if self is Encoding.PCM_S16LE else 1

    def at(self, sample_rate_hz: int) -> str:
        """The codec as records name it: the encoding and the sender's rate, `pcm_mulaw/8000`."""
        return f"{self.value}/{sample_rate_hz}"


class AbstainReason(StrEnum):
    """Why an utterance carries no emotion."""

    TOO_SHORT = "too_short"
    TOO_NOISY = "too_noisy"
    UNCERTAIN = "uncertain"
    NOT_SPEECH = "not_speech"
    POLICY = "policy"

    @property
    def hides_scores(self) -> bool:
        """True where even the posterior would mislead (or is forbidden), so it is not published."""
        return self in (AbstainReason.TOO_SHORT, AbstainReason.NOT_SPEECH, AbstainReason.POLICY)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The audio of a stream: `channels` are interleaved in the order given.

    separate: they are not interleaved, but tracks of their own; each packet names its track, and each track has
    its own clock.
    """

    encoding: Encoding
    sample_rate_hz: int
    channels: tuple[Leg, ...]
    separate: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample instant of a packet: of one track, or over all interleaved channels."""
        return self.encoding.sample_bytes * (1 if self.separate else len(self.channels))

    @property
    def tracks(self) -> tuple[tuple[Leg, ...], ...]:
        """The legs that share packets and a clock, by track."""
        return tuple((leg,) for leg in self.channels) if self.separate else (self.channels,)


@dataclass(frozen=True, slots=True)
class EarlierPart:
    """What is known of a call that broke off and is taken up again.

    offset_s: seconds that were heard. utterances: by leg, the number that its next utterance gets.
    """

    offset_s: float
    utterances: Mapping[Leg, int]


@dataclass(frozen=True, slots=True)
class CallStart:
    """What a client says of a call before its first audio.

    tenant: whose call it is; known from the credentials, never from the client's words. team: a tag for statistics.
    subject: a pseudonym of the caller, by which calls can be erased. resume: the secret of the call to be taken up
    again. earlier: what came before, where it is.
    """

    call_id: str
    format: AudioFormat
    line: str = "default"
    language: str | None = None
    interim: bool = False
    salience: bool = False
    consent: bool = False
    notice_given: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = DEFAULT_TENANT
    team: str | None = None
    subject: str | None = None
    resume: str | None = None
    earlier: EarlierPart | None = None


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """Audio as it arrived: whole or broken sample instants, interleaved over the call's channels.

    `position_samples` is where the packet starts on the sender's sample clock (at the sender's rate), or
    None when the wire has no clock and packets are contiguous. track: index into `AudioFormat.tracks`.
    """

    payload: bytes
    position_samples: int | None = None
    track: int = 0


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """How good the sound of one utterance was.

    snr_db: speech power over the leg's noise floor, None while the floor is unknown.
    clipped: share of samples at full scale, [0, 1].
    packet_loss: share of the utterance that never arrived, [0, 1].
    level_dbfs: mean power of its voiced frames, None where none is voiced.
    concealed: share of the utterance that was made here for what never arrived, [0, 1].
    codec: how it was written (`Encoding.at`), None where that is not known.
    jitter_ms: interarrival jitter as it ended (`app.audio.jitter`), None where nothing arrived in packets.
    """

    snr_db: float | None
    clipped: float
    packet_loss: float
    level_dbfs: float | None = None
    concealed: float = 0.0
    codec: str | None = None
    jitter_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech of one leg, cut and tokenised, ready to be scored.

    tokens: int64 [K, T], None when the utterance must not be or could not be tokenised.
    start_s, end_s: seconds on the leg's sample clock. speech_s: voiced seconds inside it.
    reason: an abstention already known (policy, a tone, too short, too noisy), with a `detail` for people.
    tone: the network's tone that it is, where it is one (`app.audio.tones.ToneKind`).
    """

    call_id: str
    leg: Leg
    utterance_id: str
    start_s: float
    end_s: float
    speech_s: float
    tokens: TokenArray | None
    quality: AudioQuality
    reason: AbstainReason | None = None
    detail: str | None = None
    tone: str | None = None


@dataclass(frozen=True, slots=True)
class LineEvent:
    """Something heard on the line that is not speech, and told instead of an emotion.

    kind: `tone`, or one of the bundle's rejected kinds (music, prompt, noise …); `other` where the bundle tells none.
    name: which tone. start_s, end_s: seconds on the leg's clock.
    """

    call_id: str
    leg: Leg
    kind: str
    name: str | None
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class LineRef:
    """Which line profile a record was scored with, and how many utterances it held then."""

    id: str
    n: int


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which bundle and head made a score."""

    bundle: str
    version: str
    head: str


@dataclass(frozen=True, slots=True)
class UtteranceRecord:
    """What users get: one per utterance (`docs/protocol.md` gives every field).

    scores: calibrated posterior by category, rounded to 4 digits; None when withheld.
    confidence: largest posterior. arousal, valence: [-1, 1]. expected_cost: in the units of the cost matrix.
    salience: weight of each token in the pooled embedding, sums to 1; only when asked for.
    latency_ms: end of utterance to record, None where there was no clock (a file).
    event: what the speaker utters without words (laughter …), None where nothing of the kind is heard or the head
        knows none; event_score: its posterior among kinds of sound.
    not_speech_kind: what it is where it is not speech, None where the head cannot tell; not_speech_name: which tone.
    seq: 1, 2, 3 … over the records of a call, without holes; None outside a live call (a file).
    created_at: when it was made, epoch seconds; None for a file. durable: it survives a killed service or store.
    """

    call_id: str
    leg: Leg
    utterance_id: str
    start_s: float
    end_s: float
    scores: Mapping[str, float] | None
    emotion: str | None
    abstained: bool
    reason: AbstainReason | None
    detail: str | None
    confidence: float | None
    arousal: float | None
    valence: float | None
    expected_cost: float | None
    salience: tuple[float, ...] | None
    model: ModelRef
    line_profile: LineRef
    audio_quality: AudioQuality
    latency_ms: float | None = None
    event: str | None = None
    event_score: float | None = None
    not_speech_kind: str | None = None
    not_speech_name: str | None = None
    seq: int | None = None
    created_at: float | None = None
    durable: bool = False

    @property
    def line_event(self) -> LineEvent | None:
        """The record as an event of the line, where it is not speech."""
        if self.reason is not AbstainReason.NOT_SPEECH:
            return None
        kind = self.not_speech_kind or OTHER
        return LineEvent(self.call_id, self.leg, kind, self.not_speech_name, self.start_s, self.end_s)
