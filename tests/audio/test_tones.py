"""Tones of the network are recognised through noise, µ-law and loss, and voices are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.endpoint import EndpointConfig, Endpointer, UtteranceEnded
from app.audio.g711 import decode, encode, float_to_pcm, pcm_to_float
from app.audio.level import energy_dbfs
from app.audio.recording import read_recording
from app.audio.tones import Heard, ToneDetector, ToneKind, ToneMeter
from app.audio.vad import FrameVad
from app.domain import Encoding, FloatArray
from tests.audio.speech import babble, frames_of

Burst = tuple[tuple[float, ...], float, float, int]
"""Frequencies, seconds of sound, seconds of silence after it, how often."""

CADENCES: list[tuple[ToneKind, list[Burst]]] = [
    (ToneKind.DIAL_TONE, [((350, 440), 4, 0, 1)]),
    (ToneKind.DIAL_TONE, [((425,), 4, 0, 1)]),
    (ToneKind.RINGBACK, [((440, 480), 2, 2, 1)]),
    (ToneKind.RINGBACK, [((400, 450), 0.4, 0.2, 3)]),
    (ToneKind.RINGBACK, [((425,), 1, 1, 2)]),
    (ToneKind.RINGBACK, [((425,), 0.7, 1, 2)]),
    (ToneKind.RINGBACK, [((450,), 2, 1, 1)]),
    (ToneKind.BUSY, [((425,), 0.5, 0.5, 3)]),
    (ToneKind.BUSY, [((425,), 0.6, 0.6, 2)]),
    (ToneKind.BUSY, [((400,), 0.375, 0.375, 3)]),
    (ToneKind.BUSY, [((480, 620), 0.25, 0.25, 4)]),
    (ToneKind.SIT, [((950,), 0.33, 0, 1), ((1400,), 0.33, 0, 1), ((1800,), 0.33, 0, 1)]),
    (ToneKind.SIT, [((913.8,), 0.274, 0, 1), ((1370.6,), 0.274, 0, 1), ((1776.7,), 0.38, 0, 1)]),
    (ToneKind.FAX, [((1100,), 0.5, 1, 2)]),
    (ToneKind.FAX, [((2100,), 2.5, 0, 1)]),
    (ToneKind.BEEP, [((1000,), 0.4, 1, 1)]),
    (ToneKind.BEEP, [((1400,), 0.3, 1, 1)]),
    (ToneKind.DTMF, [((697, 1209), 0.1, 0.1, 3), ((770, 1477), 0.1, 0.1, 3)]),
    (ToneKind.DTMF, [((941, 1336), 0.2, 0.1, 3)]),
]
KEYS = [(row, column) for row in (697, 770, 852, 941) for column in (1209, 1336, 1477, 1633)]


def tones(
    bursts: Sequence[Burst], level_dbfs: float = -15.0, offset: int = 0, off_by: float = 1.0
) -> FloatArray:
    """Tones between silences, float32; offset: samples that they lie past the frame grid."""
    pieces = [np.zeros(12_000 + offset)]
    for frequencies, on_s, off_s, times in bursts:
        t = np.arange(int(on_s * 8_000)) / 8_000
        sound = sum(np.sin(2 * np.pi * f * off_by * t + n) for n, f in enumerate(frequencies))
        sound = sound * (10 ** (level_dbfs / 20) / np.sqrt(np.mean(np.square(sound))))
        pieces += [sound, np.zeros(int(off_s * 8_000))] * times
    return np.concatenate([*pieces, np.zeros(9_600)]).astype(np.float32)


def noisy(samples: FloatArray, noise_dbfs: float) -> FloatArray:
    """With white noise, as µ-law brings it."""
    noise = np.random.default_rng(0).normal(0, 10 ** (noise_dbfs / 20), len(samples))
    pcm = float_to_pcm((samples + noise).astype(np.float32))
    return pcm_to_float(decode(encode(pcm, Encoding.PCM_MULAW), Encoding.PCM_MULAW))


def heard(samples: FloatArray, loss: float = 0.0) -> list[tuple[int, Heard]]:
    """What the meter says of each utterance of a line: voiced frames, and the verdict."""
    frames = frames_of(samples).copy()
    frames[np.random.default_rng(1).random(len(frames)) < loss] = 0.0
    vad, endpointer, meter = FrameVad(), Endpointer(EndpointConfig()), ToneMeter(1_000, 10)
    found: list[tuple[int, Heard]] = []
    for index, frame in enumerate(frames):
        judged = vad.judge(frame)
        meter.push(index, frame, *judged)
        events = endpointer.push(index, *judged)
        if index + 1 == len(frames):
            events += endpointer.flush()
        for event in events:
            if isinstance(event, UtteranceEnded):
                found.append((event.voiced_frames, meter.judge(event.start_frame, event.end_frame)))
    return found


def kinds(samples: FloatArray, loss: float = 0.0) -> set[ToneKind | None]:
    """The verdicts on a line's utterances."""
    return {verdict.tone for _, verdict in heard(samples, loss)}


