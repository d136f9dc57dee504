"""The telephone line, simulated on canonical audio: room, noise, band limit, level, codec, lost packets.

Every draw comes from the generator that is passed in, so a clip's variant is the same on every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import signal

from app.audio.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw, float_to_pcm, pcm_to_float

RATE_HZ = 8_000
PACKET_SAMPLES = 160
Audio = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TelephonyConfig:
    """Chances are per clip; ranges are uniform. Levels are active-speech RMS in dBFS."""

    level_db: tuple[float, float] = (-36.0, -16.0)
    room_chance: float = 0.25
    room_decay_s: tuple[float, float] = (0.08, 0.4)
    noise_chance: float = 0.6
    snr_db: tuple[float, float] = (2.0, 30.0)
    band_chance: float = 0.7
    low_hz: tuple[float, float] = (180.0, 350.0)
    high_hz: tuple[float, float] = (3_100.0, 3_700.0)
    tilt_db: float = 6.0
    """Up to this much spectral tilt over the band: microphones and handsets differ."""
    alaw_chance: float = 0.3
    linear_chance: float = 0.15
    coarse_chance: float = 0.1
    """Chance of a second pass through the codec at a lower level, for tandem coding."""
    loss_chance: float = 0.3
    loss_share: tuple[float, float] = (0.01, 0.1)
    clip_chance: float = 0.05


CLEAN = TelephonyConfig(
    level_db=(-26.0, -26.0), room_chance=0, noise_chance=0, band_chance=0, tilt_db=0, alaw_chance=0,
    linear_chance=0, coarse_chance=0, loss_chance=0, clip_chance=0,
)  # fmt: skip
"""Only the level and µ-law: what every evaluation starts from."""


def simulate(
    audio: Audio,
    active: slice,
    config: TelephonyConfig,
    rng: np.random.Generator,
    noises: Sequence[Audio] = (),
) -> Audio:
    """Pass a clip [N] through a random line; `active` is where it speaks (level and SNR are measured there)."""
    y = np.asarray(audio, dtype=np.float32)
    if rng.random() < config.room_chance:
        y = reverberate(y, rng.uniform(*config.room_decay_s), rng)
    if noises and rng.random() < config.noise_chance:
        noise = noises[int(rng.integers(len(noises)))]
        y = add_noise(y, noise, active, rng.uniform(*config.snr_db), rng)
    y = _shape(y, config, rng)
    y = set_level(y, active, rng.uniform(*config.level_db))
    if rng.random() < config.clip_chance:
        y = np.clip(4 * y, -0.98, 0.98)
    y = _codec(y, config, rng)
    if rng.random() < config.loss_chance:
        y = lose_packets(y, rng.uniform(*config.loss_share), rng)
    return y


def rms(audio: Audio) -> float:
    """Root mean square, at least 1e-6."""
    return max(float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0, 1e-6)


def set_level(audio: Audio, active: slice, level_db: float) -> Audio:
    """Scale so that the active part has the given RMS in dBFS."""
    return audio * np.float32(10 ** (level_db / 20) / rms(audio[active]))


def add_noise(audio: Audio, noise: Audio, active: slice, snr_db: float, rng: np.random.Generator) -> Audio:
    """Mix in a random stretch of noise (repeated where too short) at an SNR over the active part."""
    start = int(rng.integers(len(noise)))
    stretch = np.resize(np.roll(noise, -start), len(audio))
    gain = rms(audio[active]) / rms(stretch) * 10 ** (-snr_db / 20)
    return audio + stretch * np.float32(gain)


def reverberate(audio: Audio, decay_s: float, rng: np.random.Generator) -> Audio:
    """Convolve with a direct path and an exponentially decaying noise tail (60 dB in `decay_s`)."""
    length = int(decay_s * RATE_HZ)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    response = 0.25 * tail / np.sqrt(np.sum(tail**2))
    response[0] = 1.0
    return np.asarray(signal.fftconvolve(audio, response)[: len(audio)], dtype=np.float32)


@lru_cache(maxsize=256)
def _band(low_hz: int, high_hz: int) -> npt.NDArray[np.float64]:
    return np.asarray(signal.butter(3, [low_hz, high_hz], "bandpass", fs=RATE_HZ, output="sos"))


def _shape(audio: Audio, config: TelephonyConfig, rng: np.random.Generator) -> Audio:
    if rng.random() < config.band_chance:
        # To 20 Hz, so that the filters of a run can be kept.
        low, high = (20 * round(rng.uniform(*edges) / 20) for edges in (config.low_hz, config.high_hz))
        audio = np.asarray(signal.sosfilt(_band(low, high), audio), dtype=np.float32)
    if config.tilt_db:
        # First-order shelf: y = x + a·(x delayed); ±tilt between 0 and 4 kHz.
        ratio = 10 ** (rng.uniform(-config.tilt_db, config.tilt_db) / 20)
        a = np.float32((1 - ratio) / (1 + ratio))
        audio = np.concatenate([audio[:1], audio[1:] + a * audio[:-1]])
    return audio


def _codec(audio: Audio, config: TelephonyConfig, rng: np.random.Generator) -> Audio:
    pcm = float_to_pcm(np.clip(audio, -1, 1))
    draw = rng.random()
    alaw = draw < config.alaw_chance
    if rng.random() < config.coarse_chance:
        quiet = (pcm // 4).astype(np.int16)
        pcm = (decode_ulaw(encode_ulaw(quiet)).astype(np.int32) * 4).clip(-32768, 32767).astype(np.int16)
    if alaw:
        pcm = decode_alaw(encode_alaw(pcm))
    elif draw < 1 - config.linear_chance:
        pcm = decode_ulaw(encode_ulaw(pcm))
    return pcm_to_float(pcm)


def lose_packets(audio: Audio, share: float, rng: np.random.Generator) -> Audio:
    """Lose 20 ms packets in short bursts; each is concealed by the one before it, faded, or by silence."""
    y = audio.copy()
    packets = len(y) // PACKET_SAMPLES
    conceal = rng.random() < 0.5
    lost = rng.random(packets) < share * 0.7
    lost[1:] |= lost[:-1] & (rng.random(max(packets - 1, 0)) < 0.4)
    for index in np.flatnonzero(lost):
        at = index * PACKET_SAMPLES
        piece = slice(at, at + PACKET_SAMPLES)
        y[piece] = y[at - PACKET_SAMPLES : at] * np.float32(0.7) if conceal and index > 0 else 0.0
    return y
