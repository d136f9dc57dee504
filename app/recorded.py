"""Recordings through the pipeline: as a call of its legs, or whole, as one utterance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from app.audio.active import active_range
from app.audio.g711 import encode, pcm_to_float
from app.audio.quality import QualityMeter
from app.audio.recording import Recording, RecordingError
from app.audio.resample import resample_whole
from app.audio.tones import Heard, ToneMeter
from app.audio.vad import FRAME_MS, FRAME_SAMPLES
from app.domain import (
    SAMPLE_RATE_HZ,
    TONE,
    AbstainReason,
    AudioFormat,
    AudioQuality,
    CallStart,
    Encoding,
    FloatArray,
    Leg,
    TokenArray,
    Utterance,
    UtteranceRecord,
)
from app.inference.line_profile import LegContext
from app.inference.profile_book import profile_key
from app.pipeline import PipelineParts, ServerEvent
from app.policy import decide
from app.session import SessionParts

WHOLE_MAX_S = 60.0
"""Longest file that is one utterance: of a longer one, this much from its beginning is scored."""


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
    line = profile_key(start.tenant, start.line)
    profile = parts.profiles.get(line)
    context = LegContext.empty(parts.scorer.embedding_dim)
    record, embedding = parts.scorer.score(utterance, profile, context, start.salience)
    if embedding is not None:
        parts.profiles.update(line, embedding)
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
    quality, heard = _listen(samples, first, last, parts)
    tokens: TokenArray | None = None
    reason: AbstainReason | None = policy.reason
    detail = policy.detail
    if policy.scored and heard.tone is not None:
        reason, detail = AbstainReason.NOT_SPEECH, f"{TONE}: {heard.tone}"
    elif policy.scored:
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
        quality=replace(quality, codec=start.format.encoding.at(start.format.sample_rate_hz)),
        reason=reason,
        detail=detail,
        tone=heard.tone,
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


def _listen(samples: FloatArray, first: int, last: int, parts: SessionParts) -> tuple[AudioQuality, Heard]:
    """How good the utterance [first, last) sounds, and whether it is but a tone."""
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    start, end = first // FRAME_SAMPLES, last // FRAME_SAMPLES
    if start >= end:
        return AudioQuality(None, 0.0, 0.0), Heard(None, 0)
    meter, vad = QualityMeter(len(frames)), parts.new_vad()
    tones = ToneMeter(len(frames), parts.endpoint.min_speech_ms // FRAME_MS)
    for index, frame in enumerate(frames):
        judged = vad.judge(frame)
        meter.push(index, frame, *judged)
        tones.push(index, frame, *judged)
    return meter.measure(start, end), tones.judge(start, end)