@pytest.mark.parametrize(("kind", "bursts"), CADENCES)
@pytest.mark.parametrize(
    ("level_dbfs", "off_by", "noise_dbfs"), [(-5.0, 0.985, -30.0), (-15.0, 1.015, -90.0), (-40.0, 1.0, -65.0)]
)
def test_tones_are_named(
    kind: ToneKind, bursts: list[Burst], level_dbfs: float, off_by: float, noise_dbfs: float
) -> None:
    """Loud and soft, 1.5 % off, with noise 25 dB below and without; the noise itself is no tone."""
    sound = tones(bursts, level_dbfs, offset=59, off_by=off_by)
    assert kinds(noisy(sound, noise_dbfs)) - {None} == {kind}


@pytest.mark.parametrize(
    ("kind", "bursts"), [case for case in CADENCES if case[0] in (ToneKind.RINGBACK, ToneKind.BUSY)]
)
def test_tones_are_named_through_packet_loss(kind: ToneKind, bursts: list[Burst]) -> None:
    """One packet in twenty lost and filled with silence."""
    assert kinds(noisy(tones(bursts), -65), loss=0.05) == {kind}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("off_by", [0.985, 1.015])
def test_every_key_is_a_pair(key: tuple[int, int], off_by: float) -> None:
    """All sixteen, with the upper tone 6 dB below the lower."""
    t = np.arange(1_600) / 8_000
    sound = np.sin(2 * np.pi * key[0] * off_by * t) + 0.5 * np.sin(2 * np.pi * key[1] * off_by * t)
    assert kinds(np.concatenate([np.zeros(8_000), *[0.2 * sound, np.zeros(800)] * 3, np.zeros(6_400)])) == {
        ToneKind.DTMF
    }


@settings(max_examples=40, deadline=None)
@given(
    frequency=st.floats(388, 486),
    level_dbfs=st.floats(-40, -5),
    phase=st.floats(0, 6.28),
    offset=st.integers(0, 159),
)
def test_a_steady_tone_is_found_in_any_place(
    frequency: float, level_dbfs: float, phase: float, offset: int
) -> None:
    """All whole frames of a burst but the first four are known while it sounds, and nothing outside of it."""
    t = np.arange(4_000) / 8_000
    burst = 10 ** (level_dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * frequency * t + phase)
    samples = np.concatenate([np.zeros(800 + offset), burst, np.zeros(800)]).astype(np.float32)
    detector = ToneDetector()
    found = [detector.push(frame, energy_dbfs(frame))[1] for frame in frames_of(samples)]
    assert sum(count > 0 for count in found) >= 18
    assert not any(found[:9])
    assert not any(found[-4:])


def test_a_word_after_the_ringing_is_speech() -> None:
    """A ringing tone does not take the answer with it, but its frames are no speech either."""
    ring, word = tones([((425,), 1.0, 0.0, 1)])[:-9_600], babble(0.6, -18.0)
    ((voiced, verdict),) = heard(noisy(np.concatenate([ring, word, np.zeros(8_000)]), -65))
    assert verdict.tone is None
    assert 45 <= verdict.tone_frames <= 51
    assert voiced - verdict.tone_frames >= 20


def test_a_click_after_a_tone_is_no_word() -> None:
    """Less voice than an utterance needs leaves the tone a tone."""
    ring, click = tones([((425,), 1.0, 0.0, 1)])[:-9_600], babble(0.1, -18.0)
    ((_, verdict),) = heard(noisy(np.concatenate([ring, click, np.zeros(8_000)]), -65))
    assert verdict.tone is ToneKind.RINGBACK


def test_a_short_note_in_speech_is_nothing() -> None:
    """A beep over a talker neither ends nor takes away the utterance."""
    speech = babble(3.0, -18.0)
    speech[8_000:11_200] = tones([((1_000,), 0.4, 0.0, 1)])[12_000:15_200]
    assert kinds(noisy(np.concatenate([np.zeros(8_000), speech, np.zeros(8_000)]), -65)) == {None}


@pytest.mark.parametrize("pitch_hz", [100.0, 220.0, 425.0])
def test_held_vowels_are_no_tones(pitch_hz: float) -> None:
    """Harmonics without any glide, even at the pitch of a dial tone."""
    t = np.arange(16_000) / 8_000
    held = sum(np.sin(2 * np.pi * k * pitch_hz * t + k) / k for k in range(1, int(3_400 / pitch_hz)))
    sound = np.concatenate([np.zeros(8_000), 0.1 * held, np.zeros(8_000)])
    assert kinds(noisy(sound.astype(np.float32), -65)) == {None}


def test_a_whistled_tune_is_no_tone() -> None:
    """A pure tone that glides and trembles is somebody's mouth."""
    t = np.arange(24_000) / 8_000
    pitch = 430 + 40 * np.sin(2 * np.pi * 0.4 * t) + 6 * np.sin(2 * np.pi * 5 * t)
    whistle = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / 8_000)
    assert kinds(noisy(np.concatenate([np.zeros(8_000), whistle, np.zeros(8_000)]), -65)) <= {None}


def test_a_real_call_holds_no_tone() -> None:
    """Both legs of the sample call: no utterance is a tone, and at most one voiced frame in a thousand."""
    legs, _ = read_recording(Path("app/samples/two_legs.flac"))
    found = [utterance for leg in legs for utterance in heard(leg)]
    assert {verdict.tone for _, verdict in found} == {None}
    assert sum(verdict.tone_frames for _, verdict in found) <= 0.001 * sum(voiced for voiced, _ in found)


def test_quiet_frames_are_not_looked_at() -> None:
    """Below the gate nothing is found, and what was before is forgotten."""
    detector = ToneDetector()
    t = np.arange(3_200) / 8_000
    soft = frames_of((0.001 * np.sin(2 * np.pi * 425 * t)).astype(np.float32))
    assert {detector.push(frame, energy_dbfs(frame)) for frame in soft} == {(0, 0)}


def test_the_meter_remembers_what_it_must() -> None:
    """A ring of frames: what is older than its capacity has no say."""
    meter = ToneMeter(50, 10)
    t = np.arange(160 * 40) / 8_000
    for index, frame in enumerate(frames_of((0.2 * np.sin(2 * np.pi * 425 * t)).astype(np.float32))):
        meter.push(index, frame, True, -17.0)
    assert meter.judge(0, 40) == Heard(ToneKind.RINGBACK, 40)
    for index in range(40, 90):
        meter.push(index, np.zeros(160, dtype=np.float32), False, -100.0)
    assert meter.judge(45, 90) == Heard(None, 0)
